//! The broker and cluster that a connection is meant for (KIP-1242).

/// A broker, identified independently of its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// The id of its cluster.
    pub cluster_id: String,
    /// Its id within the cluster.
    pub broker_id: i32,
}

/// Whether a broker confirmed that the connection was meant for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityCheck {
    /// The broker did not check: no identity was given, it does not speak ApiVersions 5, or the client logs in
    /// with SASL, before which Kafka ignores the identity.
    NotMade,
    /// It answered version 5 without an objection. Kafka compares the identity; a broker that ignores it also
    /// counts as confirmed.
    Confirmed,
    /// It answered REBOOTSTRAP_REQUIRED: another broker or another cluster, it does not say which.
    Denied,
}
