//! Which broker of which cluster a connection is meant to lead to (KIP-1242).

/// A broker, by what does not change with its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// The id of its cluster.
    pub cluster_id: String,
    /// Its id within the cluster.
    pub broker_id: i32,
}

/// Whether a broker took itself for the one that the connection was meant for.
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
