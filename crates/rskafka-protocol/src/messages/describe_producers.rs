//! DescribeProducers: the producers that a partition's leader remembers (KIP-664).

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Asks for the producers of partitions led by one broker.
    pub struct DescribeProducersRequest (DescribeProducers = 61, versions 0..=0, flexible 0..) {
        /// The topics asked for.
        topics: Vec<TopicRequest>,
    }

    /// The partitions of one topic.
    pub struct TopicRequest {
        /// The topic's name.
        name: String,
        /// The partitions asked for.
        partition_indexes: Vec<i32>,
    }

    /// Producers.
    pub struct DescribeProducersResponse (DescribeProducers = 61, versions 0..=0, flexible 0..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32,
        /// One entry for each topic.
        topics: Vec<TopicResponse>,
    }

    /// The producers of one topic.
    pub struct TopicResponse {
        /// The topic's name.
        name: String,
        /// One entry for each partition.
        partitions: Vec<PartitionResponse>,
    }

    /// The producers of one partition.
    pub struct PartitionResponse {
        /// The partition's index.
        partition_index: i32,
        /// The outcome for this partition.
        error_code: ErrorCode,
        /// Why there is no answer.
        error_message: Option<String>,
        /// The idempotent and transactional producers that have not expired.
        active_producers: Vec<ProducerState>,
    }

    /// What a leader remembers of one producer.
    pub struct ProducerState {
        /// The producer's id.
        producer_id: i64,
        /// The producer's epoch, in four bytes instead of two.
        producer_epoch: i32,
        /// The sequence of the last record; -1 for none.
        last_sequence: i32 = -1,
        /// The timestamp of the last batch; -1 for none.
        last_timestamp: i64 = -1,
        /// The epoch of the coordinator that ended the last transaction; -1 for none.
        coordinator_epoch: i32,
        /// The first offset of the transaction under way; -1 for none.
        current_txn_start_offset: i64 = -1,
    }
}
