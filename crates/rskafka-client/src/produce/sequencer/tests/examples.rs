//! Single stories: what the random ones do not show by themselves.

use std::time::Duration;

use rskafka_cluster::Failure;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::produce::PartitionProduceResponse;

use super::super::{
    Action, Attempt, Closed, Idempotence, Numbers, Options, Producer, Reason, Sequencer, Settled, Verified,
};
use crate::error::Outcome;

const NOW: i64 = 1_700_000_000_000;
const PRODUCER: Producer = Producer { id: 7, epoch: 0 };
const NEXT_EPOCH: Producer = Producer { id: 7, epoch: 1 };

fn sequencer() -> Sequencer {
    let mut sequencer = Sequencer::new(Options {
        max_in_flight: 5,
        idempotence: Idempotence::Epochs,
        stop_on_failure: false,
        known_for: Duration::from_secs(3600),
    });
    sequencer.offer(PRODUCER);
    sequencer.leased(3);
    assert!(!sequencer.lacks_producer());
    sequencer
}

/// One batch acknowledged at offset 10, so that the partition knows the producer.
fn known() -> Sequencer {
    let mut sequencer = sequencer();
    admit(&mut sequencer, 1);
    assert_eq!(polled(&mut sequencer), [send(0, PRODUCER, 0)]);
    sequencer.attempt_ended(0, at(10));
    assert_eq!(polled(&mut sequencer), [written(0, 10)]);
    sequencer
}

fn polled(sequencer: &mut Sequencer) -> Vec<Action> {
    std::iter::from_fn(|| sequencer.poll(|| NOW)).collect()
}

fn admit(sequencer: &mut Sequencer, appends: usize) {
    for _ in 0..appends {
        sequencer.admit(2).unwrap();
    }
}

fn send(number: u64, producer: Producer, base_sequence: i32) -> Action {
    Action::Send { number, numbers: Some(Numbers { producer, base_sequence }) }
}

fn at(base_offset: i64) -> Attempt {
    Attempt::Acknowledged { base_offset: Some(base_offset), timestamp: NOW }
}

fn written(number: u64, base_offset: i64) -> Action {
    Action::Settle { number, settled: Settled::Written { base_offset } }
}

fn failed(number: u64, outcome: Outcome, reason: Reason) -> Action {
    Action::Settle { number, settled: Settled::Failed { outcome, reason } }
}

const OUT_OF_ORDER: Attempt = Attempt::Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);

#[test]
fn the_first_batch_of_a_producer_goes_alone_and_the_next_five_together() {
    let mut sequencer = sequencer();
    admit(&mut sequencer, 7);
    assert_eq!(polled(&mut sequencer), [send(0, PRODUCER, 0)]);
    sequencer.attempt_ended(0, at(0));
    let together: Vec<_> = (1..6).map(|number| send(number, PRODUCER, 2 * number as i32)).collect();
    assert_eq!(polled(&mut sequencer), [vec![written(0, 0)], together].concat());
}

#[test]
fn batches_with_old_timestamps_go_one_by_one() {
    let mut sequencer = sequencer();
    admit(&mut sequencer, 3);
    polled(&mut sequencer);
    let long_ago = NOW - 2 * 24 * 3600 * 1000;
    sequencer.attempt_ended(0, Attempt::Acknowledged { base_offset: Some(0), timestamp: long_ago });
    assert_eq!(polled(&mut sequencer), [written(0, 0), send(1, PRODUCER, 2)]);
}

