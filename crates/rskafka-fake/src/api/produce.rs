//! Produce (key 0), versions 3 to 13: appends one batch per partition.
//!
//! - By name up to version 12 (UNKNOWN_TOPIC_OR_PARTITION), by id from 13 on (UNKNOWN_TOPIC_ID).
//! - Exactly one batch of magic 2: INVALID_RECORD; Zstandard before version 7: UNSUPPORTED_COMPRESSION_TYPE.
//! - Only at the leader: NOT_LEADER_OR_FOLLOWER, from version 10 on with leader and address (KIP-951).
//! - acks -1, 0 or 1, else INVALID_REQUIRED_ACKS; with -1 at least `min.insync.replicas` are in sync, else
//!   NOT_ENOUGH_REPLICAS. With 0 there is no answer, and an error ends the connection.
//! - MESSAGE_TOO_LARGE, CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP by the batch itself and its
//!   topic's configs. Compressed records are taken at their header's word if this build cannot read them.
//!   No records at all (null) are INVALID_RECORD, where Kafka never answers.
//! - No transactions, and no memory of producers yet: a batch that is sent twice is appended twice.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData,
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData, TopicProduceResponse,
};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{ReceivedBatch, Refusal, TopicRef};

/// The version from which on topics are named by id.
const IDS_FROM: i16 = 13;
/// The version from which on a refusal names the leader.
const LEADER_FROM: i16 = 10;

/// A request whose batches were checked.
pub(crate) struct CheckedProduce {
    acks: i16,
    topics: Vec<CheckedTopic>,
}

struct CheckedTopic {
    topic: TopicRef,
    /// The answer's entry, still without partitions.
    response: TopicProduceResponse,
    partitions: Vec<(i32, Result<ReceivedBatch, Refusal>)>,
}

/// Where a batch was appended.
struct Appended {
    base_offset: i64,
    log_append_time_ms: i64,
    log_start_offset: i64,
}

/// A batch that was not appended.
struct Refused {
    refusal: Refusal,
    log_start_offset: i64,
}

impl<R: Into<Refusal>> From<R> for Refused {
    fn from(refusal: R) -> Self {
        Self { refusal: refusal.into(), log_start_offset: -1 }
    }
}

impl Api for ProduceRequest {
    type Checked = CheckedProduce;

    fn check(self, version: i16) -> CheckedProduce {
        let mut topics: Vec<CheckedTopic> = Vec::new();
        for data in self.topic_data {
            let topic = TopicRef::of(&data.name, data.topic_id, version, IDS_FROM);
            // One entry for a topic and for a partition; of several batches for it, the last counts.
            let place = topics.iter().position(|known| known.topic == topic).unwrap_or_else(|| {
                let (name, topic_id) = (data.name, data.topic_id);
                let response = TopicProduceResponse { name, topic_id, ..Default::default() };
                topics.push(CheckedTopic { topic, response, partitions: Vec::new() });
                topics.len() - 1
            });
            let partitions = &mut topics[place].partitions;
            for PartitionProduceData { index, records } in data.partition_data {
                let batch = ReceivedBatch::parse(records, version);
                match partitions.iter_mut().find(|(known, _)| *known == index) {
                    Some((_, known)) => *known = batch,
                    None => partitions.push((index, batch)),
                }
            }
        }
        CheckedProduce { acks: self.acks, topics }
    }

    fn serve(checked: CheckedProduce, call: &mut Call<'_>) -> Outcome<ProduceResponse> {
        let acks = checked.acks;
        let mut response = ProduceResponse::default();
        for CheckedTopic { topic, response: mut of_topic, partitions } in checked.topics {
            for (index, batch) in partitions {
                let mut entry = match append(call, acks, &topic, index, batch) {
                    Ok(appended) => success(index, &appended),
                    Err(refused) => failure(index, refused),
                };
                if entry.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER && call.version >= LEADER_FROM {
                    name_leader(call, &topic, &mut entry, &mut response.node_endpoints);
                }
                of_topic.partition_responses.push(entry);
            }
            response.responses.push(of_topic);
        }
        if acks != 0 {
            return Outcome::Answer(response);
        }
        let mut entries = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        match entries.all(|entry| entry.error_code.is_ok()) {
            true => Outcome::NoAnswer,
            false => Outcome::Close,
        }
    }

