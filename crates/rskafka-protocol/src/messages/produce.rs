//! Produce: appends record batches to partitions led by one broker.

use bytes::Bytes;

use crate::schema::schema;
use crate::{ErrorCode, Uuid};

schema! {
    /// Appends record batches to partitions led by one broker.
    pub struct ProduceRequest (Produce = 0, versions 3..=13, flexible 9..) {
        /// Present when the producer is transactional (KIP-98).
        transactional_id: Option<String> [3..],
        /// How many replicas must hold the batch before the answer: 0, 1, or -1 for all in sync.
        /// With 0 there is no answer.
        acks: i16,
        /// How long the leader may wait for the replicas.
        timeout_ms: i32,
        /// The topics written to.
        topic_data: Vec<TopicProduceData>,
    }

    /// The batches for one topic.
    pub struct TopicProduceData {
        /// The topic's name.
        name: String [..=12, ignorable],
        /// The topic's id (KIP-516).
        topic_id: Uuid [13.., ignorable],
        /// The partitions written to.
        partition_data: Vec<PartitionProduceData>,
    }

    /// The batch for one partition.
    pub struct PartitionProduceData {
        /// The partition's index.
        index: i32,
        /// One record batch.
        records: Option<Bytes>,
    }

    /// What became of the batches.
    pub struct ProduceResponse (Produce = 0, versions 3..=13, flexible 9..) {
        /// One entry for each topic.
        responses: Vec<TopicProduceResponse>,
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [1.., ignorable, client_waits 6..],
    } tagged {
        /// Where the current leaders named below listen (KIP-951).
        0 => node_endpoints: Vec<NodeEndpoint> [10..],
    }

    /// What became of one topic's batches.
    pub struct TopicProduceResponse {
        /// The topic's name.
        name: String [..=12, ignorable],
        /// The topic's id (KIP-516).
        topic_id: Uuid [13.., ignorable],
        /// One entry for each partition.
        partition_responses: Vec<PartitionProduceResponse>,
    }

    /// What became of one partition's batch.
    pub struct PartitionProduceResponse {
        /// The partition's index.
        index: i32,
        /// The outcome for this partition.
        error_code: ErrorCode,
        /// The offset of the batch's first record.
        base_offset: i64,
        /// When the broker appended the batch, if the topic uses log append time; else -1.
        log_append_time_ms: i64 [2.., ignorable] = -1,
        /// The log's first offset.
        log_start_offset: i64 [5.., ignorable] = -1,
        /// The records that made the broker refuse the batch (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage> [8.., ignorable],
        /// Why the batch was refused.
        error_message: Option<String> [8.., ignorable],
    } tagged {
        /// The leader, if the broker asked is not (KIP-951).
        0 => current_leader: LeaderIdAndEpoch [10..],
    }

    /// A record that the broker refused.
    pub struct BatchIndexAndErrorMessage {
        /// The record's place in the batch.
        batch_index: i32 [8..],
        /// Why it was refused.
        batch_index_error_message: Option<String> [8..],
    }

    /// A partition's leader (KIP-951).
    pub struct LeaderIdAndEpoch {
        /// The leader's id; -1 if unknown.
        leader_id: i32 [10..] = -1,
        /// The leader's epoch; -1 if unknown.
        leader_epoch: i32 [10..] = -1,
    }

    /// Where a broker listens (KIP-951).
    pub struct NodeEndpoint {
        /// The broker's id.
        node_id: i32 [10..],
        /// The broker's host.
        host: String [10..],
        /// The broker's port.
        port: i32 [10..],
        /// The broker's rack.
        rack: Option<String> [10..],
    }
}