#[test]
fn all_unsettled_batches_are_sent_again_in_order_under_the_same_numbers() {
    let mut sequencer = known();
    admit(&mut sequencer, 3);
    polled(&mut sequencer);
    sequencer.attempt_ended(1, Attempt::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    sequencer.attempt_ended(2, OUT_OF_ORDER);
    assert_eq!(polled(&mut sequencer), [], "an answer is outstanding");
    sequencer.attempt_ended(3, OUT_OF_ORDER);
    assert_eq!(polled(&mut sequencer), [Action::Lease]);
    sequencer.leased(3);
    assert_eq!(polled(&mut sequencer), [send(1, PRODUCER, 2)]);
    sequencer.attempt_ended(1, at(12));
    assert_eq!(polled(&mut sequencer), [written(1, 12), send(2, PRODUCER, 4), send(3, PRODUCER, 6)]);
}

#[test]
fn a_later_answer_settles_no_earlier_append() {
    let mut sequencer = known();
    admit(&mut sequencer, 2);
    polled(&mut sequencer);
    sequencer.attempt_ended(1, Attempt::Refused(ErrorCode::REQUEST_TIMED_OUT));
    sequencer.attempt_ended(2, at(14));
    assert_eq!(polled(&mut sequencer), [written(2, 14), Action::Lease]);
    sequencer.leased(3);
    assert_eq!(polled(&mut sequencer), [send(1, PRODUCER, 2)]);
    sequencer.attempt_ended(1, at(12));
    assert_eq!(polled(&mut sequencer), [written(1, 12)]);
}

#[test]
fn after_an_unknown_outcome_what_was_never_in_doubt_begins_a_new_epoch() {
    let mut sequencer = known();
    admit(&mut sequencer, 3);
    polled(&mut sequencer);
    let unanswered = Attempt::Unanswered { outcome: Outcome::Unknown, is_transient: true };
    sequencer.attempt_ended(1, unanswered);
    sequencer.attempt_ended(2, unanswered);
    sequencer.attempt_ended(3, Attempt::Unanswered { outcome: Outcome::NotWritten, is_transient: true });
    sequencer.give_up(1);
    assert_eq!(polled(&mut sequencer), [failed(1, Outcome::Unknown, Reason::GivenUp), Action::Lease]);
    sequencer.leased(3);
    assert_eq!(
        polled(&mut sequencer),
        [send(2, PRODUCER, 4)],
        "it may be written: only the old numbers can tell"
    );
    sequencer.attempt_ended(2, OUT_OF_ORDER);
    let settled = failed(2, Outcome::Unknown, Reason::OutOfSequence);
    assert_eq!(polled(&mut sequencer), [settled, Action::Lease]);
    sequencer.leased(3);
    let [Action::Verify(last)] = polled(&mut sequencer)[..] else { panic!("the log is not read") };
    assert_eq!((last.base_offset, last.numbers), (10, Numbers { producer: PRODUCER, base_sequence: 0 }));
    sequencer.verified(Verified::Kept);
    assert_eq!(polled(&mut sequencer), [send(3, NEXT_EPOCH, 0)]);
}

#[test]
fn out_of_order_at_the_head_is_a_loss_only_if_the_last_acknowledged_batch_is_gone() {
    for verified in [Verified::Kept, Verified::Unreadable, Verified::Lost { first_lost: 9 }] {
        let mut sequencer = known();
        admit(&mut sequencer, 2);
        polled(&mut sequencer);
        sequencer.attempt_ended(1, OUT_OF_ORDER);
        sequencer.attempt_ended(2, OUT_OF_ORDER);
        assert_eq!(polled(&mut sequencer), [Action::Lease]);
        sequencer.leased(3);
        assert!(matches!(polled(&mut sequencer)[..], [Action::Verify(_)]));
        sequencer.verified(verified);
        if let Verified::Lost { first_lost } = verified {
            let reason = Reason::Closed(Closed::Truncated { first_lost });
            let settled = [failed(1, Outcome::Unknown, reason), failed(2, Outcome::NotWritten, reason)];
            assert_eq!(polled(&mut sequencer), settled);
            assert_eq!(sequencer.admit(1), Err(Closed::Truncated { first_lost }));
        } else {
            assert_eq!(polled(&mut sequencer), [send(1, NEXT_EPOCH, 0)], "{verified:?}");
        }
    }
}

#[test]
fn an_append_behind_one_that_comes_after_it_is_unknown_and_the_log_is_looked_at() {
    for verified in [Verified::Kept, Verified::Lost { first_lost: 12 }] {
        let mut sequencer = known();
        admit(&mut sequencer, 3);
        polled(&mut sequencer);
        // The first may be written; the second is. The broker forgets, and takes the first at the end of the log.
        sequencer.attempt_ended(1, Attempt::Refused(ErrorCode::REQUEST_TIMED_OUT));
        sequencer.attempt_ended(2, at(14));
        sequencer.attempt_ended(3, at(16));
        assert_eq!(polled(&mut sequencer), [written(2, 14), written(3, 16), Action::Lease]);
        sequencer.leased(3);
        assert_eq!(polled(&mut sequencer), [send(1, PRODUCER, 2)]);
        sequencer.attempt_ended(1, at(18));
        let settled = failed(1, Outcome::Unknown, Reason::OutOfSequence);
        admit(&mut sequencer, 1);
        assert_eq!(polled(&mut sequencer), [settled, Action::Lease]);
        sequencer.leased(3);
        let [Action::Verify(last)] = polled(&mut sequencer)[..] else { panic!("the log is not read") };
        assert_eq!(last.base_offset, 16);
        sequencer.verified(verified);
        let next = match verified {
            Verified::Lost { first_lost } => {
                failed(4, Outcome::NotWritten, Reason::Closed(Closed::Truncated { first_lost }))
            }
            _ => send(4, NEXT_EPOCH, 0),
        };
        assert_eq!(polled(&mut sequencer), [next]);
    }
}

#[test]
fn a_new_leader_is_read_before_anything_is_sent_to_it() {
    let mut sequencer = known();
    sequencer.drain();
    admit(&mut sequencer, 1);
    assert_eq!(polled(&mut sequencer), [Action::Lease]);
    sequencer.leased(4);
    assert!(matches!(polled(&mut sequencer)[..], [Action::Verify(_)]));
    sequencer.verified(Verified::Lost { first_lost: 10 });
    let reason = Reason::Closed(Closed::Truncated { first_lost: 10 });
    assert_eq!(polled(&mut sequencer), [failed(1, Outcome::NotWritten, reason)], "it was never sent");
}

#[test]
fn the_batch_that_is_read_is_the_last_in_the_order_of_the_calls() {
    let mut sequencer = known();
    admit(&mut sequencer, 2);
    polled(&mut sequencer);
    sequencer.attempt_ended(1, Attempt::Refused(ErrorCode::REQUEST_TIMED_OUT));
    sequencer.attempt_ended(2, at(14));
    polled(&mut sequencer);
    sequencer.leased(3);
    polled(&mut sequencer);
    sequencer.attempt_ended(1, at(12));
    sequencer.drain();
    admit(&mut sequencer, 1);
    assert_eq!(polled(&mut sequencer), [written(1, 12), Action::Lease]);
    sequencer.leased(4);
    let [Action::Verify(last)] = polled(&mut sequencer)[..] else { panic!("the log is not read") };
    assert_eq!((last.base_offset, last.numbers.base_sequence), (14, 4));
}

#[test]
fn a_lasting_refusal_fails_one_append_and_those_behind_it_begin_a_new_epoch() {
    let mut sequencer = known();
    admit(&mut sequencer, 2);
    polled(&mut sequencer);
    let too_large = ErrorCode::MESSAGE_TOO_LARGE;
    sequencer.attempt_ended(1, Attempt::Refused(too_large));
    assert_eq!(polled(&mut sequencer), [failed(1, Outcome::NotWritten, Reason::Refused(too_large))]);
    sequencer.attempt_ended(2, OUT_OF_ORDER);
    polled(&mut sequencer);
    sequencer.leased(3);
    polled(&mut sequencer);
    sequencer.verified(Verified::Kept);
    assert_eq!(polled(&mut sequencer), [send(2, NEXT_EPOCH, 0)]);
}

#[test]
fn a_lasting_refusal_after_an_attempt_without_an_answer_leaves_the_append_unknown() {
    let mut sequencer = known();
    admit(&mut sequencer, 1);
    polled(&mut sequencer);
    sequencer.attempt_ended(1, Attempt::Unanswered { outcome: Outcome::Unknown, is_transient: true });
    assert_eq!(polled(&mut sequencer), [Action::Lease]);
    sequencer.leased(3);
    assert_eq!(polled(&mut sequencer), [send(1, PRODUCER, 2)]);
    let denied = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    sequencer.attempt_ended(1, Attempt::Refused(denied));
    assert_eq!(polled(&mut sequencer), [failed(1, Outcome::Unknown, Reason::Refused(denied))]);
}

#[test]
fn what_can_never_be_answered_well_is_not_sent_again() {
    let duplicate = Attempt::Refused(ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    let invalid = Attempt::Unanswered { outcome: Outcome::Unknown, is_transient: false };
    for (attempt, reason) in [(duplicate, Reason::NoOffset), (invalid, Reason::Unanswered)] {
        let mut sequencer = known();
        admit(&mut sequencer, 1);
        polled(&mut sequencer);
        sequencer.attempt_ended(1, attempt);
        assert_eq!(polled(&mut sequencer), [failed(1, Outcome::Unknown, reason)]);
    }
}

#[test]
fn there_is_room_until_as_many_appends_are_held_as_may_be_in_flight() {
    let mut sequencer = sequencer();
    admit(&mut sequencer, 4);
    assert!(sequencer.has_room());
    admit(&mut sequencer, 1);
    assert!(!sequencer.has_room());
    polled(&mut sequencer);
    sequencer.attempt_ended(0, at(0));
    assert!(sequencer.has_room());
}

#[test]
fn what_a_broker_answers_is_what_the_sequencer_is_told() {
    let answer = PartitionProduceResponse { base_offset: 5, log_append_time_ms: -1, ..Default::default() };
    let expected = Attempt::Acknowledged { base_offset: Some(5), timestamp: 77 };
    assert_eq!(Attempt::answered(&answer, 77), expected);
    let answer = PartitionProduceResponse { base_offset: -1, log_append_time_ms: 99, ..answer };
    let expected = Attempt::Acknowledged { base_offset: None, timestamp: 99 };
    assert_eq!(Attempt::answered(&answer, 77), expected);
    let error_code = ErrorCode::NOT_ENOUGH_REPLICAS;
    let answer = PartitionProduceResponse { error_code, ..answer };
    assert_eq!(Attempt::answered(&answer, 77), Attempt::Refused(error_code));
    let unsent = Attempt::Unanswered { outcome: Outcome::NotWritten, is_transient: true };
    assert_eq!(Attempt::failed(&Failure::DeadlineBeforeSend), unsent);
    let invalid = Attempt::Unanswered { outcome: Outcome::Unknown, is_transient: false };
    assert_eq!(Attempt::failed(&Failure::MissingInAnswer), invalid);
}

#[test]
fn an_append_costs_no_allocation_once_there_is_memory_for_the_window() {
    let mut sequencer = known();
    let mut append = |number: u64| {
        admit(&mut sequencer, 1);
        while sequencer.poll(|| NOW).is_some() {}
        sequencer.attempt_ended(number, at(10 + 2 * number as i64));
        while sequencer.poll(|| NOW).is_some() {}
    };
    (1..10).for_each(&mut append);
    let counted = allocation_counter::measure(|| (10..100).for_each(&mut append));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
