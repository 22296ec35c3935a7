//! ListOffsets (key 2), versions 1 to 11: the ends of a log, and the first record from a time on.
//!
//! - -1 latest, -2 earliest; from version 7 on -3, the record with the largest timestamp; from 8 on -4,
//!   earliest on the broker's disk, which is the earliest; from 9 on -5 and from 11 on -6, which ask about
//!   tiered storage and find nothing. Before, such a number gets UNSUPPORTED_VERSION; from Kafka 2.8 it is
//!   taken for a time.
//! - By time: the first record whose timestamp is not below; -1 for timestamp and offset if there is none.
//! - With isolation level 1 the end is the last stable offset.
//! - OFFSET_NOT_AVAILABLE, before version 5 LEADER_NOT_AVAILABLE, while a new leader does not know how far
//!   the other replicas have come (KIP-207).
//! - FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER and UNKNOWN_TOPIC_OR_PARTITION.
//! - A partition that the request has twice has one entry, before Kafka 4 two, with INVALID_REQUEST.
//! - In batches whose compression this build cannot read, times are those of the whole batch.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::list_offsets::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
    ListOffsetsResponse, ListOffsetsTopic, ListOffsetsTopicResponse, MAX_TIMESTAMP,
};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{Found, TopicRef};

/// The field may not be dropped in silence, so it is set only where the answer can carry it.
const FIRST_WITH_EPOCH: i16 = 4;
/// The version from which on a leader says that it does not know the end yet.
const UNAVAILABLE_FROM: i16 = 5;
const READ_COMMITTED: i8 = 1;

impl Api for ListOffsetsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<ListOffsetsResponse> {
        let of_topic = |topic: &ListOffsetsTopic| {
            let name = TopicRef::Name(topic.name.clone());
            let mut partitions: Vec<ListOffsetsPartitionResponse> = Vec::new();
            for asked in &topic.partitions {
                let index = asked.partition_index;
                let is_known = partitions.iter().any(|entry| entry.partition_index == index);
                if is_known && call.state.profile.quirks().list_offsets_merges {
                    continue;
                }
                let count = topic.partitions.iter().filter(|other| other.partition_index == index).count();
                partitions.push(match look_up(call, &name, asked, self.isolation_level) {
                    _ if count > 1 => failure(index, ErrorCode::INVALID_REQUEST),
                    Ok(found) => success(index, found, call.version),
                    Err(code) => failure(index, code),
                });
            }
            ListOffsetsTopicResponse { name: topic.name.clone(), partitions }
        };
        let topics = self.topics.iter().map(of_topic).collect();
        Outcome::Answer(ListOffsetsResponse { topics, ..Default::default() })
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        let each = self.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)));
        each.map(|(topic, one)| (TopicRef::Name(topic.name.clone()), one.partition_index)).collect()
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> ListOffsetsResponse {
        let of_topic = |topic: &ListOffsetsTopic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(|asked| failure(asked.partition_index, code)).collect(),
        };
        ListOffsetsResponse { topics: self.topics.iter().map(of_topic).collect(), ..Default::default() }
    }
}

fn look_up(
    call: &mut Call<'_>,
    topic: &TopicRef,
    asked: &ListOffsetsPartition,
    isolation_level: i8,
) -> Result<Option<Found>, ErrorCode> {
    let first_version = match asked.timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL_TIMESTAMP => 8,
        LATEST_TIERED_TIMESTAMP => 9,
        EARLIEST_PENDING_UPLOAD_TIMESTAMP => 11,
        ..EARLIEST_PENDING_UPLOAD_TIMESTAMP => i16::MAX,
        _ => 1,
    };
    if call.version < first_version && !call.state.profile.quirks().negative_times {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    let is_time = call.version < first_version;
    let (partition, _) = call.state.find_partition(topic, asked.partition_index)?;
    partition.check_epoch(call.broker, asked.current_leader_epoch)?;
    let leader = partition.led_by(call.broker)?;
    let log = &leader.log;
    let end = match isolation_level {
        READ_COMMITTED => leader.last_stable_offset(),
        _ => leader.high_watermark,
    };
    // A new leader does not know yet how far the others have come (KIP-207).
    let may_lack = log.latest_epoch_begin() > end;
    let unavailable = match call.version {
        ..UNAVAILABLE_FROM => ErrorCode::LEADER_NOT_AVAILABLE,
        _ => ErrorCode::OFFSET_NOT_AVAILABLE,
    };
    let committed = |found: Option<Found>| match found.filter(|found| found.offset < end) {
        None if may_lack => Err(unavailable),
        found => Ok(found),
    };
    match asked.timestamp {
        timestamp if is_time => committed(log.find_timestamp(timestamp)),
        LATEST_TIMESTAMP if may_lack => Err(unavailable),
        LATEST_TIMESTAMP => {
            Ok(Some(Found { timestamp: -1, offset: end, leader_epoch: partition.leader_epoch }))
        }
        EARLIEST_TIMESTAMP | EARLIEST_LOCAL_TIMESTAMP => {
            Ok(Some(Found { timestamp: -1, offset: log.start_offset(), leader_epoch: log.start_epoch() }))
        }
        MAX_TIMESTAMP => committed(log.find_max_timestamp()),
        LATEST_TIERED_TIMESTAMP | EARLIEST_PENDING_UPLOAD_TIMESTAMP => Ok(None),
        timestamp => committed(log.find_timestamp(timestamp)),
    }
}

fn success(partition_index: i32, found: Option<Found>, version: i16) -> ListOffsetsPartitionResponse {
    let entry = ListOffsetsPartitionResponse { partition_index, ..Default::default() };
    match found {
        Some(Found { timestamp, offset, leader_epoch }) => {
            let leader_epoch = if version >= FIRST_WITH_EPOCH { leader_epoch } else { -1 };
            ListOffsetsPartitionResponse { timestamp, offset, leader_epoch, ..entry }
        }
        None => entry,
    }
}

fn failure(partition_index: i32, error_code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code, ..Default::default() }
}
