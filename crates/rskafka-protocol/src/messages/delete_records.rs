//! DeleteRecords: deletes the records before an offset (KIP-107).

use crate::ErrorCode;
use crate::schema::schema;

/// `offset` for the high watermark.
pub const HIGH_WATERMARK: i64 = -1;

schema! {
    /// Deletes the records before an offset, in partitions led by one broker.
    pub struct DeleteRecordsRequest (DeleteRecords = 21, versions 0..=2, flexible 2..) {
        /// The topics to delete from.
        topics: Vec<DeleteRecordsTopic>,
        /// How long the leader may wait for all replicas to delete.
        timeout_ms: i32,
    }

    /// The partitions of one topic.
    pub struct DeleteRecordsTopic {
        /// The topic's name.
        name: String,
        /// The partitions to delete from.
        partitions: Vec<DeleteRecordsPartition>,
    }

    /// A partition to delete from.
    pub struct DeleteRecordsPartition {
        /// The partition's index.
        partition_index: i32,
        /// The first offset to keep, or [`HIGH_WATERMARK`].
        offset: i64,
    }

    /// What became of the records.
    pub struct DeleteRecordsResponse (DeleteRecords = 21, versions 0..=2, flexible 2..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [.., client_waits 1..],
        /// One entry for each topic.
        topics: Vec<DeleteRecordsTopicResult>,
    }

    /// What became of one topic's records.
    pub struct DeleteRecordsTopicResult {
        /// The topic's name.
        name: String,
        /// One entry for each partition.
        partitions: Vec<DeleteRecordsPartitionResult>,
    }

    /// What became of one partition's records.
    pub struct DeleteRecordsPartitionResult {
        /// The partition's index.
        partition_index: i32,
        /// The first offset that some replica still has; -1 after an error.
        low_watermark: i64,
        /// The outcome for this partition.
        error_code: ErrorCode,
    }
}
