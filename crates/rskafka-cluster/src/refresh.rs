//! Asks brokers for metadata, and takes in their answers.
//!
//! Invariant: no answer of another cluster is taken in. If no known broker can be asked, the bootstrap brokers are, and
//! their names are resolved again (KIP-899).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::{ApiKey, ErrorCode};
use rskafka_transport::{CallOptions, Connection, Deadline, Endpoint, Reply};
use tokio::time::timeout_at;

use crate::address::BrokerAddress;
use crate::metadata::{Metadata, Topics, topics_of};
use crate::{Broker, Causes, Class, Cluster, Failed, Failure, Leader, LeaderOf, Node, Topic};

/// How long to wait for one broker while there are others to ask: calls without a known leader wait that long too.
pub const MOST_FOR_ONE: Duration = Duration::from_secs(3);

/// For so long others are not asked again who leads the partitions of a topic: many may want to know.
const RECENT: Duration = Duration::from_millis(200);

/// Asks for the brokers, and for the topics with these names; for all topics without names.
pub(crate) fn request(names: Option<&[&str]>) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
    let topics = names.map(|names| names.iter().map(topic).collect());
    MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() }
}

/// What an answer says of one topic.
pub(crate) fn find(topics: Topics, name: &str) -> Result<Topic, Failure> {
    match topics.into_iter().find(|(found, _)| found == name) {
        Some((_, Ok(topic))) => Ok(Arc::unwrap_or_clone(topic)),
        Some((_, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))) | None => Err(Failure::UnknownTopic),
        Some((_, Err(code))) => Err(Failure::Metadata { code }),
    }
}

fn first_topic(request: &MetadataRequest) -> Option<&str> {
    request.topics.as_ref()?.first()?.name.as_deref()
}

