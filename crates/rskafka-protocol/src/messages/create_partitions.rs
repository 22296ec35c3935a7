//! CreatePartitions: more partitions for topics that exist (KIP-195).

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Adds partitions. To be sent to the controller; with KRaft, any broker passes it on.
    pub struct CreatePartitionsRequest (CreatePartitions = 37, versions 0..=3, flexible 2..) {
        /// The topics to add partitions to.
        topics: Vec<CreatePartitionsTopic>,
        /// How long the controller may wait for the partitions to be usable.
        timeout_ms: i32,
        /// Whether to check the request only.
        validate_only: bool,
    }

    /// A topic to add partitions to.
    pub struct CreatePartitionsTopic {
        /// The topic's name.
        name: String,
        /// The number of partitions afterwards.
        count: i32,
        /// Which brokers hold each new partition; null to let the controller choose.
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()),
    }

    /// The brokers that are to hold one new partition.
    pub struct CreatePartitionsAssignment {
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>,
    }

    /// What became of the topics.
    pub struct CreatePartitionsResponse (CreatePartitions = 37, versions 0..=3, flexible 2..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [.., client_waits 1..],
        /// One entry for each topic.
        results: Vec<CreatePartitionsTopicResult>,
    }

    /// What became of one topic.
    pub struct CreatePartitionsTopicResult {
        /// The topic's name.
        name: String,
        /// The outcome for this topic; from version 3 on `THROTTLING_QUOTA_EXCEEDED` (KIP-599).
        error_code: ErrorCode,
        /// Why no partitions were added.
        error_message: Option<String>,
    }
}
