//! Metadata: asking for it, and what its answers say of who answered.
//!
//! Invariant: no answer of another cluster is taken in; brokers that cannot be asked are replaced by those
//! that the cluster was built from, their names resolved again (KIP-899).

use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::{ApiKey, ErrorCode};
use rskafka_transport::{CallOptions, Connection, Deadline, Endpoint, IdentityCheck, OpenError, Reply};
use std::time::Duration;

use crate::{BrokerFailure, Cluster, Error, Failure, Place, Topic};

/// How long one broker is waited for while there are others to ask: every look at a leader waits for it.
const PATIENCE_WITH_ONE: Duration = Duration::from_secs(3);

/// What an answer says of each topic.
type Topics = Vec<(String, Result<Topic, ErrorCode>)>;

/// Asks for no topic: brokers only.
pub(crate) fn no_topics() -> MetadataRequest {
    MetadataRequest { topics: Some(Vec::new()), ..request() }
}

pub(crate) fn all_topics() -> MetadataRequest {
    MetadataRequest { topics: None, ..request() }
}

pub(crate) fn topic(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..request() }
}

fn first_topic(request: &MetadataRequest) -> Option<&str> {
    request.topics.as_ref()?.first()?.name.as_deref()
}

fn request() -> MetadataRequest {
    MetadataRequest { allow_auto_topic_creation: false, ..Default::default() }
}

