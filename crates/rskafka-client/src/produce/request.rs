//! The Produce request for one batch, and what its answer says.

use std::borrow::Cow;
use std::ops::Range;

use rskafka_cluster::transport::CallOptions;
use rskafka_cluster::{Failure, Leader, LeaderHint, Learned};
use rskafka_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use time::OffsetDateTime;

use super::append::Append;
use super::sequencer::Attempt;
use crate::partition::{LAST_VERSION_BY_NAME, Partition};
use crate::time::from_millis_if_any;

/// Who must hold a batch before an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Acks {
    /// All in-sync replicas: acknowledged records survive as long as one of these does.
    #[default]
    All = -1,
    /// The leader alone: acknowledged records are lost with the leader.
    Leader = 1,
}

/// What a produce appended.
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

/// The request for an append. The broker may wait for replicas until the append's deadline, at most for one attempt.
pub(crate) fn produce(
    partition: &Partition,
    acks: Acks,
    leader: &Leader,
    append: &Append,
) -> (ProduceRequest, CallOptions) {
    let (topic_id, records) = (leader.topic_id, Some(append.batch.bytes().clone()));
    let data = PartitionProduceData { index: partition.index, records };
    let topic = TopicProduceData { name: partition.topic.to_string(), topic_id, partition_data: vec![data] };
    let request = ProduceRequest {
        transactional_id: None,
        acks: acks as i16,
        timeout_ms: partition.core.broker_timeout_ms(append.deadline),
        topic_data: vec![topic],
    };
    let max_version = topic_id.is_zero().then_some(LAST_VERSION_BY_NAME);
    (request, CallOptions { max_version, ..CallOptions::new(append.deadline) })
}

/// What an attempt came to.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) attempt: Attempt,
    /// Why it failed.
    pub(crate) learned: Option<Learned>,
    pub(crate) log_append_time: Option<OffsetDateTime>,
}

/// Judges an attempt by its answer, or by why there is none. `max_timestamp` is the batch's.
pub(crate) fn judge(index: i32, max_timestamp: i64, answered: Result<ProduceResponse, Failure>) -> Answered {
    let answered = answered.and_then(|response| find(response, index).ok_or(Failure::MissingInAnswer));
    let (answer, leader) = match answered {
        Ok(found) => found,
        Err(failure) => {
            let attempt = Attempt::failed(&failure);
            return Answered { attempt, learned: Some(Learned::of_failure(failure)), log_append_time: None };
        }
    };
    let attempt = Attempt::answered(&answer, max_timestamp);
    let learned = match attempt {
        Attempt::Refused(code) => Some(Learned::of_code(code, explanation(&answer).as_deref(), leader)),
        Attempt::Acknowledged { base_offset: None, .. } => {
            Some(Learned::of_failure(Failure::MissingInAnswer))
        }
        _ => None,
    };
    Answered { attempt, learned, log_append_time: from_millis_if_any(answer.log_append_time_ms) }
}

/// What the broker says of a refusal; of the first record that it refuses, if it names one.
fn explanation(answer: &PartitionProduceResponse) -> Option<Cow<'_, str>> {
    let Some(record) = answer.record_errors.first() else {
        return answer.error_message.as_deref().map(Cow::Borrowed);
    };
    let said = record.batch_index_error_message.as_deref().or(answer.error_message.as_deref());
    Some(format!("record {} of the batch: {}", record.batch_index, said.unwrap_or("refused")).into())
}