impl Cluster {
    /// Asks until `find` accepts an answer or fails for good, or time runs out. Until `patience` is over, a topic that is
    /// unknown is asked for again.
    pub(crate) async fn ask_with_retries<T>(
        &self,
        request: &MetadataRequest,
        patience: Deadline,
        deadline: Deadline,
        find: impl Fn(Topics) -> Result<T, Failure>,
    ) -> Result<T, Failed> {
        let mut attempts = self.attempts(ApiKey::METADATA, Node::Any, deadline);
        loop {
            attempts.count += 1;
            let failure = match self.ask_any(request, deadline).await.and_then(&find) {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            let is_new = matches!(failure, Failure::UnknownTopic) && !patience.is_over(self.env().now());
            let may_pass = failure.is_transient() || is_new;
            let class = if may_pass { Class::Passing } else { Class::Lasting };
            match attempts.failed(failure, class, self.env()) {
                Ok(moment) => self.pause_until(moment).await,
                Err(failure) => return Err(attempts.ended(failure)),
            }
        }
    }

    /// Asks one broker after another until one answers.
    #[tracing::instrument(name = "call", level = "debug", skip_all, fields(api = "Metadata", topic = first_topic(request), broker))]
    pub(crate) async fn ask_any(
        &self,
        request: &MetadataRequest,
        deadline: Deadline,
    ) -> Result<Topics, Failure> {
        self.ask_in_turn(request, self.candidates(), deadline).await
    }

    /// Asks others than a leader whether another leads its partition now. Cancel safe.
    pub async fn is_replaced(&self, target: LeaderOf<'_>, leader: &Leader, deadline: Deadline) -> bool {
        let LeaderOf { topic, partition, .. } = target;
        let leads = || self.metadata().leads(topic, partition, leader);
        let Ok(mut asked) = timeout_at(deadline.instant(), self.inner.refreshing.lock()).await else {
            return !leads();
        };
        let now = self.env().now();
        asked.retain(|_, at| now.saturating_duration_since(*at) < RECENT);
        let key = (topic.to_owned(), leader.broker.id);
        if leads() && !asked.contains_key(&key) {
            let mut others = self.candidates();
            others.retain(|endpoint| *endpoint != leader.broker.endpoint);
            // Without an answer nothing is known.
            let _ = self.ask_in_turn(&request(Some(&[topic])), others, deadline).await;
            asked.insert(key, self.env().now());
        }
        !leads()
    }

    /// Notes that a broker is silent: others are asked for metadata as long as there are any.
    pub fn mark_silent(&self, broker: &Broker) {
        self.address(&broker.endpoint).site.is_silent.store(true, Relaxed);
    }

    /// The metadata of the broker that was asked last may be old: others are asked next.
    pub(crate) fn doubt_asked(&self) {
        let asked = self.metadata().asked.clone();
        let address = asked.and_then(|endpoint| self.lock_addresses().get(&endpoint).cloned());
        address.iter().for_each(|address| address.site.is_doubted.store(true, Relaxed));
    }

    async fn ask_in_turn(
        &self,
        request: &MetadataRequest,
        mut candidates: Vec<Endpoint>,
        deadline: Deadline,
    ) -> Result<Topics, Failure> {
        if self.is_closed() {
            return Err(Failure::Closed);
        }
        let mut causes = Causes::default();
        let mut has_begun_again = false;
        while let Some(endpoint) = candidates.pop() {
            // A broker that hangs must not use up the time of the next ones.
            let now = self.env().now();
            let most = if candidates.is_empty() { Duration::MAX } else { MOST_FOR_ONE };
            let share = most.min(deadline.remaining(now) / (candidates.len() as u32 + 1));
            tracing::Span::current().record("broker", tracing::field::display(&endpoint));
            match self.ask_one(request, &endpoint, Deadline::after(now, share)).await {
                Ok(topics) => return Ok(topics),
                Err(_) if self.is_closed() => return Err(Failure::Closed),
                Err(failure) => {
                    tracing::debug!(%endpoint, %failure, "no metadata");
                    if failure.code() == Some(ErrorCode::REBOOTSTRAP_REQUIRED) && !has_begun_again {
                        has_begun_again = true;
                        candidates = self.candidates();
                    }
                    // Who is refused is refused everywhere, and another login could lock the account: nobody else is asked.
                    candidates.retain(|_| failure.code() != Some(ErrorCode::SASL_AUTHENTICATION_FAILED));
                    causes.0.push((endpoint, failure));
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
        let address = self.address(endpoint);
        let answered = async {
            let connection = address.control.connection(self, &address, None, deadline).await?;
            let answer = connection.call(request, CallOptions::new(deadline)).await;
            answer.map(|answer| (answer, connection)).map_err(|source| Failure::Call { source })
        };
        let answered = answered.await;
        address.site.is_silent.store(answered.is_err() && deadline.is_over(self.env().now()), Relaxed);
        let (answer, connection) = answered?;
        let topics = self.take_metadata(request, answer, &connection)?;
        address.site.is_doubted.store(false, Relaxed);
        self.change_metadata(|metadata| metadata.asked = Some(endpoint.clone()));
        Ok(topics)
    }

    /// Takes in an answer. If it comes from another cluster, the connection ends instead.
    pub(crate) fn take_metadata(
        &self,
        request: &MetadataRequest,
        answer: Reply<MetadataResponse>,
        connection: &Connection,
    ) -> Result<Topics, Failure> {
        let Reply { version, mut response, .. } = answer;
        if let Err(code) = response.error_code.ok() {
            if code == ErrorCode::REBOOTSTRAP_REQUIRED {
                self.begin_again();
            }
            return Err(Failure::Metadata { code });
        }
        let answered = topics_of(version, std::mem::take(&mut response.topics));
        let taken_in = self.change_metadata(|metadata| {
            metadata.check_cluster(response.cluster_id.as_deref())?;
            let topics = metadata.apply(&response, answered, request.topics.is_none());
            let brokers: Vec<_> = metadata.brokers().map(|broker| broker.endpoint.clone()).collect();
            Ok((topics, brokers))
        });
        // Not under the lock of the metadata: the end of a connection wakes its users.
        let (topics, brokers) = taken_in.inspect_err(|_| connection.end())?;
        self.lock_addresses().retain(|endpoint, _| brokers.contains(endpoint));
        Ok(topics)
    }

    /// Forgets the brokers, so that the bootstrap brokers are asked next (KIP-1102). Addresses that cannot be connected
    /// to keep their pauses, so that they are not dialled more often when this is called often.
    pub(crate) fn begin_again(&self) {
        self.change_metadata(Metadata::forget);
        let mut addresses = self.lock_addresses();
        addresses.retain(|_, address| {
            // A broker that answered REBOOTSTRAP_REQUIRED can be connected to.
            let failure = address.site.gate.failure();
            failure.is_some_and(|failure| failure.code() != Some(ErrorCode::REBOOTSTRAP_REQUIRED))
        });
        addresses
            .values_mut()
            .for_each(|address| *address = Arc::new(BrokerAddress::without_connections(&address.site)));
    }

    /// The addresses to ask, in reverse order: first brokers with an open connection, then other brokers, then those whose
    /// metadata may be old, then the bootstrap brokers; last those that could not be reached, or did not answer.
    pub(crate) fn candidates(&self) -> Vec<Endpoint> {
        let mut brokers: Vec<_> = self.metadata().brokers().map(|broker| broker.endpoint.clone()).collect();
        // Spread over the brokers, so that many clients do not all ask the same one.
        let start = self.env().random() % brokers.len().max(1) as u64;
        brokers.rotate_left(start as usize);
        let mut candidates: Vec<_> = self.config().bootstrap.iter().rev().cloned().collect();
        candidates.retain(|endpoint| !brokers.contains(endpoint));
        candidates.extend_from_slice(&brokers);
        let addresses = self.lock_addresses();
        candidates.sort_by_key(|endpoint| match addresses.get(endpoint) {
            Some(known) if known.site.is_silent.load(Relaxed) || known.site.gate.failure().is_some() => 0,
            Some(known) if known.site.is_doubted.load(Relaxed) => 1,
            Some(known) if known.control.is_open() => 3,
            _ if brokers.contains(endpoint) => 2,
            _ => 1,
        });
        candidates
    }
}