impl Cluster {
    pub(crate) async fn ask_with_retries(
        &self,
        request: &MetadataRequest,
        deadline: Deadline,
    ) -> Result<Topics, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failure = match self.ask(request, deadline).await {
                Ok(topics) => return Ok(topics),
                Err(failure) => failure,
            };
            let pause = self.config().backoff.pause(attempts, self.env().random());
            let gave_up = deadline.remaining(self.env().now()) <= pause;
            if gave_up || !failure.is_transient() {
                let place = Box::new(Place::default());
                let gave_up = failure.is_transient();
                let api = ApiKey::METADATA;
                return Err(Error { api, place, attempts, gave_up, may_have_taken_effect: false, failure });
            }
            self.pause(pause).await;
        }
    }

    /// Asks one broker after the other until one answers.
    #[tracing::instrument(name = "call", level = "debug", skip_all, fields(api = "Metadata", topic = first_topic(request), broker))]
    pub(crate) async fn ask(&self, request: &MetadataRequest, deadline: Deadline) -> Result<Topics, Failure> {
        if self.is_closed() {
            return Err(Failure::Closed);
        }
        let mut candidates = self.candidates();
        let mut causes = Vec::new();
        let mut has_begun_again = false;
        while let Some(endpoint) = candidates.pop() {
            // A broker that hangs may not use up the time of those that come after it.
            let now = self.env().now();
            let mut share = deadline.remaining(now) / (candidates.len() as u32 + 1);
            if !candidates.is_empty() {
                share = share.min(PATIENCE_WITH_ONE);
            }
            tracing::Span::current().record("broker", tracing::field::display(&endpoint));
            match self.ask_one(request, &endpoint, Deadline::after(now, share)).await {
                Ok(topics) => return Ok(topics),
                Err(failure) => {
                    tracing::debug!(%endpoint, %failure, "no metadata");
                    if failure.code() == Some(ErrorCode::REBOOTSTRAP_REQUIRED) && !has_begun_again {
                        has_begun_again = true;
                        candidates = self.candidates();
                    }
                    causes.push(BrokerFailure { endpoint, failure: Box::new(failure) });
                }
            }
        }
        Err(Failure::NoReachableBroker { causes })
    }

    async fn ask_one(
        &self,
        request: &MetadataRequest,
        endpoint: &Endpoint,
        deadline: Deadline,
    ) -> Result<Topics, Failure> {
        let peer = self.peer(endpoint);
        let connection = peer.control.connection(self, &peer, None, deadline).await?;
        let topics = self.ask_on(request, &connection, deadline).await?;
        self.metadata().asked = Some(endpoint.clone());
        Ok(topics)
    }

    /// Makes sure that a new connection leads into this cluster, and not to another broker than thought.
    ///
    /// An address may belong to another cluster by now, which would take appends by the topic's name (Produce
    /// below version 13) or a fetch's offsets without a word. From Kafka 4.4 on the broker has compared itself
    /// with `meant`, the broker that the request for its versions named. If it has not compared, or says that it
    /// is another, this asks for metadata, which names the cluster and refreshes the list of brokers.
    pub(crate) async fn check_identity(
        &self,
        connection: &Connection,
        broker: Option<i32>,
        meant: Option<i32>,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let check = connection.identity_check();
        if check == IdentityCheck::Confirmed {
            return Ok(());
        }
        self.ask_on(&no_topics(), connection, deadline).await.map_err(|failure| match failure {
            // Of the request that the connection is for, nothing was sent yet.
            Failure::Call { source } => {
                let may_want_sasl =
                    !self.config().connection.security.has_sasl() && source.is_closed_by_broker();
                Failure::Identity { may_want_sasl, source }
            }
            failure => failure,
        })?;
        let found = self.metadata().broker_at(connection.endpoint());
        match (broker, found) {
            (Some(expected), Some(found)) if found != expected => {
                Err(Failure::OtherBroker { expected, found })
            }
            // Its metadata does not name another broker for this address, so follow its REBOOTSTRAP_REQUIRED.
            _ if check == IdentityCheck::Denied && (found.is_none() || found == meant) => {
                self.begin_again();
                Err(Failure::Metadata { code: ErrorCode::REBOOTSTRAP_REQUIRED })
            }
            _ => Ok(()),
        }
    }

    /// Forgets the brokers, so that the addresses that the cluster was built from are asked next (KIP-1102).
    fn begin_again(&self) {
        self.metadata().forget();
        self.lock_peers().clear();
    }

    /// What a connection that was not opened failed with.
    pub(crate) fn not_opened(&self, source: OpenError) -> Failure {
        let failure = Failure::Open { source };
        if failure.code() == Some(ErrorCode::REBOOTSTRAP_REQUIRED) {
            self.begin_again();
        }
        failure
    }

    async fn ask_on(
        &self,
        request: &MetadataRequest,
        connection: &Connection,
        deadline: Deadline,
    ) -> Result<Topics, Failure> {
        let called = connection.call(request, CallOptions::new(deadline)).await;
        let Reply { version, response, .. } = called.map_err(|source| Failure::Call { source })?;
        if let Err(code) = response.error_code.ok() {
            if code == ErrorCode::REBOOTSTRAP_REQUIRED {
                self.begin_again();
            }
            return Err(Failure::Metadata { code });
        }
        let applied = self.apply(version, &response, request.topics.is_none());
        if applied.is_err() {
            connection.close().await;
        }
        applied
    }

    fn apply(
        &self,
        version: i16,
        response: &MetadataResponse,
        is_list_of_all: bool,
    ) -> Result<Topics, Failure> {
        let mut metadata = self.metadata();
        metadata.check_cluster(response.cluster_id.as_deref())?;
        let topics = metadata.apply(version, response, is_list_of_all);
        let brokers: Vec<_> = metadata.brokers().map(|broker| broker.endpoint.clone()).collect();
        drop(metadata);
        // What is kept for addresses that no broker has any more goes.
        self.lock_peers().retain(|endpoint, _| brokers.contains(endpoint));
        Ok(topics)
    }

    /// The addresses to ask, the one to ask first at the end: brokers with an open connection, then
    /// other brokers, then those that the cluster was built from; last those that could not be reached.
    fn candidates(&self) -> Vec<Endpoint> {
        let mut brokers: Vec<_> = self.metadata().brokers().map(|broker| broker.endpoint.clone()).collect();
        if !brokers.is_empty() {
            // Spread over the brokers, so that many clients do not all ask the same one.
            let start = self.env().random() % brokers.len() as u64;
            brokers.rotate_left(start as usize);
        }
        let mut candidates: Vec<_> = self.config().bootstrap.iter().rev().cloned().collect();
        candidates.retain(|endpoint| !brokers.contains(endpoint));
        candidates.extend(brokers);
        let peers = self.lock_peers();
        candidates.sort_by_key(|endpoint| match peers.get(endpoint) {
            Some(peer) if peer.gate.is_failing() => 0,
            Some(peer) if peer.control.is_open() => 2,
            _ => 1,
        });
        candidates
    }
}
