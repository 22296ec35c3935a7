//! Fetch (key 1), versions 4 to 18: reads whole batches from where the asked offset is.
//!
//! - By name up to version 12 (UNKNOWN_TOPIC_OR_PARTITION), by id from 13 on (UNKNOWN_TOPIC_ID).
//! - Waits until `min_bytes` are there, something goes wrong, or `max_wait_ms` are over.
//! - The first batch of the answer comes whole whatever its size (KIP-74); the last may be cut off.
//! - FENCED_LEADER_EPOCH and UNKNOWN_LEADER_EPOCH by `current_leader_epoch` (KIP-320), then
//!   NOT_LEADER_OR_FOLLOWER, then OFFSET_OUT_OF_RANGE. From version 11 on a follower in sync serves readers
//!   too (KIP-392). From version 16 on the leader and its address are named (KIP-951).
//! - Readers of committed data (`isolation_level` 1) are given nothing beyond the last stable offset, and
//!   the aborted transactions within.
//! - From version 12 on `last_fetched_epoch` is compared with the log (KIP-595): where they part comes with
//!   NONE and no records; an epoch that the log cannot place is OFFSET_OUT_OF_RANGE.
//! - From version 11 on a reader that names its rack is sent to a replica there, if brokers have racks.
//! - A client above its quota gets an answer without topics, and is throttled (KIP-219).
//! - No fetch sessions: every answer has session id 0, and an id that the client brings is unknown
//!   (FETCH_SESSION_ID_NOT_FOUND).

use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use rskafka_protocol::{ErrorCode, Uuid};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::profile::{Profile, Quirks};
use crate::state::{Limited, Replica, Span, State, TopicRef};

/// The version from which on topics are named by id.
const IDS_FROM: i16 = 13;
/// The version from which on a follower serves readers.
const FOLLOWERS_FROM: i16 = 11;
/// The version from which on a refusal names the leader.
const LEADER_FROM: i16 = 16;
/// The isolation level of readers that skip what was aborted (KIP-98).
const READ_COMMITTED: i8 = 1;

/// A fetch, possibly while it waits.
pub(crate) struct Fetch {
    request: FetchRequest,
    topics: Vec<TopicRef>,
}

impl Api for FetchRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<FetchResponse> {
        let topic_ref =
            |topic: &FetchTopic| TopicRef::of(&topic.topic, topic.topic_id, call.version, IDS_FROM);
        let fetch = Fetch { topics: self.topics.iter().map(topic_ref).collect(), request: self };
        // Epoch 0 or -1 begins a new session or none: the client asks for everything.
        if fetch.request.session_id != 0 && fetch.request.session_epoch > 0 {
            let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
            return Outcome::Answer(FetchResponse { error_code, ..Default::default() });
        }
        let wait = Duration::from_millis(fetch.request.max_wait_ms.try_into().unwrap_or(0));
        attempt(fetch, call, call.now.instant + wait)
    }

    fn targets(&self, version: i16) -> Vec<(TopicRef, i32)> {
        let each = self.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)));
        let name = |topic: &FetchTopic| TopicRef::of(&topic.topic, topic.topic_id, version, IDS_FROM);
        each.map(|(topic, one)| (name(topic), one.partition)).collect()
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> FetchResponse {
        let quirks = Profile::default().quirks();
        let of_topic = |topic: &FetchTopic| FetchableTopicResponse {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|asked| failure(asked.partition, code, quirks)).collect(),
        };
        FetchResponse { responses: self.topics.iter().map(of_topic).collect(), ..Default::default() }
    }
}

/// Answers if there is enough to answer with, else waits.
fn attempt(fetch: Fetch, call: &mut Call<'_>, until: tokio::time::Instant) -> Outcome<FetchResponse> {
    let ready = fetch.readiness(call);
    let enough = usize::try_from(fetch.request.min_bytes).unwrap_or(0);
    if ready.at_once || ready.bytes >= enough || ready.partitions.is_empty() || call.now.instant >= until {
        let response = fetch.answer(call);
        let of_topic = |topic: &FetchableTopicResponse| {
            topic.partitions.iter().map(|data| data.records.as_ref().map_or(0, Bytes::len)).sum::<usize>()
        };
        let bytes = response.responses.iter().map(of_topic).sum();
        let client = (call.broker, call.client_id);
        let quota = call.state.quotas.charge(Limited::Fetch, client, bytes, call.now.instant);
        call.throttle = call.throttle.max(quota);
        return Outcome::Answer(match quota {
            Duration::ZERO => response,
            _ => FetchResponse::default(),
        });
    }
    call.state.waiting.enter(call.connection, ready.partitions);
    Outcome::Wait { until, again: Box::new(move |call| attempt(fetch, call, until)) }
}

