//! Fetch: reads record batches from partitions of one broker.

use bytes::Bytes;

use crate::schema::schema;
use crate::{ErrorCode, Uuid};

schema! {
    /// Reads record batches from partitions of one broker.
    pub struct FetchRequest (Fetch = 1, versions 4..=18, flexible 12..) {
        /// The asking replica's id; -1 for a client.
        replica_id: i32 [..=14] = -1,
        /// How long the broker may wait for `min_bytes`.
        max_wait_ms: i32,
        /// How many bytes the broker should wait for.
        min_bytes: i32,
        /// How many bytes the answer should have at most; a first batch may be larger (KIP-74).
        max_bytes: i32 [3.., ignorable] = i32::MAX,
        /// 0 to read all records, 1 to stop at the last stable offset (KIP-98).
        isolation_level: i8 [4.., ignorable],
        /// The fetch session's id (KIP-227); 0 for none.
        session_id: i32 [7.., ignorable],
        /// The fetch session's epoch; -1 for no session.
        session_epoch: i32 [7.., ignorable] = -1,
        /// The topics read from.
        topics: Vec<FetchTopic>,
        /// Topics to be taken out of the fetch session.
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        /// The reader's rack (KIP-392).
        rack_id: String [11.., ignorable],
    } tagged {
        /// The cluster's id.
        0 => cluster_id: Option<String> [12.., ignorable],
        /// The asking replica's id and epoch (KIP-903).
        1 => replica_state: ReplicaState [15..],
    }

    /// A replica that asks.
    pub struct ReplicaState {
        /// The replica's id; -1 for a client.
        replica_id: i32 [15..] = -1,
        /// The replica's epoch; -1 if unknown.
        replica_epoch: i64 [15..] = -1,
    }

    /// The partitions of one topic.
    pub struct FetchTopic {
        /// The topic's name.
        topic: String [..=12, ignorable],
        /// The topic's id (KIP-516).
        topic_id: Uuid [13.., ignorable],
        /// The partitions read from.
        partitions: Vec<FetchPartition>,
    }

    /// A partition read from.
    pub struct FetchPartition {
        /// The partition's index.
        partition: i32,
        /// The leader's epoch as the reader knows it (KIP-320); -1 to have it not checked.
        current_leader_epoch: i32 [9.., ignorable] = -1,
        /// The offset to read from.
        fetch_offset: i64,
        /// The epoch of the last record read (KIP-595); -1 to have it not checked.
        last_fetched_epoch: i32 [12..] = -1,
        /// The asking replica's first offset; -1 for a client.
        log_start_offset: i64 [5.., ignorable] = -1,
        /// How many bytes of this partition should be given at most.
        partition_max_bytes: i32,
    } tagged {
        /// The asking replica's directory (KIP-853).
        0 => replica_directory_id: Uuid [17.., ignorable],
        /// The asking replica's high watermark (KIP-1166).
        1 => high_watermark: i64 [18.., ignorable] = i64::MAX,
    }

    /// Partitions to be taken out of the fetch session.
    pub struct ForgottenTopic {
        /// The topic's name.
        topic: String [7..=12, ignorable],
        /// The topic's id.
        topic_id: Uuid [13.., ignorable],
        /// The partitions.
        partitions: Vec<i32> [7..],
    }

    /// Record batches.
    pub struct FetchResponse (Fetch = 1, versions 4..=18, flexible 12..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [1.., ignorable, client_waits 8..],
        /// The outcome of the whole request.
        error_code: ErrorCode [7.., ignorable],
        /// The fetch session's id; 0 for none.
        session_id: i32 [7..],
        /// One entry for each topic.
        responses: Vec<FetchableTopicResponse>,
    } tagged {
        /// Where the current leaders named below listen (KIP-951).
        0 => node_endpoints: Vec<NodeEndpoint> [16..],
    }

    /// One topic's record batches.
    pub struct FetchableTopicResponse {
        /// The topic's name.
        topic: String [..=12, ignorable],
        /// The topic's id (KIP-516).
        topic_id: Uuid [13.., ignorable],
        /// One entry for each partition.
        partitions: Vec<PartitionData>,
    }

    /// One partition's record batches.
    pub struct PartitionData {
        /// The partition's index.
        partition_index: i32,
        /// The outcome for this partition.
        error_code: ErrorCode,
        /// The offset after the last record that all replicas in sync hold.
        high_watermark: i64,
        /// The offset before which every transaction is decided; -1 if unknown.
        last_stable_offset: i64 [4.., ignorable] = -1,
        /// The log's first offset; -1 if unknown.
        log_start_offset: i64 [5.., ignorable] = -1,
        /// The aborted transactions in what follows, in any order; null when reading uncommitted.
        aborted_transactions: Option<Vec<AbortedTransaction>> [4.., ignorable] = Some(Vec::new()),
        /// A replica nearer to the reader (KIP-392); -1 for none.
        preferred_read_replica: i32 [11..] = -1,
        /// Whole record batches, of which the first may begin before the offset asked for, and a last
        /// one that may be cut off.
        records: Option<Bytes>,
    } tagged {
        /// Where the reader's log and this one part, if they do (KIP-595).
        0 => diverging_epoch: EpochEndOffset [12..],
        /// The leader, if the broker asked is not (KIP-951).
        1 => current_leader: LeaderIdAndEpoch [12..],
        /// The snapshot to fetch instead, for replicas of the metadata log.
        2 => snapshot_id: SnapshotId [12..],
    }

    /// The largest epoch that both logs have, and its end here.
    pub struct EpochEndOffset {
        /// The epoch; -1 for no divergence.
        epoch: i32 [12..] = -1,
        /// The offset after its last record.
        end_offset: i64 [12..] = -1,
    }

    /// A partition's leader (KIP-951).
    pub struct LeaderIdAndEpoch {
        /// The leader's id; -1 if unknown.
        leader_id: i32 [12..] = -1,
        /// The leader's epoch; -1 if unknown.
        leader_epoch: i32 [12..] = -1,
    }

    /// A snapshot of the metadata log.
    pub struct SnapshotId {
        /// The offset after its last record.
        end_offset: i64 = -1,
        /// Its epoch.
        epoch: i32 = -1,
    }

    /// A transaction that was aborted.
    pub struct AbortedTransaction {
        /// The producer's id.
        producer_id: i64 [4..],
        /// The transaction's first offset.
        first_offset: i64 [4..],
    }

    /// Where a broker listens (KIP-951).
    pub struct NodeEndpoint {
        /// The broker's id.
        node_id: i32 [16..],
        /// The broker's host.
        host: String [16..],
        /// The broker's port.
        port: i32 [16..],
        /// The broker's rack.
        rack: Option<String> [16..],
    }
}
