//! The handle to a cluster: which brokers can be asked, and what they last said.
//!
//! Invariant: one refresh of metadata is under way at a time, and whoever waited for it looks at its
//! result before asking again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::{ApiKey, ErrorCode};
use rskafka_transport::{CallOptions, Deadline, Endpoint, Env, Reply};
use tokio::runtime::Handle;

use crate::lane::{self, Slot};
use crate::metadata::{LeaderLookup, Metadata};
use crate::{Broker, BrokerFailure, ClusterConfig, Error, Failure, Lane, Place, Topic};

/// How long one broker is waited for while there are others to ask: every look at a leader waits for it.
const PATIENCE_WITH_ONE: Duration = Duration::from_secs(3);

/// A cluster of brokers. Clones are the same cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    env: Env,
    config: ClusterConfig,
    metadata: Mutex<Metadata>,
    /// The connections for metadata and admin calls, one for each address in use.
    shared: Mutex<BTreeMap<Endpoint, Arc<Lane>>>,
    /// Every lane that has opened a connection and is still in use.
    opened: Mutex<Vec<Weak<Slot>>>,
    is_closed: AtomicBool,
    refreshing: tokio::sync::Mutex<()>,
    runtime: Handle,
}

impl Cluster {
    /// Asks the bootstrap brokers for the cluster, again and again until one answers or time runs out.
    ///
    /// Fails at once if no address can be expected to ever be a broker. Cancel safe.
    pub async fn bootstrap(env: Env, config: ClusterConfig, deadline: Deadline) -> Result<Self, Error> {
        let inner = Inner {
            env,
            config,
            metadata: Mutex::default(),
            shared: Mutex::default(),
            opened: Mutex::default(),
            is_closed: AtomicBool::new(false),
            refreshing: tokio::sync::Mutex::default(),
            runtime: Handle::current(),
        };
        let cluster = Self { inner: Arc::new(inner) };
        let no_topics = MetadataRequest { topics: Some(Vec::new()), ..request() };
        cluster.ask_with_retries(&no_topics, deadline).await?;
        Ok(cluster)
    }

    /// All that is not deterministic.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// What the cluster was built from.
    pub fn config(&self) -> &ClusterConfig {
        &self.inner.config
    }

    /// The runtime on which the cluster's connections live: the one it was built on.
    pub fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    /// All topics that the client may see, asked for now; without those that are just being made or deleted.
    pub async fn topics(&self, deadline: Deadline) -> Result<Vec<Topic>, Error> {
        let all = MetadataRequest { topics: None, ..request() };
        let topics = self.ask_with_retries(&all, deadline).await?;
        Ok(topics.into_iter().filter_map(|(_, topic)| topic.ok()).collect())
    }