/// What an answer would have.
#[derive(Default)]
struct Readiness {
    bytes: usize,
    /// There is an error or a divergence to report, which does not wait for bytes.
    at_once: bool,
    partitions: Vec<(Uuid, i32)>,
}

/// A partition that may be read from.
struct Readable<'a> {
    topic_id: Uuid,
    replica: &'a Replica,
    /// Up to where it may be read.
    end: i64,
    /// Where the reader's log and this one part.
    diverging: Option<EpochEndOffset>,
    /// Another replica that should be asked.
    preferred: Option<i32>,
}

impl Readable<'_> {
    /// What may be read within `room` bytes.
    fn span(&self, asked: &FetchPartition, room: usize, at_least_one: bool) -> Span {
        let is_elsewhere = self.diverging.is_some() || self.preferred.is_some();
        let end = if is_elsewhere { asked.fetch_offset } else { self.end };
        let max_bytes = bytes_of(asked.partition_max_bytes).min(room);
        Span { offset: asked.fetch_offset, end, max_bytes, at_least_one }
    }
}

impl Fetch {
    fn partitions(&self) -> impl Iterator<Item = (&TopicRef, &FetchPartition)> {
        let of_topic = |(name, topic)| {
            let topic: &FetchTopic = topic;
            topic.partitions.iter().map(move |asked| (name, asked))
        };
        self.topics.iter().zip(&self.request.topics).flat_map(of_topic)
    }

    /// How many bytes an answer may have: what the client asks for, bounded by `fetch.max.bytes`.
    fn room(&self, call: &Call<'_>) -> usize {
        let most = call.state.configs.number(call.broker, "fetch.max.bytes");
        bytes_of(self.request.max_bytes).min(usize::try_from(most).unwrap_or(0))
    }

    fn readiness(&self, call: &mut Call<'_>) -> Readiness {
        let mut ready = Readiness::default();
        let mut room = self.room(call);
        for (topic, asked) in self.partitions() {
            let readable = self.check(call, topic, asked);
            let Some(readable) = readable.ok().filter(|it| it.diverging.is_none() && it.preferred.is_none())
            else {
                ready.at_once = true;
                return ready;
            };
            let bytes = readable.replica.log.readable(readable.span(asked, room, ready.bytes == 0));
            ready.bytes += bytes;
            room = room.saturating_sub(bytes);
            ready.partitions.push((readable.topic_id, asked.partition));
        }
        ready
    }

