//! The handle to one cluster, its topics and its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use rskafka_cluster::Node;

use crate::admin::configs::{self, ConfigEntry};
use crate::admin::durability::{self, DurabilityFinding};
use crate::admin::topics::{self, CreateTopic, Topic};
use crate::builder::ClientBuilder;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::partition_client::PartitionClientBuilder;
use crate::stats::Stats;
use crate::wal::Wal;

/// A client of one Kafka cluster. Clones are the same client.
///
/// When the last clone and the last partition client made from it are dropped, its connections end as soon as all
/// appends are written or have failed.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

impl Client {
    /// A client over plaintext connections with all defaults: see [`Client::builder`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`ClientBuilder::build`]; it gives up after a minute.
    pub async fn new_plain(bootstrap_brokers: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        Self::builder(bootstrap_brokers).build().await
    }

    /// Sets up a client of the cluster that these brokers belong to.
    ///
    /// Each is `host:port`, or several of these separated by commas, as in Kafka's `bootstrap.servers`; empty
    /// entries are ignored. One that answers is enough: it names all others.
    ///
    /// ```
    /// # use rskafka_client::Client;
    /// let builder = Client::builder(["kafka-1:9092", "kafka-2:9092"]);
    /// let builder = Client::builder(vec!["kafka-1:9092".to_owned()]);
    /// let builder = Client::builder(["kafka-1:9092,kafka-2:9092"]);
    /// ```
    pub fn builder(bootstrap_brokers: impl IntoIterator<Item = impl Into<String>>) -> ClientBuilder {
        ClientBuilder::new(bootstrap_brokers)
    }

