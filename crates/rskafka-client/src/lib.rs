//! The client behind the `rskafka` facade: a Kafka partition as a write-ahead log.
//!
//! Invariant: calls on one [`PartitionClient`] are appended in the order in which they were made, and a failed append is
//! reported as not written only if it surely is not in the log.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

/// Functions that set a field and give the whole back: the options of a builder, what an error says besides.
macro_rules! options {
    ($($(#[$attribute:meta])* $visible:vis fn $name:ident($($argument:ident: $type:ty),*) => $($field:ident).+ = $value:expr;)*) => {$(
        $(#[$attribute])*
        $visible fn $name(mut self, $($argument: $type),*) -> Self {
            self.$($field).+ = $value;
            self
        }
    )*};
}

/// Awaiting a builder makes its call.
macro_rules! awaited {
    ($builder:ty, $call:ident, $output:ty) => {
        impl IntoFuture for $builder {
            type Output = $crate::error::Result<$output>;
            type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.$call())
            }
        }
    };
}

mod admin;
mod ask;
mod builder;
mod client;
pub mod consumer;
mod core;
pub mod error;
mod fetch;
mod memory;
mod offsets;
mod partition;
mod partition_client;
mod produce;
pub mod producer;
pub mod record;
mod spare;
pub mod stats;
mod time;
pub mod wal;

pub use admin::configs::ConfigEntry;
pub use admin::durability::{DurabilityFinding, DurabilityKind, Severity};
pub use admin::topics::{CreateTopic, Partition, Topic};
pub use builder::ClientBuilder;
pub use client::Client;
pub use fetch::{Fetch, Fetched};
pub use offsets::{FoundOffset, OffsetAt};
pub use partition_client::{PartitionClient, PartitionClientBuilder};
pub use produce::{Acks, Produce, Produced};
pub use rskafka_cluster as cluster;
pub use rskafka_protocol::records::Compression;
