//! OffsetForLeaderEpoch: where a leader's epoch ended, to find out whether a log was truncated (KIP-320).

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Asks where epochs ended, in partitions led by one broker.
    pub struct OffsetForLeaderEpochRequest (OffsetForLeaderEpoch = 23, versions 3..=4, flexible 4..) {
        /// The asking replica's id; -1 for a client. With the default, -2, a broker answers beyond the
        /// high watermark.
        replica_id: i32 [3.., ignorable] = -2,
        /// The topics asked for.
        topics: Vec<OffsetForLeaderTopic>,
    }

    /// The partitions of one topic.
    pub struct OffsetForLeaderTopic {
        /// The topic's name.
        topic: String,
        /// The partitions asked for.
        partitions: Vec<OffsetForLeaderPartition>,
    }

    /// A partition asked for.
    pub struct OffsetForLeaderPartition {
        /// The partition's index.
        partition: i32,
        /// The leader's epoch as the asker knows it (KIP-320); -1 to have it not checked.
        current_leader_epoch: i32 [2.., ignorable] = -1,
        /// The epoch whose end is asked for.
        leader_epoch: i32,
    }

    /// Where the epochs ended.
    pub struct OffsetForLeaderEpochResponse (OffsetForLeaderEpoch = 23, versions 3..=4, flexible 4..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [2.., ignorable],
        /// One entry for each topic.
        topics: Vec<OffsetForLeaderTopicResult>,
    }

    /// Where the epochs of one topic's partitions ended.
    pub struct OffsetForLeaderTopicResult {
        /// The topic's name.
        topic: String,
        /// One entry for each partition.
        partitions: Vec<EpochEndOffset>,
    }

    /// Where one partition's epoch ended.
    pub struct EpochEndOffset {
        /// The outcome for this partition.
        error_code: ErrorCode,
        /// The partition's index.
        partition: i32,
        /// The largest epoch that the log has and that is not above the one asked for; -1 for none.
        leader_epoch: i32 [1.., ignorable] = -1,
        /// The offset after its last record; -1 for none.
        end_offset: i64 = -1,
    }
}
