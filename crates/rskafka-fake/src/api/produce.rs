//! Produce (key 0), versions 3 to 13: appends one batch per partition.
//!
//! - By name up to version 12 (UNKNOWN_TOPIC_OR_PARTITION), by id from 13 on (UNKNOWN_TOPIC_ID).
//! - INVALID_TOPIC_EXCEPTION for an internal topic.
//! - Exactly one batch of magic 2: INVALID_RECORD; Zstandard before version 7: UNSUPPORTED_COMPRESSION_TYPE.
//! - Only at the leader: NOT_LEADER_OR_FOLLOWER, from version 10 on with leader and address (KIP-951).
//! - acks -1, 0 or 1, else INVALID_REQUIRED_ACKS; with -1 at least `min.insync.replicas` are in sync, else
//!   NOT_ENOUGH_REPLICAS (Redpanda: it waits). With 0 there is no answer, and an error ends the connection.
//! - With acks -1 the answer waits until the batch is in every replica in sync. REQUEST_TIMED_OUT (since
//!   Kafka 3.7 also while too few are in sync, KIP-966), NOT_ENOUGH_REPLICAS_AFTER_APPEND (before) and, if the
//!   leader or the topic goes meanwhile, NOT_LEADER_OR_FOLLOWER and UNKNOWN_TOPIC_OR_PARTITION say that it may
//!   be written.
//! - MESSAGE_TOO_LARGE, CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP by the batch itself and its
//!   topic's configs. Compressed records are taken at their header's word if this build cannot read them.
//!   No records at all (null) are INVALID_RECORD, where Kafka never answers.
//! - A producer's batch that is among its last five is answered with the offset that it got before;
//!   OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH. A producer that is not known is taken at any
//!   sequence.
//! - A client above its quota is throttled, and its records are appended (KIP-219).
//! - For a batch of a transaction TRANSACTIONAL_ID_AUTHORIZATION_FAILED without transactional id, and
//!   INVALID_TXN_STATE with one: no transaction can be begun by request.

use std::time::Duration;

use rskafka_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData,
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use rskafka_protocol::records::Compression;
use rskafka_protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::exchange::{Api, Serve};
use super::{Call, Outcome};
use crate::profile::Quirks;
use crate::state::{
    Limited, Partition, ReceivedBatch, Refusal, Sequenced, State, TopicRef, TopicSettings, is_internal,
};

/// The version from which on topics are named by id.
const IDS_FROM: i16 = 13;
/// The version from which on a refusal names the leader.
const LEADER_FROM: i16 = 10;

/// The id of the client that may append to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// A request whose batches were checked.
pub(crate) struct CheckedProduce {
    acks: i16,
    is_transactional: bool,
    /// Of all records.
    bytes: usize,
    timeout: Duration,
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
    place: Place,
}

/// What must be in all replicas in sync before the answer.
#[derive(Clone, Copy)]
struct Place {
    topic_id: Uuid,
    leader_epoch: i32,
    end_offset: i64,
}

/// An answer that waits for replicas.
struct Unsettled {
    response: ProduceResponse,
    /// Where in the answer, and what for.
    places: Vec<((usize, usize), Place)>,
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
    fn check(self, version: i16) -> Serve<ProduceResponse> {
        let sizes = self.topic_data.iter().flat_map(|data| &data.partition_data);
        let bytes = sizes.map(|data| data.records.as_ref().map_or(0, bytes::Bytes::len)).sum();
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
        let timeout = Duration::from_millis(self.timeout_ms.try_into().unwrap_or(0));
        let is_transactional = self.transactional_id.is_some();
        let checked = CheckedProduce { acks: self.acks, is_transactional, bytes, timeout, topics };
        Box::new(|call| serve(checked, call))
    }

    fn serve(self, call: &mut Call<'_>) -> Outcome<ProduceResponse> {
        self.check(call.version)(call)
    }

