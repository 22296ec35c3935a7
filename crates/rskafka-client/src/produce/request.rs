//! The Produce request for one batch, and what its answer says.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use rskafka_cluster::{Failure, Leader, LeaderHint, Learned, Prepared, Verdict};
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
    leader: &Leader,
    batch: &Bytes,
    timeout: Duration,
) -> Prepared<ProduceRequest> {
    let data = PartitionProduceData { index: partition.index, records: Some(batch.clone()) };
    let topic_id = leader.topic_id;
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

/// What an attempt's answer, or the lack of one, means for a batch. It may be sent again only if it surely is not in
/// the log.
pub(crate) fn judge(
    index: i32,
    batch: &RecordBatch,
    answered: Result<ProduceResponse, Failure>,
) -> Verdict<Produced> {
    let response = match answered {
        Ok(response) => response,
        Err(failure) if fate::of_failure(&failure) == Outcome::NotWritten && failure.is_transient() => {
            return Verdict::Retry(Learned::of_failure(failure));
        }
        Err(failure) => return Verdict::Fail(Learned::of_failure(failure)),
    };
    let Some((partition, leader)) = find(&response, index) else {
        return Verdict::missing();
    };
    let code = partition.error_code;
    match code {
        // Without an offset the batch was written, but nobody can say where.
        ErrorCode::NONE if partition.base_offset < 0 => Verdict::missing(),
        ErrorCode::NONE => Verdict::Done(Produced {
            base_offset: partition.base_offset,
            record_count: batch.record_count(),
            log_append_time: from_millis_if_any(partition.log_append_time_ms),
            encoded_size: batch.size_in_bytes(),
        }),
        _ => {
            let learned = Learned::of_code(code, partition.error_message.as_deref(), leader);
            let is_unwritten = fate::of_code(code) == Outcome::NotWritten;
            if is_unwritten && code.is_retriable() { Verdict::Retry(learned) } else { Verdict::Fail(learned) }
        }
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rskafka_protocol::messages::produce::TopicProduceResponse;
    use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};

    use super::*;

    fn batch() -> RecordBatch {
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(0, None, None)).unwrap();
        builder.build().unwrap()
    }

    fn answer(index: i32, error_code: ErrorCode, base_offset: i64) -> ProduceResponse {
        let partition = PartitionProduceResponse { index, error_code, base_offset, ..Default::default() };
        let topic = TopicProduceResponse { partition_responses: vec![partition], ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    }

    fn any_code() -> impl Strategy<Value = ErrorCode> {
        prop_oneof![prop::sample::select(ErrorCode::ALL.to_vec()), any::<i16>().prop_map(ErrorCode)]
    }

    proptest! {
        #[test]
        fn a_batch_that_may_be_written_is_never_sent_again(
            code in any_code(), index in 0..2i32, base_offset in -1..3i64,
        ) {
            let verdict = judge(0, &batch(), Ok(answer(index, code, base_offset)));
            match verdict {
                Verdict::Done(produced) => {
                    prop_assert!(code.is_ok() && index == 0 && base_offset >= 0);
                    prop_assert_eq!(produced.base_offset, base_offset);
                }
                Verdict::Retry(_) => {
                    prop_assert_eq!(fate::of_code(code), Outcome::NotWritten);
                    prop_assert!(index == 0 && code.is_retriable());
                }
                Verdict::Fail(learned) => {
                    let is_known = index == 0 && fate::of_code(code) == Outcome::NotWritten;
                    let outcome = fate::of_failure(&learned.failure);
                    prop_assert_eq!(outcome == Outcome::NotWritten, is_known);
                }
            }
        }
    }

    #[test]
    fn an_attempt_without_an_answer_is_made_again_only_if_surely_nothing_was_sent() {
        let failures = [
            (Failure::NoLeader, true),
            (Failure::StillConnecting { after: Duration::ZERO }, true),
            (Failure::OtherBroker { expected: 1, found: 2 }, true),
            (Failure::Closed, false),
            (Failure::TopicRecreated, false),
            (Failure::MissingInAnswer, false),
            (Failure::Code { code: ErrorCode::REQUEST_TIMED_OUT, message: None }, false),
        ];
        for (failure, is_made_again) in failures {
            let verdict = judge(0, &batch(), Err(failure.clone()));
            assert_eq!(matches!(verdict, Verdict::Retry(_)), is_made_again, "{failure}");
        }
    }
}
