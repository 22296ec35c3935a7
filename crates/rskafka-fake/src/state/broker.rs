//! A broker: its addresses and whether it runs.
//!
//! Invariant: the id does not change while the cluster lives; a broker that runs is listed.

use tokio::time::Instant;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// For a message with `node_id`, `host`, `port` and `rack`.
    pub(crate) fn wire_port(&self) -> i32 {
        i32::from(self.port)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) id: i32,
    /// Where it listens.
    pub(crate) endpoint: Endpoint,
    /// Where clients are told that it listens.
    pub(crate) advertised: Endpoint,
    pub(crate) alive: bool,
    /// It has crashed, and the cluster takes it for alive until then.
    pub(crate) missed_at: Option<Instant>,
    pub(crate) rack: Option<String>,
}

impl Broker {
    pub(crate) fn new(id: i32, endpoint: Endpoint, rack: Option<String>) -> Self {
        Self { id, advertised: endpoint.clone(), endpoint, alive: true, missed_at: None, rack }
    }

    /// Whether the cluster takes it for alive.
    pub(crate) fn is_listed(&self) -> bool {
        self.alive || self.missed_at.is_some()
    }
}