    /// One topic, asked for now; the code is the broker's answer for it.
    pub async fn topic(&self, name: &str, deadline: Deadline) -> Result<Result<Topic, ErrorCode>, Error> {
        let topics = self.ask_with_retries(&request_for(name), deadline).await?;
        let found = topics.into_iter().find(|(found, _)| found == name);
        Ok(found.map_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), |(_, topic)| topic))
    }

    /// Ends all connections, those of lanes in use among them, and waits for them. None is opened again:
    /// what is under way fails with [`Failure::Closed`].
    pub async fn close(&self) {
        self.inner.is_closed.store(true, Ordering::Release);
        self.lock_shared().clear();
        let opened = std::mem::take(&mut *self.lock_opened());
        for slot in opened.iter().filter_map(Weak::upgrade) {
            lane::close(&slot).await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.is_closed.load(Ordering::Acquire)
    }

    /// Makes the next look at a topic's leaders ask a broker.
    pub fn mark_stale(&self, topic: &str) {
        self.metadata().mark_stale(topic);
    }

    /// The place, with the broker that was asked for metadata last.
    pub fn asked(&self, place: Place) -> Place {
        let metadata = self.metadata();
        let Some(endpoint) = metadata.asked.clone() else {
            return place;
        };
        let broker = metadata.brokers().find(|broker| broker.endpoint == endpoint).map(|broker| broker.id);
        Place { broker, endpoint: Some(endpoint), ..place }
    }

    /// Notes a lane that opens its first connection.
    pub(crate) fn note_opened(&self, slot: &Arc<Slot>) {
        let mut opened = self.lock_opened();
        if opened.len() == opened.capacity() {
            // Before it grows: what is out of use need not be kept.
            opened.retain(|slot| slot.strong_count() > 0);
        }
        opened.push(Arc::downgrade(slot));
    }

    fn lock_opened(&self) -> MutexGuard<'_, Vec<Weak<Slot>>> {
        self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn metadata(&self) -> MutexGuard<'_, Metadata> {
        self.inner.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_shared(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Arc<Lane>>> {
        self.inner.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shared_lane(&self, endpoint: &Endpoint) -> Arc<Lane> {
        self.lock_shared().entry(endpoint.clone()).or_default().clone()
    }

    /// The controller, or any broker if it is not known: with KRaft, each passes requests on.
    pub(crate) async fn controller(&self, deadline: Deadline) -> Result<Broker, Failure> {
        let known = self.metadata().controller().cloned();
        if let Some(broker) = known {
            return Ok(broker);
        }
        let no_topics = MetadataRequest { topics: Some(Vec::new()), ..request() };
        self.ask_with_retries(&no_topics, deadline).await.map_err(|error| error.failure)?;
        let metadata = self.metadata();
        let any = metadata.brokers().next();
        metadata.controller().or(any).cloned().ok_or(Failure::NoReachableBroker { causes: Vec::new() })
    }

    /// Asks for `topic`, unless another task has just done so.
    pub(crate) async fn refresh(
        &self,
        topic: &str,
        partition: i32,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let locked = tokio::time::timeout_at(deadline.instant(), self.inner.refreshing.lock()).await;
        let _one_at_a_time = locked.map_err(|_| Failure::Waited)?;
        if self.metadata().leader(topic, partition) != LeaderLookup::Ask {
            return Ok(());
        }
        let topics = self.ask(&request_for(topic), deadline).await?;
        match topics.into_iter().find(|(name, _)| name == topic) {
            Some((_, Ok(_))) => Ok(()),
            Some((_, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))) | None => Err(Failure::UnknownTopic),
            Some((_, Err(code))) => Err(Failure::Code { code, message: None }),
        }
    }

    async fn ask_with_retries(
        &self,
        request: &MetadataRequest,
        deadline: Deadline,
    ) -> Result<Vec<(String, Result<Topic, ErrorCode>)>, Error> {
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
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks one broker after the other until one answers.
    async fn ask(
        &self,
        request: &MetadataRequest,
        deadline: Deadline,
    ) -> Result<Vec<(String, Result<Topic, ErrorCode>)>, Failure> {
        if self.is_closed() {
            return Err(Failure::Closed);
        }
        let mut candidates = self.candidates();
        let mut causes = Vec::new();
        while let Some(endpoint) = candidates.pop() {
            // A broker that hangs may not use up the time of those that come after it.
            let now = self.env().now();
            let mut share = deadline.remaining(now) / (candidates.len() as u32 + 1);
            if !candidates.is_empty() {
                share = share.min(PATIENCE_WITH_ONE);
            }
            match self.ask_one(request, &endpoint, Deadline::after(now, share)).await {
                Ok(reply) => {
                    let topics = {
                        let mut metadata = self.metadata();
                        metadata.asked = Some(endpoint);
                        metadata.apply(reply.version, &reply.response)
                    };
                    self.drop_lanes_out_of_use();
                    return Ok(topics);
                }
                Err(failure) => {
                    tracing::debug!(%endpoint, %failure, "no metadata");
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
    ) -> Result<Reply<MetadataResponse>, Failure> {
        let lane = self.shared_lane(endpoint);
        let connection = lane.connection(self, endpoint, deadline).await?;
        let options = CallOptions { deadline, max_version: None, wait: Default::default() };
        let called = connection.call(request, options).await;
        let reply = called.map_err(|error| Failure::Call { source: error })?;
        match reply.response.error_code.ok() {
            Ok(()) => Ok(reply),
            Err(code) => Err(Failure::Code { code, message: None }),
        }
    }

    /// The addresses to ask, the one to ask first at the end: brokers with an open connection, then
    /// other brokers, then those that the cluster was built from.
    fn candidates(&self) -> Vec<Endpoint> {
        let mut brokers: Vec<_> = self.metadata().brokers().map(|broker| broker.endpoint.clone()).collect();
        if !brokers.is_empty() {
            // Spread over the brokers, so that many clients do not all ask the same one.
            let start = self.env().random() % brokers.len() as u64;
            brokers.rotate_left(start as usize);
        }
        let mut candidates: Vec<_> = self.config().bootstrap.iter().rev().cloned().collect();
        candidates.retain(|endpoint| !brokers.contains(endpoint));
        let lanes = self.lock_shared();
        let (open, closed): (Vec<_>, Vec<_>) =
            brokers.into_iter().partition(|endpoint| lanes.get(endpoint).is_some_and(|lane| lane.is_open()));
        candidates.extend(closed);
        candidates.extend(open);
        candidates
    }

    /// Forgets the connections to addresses that no broker has any more.
    fn drop_lanes_out_of_use(&self) {
        let brokers: Vec<_> = self.metadata().brokers().map(|broker| broker.endpoint.clone()).collect();
        self.lock_shared().retain(|endpoint, _| brokers.contains(endpoint));
    }
}

fn request() -> MetadataRequest {
    MetadataRequest { allow_auto_topic_creation: false, ..Default::default() }
}

fn request_for(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..request() }
}
