//! OffsetForLeaderEpoch (key 23), versions 3 and 4: where a leader's epoch ended (KIP-320).
//!
//! - For an epoch without records the one before it is given; -1 and -1 if the log cannot tell. The latest
//!   epoch ends where the log does, also beyond the high watermark.
//! - FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::TopicRef;

impl Api for OffsetForLeaderEpochRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<OffsetForLeaderEpochResponse> {
        Outcome::Answer(answer(&self, |topic, asked| match find(call, topic, asked) {
            Ok(entry) => entry,
            Err(code) => failure(asked, code),
        }))
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        let each = self.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)));
        each.map(|(topic, one)| (TopicRef::Name(topic.topic.clone()), one.partition)).collect()
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> OffsetForLeaderEpochResponse {
        answer(self, |_, asked| failure(asked, code))
    }
}

fn answer(
    request: &OffsetForLeaderEpochRequest,
    mut find: impl FnMut(&str, &OffsetForLeaderPartition) -> EpochEndOffset,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|asked| find(&topic.topic, asked)).collect(),
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn find(
    call: &mut Call<'_>,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let topic = TopicRef::Name(topic.to_owned());
    let (partition, _) = call.state.find_partition(&topic, asked.partition)?;
    partition.check_epoch(call.broker, asked.current_leader_epoch)?;
    let leader = partition.led_by(call.broker)?;
    let end = leader.log.end_of_epoch(asked.leader_epoch);
    Ok(EpochEndOffset {
        partition: asked.partition,
        leader_epoch: end.map_or(-1, |end| end.epoch),
        end_offset: end.map_or(-1, |end| end.end_offset),
        ..Default::default()
    })
}

fn failure(asked: &OffsetForLeaderPartition, error_code: ErrorCode) -> EpochEndOffset {
    EpochEndOffset { error_code, partition: asked.partition, ..Default::default() }
}
