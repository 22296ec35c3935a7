//! The handle to a cluster, and what all its users share.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rskafka_transport::{BrokerStats, Deadline, Endpoint, Env};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::{BrokerAddress, Site};
use crate::metadata::Metadata;
use crate::{ClusterConfig, Failed, Location, Topic, lock, refresh};

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
    /// How often the metadata has changed. Who has looked at it need not look again until then, nor wait for its lock.
    changes: AtomicU64,
    /// What is kept for each address in use.
    addresses: Mutex<BTreeMap<Endpoint, Arc<BrokerAddress>>>,
    /// A task for each connection that is open or being opened.
    pub(crate) connections: TaskTracker,
    /// Cancelled when the cluster is closed.
    pub(crate) closed: CancellationToken,
    /// Held while metadata is asked for. When others than a leader were asked for a topic last.
    pub(crate) refreshing: tokio::sync::Mutex<BTreeMap<(String, i32), Instant>>,
    runtime: Handle,
}

impl Cluster {
    /// Asks the bootstrap brokers for the cluster, repeatedly until one answers or time runs out.
    ///
    /// Fails at once if every address fails for a reason that retrying will not fix. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Failure::NoReachableBroker`](crate::Failure::NoReachableBroker) with a cause for each address.
    pub async fn bootstrap(env: Env, config: ClusterConfig, deadline: Deadline) -> Result<Self, Failed> {
        let inner = Inner {
            env,
            config: Arc::new(config),
            metadata: Mutex::default(),
            changes: AtomicU64::new(0),
            addresses: Mutex::default(),
            connections: TaskTracker::new(),
            closed: CancellationToken::new(),
            refreshing: Default::default(),
            runtime: Handle::current(),
        };
        let cluster = Self { inner: Arc::new(inner) };
        cluster.ask_with_retries(&refresh::request(Some(&[])), deadline, deadline, Ok).await?;
        Ok(cluster)
    }

    /// The source of time, random numbers, name resolution and connections.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// What the cluster was built from.
    pub fn config(&self) -> &Arc<ClusterConfig> {
        &self.inner.config
    }

    /// The runtime that the cluster was built on, which runs its connections.
    pub fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    /// Asks for all topics that the client may see; leaves out topics that are just being created or deleted.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Failed`]: why no broker gave metadata by the deadline.
    pub async fn topics(&self, deadline: Deadline) -> Result<Vec<Topic>, Failed> {
        let topics = self.ask_with_retries(&refresh::request(None), deadline, deadline, Ok).await?;
        Ok(topics.into_iter().filter_map(|(_, topic)| topic.ok().map(Arc::unwrap_or_clone)).collect())
    }

    /// Asks for one topic. Until `patience` is over, a topic that is unknown is asked for again. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Failure::UnknownTopic`](crate::Failure::UnknownTopic) after `patience`, and those of [`topics`](Self::topics).
    pub async fn topic(&self, name: &str, patience: Deadline, deadline: Deadline) -> Result<Topic, Failed> {
        let request = refresh::request(Some(&[name]));
        self.ask_with_retries(&request, patience, deadline, |topics| refresh::find(topics, name)).await
    }

    /// Ends all connections, also those in use, and waits for their end. No connection is opened afterwards; calls under
    /// way fail with [`Failure::Closed`](crate::Failure::Closed). If the future is dropped, call it again.
    pub async fn close(&self) {
        self.inner.closed.cancel();
        self.lock_addresses().clear();
        self.inner.connections.close();
        self.inner.connections.wait().await;
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.is_cancelled()
    }

    /// Pauses before another attempt. Ends early if the cluster is closed: the attempt then fails for that reason.
    ///
    /// The future does not keep the cluster alive.
    pub fn pause_until(&self, moment: Instant) -> impl Future<Output = ()> + Send + use<> {
        let closed = self.inner.closed.clone();
        async move {
            let _ = tokio::time::timeout_at(moment, closed.cancelled()).await;
        }
    }

    /// Makes the next lookup of a topic's leaders ask a broker.
    pub fn mark_stale(&self, topic: &str) {
        self.change_metadata(|metadata| metadata.mark_stale(topic));
    }

    /// Forgets a topic that the client has deleted; the next lookup asks a broker.
    pub fn forget_topic(&self, topic: &str) {
        self.change_metadata(|metadata| metadata.forget_topic(topic));
    }

    /// The location, with the broker that was last asked for metadata.
    pub(crate) fn asked(&self, location: Location) -> Location {
        let metadata = self.metadata();
        let Some(endpoint) = metadata.asked.clone() else { return location };
        let broker = metadata.broker_at(&endpoint).map(|broker| broker.id);
        Location { broker, endpoint: Some(endpoint), ..location }
    }

    pub(crate) fn metadata(&self) -> impl Deref<Target = Metadata> {
        lock(&self.inner.metadata)
    }

    pub(crate) fn change_metadata<T>(&self, change: impl FnOnce(&mut Metadata) -> T) -> T {
        let mut metadata = lock(&self.inner.metadata);
        let changed = change(&mut metadata);
        // Under the lock: who sees the count of before may have seen the change, but not the other way round.
        self.inner.changes.fetch_add(1, Ordering::Release);
        changed
    }

    pub(crate) fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::Acquire)
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

    /// What the connections to each address in use have done, in the order of the addresses.
    pub fn stats(&self) -> Vec<StatsOfBroker> {
        let addresses: Vec<_> = self.lock_addresses().values().cloned().collect();
        let metadata = self.metadata();
        let stats = addresses.into_iter().map(|address| {
            let Site { endpoint, memory, .. } = &*address.site;
            let id = metadata.broker_at(endpoint).map(|broker| broker.id);
            StatsOfBroker { id, address: endpoint.to_string(), stats: memory.counters.snapshot() }
        });
        stats.collect()
    }
}

/// What the connections to one broker have done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsOfBroker {
    /// The broker's id; `None` for an address that was only asked for the cluster.
    pub id: Option<i32>,
    /// Its `host:port`.
    pub address: String,
    /// The numbers. They start at zero again when a broker leaves the cluster and comes back.
    pub stats: BrokerStats,
}
