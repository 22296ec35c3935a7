//! The client behind the `rskafka` facade: a Kafka partition as a write-ahead log.
//!
//! Invariant: calls on one [`PartitionClient`](api::PartitionClient) are appended in the order in which they were made, and
//! a failed append is reported as not written only if it surely is not in the log.

mod admin;
mod builder;
mod client;
mod core;
mod error;
mod fetch;
mod offsets;
mod partition;
mod partition_client;
mod produce;
mod record;
mod stats;
mod time;

pub use rskafka_cluster as cluster;

/// Clients, builders and what their calls give.
pub mod api {
    pub use crate::admin::topics::{CreateTopic, Partition, Topic};
    pub use crate::builder::ClientBuilder;
    pub use crate::client::Client;
    pub use crate::fetch::{Fetch, Fetched};
    pub use crate::offsets::{FoundOffset, OffsetAt};
    pub use crate::partition_client::{PartitionClient, PartitionClientBuilder};
    pub use crate::produce::{Acks, Produce, Produced};
}

/// Errors and what they say of the data.
pub mod errors {
    pub use crate::error::{Error, ErrorClass, ErrorKind, Outcome, Result};
}

/// What a client counts.
pub mod statistics {
    pub use crate::stats::{BrokerStats, LATENCY_BOUNDS, Latency, Stats, StatsOfBroker};
}

/// Records, as they go in and as they come out.
pub mod records {
    pub use crate::record::{Headers, Payload, Record, RecordAndOffset, RecordHeaders};
}