    fn targets(&self, version: i16) -> Vec<(TopicRef, i32)> {
        let of_topic = |data: &TopicProduceData| {
            let topic = TopicRef::of(&data.name, data.topic_id, version, IDS_FROM);
            data.partition_data.iter().map(|data| (topic.clone(), data.index)).collect::<Vec<_>>()
        };
        self.topic_data.iter().flat_map(of_topic).collect()
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> ProduceResponse {
        let of_topic = |data: &TopicProduceData| TopicProduceResponse {
            name: data.name.clone(),
            topic_id: data.topic_id,
            partition_responses: data
                .partition_data
                .iter()
                .map(|data| failure(data.index, code.into()))
                .collect(),
        };
        ProduceResponse { responses: self.topic_data.iter().map(of_topic).collect(), ..Default::default() }
    }

    fn is_answered(&self) -> bool {
        self.acks != 0
    }
}

fn append(
    call: &mut Call<'_>,
    acks: i16,
    topic: &TopicRef,
    index: i32,
    batch: Result<ReceivedBatch, Refusal>,
) -> Result<Appended, Refused> {
    if !matches!(acks, -1..=1) {
        return Err(ErrorCode::INVALID_REQUIRED_ACKS.into());
    }
    let now_ms = call.now.wall_ms;
    let topic_id = call.state.find(topic)?.id;
    let (partition, settings) = call.state.find_partition(topic, index)?;
    let batch = batch?;
    partition.check_leader(call.broker)?;
    // A topic with fewer replicas than it should have in sync is content with those (KIP-966).
    let min_insync_replicas = settings.min_insync_replicas.min(partition.replicas.len());
    if acks == -1 && partition.isr.len() < min_insync_replicas {
        return Err(ErrorCode::NOT_ENOUGH_REPLICAS.into());
    }
    let log_start_offset = partition.log.start_offset();
    let with_start = |refusal: Refusal| match refusal.by_validator {
        true => Refused { refusal, log_start_offset },
        false => refusal.into(),
    };
    let batch = batch.check_topic(settings, now_ms).map_err(with_start)?;
    let log_append_time = settings.log_append_time.then_some(now_ms);
    let base_offset = partition.log.end_offset();
    partition.log.append(batch.store(base_offset, partition.leader_epoch, log_append_time));
    if let Some(bytes) = settings.retention_bytes {
        partition.log.retain_bytes(bytes);
    }
    let log_start_offset = partition.log.start_offset();
    call.state.waiting.wake(topic_id, index);
    Ok(Appended { base_offset, log_append_time_ms: log_append_time.unwrap_or(-1), log_start_offset })
}

fn success(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset,
        log_append_time_ms: appended.log_append_time_ms,
        log_start_offset: appended.log_start_offset,
        ..Default::default()
    }
}

fn failure(index: i32, refused: Refused) -> PartitionProduceResponse {
    let Refused { refusal, log_start_offset } = refused;
    let record_error = |(batch_index, message)| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(message),
    };
    PartitionProduceResponse {
        index,
        error_code: refusal.code,
        base_offset: -1,
        log_start_offset,
        record_errors: refusal.records.into_iter().map(record_error).collect(),
        error_message: refusal.message,
        ..Default::default()
    }
}

fn name_leader(
    call: &mut Call<'_>,
    topic: &TopicRef,
    entry: &mut PartitionProduceResponse,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    let Ok((partition, _)) = call.state.find_partition(topic, entry.index) else {
        return;
    };
    let (leader_id, leader_epoch) = (partition.leader_id(), partition.leader_epoch);
    entry.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
    let Some(broker) = call.state.broker(leader_id) else {
        return;
    };
    if endpoints.iter().all(|endpoint| endpoint.node_id != leader_id) {
        endpoints.push(NodeEndpoint {
            node_id: leader_id,
            host: broker.endpoint.host.clone(),
            port: broker.endpoint.wire_port(),
            rack: None,
        });
    }
}
