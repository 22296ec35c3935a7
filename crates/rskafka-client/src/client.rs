//! The client: one cluster, its topics, and the way to its partitions.
//!
//! Invariant: every task is counted, so that `close` can wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rskafka_cluster::Cluster;
use rskafka_cluster::transport::Deadline;
use tokio_util::task::TaskTracker;

use crate::builder::{ClientBuilder, Limits};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::partition::PartitionClientBuilder;
use crate::stats::Stats;
use crate::topics::{CreateTopic, Topic};

/// A client of one Kafka cluster. Clones are the same client.
///
/// Dropping the last clone, and the last partition client made from it, ends its connections once what
/// has a place in line is written.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: Cluster,
    limits: Limits,
    tasks: TaskTracker,
    is_closed: AtomicBool,
}

impl Client {
    /// A client over plaintext connections with all defaults: see [`Client::builder`] and
    /// [`ClientBuilder::build`].
    pub async fn new_plain(bootstrap_brokers: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        Self::builder(bootstrap_brokers).build().await
    }

    /// Sets up a client of the cluster that these brokers belong to.
    ///
    /// Each is `host:port`, or several of these separated by commas, as in Kafka's `bootstrap.servers`. One
    /// that answers is enough: it names all others.
    ///
    /// ```
    /// # use rskafka_client::api::Client;
    /// let builder = Client::builder(["kafka-1:9092", "kafka-2:9092"]);
    /// let builder = Client::builder(vec!["kafka-1:9092".to_owned()]);
    /// let builder = Client::builder(["kafka-1:9092,kafka-2:9092"]);
    /// ```
    pub fn builder(bootstrap_brokers: impl IntoIterator<Item = impl Into<String>>) -> ClientBuilder {
        ClientBuilder::new(bootstrap_brokers)
    }

    pub(crate) fn new(cluster: Cluster, limits: Limits) -> Self {
        let inner = Inner { cluster, limits, tasks: TaskTracker::new(), is_closed: AtomicBool::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// A client of one partition. Options chain before `.await`:
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::api::Client) -> rskafka_client::errors::Result<()> {
    /// # use rskafka_client::api::Acks;
    /// let wal = client.partition_client("wal", 0).acks(Acks::All).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn partition_client(&self, topic: impl Into<String>, partition: i32) -> PartitionClientBuilder {
        PartitionClientBuilder::new(self.clone(), topic.into(), partition)
    }

    /// Creates a topic. Options chain before `.await`:
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::api::Client) -> rskafka_client::errors::Result<()> {
    /// client.create_topic("wal", 8, 3).for_log().if_missing().await?;
    /// client.create_topic("other", 1, 3).config("retention.ms", "3600000").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_topic(
        &self,
        name: impl Into<String>,
        partitions: i32,
        replication_factor: i16,
    ) -> CreateTopic {
        CreateTopic::new(self.clone(), name.into(), partitions, replication_factor)
    }

    /// Deletes a topic with all its records.
    ///
    /// When the time runs out, it is not known whether the topic was deleted. Cancel safe: a dropped
    /// future may still have deleted it.
    pub async fn delete_topic(&self, name: impl AsRef<str>) -> Result<()> {
        crate::topics::delete(self, name.as_ref()).await
    }

    /// All topics that the client may see, Kafka's own among them; without those that are just being made
    /// or deleted and have no leaders yet. Cancel safe.
    pub async fn list_topics(&self) -> Result<Vec<Topic>> {
        self.check_open()?;
        let topics = self.cluster().topics(self.api_deadline()).await;
        topics.map_err(|error| Error::of_cluster(error, Outcome::NotWritten))
    }

    /// What the client has done so far, by broker: requests, bytes, latencies, retries, throttling, connections.
    ///
    /// With the feature `metrics` the same numbers go to the recorder of the `metrics` crate, if one is
    /// installed before the client is built.
    pub fn stats(&self) -> Stats {
        Stats::of(self.cluster())
    }

    /// Ends the client: takes no more calls, waits until what has a place in line is written or its
    /// time is over, at most for the delivery timeout, and ends the connections.
    ///
    /// Partition clients made from it end with it. No socket is open when it returns. If the future is dropped,
    /// call it again.
    pub async fn close(&self) {
        self.inner.is_closed.store(true, Ordering::Release);
        self.inner.tasks.close();
        // No task outlives its batches' delivery timeout; the pause after it is for the last answer.
        let patience = self.limits().delivery_timeout.saturating_add(Duration::from_secs(1));
        let _ = tokio::time::timeout(patience, self.inner.tasks.wait()).await;
        self.cluster().close().await;
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    pub(crate) fn limits(&self) -> Limits {
        self.inner.limits
    }

    pub(crate) fn api_deadline(&self) -> Deadline {
        Deadline::after(self.cluster().env().now(), self.limits().api_timeout)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.inner.is_closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed));
        }
        Ok(())
    }

    /// Runs a task that `close` waits for, on the runtime that the client was built on.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn_on(task, self.cluster().runtime());
    }
}
