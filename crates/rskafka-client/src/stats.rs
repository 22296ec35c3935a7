//! What a client has done, in numbers.
//!
//! There is one entry for each broker in use, and none for brokers that the cluster no longer has.

pub use rskafka_cluster::StatsOfBroker;
pub use rskafka_cluster::transport::{BrokerStats, LATENCY_BOUNDS, Latency};

/// What a client's connections have done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// One entry for each broker's address in use, in their order.
    pub brokers: Vec<StatsOfBroker>,
}
