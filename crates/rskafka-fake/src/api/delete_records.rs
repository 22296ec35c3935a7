//! DeleteRecords (key 21), versions 0 to 2: drops what stands before an offset (KIP-107).
//!
//! - -1 stands for the high watermark; OFFSET_OUT_OF_RANGE for any other negative offset and beyond it.
//! - Answers the first offset that some replica still has, and waits until that is the one asked for:
//!   REQUEST_TIMED_OUT.
//! - INVALID_TOPIC_EXCEPTION for an internal topic, POLICY_VIOLATION for one that is compacted only, NOT_LEADER_OR_FOLLOWER,
//!   UNKNOWN_TOPIC_OR_PARTITION.

use std::time::Duration;

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult, HIGH_WATERMARK,
};
use tokio::time::Instant;

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{TopicRef, is_internal};

/// A deletion that not every replica has made.
struct Pending {
    /// Where in the answer.
    place: (usize, usize),
    offset: i64,
}

impl Api for DeleteRecordsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<DeleteRecordsResponse> {
        let mut pending = Vec::new();
        let mut response = self.refuse(ErrorCode::NONE, call.version);
        for (t, topic) in self.topics.iter().enumerate() {
            for (p, asked) in topic.partitions.iter().enumerate() {
                match delete(call, &topic.name, asked) {
                    Ok(offset) => pending.push(Pending { place: (t, p), offset }),
                    Err(code) => response.topics[t].partitions[p].error_code = code,
                }
            }
        }
        let timeout = Duration::from_millis(self.timeout_ms.try_into().unwrap_or(0));
        settle(response, pending, call, call.now.instant + timeout)
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        let each = self.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)));
        each.map(|(topic, one)| (TopicRef::Name(topic.name.clone()), one.partition_index)).collect()
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> DeleteRecordsResponse {
        let entry = |asked: &DeleteRecordsPartition| DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark: -1,
            error_code,
        };
        let topics = self.topics.iter().map(|topic| DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(entry).collect(),
        });
        DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
    }
}

/// Deletes at the leader; gives the first offset to be kept.
fn delete(call: &mut Call<'_>, name: &str, asked: &DeleteRecordsPartition) -> Result<i64, ErrorCode> {
    let topic = TopicRef::Name(name.to_owned());
    let topic_id = call.state.find(&topic)?.id;
    let (partition, settings) = call.state.find_partition(&topic, asked.partition_index)?;
    if is_internal(name) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    partition.led_by(call.broker)?;
    if !settings.deletes {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let leader = partition.leading_mut().ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    let offset = if asked.offset == HIGH_WATERMARK { leader.high_watermark } else { asked.offset };
    if !(0..=leader.high_watermark).contains(&offset) {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    leader.log.delete_before(offset);
    partition.replicate();
    call.state.waiting.wake(topic_id, asked.partition_index);
    Ok(offset)
}

/// Answers when every replica that runs has deleted (Kafka class `DelayedDeleteRecords`).
fn settle(
    mut response: DeleteRecordsResponse,
    mut pending: Vec<Pending>,
    call: &mut Call<'_>,
    until: Instant,
) -> Outcome<DeleteRecordsResponse> {
    let is_late = call.now.instant >= until;
    let mut waits_for = Vec::new();
    pending.retain(|Pending { place: (t, p), offset }| {
        let topic = TopicRef::Name(response.topics[*t].name.clone());
        let entry = &mut response.topics[*t].partitions[*p];
        let topic_id = call.state.find(&topic).map(|topic| topic.id);
        let found = call.state.find_partition(&topic, entry.partition_index);
        let low = found.and_then(|(partition, _)| {
            partition.led_by(call.broker)?;
            Ok(partition.low_watermark())
        });
        match low {
            Err(code) => entry.error_code = code,
            Ok(low) if low >= *offset => entry.low_watermark = low,
            Ok(low) if is_late => {
                (entry.error_code, entry.low_watermark) = (ErrorCode::REQUEST_TIMED_OUT, low);
            }
            Ok(_) => {
                waits_for.extend(topic_id.map(|id| (id, entry.partition_index)));
                return true;
            }
        }
        false
    });
    if pending.is_empty() {
        return Outcome::Answer(response);
    }
    call.state.waiting.enter(call.connection, waits_for);
    Outcome::Wait { until, again: Box::new(move |call| settle(response, pending, call, until)) }
}
