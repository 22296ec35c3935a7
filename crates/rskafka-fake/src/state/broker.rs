//! A broker: its address and whether it runs.
//!
//! Invariant: id and address do not change while the cluster lives.

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
    pub(crate) endpoint: Endpoint,
    pub(crate) alive: bool,
    pub(crate) rack: Option<String>,
}
