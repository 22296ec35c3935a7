//! ListOffsets: offsets of a partition by its ends or by time.

use crate::ErrorCode;
use crate::schema::schema;

/// `timestamp` for the offset after the last record.
pub const LATEST_TIMESTAMP: i64 = -1;
/// `timestamp` for the first offset.
pub const EARLIEST_TIMESTAMP: i64 = -2;
/// `timestamp` for the record with the largest timestamp (KIP-734, version 7).
pub const MAX_TIMESTAMP: i64 = -3;
/// `timestamp` for the first offset on the broker's own disk (KIP-405, version 8).
pub const EARLIEST_LOCAL_TIMESTAMP: i64 = -4;
/// `timestamp` for the last offset in tiered storage (KIP-1005, version 9).
pub const LATEST_TIERED_TIMESTAMP: i64 = -5;
/// `timestamp` for the first offset that is not in tiered storage yet (KIP-1023, version 11).
pub const EARLIEST_PENDING_UPLOAD_TIMESTAMP: i64 = -6;

schema! {
    /// Asks for offsets of partitions led by one broker.
    pub struct ListOffsetsRequest (ListOffsets = 2, versions 1..=11, flexible 6..) {
        /// The asking replica's id; -1 for a client.
        replica_id: i32,
        /// 0 for the high watermark as the end, 1 for the last stable offset (KIP-98).
        isolation_level: i8 [2..],
        /// The topics asked for.
        topics: Vec<ListOffsetsTopic>,
        /// How long the broker may wait for tiered storage.
        timeout_ms: i32 [10.., ignorable],
    }

    /// The partitions of one topic.
    pub struct ListOffsetsTopic {
        /// The topic's name.
        name: String,
        /// The partitions asked for.
        partitions: Vec<ListOffsetsPartition>,
    }

    /// A partition asked for.
    pub struct ListOffsetsPartition {
        /// The partition's index.
        partition_index: i32,
        /// The leader's epoch as the asker knows it (KIP-320); -1 to have it not checked.
        current_leader_epoch: i32 [4.., ignorable] = -1,
        /// The time in milliseconds since the epoch, or one of this module's negative constants.
        timestamp: i64,
    }

    /// Offsets.
    pub struct ListOffsetsResponse (ListOffsets = 2, versions 1..=11, flexible 6..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [2.., ignorable, client_waits 3..],
        /// One entry for each topic.
        topics: Vec<ListOffsetsTopicResponse>,
    }

    /// Offsets of one topic.
    pub struct ListOffsetsTopicResponse {
        /// The topic's name.
        name: String,
        /// One entry for each partition.
        partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// The offset of one partition.
    pub struct ListOffsetsPartitionResponse {
        /// The partition's index.
        partition_index: i32,
        /// The outcome for this partition.
        error_code: ErrorCode,
        /// The timestamp of the record found; -1 if the ends were asked for or nothing was found.
        timestamp: i64 [1..] = -1,
        /// The offset; -1 if nothing was found.
        offset: i64 [1..] = -1,
        /// The leader epoch of the record found; -1 if unknown.
        leader_epoch: i32 [4..] = -1,
    }
}
