//! Metadata: brokers, topics, partitions and their leaders, as the answering broker knows them.

use crate::schema::schema;
use crate::{ErrorCode, Uuid};

schema! {
    /// Asks for the cluster's brokers and for topics, by name or by id.
    pub struct MetadataRequest (Metadata = 3, versions 1..=13, flexible 9..) {
        /// The topics asked for: null for all, empty for none.
        topics: Option<Vec<MetadataRequestTopic>> [.., nullable 1..] = Some(Vec::new()),
        /// Whether the broker may create a topic that does not exist, if it is set up to.
        allow_auto_topic_creation: bool [4..] = true,
        /// Whether the cluster's authorized operations are wanted.
        include_cluster_authorized_operations: bool [8..=10],
        /// Whether each topic's authorized operations are wanted.
        include_topic_authorized_operations: bool [8..],
    }

    /// A topic asked for.
    pub struct MetadataRequestTopic {
        /// The topic's id; the broker looks at it from version 12 on.
        topic_id: Uuid [10.., ignorable],
        /// The topic's name; null to ask by id.
        name: Option<String> [.., nullable 10..] = Some(String::new()),
    }

    /// The cluster, as the answering broker knows it.
    pub struct MetadataResponse (Metadata = 3, versions 1..=13, flexible 9..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [3.., ignorable, client_waits 6..],
        /// The brokers that are alive.
        brokers: Vec<MetadataResponseBroker>,
        /// The cluster's id.
        cluster_id: Option<String> [2.., ignorable],
        /// The controller's id; -1 if there is none. With KRaft it is any broker: brokers forward requests to the controller.
        controller_id: i32 [1.., ignorable] = -1,
        /// The topics asked for.
        topics: Vec<MetadataResponseTopic>,
        /// A bit field of the cluster's authorized operations.
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        /// The outcome of the whole request; `REBOOTSTRAP_REQUIRED` of KIP-1102.
        error_code: ErrorCode [13.., ignorable],
    }

    /// A broker.
    pub struct MetadataResponseBroker {
        /// The broker's id.
        node_id: i32,
        /// The host that it advertises on the listener asked.
        host: String,
        /// The port that it advertises on the listener asked.
        port: i32,
        /// The broker's rack.
        rack: Option<String> [1.., ignorable],
    }

    /// A topic.
    pub struct MetadataResponseTopic {
        /// The outcome for this topic.
        error_code: ErrorCode,
        /// The topic's name; null for an id that does not exist.
        name: Option<String> [.., nullable 12..] = Some(String::new()),
        /// The topic's id (KIP-516); zero for a name that does not exist, or a broker without ids.
        topic_id: Uuid [10.., ignorable],
        /// Whether the topic is Kafka's own.
        is_internal: bool [1.., ignorable],
        /// The topic's partitions, in any order.
        partitions: Vec<MetadataResponsePartition>,
        /// A bit field of the topic's authorized operations.
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// A partition.
    pub struct MetadataResponsePartition {
        /// The outcome for this partition.
        error_code: ErrorCode,
        /// The partition's index.
        partition_index: i32,
        /// The leader's id; -1 if there is none at the moment.
        leader_id: i32,
        /// The leader's epoch (KIP-320); -1 if unknown.
        leader_epoch: i32 [7.., ignorable] = -1,
        /// The brokers that hold the partition.
        replica_nodes: Vec<i32>,
        /// The brokers that are in sync with the leader.
        isr_nodes: Vec<i32>,
        /// The brokers that hold the partition and are not available.
        offline_replicas: Vec<i32> [5.., ignorable],
    }
}
