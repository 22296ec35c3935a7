use proptest::prelude::*;

use super::*;

const KAFKA: Rules = Rules { fences: true, wraps: true };
const REDPANDA: Rules = Rules { fences: false, wraps: false };

fn origin(epoch: i16, first: i32, records: i32) -> Origin {
    let last_sequence = first.wrapping_add(records - 1) & i32::MAX;
    Origin { producer_id: 7, epoch, first_sequence: first, last_sequence, transactional: false, marker: None }
}

/// Sends batches of one producer one after the other; what is taken gets the next offset.
fn send(producers: &mut Producers, rules: Rules, batch: Origin, offset: &mut i64) -> Result<i64, ErrorCode> {
    match producers.check(&batch, rules)? {
        Sequenced::Duplicate(known) => Ok(known.base_offset),
        Sequenced::Append => {
            let base_offset = *offset;
            *offset += i64::from(batch.last_sequence.wrapping_sub(batch.first_sequence) & i32::MAX) + 1;
            producers.appended(&batch, base_offset, *offset - 1, 1000);
            Ok(base_offset)
        }
    }
}

const OUT_OF_ORDER: Result<i64, ErrorCode> = Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
const OLD_EPOCH: Result<i64, ErrorCode> = Err(ErrorCode::INVALID_PRODUCER_EPOCH);

#[test]
fn the_last_five_batches_are_answered_with_their_offsets_and_older_ones_are_out_of_order() {
    let (mut producers, mut offset) = (Producers::default(), 100);
    for sequence in 0..7 {
        assert_eq!(
            send(&mut producers, KAFKA, origin(0, sequence, 1), &mut offset),
            Ok(100 + i64::from(sequence))
        );
    }
    for sequence in 2..7 {
        assert_eq!(
            send(&mut producers, KAFKA, origin(0, sequence, 1), &mut offset),
            Ok(100 + i64::from(sequence))
        );
    }
    for sequence in [0, 1, 8] {
        assert_eq!(send(&mut producers, KAFKA, origin(0, sequence, 1), &mut offset), OUT_OF_ORDER);
    }
    assert_eq!(send(&mut producers, KAFKA, origin(0, 6, 2), &mut offset), OUT_OF_ORDER, "not the same range");
    assert_eq!(offset, 107);
}

#[test]
fn a_producer_that_is_not_known_is_taken_at_any_sequence() {
    let (mut producers, mut offset) = (Producers::default(), 0);
    assert_eq!(send(&mut producers, KAFKA, origin(3, 17, 2), &mut offset), Ok(0));
    assert_eq!(send(&mut producers, KAFKA, origin(3, 19, 1), &mut offset), Ok(2));
    assert_eq!(send(&mut producers, KAFKA, origin(3, 21, 1), &mut offset), OUT_OF_ORDER);
}

#[test]
fn a_new_epoch_begins_at_0_and_ends_the_old_one() {
    let (mut producers, mut offset) = (Producers::default(), 0);
    assert_eq!(send(&mut producers, KAFKA, origin(0, 0, 2), &mut offset), Ok(0));
    assert_eq!(send(&mut producers, KAFKA, origin(1, 2, 1), &mut offset), OUT_OF_ORDER);
    assert_eq!(
        send(&mut producers, KAFKA, origin(0, 2, 1), &mut offset),
        Ok(2),
        "it only fences when it is written"
    );
    assert_eq!(send(&mut producers, KAFKA, origin(1, 0, 1), &mut offset), Ok(3));
    assert_eq!(send(&mut producers, KAFKA, origin(0, 3, 1), &mut offset), OLD_EPOCH);
    assert_eq!(send(&mut producers, KAFKA, origin(0, 0, 2), &mut offset), OLD_EPOCH);
    assert_eq!(send(&mut producers, KAFKA, origin(1, 0, 1), &mut offset), Ok(3));
}

