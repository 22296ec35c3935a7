//! DescribeCluster: the brokers or the controllers, without any topic (KIP-700).

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Asks for the cluster.
    pub struct DescribeClusterRequest (DescribeCluster = 60, versions 0..=2, flexible 0..) {
        /// Whether the cluster's authorized operations are wanted.
        include_cluster_authorized_operations: bool,
        /// 1 to ask for brokers, 2 for controllers (KIP-919).
        endpoint_type: i8 [1..] = 1,
        /// Whether brokers that are fenced are wanted too (KIP-1073).
        include_fenced_brokers: bool [2..],
    }

    /// The cluster.
    pub struct DescribeClusterResponse (DescribeCluster = 60, versions 0..=2, flexible 0..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32,
        /// The outcome.
        error_code: ErrorCode,
        /// Why there is no answer.
        error_message: Option<String>,
        /// 1 if `brokers` are brokers, 2 if they are controllers (KIP-919).
        endpoint_type: i8 [1..] = 1,
        /// The cluster's id.
        cluster_id: String,
        /// The controller's id, as in Metadata; -1 if there is none.
        controller_id: i32 = -1,
        /// The brokers or controllers.
        brokers: Vec<DescribeClusterBroker>,
        /// A bit field of the cluster's authorized operations.
        cluster_authorized_operations: i32 = i32::MIN,
    }

    /// A broker or controller.
    pub struct DescribeClusterBroker {
        /// The broker's id.
        broker_id: i32,
        /// The host that it advertises.
        host: String,
        /// The port that it advertises.
        port: i32,
        /// The broker's rack.
        rack: Option<String>,
        /// Whether it is registered but does not serve (KIP-1073).
        is_fenced: bool [2..],
    }
}
