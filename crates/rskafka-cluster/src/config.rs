//! How a cluster is found, and how its brokers are called.

use std::time::Duration;

use rskafka_transport::{ConnectionConfig, Endpoint};

use crate::Backoff;

/// How a cluster is found, and how its brokers are called.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The brokers to ask first. One that answers is enough.
    pub bootstrap: Vec<Endpoint>,
    /// How connections are opened and used.
    pub connection: ConnectionConfig,
    /// The pause between attempts.
    pub backoff: Backoff,
    /// The pause before an address that could not be connected to is tried again.
    pub reconnect_backoff: Backoff,
    /// How long to keep asking for a topic that brokers do not know: after a creation, not all of them know it at once.
    pub unknown_topic_patience: Duration,
}

impl ClusterConfig {
    /// A cluster behind `bootstrap`, with defaults for everything else.
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
