//! An in-process Kafka cluster for tests and demos.
//!
//! It is meant to answer exactly as Apache Kafka does: where they differ, the fake has a bug.
//!
//! The brokers of a [`FakeCluster`] listen on loopback ports, or are reached by in-memory pipes under invented
//! addresses, which works under tokio's paused time. The cluster has topics, leaders and logs like Kafka,
//! misbehaves on command ([`Fault`], [`ByteFault`]) and records the requests it receives ([`ReceivedRequest`]).
//!
//! It imitates one of several brokers ([`Profile`]), including what each remembers of producers. It has no
//! disk, no consumer groups and no transactions by request; `docs/fake.md` of the repository has the whole
//! list, and the situations that its tests show under every profile.
//!
//! Time comes from tokio's clock and a given wall clock, randomness from a seed. A test on one thread under
//! paused time therefore runs the same way every time.
//!
//! # A test
//!
//! Give a client [`FakeCluster::bootstrap_servers`], or have it connect by [`FakeCluster::connect`]. This test
//! makes its requests by hand, to show that a lost answer does not mean a lost record:
//!
//! ```
//! use rskafka_fake::{FakeCluster, Fault};
//! use rskafka_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
//! use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};
//! use rskafka_protocol::{ApiKey, encode_request};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = FakeCluster::builder().brokers(3).in_memory().start().await?;
//! cluster.create_topic("wal", 1, 3)?;
//! let leader = cluster.leader("wal", 0)?.expect("a broker leads");
//! cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE).partition("wal", 0));
//!
//! let mut batch = RecordBatchBuilder::new();
//! batch.push(NewRecord::new(0, None, Some(b"hello")))?;
//! let records = Some(batch.build()?.into_bytes());
//! let topic = TopicProduceData {
//!     name: "wal".to_owned(),
//!     partition_data: vec![PartitionProduceData { index: 0, records }],
//!     ..Default::default()
//! };
//! let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
//!
//! let mut connection = cluster.connect(&format!("broker-{leader}"), 9092).await?;
//! connection.write_all(&encode_request(&request, 9, 1, None)?.to_bytes()).await?;
//! let mut answer = Vec::new();
//! connection.read_to_end(&mut answer).await?;
//!
//! assert!(answer.is_empty(), "the connection ended without an answer");
//! assert_eq!(cluster.log("wal", 0)?.values()?, ["hello"], "but the record was written");
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod api;
mod authentication;
mod broker;
mod builder;
mod clock;
mod cluster;
mod connection;
mod control;
mod fault;
mod line;
mod profile;
mod random;
mod received;
#[cfg(feature = "sasl")]
mod sasl;
mod shared;
mod state;
mod stored;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub use builder::FakeClusterBuilder;
pub use cluster::FakeCluster;
pub use fault::{ByteFault, Fault, FaultId, Rewritten};
pub use profile::Profile;
pub use received::ReceivedRequest;
#[cfg(feature = "sasl")]
pub use sasl::{FakeSasl, FakeToken, SaslMechanism};
pub use state::ControlError;
pub use stored::{StoredLog, StoredRecord};
#[cfg(feature = "tls")]
pub use tls::{FakeIdentity, FakeTls};
