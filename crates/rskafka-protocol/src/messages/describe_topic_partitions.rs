//! DescribeTopicPartitions: topics with their partitions, page by page (KIP-966).

use crate::schema::schema;
use crate::{ErrorCode, Uuid};

schema! {
    /// Asks for topics.
    pub struct DescribeTopicPartitionsRequest (DescribeTopicPartitions = 75, versions 0..=0, flexible 0..) {
        /// The topics asked for; empty for all.
        topics: Vec<TopicRequest>,
        /// How many partitions the answer should have at most.
        response_partition_limit: i32 = 2000,
        /// Where to begin: the `next_cursor` of the answer before; null for the first page.
        cursor: Option<Cursor>,
    }

    /// A topic asked for.
    pub struct TopicRequest {
        /// The topic's name.
        name: String,
    }

    /// A place in the list of all partitions, ordered by topic and index.
    pub struct Cursor {
        /// The topic's name.
        topic_name: String,
        /// The index of the first partition.
        partition_index: i32,
    }

    /// Topics.
    pub struct DescribeTopicPartitionsResponse (DescribeTopicPartitions = 75, versions 0..=0, flexible 0..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [.., ignorable, client_waits 0..],
        /// The topics, in the order of their names.
        topics: Vec<DescribeTopicPartitionsResponseTopic>,
        /// Where the next page begins; null on the last one.
        next_cursor: Option<Cursor>,
    }

    /// A topic.
    pub struct DescribeTopicPartitionsResponseTopic {
        /// The outcome for this topic.
        error_code: ErrorCode,
        /// The topic's name.
        name: Option<String> = Some(String::new()),
        /// The topic's id (KIP-516); zero for a name that does not exist.
        topic_id: Uuid [.., ignorable],
        /// Whether the topic is Kafka's own.
        is_internal: bool [.., ignorable],
        /// The topic's partitions on this page.
        partitions: Vec<DescribeTopicPartitionsResponsePartition>,
        /// A bit field of the topic's authorized operations.
        topic_authorized_operations: i32 = i32::MIN,
    }

    /// A partition.
    pub struct DescribeTopicPartitionsResponsePartition {
        /// The outcome for this partition.
        error_code: ErrorCode,
        /// The partition's index.
        partition_index: i32,
        /// The leader's id; -1 if there is none at the moment.
        leader_id: i32,
        /// The leader's epoch (KIP-320); -1 if unknown.
        leader_epoch: i32 [.., ignorable] = -1,
        /// The brokers that hold the partition.
        replica_nodes: Vec<i32>,
        /// The brokers that are in sync with the leader.
        isr_nodes: Vec<i32>,
        /// The brokers that may lead although they are not in sync (KIP-966); null if
        /// the broker does not say.
        eligible_leader_replicas: Option<Vec<i32>>,
        /// The last such brokers that were known; null if the broker does not say.
        last_known_elr: Option<Vec<i32>>,
        /// The brokers that hold the partition and are not available.
        offline_replicas: Vec<i32> [.., ignorable],
    }
}