    fn targets(&self, version: i16) -> Vec<(TopicRef, i32)> {
        let each =
            self.topic_data.iter().flat_map(|data| data.partition_data.iter().map(move |one| (data, one)));
        let topic = |data: &TopicProduceData| TopicRef::of(&data.name, data.topic_id, version, IDS_FROM);
        each.map(|(data, one)| (topic(data), one.index)).collect()
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

fn serve(checked: CheckedProduce, call: &mut Call<'_>) -> Outcome<ProduceResponse> {
    let acks = checked.acks;
    let client = (call.broker, call.client_id);
    let quota = call.state.quotas.charge(Limited::Produce, client, checked.bytes, call.now.instant);
    call.throttle = call.throttle.max(quota);
    // Without a transactional id no batch of the request may belong to a transaction.
    let mut batches = checked.topics.iter().flat_map(|topic| &topic.partitions);
    let is_transactional =
        |batch: &Result<ReceivedBatch, _>| batch.as_ref().is_ok_and(ReceivedBatch::is_transactional);
    let lacks_id = !checked.is_transactional && batches.any(|(_, batch)| is_transactional(batch));
    let mut unsettled = Unsettled { response: ProduceResponse::default(), places: Vec::new() };
    let response = &mut unsettled.response;
    for CheckedTopic { topic, response: mut of_topic, partitions } in checked.topics {
        for (index, batch) in partitions {
            let batch = match lacks_id {
                true => Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.into()),
                false => batch,
            };
            of_topic.partition_responses.push(match append(call, acks, &topic, index, batch) {
                Ok(appended) => {
                    let in_answer = (response.responses.len(), of_topic.partition_responses.len());
                    unsettled.places.push((in_answer, appended.place));
                    success(index, &appended)
                }
                Err(refused) => failure(index, refused),
            });
        }
        response.responses.push(of_topic);
    }
    if acks == -1 {
        return settle(unsettled, call, call.now.instant + checked.timeout);
    } else if acks != 0 {
        return answer(unsettled.response, call);
    }
    let mut entries = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match entries.all(|entry| entry.error_code.is_ok()) {
        true => Outcome::NoAnswer,
        false => Outcome::Close,
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
    let quirks = call.state.profile.quirks();
    let (topic_id, is_internal) = call.state.find(topic).map(|topic| (topic.id, is_internal(&topic.name)))?;
    let (partition, settings) = call.state.find_partition(topic, index)?;
    let batch = batch?;
    if is_internal && call.client_id != Some(ADMIN_CLIENT) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION.into());
    }
    if quirks.only_gzip && !matches!(batch.compression(), Compression::None | Compression::Gzip) {
        return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.into());
    }
    let leader = partition.led_by(call.broker)?;
    let log_start_offset = leader.log.start_offset();
    let too_few = partition.isr.len() < min_insync_replicas(partition, settings, quirks);
    if acks == -1 && too_few && quirks.refuses_below_min_isr {
        return Err(Refused { refusal: ErrorCode::NOT_ENOUGH_REPLICAS.into(), log_start_offset });
    }
    let with_start = |refusal: Refusal| match refusal.by_validator {
        true => Refused { refusal, log_start_offset },
        false => refusal.into(),
    };
    let batch = batch.check_topic(settings, quirks, now_ms).map_err(with_start)?;
    let leader_epoch = partition.leader_epoch;
    let place = |end_offset| Place { topic_id, leader_epoch, end_offset };
    let told = |time| if quirks.tells_append_time { time } else { -1 };
    if let Some(origin) = batch.origin() {
        if origin.transactional {
            return Err(with_start(Refusal::by_validator(ErrorCode::INVALID_TXN_STATE)));
        }
        let sequenced = leader.producers.check(&origin, quirks.producers);
        match sequenced.map_err(|code| with_start(Refusal::by_validator(code)))? {
            Sequenced::Append => {}
            Sequenced::Duplicate(known) => {
                return Ok(Appended {
                    base_offset: known.base_offset,
                    log_append_time_ms: told(known.max_timestamp),
                    log_start_offset,
                    place: place(known.last_offset + 1),
                });
            }
        }
    }
    let log_append_time = settings.log_append_time.then_some(now_ms);
    let log_append_time_ms = told(log_append_time.unwrap_or(-1));
    let base_offset = leader.log.end_offset();
    let stored = batch.store(base_offset, leader_epoch, log_append_time);
    let end_offset = stored.last_offset + 1;
    partition.append(stored);
    if let (Some(bytes), Some(leader)) = (settings.retention_bytes, partition.leading_mut()) {
        leader.log.retain_bytes(bytes, leader.high_watermark);
        partition.replicate();
    }
    let log_start_offset = partition.latest().map_or(-1, |leader| leader.log.start_offset());
    call.state.waiting.wake(topic_id, index);
    Ok(Appended { base_offset, log_append_time_ms, log_start_offset, place: place(end_offset) })
}

