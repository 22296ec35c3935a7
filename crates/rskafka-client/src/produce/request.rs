//! The Produce request for one batch, and what its answer says.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use rskafka_cluster::{Attempt, LeaderHint, News, Prepared, Route, Verdict};
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use rskafka_protocol::records::RecordBatch;
use time::OffsetDateTime;

use super::fate;
use crate::error::Outcome;
use crate::partition::{LAST_VERSION_BY_NAME, Partition};
use crate::time::from_millis_if_any;

/// Who must hold a batch before an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Acks {
    /// All replicas in sync: what is acknowledged survives the loss of all but one of them.
    #[default]
    All,
    /// The leader alone: what is acknowledged is lost with the leader.
    Leader,
}

impl Acks {
    fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
        }
    }
}

/// What a produce has appended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Produced {
    /// The offset of the first record; the others follow without gaps.
    pub base_offset: i64,
    /// How many records were appended.
    pub record_count: usize,
    /// When the broker appended them, if the topic uses `LogAppendTime`.
    pub log_append_time: Option<OffsetDateTime>,
    /// The batch's size in the log, in bytes.
    pub encoded_size: usize,
}

impl Produced {
    /// The records' offsets, in the order in which they were given.
    pub fn offsets(&self) -> Range<i64> {
        self.base_offset..self.base_offset.saturating_add(self.record_count as i64)
    }
}

/// The request; the broker may wait for its replicas for `timeout`.
pub(crate) fn produce(
    partition: &Partition,
    acks: Acks,
    route: &Route,
    batch: &Bytes,
    timeout: Duration,
) -> Prepared<ProduceRequest> {
    let data = PartitionProduceData { index: partition.index, records: Some(batch.clone()) };
    let topic_id = route.leader.as_ref().map(|leader| leader.topic_id).unwrap_or_default();
    let topic = TopicProduceData { name: partition.topic.clone(), topic_id, partition_data: vec![data] };
    let request = ProduceRequest {
        transactional_id: None,
        acks: acks.code(),
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: vec![topic],
    };
    let max_version = topic_id.is_zero().then_some(LAST_VERSION_BY_NAME);
    Prepared { max_version, ..Prepared::new(request) }
}

/// Whether a batch may be sent again: only if it surely is not in the log.
pub(crate) fn decide(index: i32, attempt: Attempt<'_, ProduceResponse>) -> Verdict {
    let response = match attempt.outcome {
        Ok(response) => response,
        Err(failure) if fate::of_failure(failure) == Outcome::NotWritten => {
            return Verdict::of_failure(failure);
        }
        Err(_) => return Verdict::Fail(News::of_failure()),
    };
    let Some((partition, leader)) = find(response, index) else {
        return Verdict::Fail(News::of_failure());
    };
    let code = partition.error_code;
    let news = News::of_code(code, partition.error_message.as_deref(), leader);
    match code {
        // Without an offset the batch was written, but nobody can say where.
        ErrorCode::NONE if partition.base_offset < 0 => Verdict::Fail(News::default()),
        ErrorCode::NONE => Verdict::Done,
        _ if fate::of_code(code) == Outcome::NotWritten && code.is_retriable() => Verdict::Retry(news),
        _ => Verdict::Fail(news),
    }
}

pub(crate) fn produced(response: &ProduceResponse, index: i32, batch: &RecordBatch) -> Option<Produced> {
    find(response, index).map(|(appended, _)| Produced {
        base_offset: appended.base_offset,
        record_count: batch.record_count(),
        log_append_time: from_millis_if_any(appended.log_append_time_ms),
        encoded_size: batch.size_in_bytes(),
    })
}

/// The answer for our partition, and the leader that it names. There is one topic in it: ours.
fn find(response: &ProduceResponse, index: i32) -> Option<(&PartitionProduceResponse, Option<LeaderHint>)> {
    let [topic] = response.responses.as_slice() else {
        return None;
    };
    let partition = topic.partition_responses.iter().find(|partition| partition.index == index)?;
    let leader = &partition.current_leader;
    let nodes = response.node_endpoints.iter().map(|node| (node.node_id, node.host.as_str(), node.port));
    let hint = LeaderHint::of_answer(leader.leader_id, leader.leader_epoch, nodes);
    Some((partition, hint))
}
