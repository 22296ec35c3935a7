//! The handle to a cluster: which brokers can be asked, and what they last said.
//!
//! Invariant: one refresh of metadata is under way at a time, and callers that waited for it look at its
//! result before they ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rskafka_protocol::ErrorCode;
use rskafka_transport::{BrokerStats, Deadline, Endpoint, Env};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::{BrokerAddress, Site};
use crate::metadata::Metadata;
use crate::{ClusterConfig, Error, Failure, Location, Topic, lock, refresh};

/// A cluster of brokers. Clones are the same cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    env: Env,
    config: Arc<ClusterConfig>,
    metadata: Mutex<Metadata>,
    /// What is kept for each address in use.
    addresses: Mutex<BTreeMap<Endpoint, Arc<BrokerAddress>>>,
    /// A task for each connection that is open or being opened.
    connections: TaskTracker,
    closed: CancellationToken,
    refreshing: AsyncMutex<()>,
    runtime: Handle,
}

impl Cluster {
    /// Asks the bootstrap brokers for the cluster, again and again until one answers or time runs out.
    ///
    /// Fails at once if no address can be expected to ever be a broker. Cancel safe.
    pub async fn bootstrap(env: Env, config: ClusterConfig, deadline: Deadline) -> Result<Self, Error> {
        let inner = Inner {
            env,
            config: Arc::new(config),
            metadata: Mutex::default(),
            addresses: Mutex::default(),
            connections: TaskTracker::new(),
            closed: CancellationToken::new(),
            refreshing: AsyncMutex::default(),
            runtime: Handle::current(),
        };
        let cluster = Self { inner: Arc::new(inner) };
        cluster.ask_with_retries(&refresh::request(Some(&[])), deadline).await?;
        Ok(cluster)
    }

    /// All that is not deterministic.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// What the cluster was built from.
    pub fn config(&self) -> &Arc<ClusterConfig> {
        &self.inner.config
    }

    /// The runtime on which the cluster's connections live: the one it was built on.
    pub fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    /// All topics that the client may see, asked for now; without those that are just being made or deleted.
    pub async fn topics(&self, deadline: Deadline) -> Result<Vec<Topic>, Error> {
        let topics = self.ask_with_retries(&refresh::request(None), deadline).await?;
        Ok(topics.into_iter().filter_map(|(_, topic)| topic.ok()).collect())
    }

    /// One topic, asked for now; the code is the broker's answer for it.
    pub async fn topic(&self, name: &str, deadline: Deadline) -> Result<Result<Topic, ErrorCode>, Error> {
        let topics = self.ask_with_retries(&refresh::request(Some(&[name])), deadline).await?;
        let found = topics.into_iter().find(|(found, _)| found == name);
        Ok(found.map_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), |(_, topic)| topic))
    }

    /// Ends all connections, those of lanes in use among them, and waits for them. None is opened again:
    /// what is under way fails with [`Failure::Closed`]. If the future is dropped, call it again.
    pub async fn close(&self) {
        self.inner.closed.cancel();
        self.lock_addresses().clear();
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

    /// Pauses before another attempt. Ends early if the cluster is closed: the attempt then fails for that reason.
    pub async fn pause_until(&self, moment: Instant) {
        let _ = tokio::time::timeout_at(moment, self.closed().cancelled()).await;
    }

    /// Runs a task that stands for a connection which is open or being opened: `close` waits for it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner.connections.spawn_on(task, &self.inner.runtime)
    }

    /// Makes the next look at a topic's leaders ask a broker.
    pub fn mark_stale(&self, topic: &str) {
        self.metadata().mark_stale(topic);
    }

    /// Keeps nothing of a topic that the client has deleted; the next look at it asks a broker.
    pub fn forget_topic(&self, topic: &str) {
        self.metadata().forget_topic(topic);
    }

    /// The location, with the broker that was asked for metadata last.
    pub(crate) fn asked(&self, location: Location) -> Location {
        let metadata = self.metadata();
        let Some(endpoint) = metadata.asked.clone() else {
            return location;
        };
        let broker = metadata.broker_at(&endpoint).map(|broker| broker.id);
        Location { broker, endpoint: Some(endpoint), ..location }
    }

    pub(crate) fn metadata(&self) -> MutexGuard<'_, Metadata> {
        lock(&self.inner.metadata)
    }

    pub(crate) fn lock_addresses(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Arc<BrokerAddress>>> {
        lock(&self.inner.addresses)
    }

    /// What is kept for an address.
    pub(crate) fn address(&self, endpoint: &Endpoint) -> Arc<BrokerAddress> {
        let mut addresses = self.lock_addresses();
        if let Some(address) = addresses.get(endpoint) {
            return address.clone();
        }
        addresses.entry(endpoint.clone()).or_insert_with(|| Arc::new(BrokerAddress::new(endpoint))).clone()
    }

    /// What the connections to each address in use have done, with the broker there, if one is known.
    pub fn stats(&self) -> Vec<(Option<i32>, Endpoint, BrokerStats)> {
        let addresses: Vec<_> = self.lock_addresses().values().cloned().collect();
        let metadata = self.metadata();
        let stats = addresses.into_iter().map(|address| {
            let Site { endpoint, memory, .. } = &*address.site;
            let id = metadata.broker_at(endpoint).map(|broker| broker.id);
            (id, endpoint.clone(), memory.counters().snapshot())
        });
        stats.collect()
    }

    /// Waits for its turn to ask for metadata. The turn ends when the guard is dropped.
    pub(crate) async fn refreshing(&self, deadline: Deadline) -> Result<AsyncMutexGuard<'_, ()>, Failure> {
        let locked = tokio::time::timeout_at(deadline.instant(), self.inner.refreshing.lock()).await;
        locked.map_err(|_| Failure::DeadlineBeforeSend)
    }
}