    fn answer(&self, call: &mut Call<'_>) -> FetchResponse {
        let quirks = call.state.profile.quirks();
        let mut response = FetchResponse::default();
        let mut room = self.room(call);
        let mut is_empty = true;
        for (name, topic) in self.topics.iter().zip(&self.request.topics) {
            let mut of_topic = FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: Vec::with_capacity(topic.partitions.len()),
            };
            for asked in &topic.partitions {
                let mut data = match self.check(call, name, asked) {
                    Ok(readable) => {
                        let (records, end) = readable.replica.log.read(readable.span(asked, room, is_empty));
                        is_empty &= records.is_empty();
                        room = room.saturating_sub(records.len());
                        self.success(asked, readable, (records, end), quirks)
                    }
                    Err(code) => failure(asked.partition, code, quirks),
                };
                if call.version >= LEADER_FROM {
                    name_leader(call.state, name, &mut data, &mut response.node_endpoints);
                }
                of_topic.partitions.push(data);
            }
            response.responses.push(of_topic);
        }
        response
    }

    /// Whether the broker may be asked for this at all.
    fn check<'a>(
        &self,
        call: &'a mut Call<'_>,
        topic: &TopicRef,
        asked: &FetchPartition,
    ) -> Result<Readable<'a>, ErrorCode> {
        let topic_id = call.state.find(topic)?.id;
        let preferred = self.preferred_replica(call, topic, asked);
        let (partition, _) = call.state.find_partition(topic, asked.partition)?;
        let replica = partition.check_epoch(call.broker, asked.current_leader_epoch)?;
        if call.version < FOLLOWERS_FROM {
            partition.led_by(call.broker)?;
        }
        let (start, committed) = (replica.log.start_offset(), replica.high_watermark);
        let mut readable = Readable { topic_id, replica, end: committed, diverging: None, preferred };
        if self.request.isolation_level == READ_COMMITTED {
            readable.end = replica.last_stable_offset();
        }
        if asked.last_fetched_epoch >= 0 {
            let end = replica.log.end_of_epoch(asked.last_fetched_epoch);
            let end = end.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
            if asked.fetch_offset < start {
                return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
            }
            if end.epoch < asked.last_fetched_epoch || end.end_offset < asked.fetch_offset {
                let (epoch, end_offset) = (end.epoch, end.end_offset);
                readable.diverging = Some(EpochEndOffset { epoch, end_offset });
                return Ok(readable);
            }
        }
        if !(start..=replica.log.end_offset()).contains(&asked.fetch_offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if asked.partition_max_bytes < 0 || self.request.max_bytes < 0 {
            return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
        }
        Ok(readable)
    }

    /// The replica in sync that stands in the reader's rack, if it is not the leader that is asked and it
    /// has the offset (Kafka class `RackAwareReplicaSelector`).
    fn preferred_replica(&self, call: &Call<'_>, topic: &TopicRef, asked: &FetchPartition) -> Option<i32> {
        let rack = Some(self.request.rack_id.as_str()).filter(|rack| !rack.is_empty())?;
        let index = usize::try_from(asked.partition).ok()?;
        let partition = call.state.find(topic).ok()?.partitions.get(index)?;
        let is_there =
            |id: i32| call.state.broker(id).and_then(|broker| broker.rack.as_deref()) == Some(rack);
        if partition.leader != Some(call.broker) || is_there(call.broker) {
            return None;
        }
        let has_offset = |replica: &&Replica| {
            let offsets = replica.log.start_offset()..=replica.log.end_offset();
            replica.alive && offsets.contains(&asked.fetch_offset) && partition.isr.contains(&replica.broker)
        };
        let mut there = partition.replicas.iter().filter(has_offset).filter(|one| is_there(one.broker));
        there.next().map(|replica| replica.broker)
    }

    fn success(
        &self,
        asked: &FetchPartition,
        readable: Readable<'_>,
        (records, end): (Bytes, i64),
        quirks: &Quirks,
    ) -> PartitionData {
        let replica = readable.replica;
        let aborted = |one: crate::state::Aborted| AbortedTransaction {
            producer_id: one.producer_id,
            first_offset: one.first_offset,
        };
        let aborted_transactions = (self.request.isolation_level == READ_COMMITTED).then(|| {
            let of_records = replica.log.aborted(asked.fetch_offset, end).filter(|_| !records.is_empty());
            let mut list: Vec<_> = of_records.map(aborted).collect();
            if !quirks.aborted_in_order {
                list.reverse();
            }
            list
        });
        PartitionData {
            partition_index: asked.partition,
            high_watermark: replica.high_watermark,
            last_stable_offset: replica.last_stable_offset(),
            log_start_offset: replica.log.start_offset(),
            aborted_transactions,
            preferred_read_replica: readable.preferred.unwrap_or(-1),
            diverging_epoch: readable.diverging.unwrap_or_default(),
            records: Some(records),
            ..Default::default()
        }
    }
}

fn bytes_of(max_bytes: i32) -> usize {
    usize::try_from(max_bytes).unwrap_or(0)
}

fn failure(partition_index: i32, error_code: ErrorCode, quirks: &Quirks) -> PartitionData {
    PartitionData {
        partition_index,
        error_code,
        high_watermark: -1,
        // Kafka's replica manager, which knows the partition, says null, and what comes before it says none.
        aborted_transactions: match error_code {
            _ if quirks.zookeeper => None,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => Some(Vec::new()),
            _ => None,
        },
        records: Some(Bytes::new()),
        ..Default::default()
    }
}

fn name_leader(
    state: &mut State,
    topic: &TopicRef,
    data: &mut PartitionData,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    if !matches!(data.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH) {
        return;
    }
    let Ok((partition, _)) = state.find_partition(topic, data.partition_index) else {
        return;
    };
    let (leader_id, leader_epoch) = (partition.leader_id(), partition.leader_epoch);
    data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
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