    /// A client of one partition. Options chain before `.await`:
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
    /// # use rskafka_client::Acks;
    /// let wal = client.partition_client("wal", 0).acks(Acks::All).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn partition_client(&self, topic: impl Into<String>, partition: i32) -> PartitionClientBuilder {
        PartitionClientBuilder::new(self.core.clone(), topic.into(), partition)
    }

    /// A partition as an exclusive log, with one writer at a time. Options chain before `.await`, those of a partition client and
    /// [`accept_risks`](PartitionClientBuilder::accept_risks):
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
    /// # use rskafka_client::Compression;
    /// let wal = client.wal("orders", 0).compression(Compression::Lz4).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wal(&self, topic: impl Into<String>, partition: i32) -> PartitionClientBuilder<Wal> {
        PartitionClientBuilder::new(self.core.clone(), topic.into(), partition)
    }

    /// Creates a topic. With -1 for `partitions` or `replication_factor`, the brokers' default counts (`num.partitions`,
    /// `default.replication.factor`; from Kafka 2.4 on). Options chain before `.await`:
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
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
        CreateTopic::new(self.core.clone(), name.into(), partitions, replication_factor)
    }

    /// Deletes a topic with all its records. Ends by the api timeout.
    ///
    /// Cancel safe: a dropped future may still delete it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`], and [`ErrorKind::Broker`] if the client may not delete it, or topics cannot be
    /// deleted. After a timeout, [`Error::outcome`] tells whether the topic may have been deleted.
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`]: crate::error::ErrorKind::UnknownTopicOrPartition
    /// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
    pub async fn delete_topic(&self, name: impl AsRef<str>) -> Result<()> {
        topics::delete(&self.core, name.as_ref()).await
    }

    /// All topics that the client may describe, including Kafka's internal ones; without those that are just being created
    /// or deleted and have no leaders. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoReachableBroker`] if no broker answers by the api timeout.
    ///
    /// [`ErrorKind::NoReachableBroker`]: crate::error::ErrorKind::NoReachableBroker
    pub async fn list_topics(&self) -> Result<Vec<Topic>> {
        self.core.cluster.topics(self.core.begin()?).await.map_err(Error::of_read)
    }

    /// A topic with its id, and each partition's leader, leader epoch, replicas and in-sync replicas, as one broker knows them
    /// now. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`] if brokers do not know it for a second, and those of
    /// [`list_topics`](Self::list_topics).
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`]: crate::error::ErrorKind::UnknownTopicOrPartition
    pub async fn describe_topic(&self, name: impl AsRef<str>) -> Result<Topic> {
        topics::describe(&self.core, name.as_ref(), self.core.begin()?).await
    }

    /// Adds partitions to a topic, so that it has `count` in all. When that returns, each partition has a leader that serves
    /// it. Records stay in the partitions where they are. Ends by the api timeout.
    ///
    /// Cancel safe: a dropped future may still add them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] unless `count` is positive, [`ErrorKind::UnknownTopicOrPartition`], and
    /// [`ErrorKind::Broker`] with `INVALID_PARTITIONS` unless the topic is to have more partitions than now, and others.
    /// After a lost answer that code is a success: the topic then has at least `count` partitions. [`Error::outcome`] tells
    /// whether they may have been added.
    ///
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    /// [`ErrorKind::UnknownTopicOrPartition`]: crate::error::ErrorKind::UnknownTopicOrPartition
    /// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
    pub async fn create_partitions(&self, topic: impl AsRef<str>, count: i32) -> Result<()> {
        topics::create_partitions(&self.core, topic.as_ref(), count).await
    }

    /// The configs of a topic by name: its own values, and those of the broker that is asked where it has none. Ends by the
    /// api timeout. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
    /// let configs = client.describe_configs("wal").await?;
    /// println!("{:?}", configs["retention.ms"].value);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`]; [`ErrorKind::Broker`] with `TOPIC_AUTHORIZATION_FAILED` without the right
    /// DESCRIBE_CONFIGS; and whatever prevents a request to a broker.
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`]: crate::error::ErrorKind::UnknownTopicOrPartition
    /// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
    pub async fn describe_configs(&self, topic: impl AsRef<str>) -> Result<BTreeMap<String, ConfigEntry>> {
        configs::describe(&self.core, Node::Any, topic.as_ref(), self.core.begin()?).await
    }

    /// Sets configs of a topic, or with `None` takes the topic's own value back. All changes are made, or none; other configs
    /// stay as they are. Ends by the api timeout.
    ///
    /// Cancel safe: a dropped future may still make them. Source: IncrementalAlterConfigs (KIP-339).
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
    /// client.alter_configs("wal", &[("retention.ms", Some("-1")), ("segment.bytes", None)]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] without a change, [`ErrorKind::UnknownTopicOrPartition`], [`ErrorKind::Unsupported`]
    /// before Kafka 2.3; [`ErrorKind::Broker`] with `INVALID_CONFIG` for a name or value that cannot be (with ZooKeeper
    /// `INVALID_REQUEST` for a value), and others. [`Error::outcome`] tells whether they may have been made.
    ///
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    /// [`ErrorKind::UnknownTopicOrPartition`]: crate::error::ErrorKind::UnknownTopicOrPartition
    /// [`ErrorKind::Unsupported`]: crate::error::ErrorKind::Unsupported
    /// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
    pub async fn alter_configs(&self, topic: impl AsRef<str>, values: &[(&str, Option<&str>)]) -> Result<()> {
        configs::alter(&self.core, topic.as_ref(), values).await
    }

    /// Compares a topic with what a write-ahead log needs: how many brokers hold it, and each config that
    /// [`for_log`](CreateTopic::for_log) sets, as each of these brokers sees it. Gives what is wrong, the worst first; nothing
    /// for a topic that loses no record while one broker is down.
    ///
    /// A config that a broker does not tell is a finding, and so is a broker that does not answer within 3 s or its share of the
    /// api timeout, by which the call ends. What stands in the files of controllers is not looked at: set
    /// `unclean.leader.election.enable` for the topic. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
    /// for finding in client.check_durability("wal").await? {
    ///     eprintln!("{finding}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`describe_topic`](Self::describe_topic); why no broker answers, if none does.
    pub async fn check_durability(&self, topic: impl AsRef<str>) -> Result<Vec<DurabilityFinding>> {
        durability::check(&self.core, topic.as_ref(), None).await
    }

    /// What the client has done so far, by broker: requests, bytes, latencies, retries, throttling, connections.
    ///
    /// With the feature `metrics` the same numbers go to the recorder of the `metrics` crate, if one is
    /// installed before the client is built.
    pub fn stats(&self) -> Stats {
        Stats { brokers: self.core.cluster.stats() }
    }

    /// Closes the client: refuses further calls, waits until all appends are written or have failed, at most for the
    /// delivery timeout, and ends the connections.
    ///
    /// Partition clients made from it end with it. No socket is open when it returns. If the future is dropped,
    /// call it again.
    pub async fn close(&self) {
        self.core.close().await;
    }
}