/// How many replicas must be in sync for acks=all.
fn min_insync_replicas(partition: &Partition, settings: &TopicSettings, quirks: &Quirks) -> usize {
    match quirks.min_isr_capped {
        true => settings.min_insync_replicas.min(partition.replicas.len()),
        false => settings.min_insync_replicas,
    }
}

/// Answers if all that was appended is in all replicas in sync, else waits (Kafka class `DelayedProduce`).
fn settle(mut unsettled: Unsettled, call: &mut Call<'_>, until: Instant) -> Outcome<ProduceResponse> {
    let Unsettled { response, places } = &mut unsettled;
    let is_late = call.now.instant >= until;
    let mut waits_for = Vec::new();
    places.retain(|((topic, partition), place)| {
        let entry = &mut response.responses[*topic].partition_responses[*partition];
        let settled = state_of(call, place, entry.index);
        match settled {
            Some(code) => entry.error_code = code,
            None if is_late => entry.error_code = ErrorCode::REQUEST_TIMED_OUT,
            None => waits_for.push((place.topic_id, entry.index)),
        }
        settled.is_none()
    });
    if waits_for.is_empty() {
        return answer(unsettled.response, call);
    }
    call.state.waiting.enter(call.connection, waits_for);
    Outcome::Wait { until, again: Box::new(move |call| settle(unsettled, call, until)) }
}

/// What has become of a batch; `None` while it is on its way to the replicas.
fn state_of(call: &mut Call<'_>, place: &Place, index: i32) -> Option<ErrorCode> {
    let quirks = call.state.profile.quirks();
    let Ok((partition, settings)) = call.state.find_partition(&TopicRef::Id(place.topic_id), index) else {
        return Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let Ok(leader) = partition.led_by(call.broker) else {
        return Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    };
    if place.leader_epoch < partition.led_since {
        return Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    if leader.high_watermark < place.end_offset {
        return None;
    }
    match partition.isr.len() < min_insync_replicas(partition, settings, quirks) {
        true => Some(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        false => Some(ErrorCode::NONE),
    }
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

/// The answer, with the leaders of partitions that this broker does not lead, or no longer (KIP-951).
fn answer(mut response: ProduceResponse, call: &mut Call<'_>) -> Outcome<ProduceResponse> {
    let ProduceResponse { responses, node_endpoints, .. } = &mut response;
    for TopicProduceResponse { name, topic_id, partition_responses } in responses {
        let topic = TopicRef::of(name, *topic_id, call.version, IDS_FROM);
        let led_elsewhere = |entry: &&mut PartitionProduceResponse| {
            entry.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER && call.version >= LEADER_FROM
        };
        for entry in partition_responses.iter_mut().filter(led_elsewhere) {
            name_leader(call.state, &topic, entry, node_endpoints);
        }
    }
    Outcome::Answer(response)
}

fn name_leader(
    state: &mut State,
    topic: &TopicRef,
    entry: &mut PartitionProduceResponse,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    let Ok((partition, _)) = state.find_partition(topic, entry.index) else {
        return;
    };
    let (leader_id, leader_epoch) = (partition.leader_id(), partition.leader_epoch);
    entry.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
    let Some(broker) = state.broker(leader_id) else {
        return;
    };
    if endpoints.iter().all(|endpoint| endpoint.node_id != leader_id) {
        endpoints.push(NodeEndpoint {
            node_id: leader_id,
            host: broker.advertised.host.clone(),
            port: broker.advertised.wire_port(),
            rack: broker.rack.clone(),
        });
    }
}