#[test]
fn sequences_wrap_to_0() {
    let (mut producers, mut offset) = (Producers::default(), 0);
    assert_eq!(send(&mut producers, KAFKA, origin(0, i32::MAX - 1, 1), &mut offset), Ok(0));
    let over_the_end = origin(0, i32::MAX, 3);
    assert_eq!(over_the_end.last_sequence, 1);
    assert_eq!(send(&mut producers, KAFKA, over_the_end, &mut offset), Ok(1));
    assert_eq!(send(&mut producers, KAFKA, over_the_end, &mut offset), Ok(1));
    assert_eq!(send(&mut producers, KAFKA, origin(0, 2, 1), &mut offset), Ok(4));

    let (mut producers, mut offset) = (Producers::default(), 0);
    assert_eq!(send(&mut producers, REDPANDA, over_the_end, &mut offset), OUT_OF_ORDER);
    assert_eq!(send(&mut producers, REDPANDA, origin(0, i32::MAX, 1), &mut offset), Ok(0));
    assert_eq!(send(&mut producers, REDPANDA, origin(0, 0, 1), &mut offset), Ok(1));
}

#[test]
fn without_fences_an_old_epoch_is_judged_by_its_sequence_alone() {
    let (mut producers, mut offset) = (Producers::default(), 0);
    assert_eq!(send(&mut producers, REDPANDA, origin(0, 0, 1), &mut offset), Ok(0));
    assert_eq!(send(&mut producers, REDPANDA, origin(1, 0, 1), &mut offset), Ok(1));
    assert_eq!(send(&mut producers, REDPANDA, origin(0, 0, 1), &mut offset), Ok(1), "another's offset");
    assert_eq!(send(&mut producers, REDPANDA, origin(0, 1, 1), &mut offset), Ok(2), "taken");
}

#[test]
fn a_snapshot_holds_the_last_batch_only() {
    let (mut producers, mut offset) = (Producers::default(), 0);
    for sequence in 0..3 {
        send(&mut producers, KAFKA, origin(0, sequence, 1), &mut offset).unwrap();
    }
    let mut producers = producers.snapshot();
    assert_eq!(send(&mut producers, KAFKA, origin(0, 2, 1), &mut offset), Ok(2));
    assert_eq!(send(&mut producers, KAFKA, origin(0, 1, 1), &mut offset), OUT_OF_ORDER);
    assert_eq!(send(&mut producers, KAFKA, origin(0, 3, 1), &mut offset), Ok(3));
}

#[test]
fn producers_expire_by_the_time_of_their_last_batch_unless_in_a_transaction() {
    let mut producers = Producers::default();
    producers.appended(&origin(0, 0, 1), 0, 0, 1000);
    let open = Origin { producer_id: 8, transactional: true, ..origin(0, 0, 1) };
    producers.appended(&open, 1, 1, 1000);
    producers.expire(1999, 1000);
    assert_eq!(producers.iter().count(), 2);
    producers.expire(2000, 1000);
    assert_eq!(producers.iter().map(|(id, _)| id).collect::<Vec<_>>(), [8]);
    producers.appended(&Origin { marker: Some(true), ..open }, 2, 2, 1000);
    producers.expire(2000, 1000);
    assert_eq!(producers.iter().count(), 0);
}

proptest! {
    /// Whatever a producer sends: within an epoch the log has each sequence number once and in order, and
    /// a batch that is answered with an offset stands there.
    #[test]
    fn what_is_acknowledged_is_in_the_log_once(
        sent in prop::collection::vec((0i16..3, 0i32..12, 1i32..4), 1..60),
    ) {
        let (mut producers, mut offset) = (Producers::default(), 0);
        let mut log: Vec<(i64, Origin)> = Vec::new();
        for (epoch, first, records) in sent {
            let batch = origin(epoch, first, records);
            let end = offset;
            match send(&mut producers, KAFKA, batch, &mut offset) {
                Ok(at) if at == end => log.push((at, batch)),
                Ok(at) => prop_assert!(log.contains(&(at, batch))),
                Err(_) => prop_assert_eq!(offset, end),
            }
        }
        for pair in log.windows(2) {
            let (before, after) = (pair[0].1, pair[1].1);
            let is_next = after.epoch == before.epoch && after.first_sequence == before.last_sequence + 1;
            prop_assert!(is_next || (after.epoch > before.epoch && after.first_sequence == 0));
        }
    }
}
