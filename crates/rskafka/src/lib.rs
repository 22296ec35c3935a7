//! A Kafka partition as a distributed write-ahead log: append records, get offsets back, read the log
//! again after a crash.
//!
//! ```no_run
//! # async fn example() {
//! use rskafka::{client::Client, record::Record};
//! use std::collections::BTreeMap;
//! use time::OffsetDateTime;
//!
//! let connection = "localhost:9093".to_owned();
//! let client = Client::new_plain(vec![connection]).await.unwrap();
//! let topic = "my_topic";
//! client.create_topic(topic, 2 /* partitions */, 1 /* replication factor */).await.unwrap();
//! let partition_client = client.partition_client(topic.to_owned(), 0).await.unwrap();
//! let record = Record {
//!     key: b"".to_vec(),
//!     value: b"hello kafka".to_vec(),
//!     headers: BTreeMap::from([("foo".to_owned(), b"bar".to_vec())]),
//!     timestamp: OffsetDateTime::now_utc(),
//! };
//! partition_client.produce(vec![record]).await.unwrap();
//! let (records, high_watermark) = partition_client
//!     .fetch_records(0 /* offset */, 1..1_000_000 /* min..max bytes */, 1_000 /* max wait, ms */)
//!     .await
//!     .unwrap();
//! # }
//! ```
//!
//! This crate only re-exports the client. With the feature `fake` it also has `FakeClusterExt`, which connects clients to a
//! cluster inside a test.
//!
//! # Promises
//!
//! - **Exactly once, in order**: calls on one [`PartitionClient`](client::PartitionClient) are appended in the order in
//!   which they were made. A batch whose answer is lost is sent again, and written once.
//! - **Honest failures**: [`Error::outcome`](client::error::Error::outcome) says `NotWritten` only where
//!   the records surely are not in the log; otherwise it says `Unknown`.
//! - **One deadline** covers a whole append or request: waiting in line, connecting, every attempt and every pause.
//! - **Dropping a future is always safe**: no half request is sent, and no other call is affected.
//! - **Reads never skip silently**: what cannot be read, was deleted or was truncated is an error that names the offset.
//!
//! # A topic for a log
//!
//! By default, Kafka removes records after a week.
//! [`for_log`](client::CreateTopic::for_log) makes a new topic keep them, in at least two copies if it has three
//! replicas:
//!
//! ```no_run
//! # async fn example(client: rskafka::client::Client) -> rskafka::client::error::Result<()> {
//! client.create_topic("orders", 8 /* partitions */, 3 /* replicas */).for_log().if_missing().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`check_durability`](client::Client::check_durability) looks at a topic that is there, as each of its brokers sees it, and
//! says what it lacks, in lines that an operator can act on:
//!
//! ```no_run
//! # async fn example(client: rskafka::client::Client) -> rskafka::client::error::Result<()> {
//! for finding in client.check_durability("orders").await? {
//!     eprintln!("{finding}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Many writers in one process
//!
//! A [`BatchProducer`](client::producer::BatchProducer) collects the records of many tasks into batches. Each task awaits its
//! own record, and gets its offset:
//!
//! ```no_run
//! # use rskafka::{client::PartitionClient, record::Record};
//! # async fn example(partition_client: PartitionClient, record: Record) -> rskafka::client::error::Result<()> {
//! use rskafka::client::producer::{BatchProducer, RecordAggregator};
//!
//! let producer = BatchProducer::builder(partition_client).build(RecordAggregator::new(1 << 20 /* bytes of a batch */));
//! let offset: i64 = producer.produce(record).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Reading a log to its end
//!
//! After a crash, read the log to its end, and continue from the offset that this returns:
//!
#![doc = concat!("```no_run\n", include_str!("../tests/common/recover.rs"), "\n# fn main() {}\n```")]
//!
//! [`fetch_records`](client::PartitionClient::fetch_records) is no replacement for
//! [`fetch`](client::PartitionClient::fetch) here: a log may end with offsets that have no record, such as a
//! transaction's marker, and only `fetch` says that it has read past them.
//!
//! A [replay](client::PartitionClient::replay) reads a range over several connections, and a
//! [stream](client::PartitionClient::stream) follows the log. Both are streams of the `futures` crate, and
//! [`consumer::Position`](client::consumer::Position) is what to store of them.

#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

/// The client of a cluster, and the clients of its partitions.
pub mod client {
    pub use rskafka_client::{
        Acks, Client, ClientBuilder, Compression, ConfigEntry, CreateTopic, DurabilityFinding,
        DurabilityKind, Fetch, Fetched, FoundOffset, OffsetAt, Partition, PartitionClient,
        PartitionClientBuilder, Produce, Produced, Severity, Topic,
    };
    #[doc(inline)]
    pub use rskafka_client::{consumer, error, producer, stats};

    #[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "sasl"))]
    pub use rskafka_client::cluster::transport::Provider;
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub use rskafka_client::cluster::transport::{ClientCertificate, Tls, TlsConfigError, rustls};
    #[cfg(feature = "sasl")]
    pub use rskafka_client::cluster::transport::{Credentials, OauthToken, Sasl};
    #[cfg(feature = "socks5")]
    pub use rskafka_client::cluster::transport::{Endpoint, ParseEndpointError, Socks5};

    /// What makes a client deterministic or lets it dial differently.
    pub mod env {
        pub use rskafka_client::cluster::transport::{
            BoxFuture, BoxStream, Connector, Env, EnvBuilder, Resolver, Stream,
        };
    }
}

#[cfg(all(doctest, feature = "fake", feature = "tls", feature = "sasl", feature = "socks5"))]
mod tests;

#[doc(inline)]
pub use rskafka_client::{record, wal};

#[cfg(feature = "fake")]
pub mod fake;

/// The crates of payloads (`bytes`) and timestamps (`time`), in the versions that this crate uses.
pub use {bytes, time};

/// Kafka's wire protocol, usable on its own.
pub use rskafka_protocol as protocol;
