//! What a cluster is built from.

use std::time::Duration;

use rskafka_transport::{ConnectionConfig, Endpoint};

use crate::Backoff;

/// Where a cluster is found and how it is spoken to.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Brokers to ask first; any that is alive will do.
    pub bootstrap: Vec<Endpoint>,
    /// How each connection is made.
    pub connection: ConnectionConfig,
    /// The pause between attempts.
    pub backoff: Backoff,
    /// The pause before an address to which a connection could not be made is tried again.
    pub reconnect_backoff: Backoff,
    /// How long a topic that brokers say does not exist is asked for again: one that was just created
    /// is not known everywhere at once.
    pub unknown_topic_patience: Duration,
}

impl ClusterConfig {
    /// A cluster behind `bootstrap`, with the defaults for all else.
    pub fn new(bootstrap: Vec<Endpoint>) -> Self {
        Self {
            bootstrap,
            connection: ConnectionConfig::default(),
            backoff: Backoff::default(),
            reconnect_backoff: Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) },
            unknown_topic_patience: Duration::from_secs(1),
        }
    }
}
