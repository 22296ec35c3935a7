//! What a client has done, in numbers.
//!
//! There is one entry for each broker in use, and none for brokers that the cluster no longer has.

use rskafka_cluster::Cluster;

pub use rskafka_cluster::transport::{BrokerStats, LATENCY_BOUNDS, Latency};

/// What a client's connections have done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// One entry for each broker's address in use, in their order.
    pub brokers: Vec<StatsOfBroker>,
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

impl Stats {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let brokers = cluster.stats().into_iter();
        let brokers =
            brokers.map(|(id, endpoint, stats)| StatsOfBroker { id, address: endpoint.to_string(), stats });
        Self { brokers: brokers.collect() }
    }
}