/// The answer for our partition, and the leader that it names. Its only topic is ours.
fn find(response: ProduceResponse, index: i32) -> Option<(PartitionProduceResponse, Option<LeaderHint>)> {
    let [topic] = <[_; 1]>::try_from(response.responses).ok()?;
    let partition = topic.partition_responses.into_iter().find(|partition| partition.index == index)?;
    let leader = &partition.current_leader;
    let nodes = response.node_endpoints.iter().map(|node| (node.node_id, node.host.as_str(), node.port));
    let hint = LeaderHint::of_answer(leader.leader_id, leader.leader_epoch, nodes);
    Some((partition, hint))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rskafka_protocol::ErrorCode;
    use rskafka_protocol::messages::produce::{BatchIndexAndErrorMessage, TopicProduceResponse};

    use super::*;
    use crate::error::Outcome;
    use crate::produce::sequencer::{Action, Idempotence, Options, Sequencer, Settled};

    fn answer(index: i32, error_code: ErrorCode, base_offset: i64) -> ProduceResponse {
        let partition = PartitionProduceResponse { index, error_code, base_offset, ..Default::default() };
        let topic = TopicProduceResponse { partition_responses: vec![partition], ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    }

    fn any_code() -> impl Strategy<Value = ErrorCode> {
        prop_oneof![prop::sample::select(ErrorCode::ALL.to_vec()), any::<i16>().prop_map(ErrorCode)]
    }

    /// The codes that a broker may answer although it has appended: KAFKA.md's and Kafka's own list.
    const AFTER_AN_APPEND: [ErrorCode; 13] = [
        ErrorCode::UNKNOWN_SERVER_ERROR,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::INCONSISTENT_TOPIC_ID,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
        ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::PRODUCER_FENCED,
    ];

    /// What comes of an attempt, and whether the batch may be written after it.
    fn attempt() -> impl Strategy<Value = (Result<ProduceResponse, Failure>, bool)> {
        let refused = any_code().prop_filter("an error", |code| !code.is_ok());
        let may_be_written = |code: ErrorCode| code.name().is_none() || AFTER_AN_APPEND.contains(&code);
        let known = prop::sample::select(vec![
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::CORRUPT_MESSAGE,
            ErrorCode::MESSAGE_TOO_LARGE,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ]);
        let unsent = || Failure::StillConnecting { after: Duration::ZERO, phase: None };
        prop_oneof![
            1 => refused.prop_filter_map("judged", move |code| {
                may_be_written(code).then(|| (Ok(answer(0, code, -1)), true))
            }),
            4 => known.prop_map(|code| (Ok(answer(0, code, -1)), false)),
            2 => Just(()).prop_map(move |()| (Err(unsent()), false)),
            1 => Just(()).prop_map(|()| (Err(Failure::NoLeader { code: None }), false)),
            1 => Just(()).prop_map(|()| (Err(Failure::MissingInAnswer), true)),
            1 => (1..3i32).prop_map(|index| (Ok(answer(index, ErrorCode::NONE, 0)), true)),
            1 => Just(()).prop_map(|()| (Ok(answer(0, ErrorCode::NONE, -1)), true)),
        ]
    }

    #[test]
    fn a_refused_record_is_named_by_its_index() {
        let mut answer = answer(0, ErrorCode::INVALID_RECORD, -1);
        let refused = BatchIndexAndErrorMessage {
            batch_index: 3,
            batch_index_error_message: Some("no key".to_owned()),
        };
        answer.responses[0].partition_responses[0].record_errors = vec![refused];
        let learned = judge(0, 0, Ok(answer)).learned.unwrap();
        assert!(
            learned.failure.to_string().ends_with("record 3 of the batch: no key"),
            "{}",
            learned.failure
        );
    }

    fn sequencer() -> Sequencer {
        let known_for = Duration::ZERO;
        let idempotence = Idempotence::Off;
        Sequencer::new(Options { max_in_flight: 1, idempotence, stop_on_failure: false, known_for })
    }

    /// Makes an attempt over a new lease, if the append is still to be sent. Returns its outcome once it has failed.
    fn attempt_again(sequencer: &mut Sequencer, ends: Attempt) -> Option<Outcome> {
        assert_eq!(sequencer.poll(|| 0), Some(Action::Lease));
        sequencer.leased(0);
        assert!(matches!(sequencer.poll(|| 0), Some(Action::Send { .. })));
        sequencer.attempt_ended(0, ends);
        sequencer.drain();
        match sequencer.poll(|| 0)? {
            Action::Settle { settled: Settled::Failed { outcome, .. }, .. } => Some(outcome),
            action => {
                assert_eq!(action, Action::Lease);
                sequencer.not_done();
                None
            }
        }
    }

    proptest! {
        #[test]
        fn a_batch_without_numbers_that_may_be_written_is_never_sent_again_nor_called_not_written(
            attempts in prop::collection::vec(attempt(), 1..8),
        ) {
            let mut sequencer = sequencer();
            sequencer.admit(1).unwrap();
            for (answered, written) in attempts {
                let judged = judge(0, 0, answered);
                if let Some(outcome) = attempt_again(&mut sequencer, judged.attempt) {
                    prop_assert_eq!(outcome, if written { Outcome::Unknown } else { Outcome::NotWritten });
                    break;
                }
                prop_assert!(!written, "it is sent again");
            }
        }

        #[test]
        fn only_a_success_with_an_offset_is_one(code in any_code(), index in 0..2i32, base_offset in -1..3i64) {
            let judged = judge(0, 7, Ok(answer(index, code, base_offset)));
            let is_success = code.is_ok() && index == 0 && base_offset >= 0;
            let success = Attempt::Acknowledged { base_offset: Some(base_offset), timestamp: 7 };
            prop_assert_eq!(judged.attempt == success, is_success);
            prop_assert_eq!(judged.learned.is_none(), is_success);
        }
    }

    #[test]
    fn an_attempt_without_an_answer_is_made_again_only_if_surely_nothing_was_sent() {
        let failures = [
            (Failure::NoLeader { code: None }, true),
            (Failure::StillConnecting { after: Duration::ZERO, phase: None }, true),
            (Failure::OtherBroker { expected: 1, found: 2 }, true),
            (Failure::Closed, false),
            (Failure::TopicRecreated, false),
            (Failure::MissingInAnswer, false),
            (Failure::Code { code: ErrorCode::REQUEST_TIMED_OUT, message: None }, false),
        ];
        for (failure, is_made_again) in failures {
            let mut sequencer = sequencer();
            sequencer.admit(1).unwrap();
            let has_failed =
                attempt_again(&mut sequencer, judge(0, 0, Err(failure.clone())).attempt).is_some();
            assert_eq!(has_failed, !is_made_again, "{failure}");
        }
    }
}
