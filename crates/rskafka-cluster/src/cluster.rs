//! The handle to a cluster: which brokers can be asked, and what they last said.
//!
//! Invariant: one refresh of metadata is under way at a time, and whoever waited for it looks at its
//! result before asking again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rskafka_protocol::ErrorCode;
use rskafka_transport::{BrokerStats, Deadline, Endpoint, Env, WithCauses};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metadata::{LeaderLookup, Metadata};
use crate::peer::Peer;
use crate::warnings::Warnings;
use crate::{Broker, ClusterConfig, Error, Failure, Place, Topic, ask};

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
    /// What is kept for each address in use.
    peers: Mutex<BTreeMap<Endpoint, Arc<Peer>>>,
    warnings: Mutex<Warnings>,
    /// A task for each connection that is open.
    connections: TaskTracker,
    closed: CancellationToken,
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
            peers: Mutex::default(),
            warnings: Mutex::default(),
            connections: TaskTracker::new(),
            closed: CancellationToken::new(),
            refreshing: tokio::sync::Mutex::default(),
            runtime: Handle::current(),
        };
        let cluster = Self { inner: Arc::new(inner) };
        cluster.ask_with_retries(&ask::no_topics(), deadline).await?;
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
        let topics = self.ask_with_retries(&ask::all_topics(), deadline).await?;
        Ok(topics.into_iter().filter_map(|(_, topic)| topic.ok()).collect())
    }

    /// One topic, asked for now; the code is the broker's answer for it.
    pub async fn topic(&self, name: &str, deadline: Deadline) -> Result<Result<Topic, ErrorCode>, Error> {
        let topics = self.ask_with_retries(&ask::topic(name), deadline).await?;
        let found = topics.into_iter().find(|(found, _)| found == name);
        Ok(found.map_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), |(_, topic)| topic))
    }

    /// Ends all connections, those of lanes in use among them, and waits for them. None is opened again:
    /// what is under way fails with [`Failure::Closed`]. If the future is dropped, call it again.
    pub async fn close(&self) {
        self.inner.closed.cancel();
        self.lock_peers().clear();
        self.inner.connections.close();
        self.inner.connections.wait().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.closed.is_cancelled()
    }

    /// Tells that the cluster is closed, without keeping what belongs to it.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.inner.closed
    }

    /// Pauses before another attempt, at most until the cluster is closed: the attempt finds that out.
    pub(crate) async fn pause(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.closed().cancelled()).await;
    }

    /// Runs a task that stands for an open connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.connections.spawn_on(task, &self.inner.runtime);
    }

    /// Makes the next look at a topic's leaders ask a broker.
    pub fn mark_stale(&self, topic: &str) {
        self.metadata().mark_stale(topic);
    }

    /// Keeps nothing of a topic that the client has deleted; the next look at it asks a broker.
    pub fn forget_topic(&self, topic: &str) {
        self.metadata().forget_topic(topic);
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

    pub(crate) fn metadata(&self) -> MutexGuard<'_, Metadata> {
        self.inner.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_peers(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Arc<Peer>>> {
        self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept for an address.
    pub(crate) fn peer(&self, endpoint: &Endpoint) -> Arc<Peer> {
        let mut peers = self.lock_peers();
        if let Some(peer) = peers.get(endpoint) {
            return peer.clone();
        }
        peers.entry(endpoint.clone()).or_insert_with(|| Arc::new(Peer::new(endpoint))).clone()
    }

    /// Warns of an address that cannot be connected to, if that is due.
    pub(crate) fn warn_unreachable(&self, endpoint: &Endpoint, failure: &Failure) {
        // These say nothing about the address.
        if matches!(failure, Failure::Closed | Failure::RuntimeGone | Failure::Waited) {
            return;
        }
        let mut warnings = self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.is_due(endpoint, self.env().now()) {
            tracing::warn!(broker = %endpoint, failure = %WithCauses(failure), "cannot connect");
        }
    }

    /// What the connections to each address in use have done, with the broker there, if one is known.
    pub fn stats(&self) -> Vec<(Option<i32>, Endpoint, BrokerStats)> {
        let ids: BTreeMap<_, _> =
            self.metadata().brokers().map(|broker| (broker.endpoint.clone(), broker.id)).collect();
        let peers = self.lock_peers();
        let stats = peers.values().map(|peer| {
            let id = ids.get(&peer.endpoint).copied();
            (id, peer.endpoint.clone(), peer.history.counters().snapshot())
        });
        stats.collect()
    }

    /// The controller, or any broker if it is not known: with KRaft, each passes requests on.
    pub(crate) async fn controller(&self, deadline: Deadline) -> Result<Broker, Failure> {
        let known = self.metadata().controller().cloned();
        if let Some(broker) = known {
            return Ok(broker);
        }
        self.ask_with_retries(&ask::no_topics(), deadline).await.map_err(|error| error.failure)?;
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
        let topics = self.ask(&ask::topic(topic), deadline).await?;
        match topics.into_iter().find(|(name, _)| name == topic) {
            Some((_, Ok(_))) => Ok(()),
            Some((_, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))) | None => Err(Failure::UnknownTopic),
            Some((_, Err(code))) => Err(Failure::Metadata { code }),
        }
    }
}
