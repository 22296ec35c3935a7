use bytes::Bytes;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::log::Span;
use super::super::producers::Origin;
use super::*;

fn partition() -> Partition {
    Partition::new(vec![1, 2, 3], |_| true)
}

/// Appends a batch of one record; gives its offset. Every batch has another content.
fn append(partition: &mut Partition, content: u8) -> i64 {
    let leader = partition.latest().unwrap();
    let base_offset = leader.log.end_offset();
    partition.append(Stored {
        base_offset,
        last_offset: base_offset,
        max_timestamp: 1000,
        leader_epoch: partition.leader_epoch,
        origin: Some(Origin {
            producer_id: 7,
            epoch: 0,
            first_sequence: i32::from(content),
            last_sequence: i32::from(content),
            transactional: false,
            marker: None,
        }),
        bytes: Bytes::from(vec![content]),
    });
    base_offset
}

/// A broker ends, which is noticed at once.
fn end(partition: &mut Partition, broker: i32, cleanly: bool) {
    partition.broker_stopped(broker, cleanly);
    partition.broker_missed(broker, false, false);
}

fn content(partition: &Partition, broker: i32) -> Vec<u8> {
    partition.replica(broker).unwrap().log.batches().map(|batch| batch.bytes[0]).collect()
}

fn committed(partition: &Partition) -> Vec<u8> {
    let leader = partition.latest().unwrap();
    let span = Span { offset: 0, end: leader.high_watermark, max_bytes: usize::MAX, at_least_one: true };
    leader.log.read(span).0.to_vec()
}

fn hold(partition: &mut Partition, broker: i32, held: bool) {
    partition.replica_mut(broker).unwrap().held = held;
    partition.replicate();
}

#[test]
fn what_one_in_sync_has_not_is_not_committed() {
    let mut partition = partition();
    append(&mut partition, 0);
    hold(&mut partition, 2, true);
    append(&mut partition, 1);
    assert_eq!((committed(&partition), content(&partition, 1)), (vec![0], vec![0, 1]));
    assert_eq!((content(&partition, 2), content(&partition, 3)), (vec![0], vec![0, 1]));
    hold(&mut partition, 2, false);
    assert_eq!((committed(&partition), content(&partition, 2)), (vec![0, 1], vec![0, 1]));
}

#[test]
fn a_new_leader_that_lacks_what_was_not_committed_takes_it_from_the_others() {
    let mut partition = partition();
    append(&mut partition, 0);
    hold(&mut partition, 2, true);
    append(&mut partition, 1);
    partition.elect(Some(2));
    assert_eq!(content(&partition, 1), [0], "it never was committed");
    let offset = append(&mut partition, 2);
    assert_eq!((offset, content(&partition, 1)), (1, vec![0, 2]));
    let end = partition.replica(1).unwrap().log.end_of_epoch(0).unwrap();
    assert_eq!((end.epoch, end.end_offset), (0, 1));
}

#[test]
fn a_new_leader_does_not_know_the_high_watermark_until_the_others_have_come_as_far() {
    let mut partition = partition();
    append(&mut partition, 0);
    hold(&mut partition, 3, true);
    append(&mut partition, 1);
    partition.elect(Some(2));
    let leader = partition.latest().unwrap();
    assert_eq!((leader.high_watermark, leader.log.latest_epoch_begin()), (1, 2));
    hold(&mut partition, 3, false);
    assert_eq!(partition.latest().unwrap().high_watermark, 2);
}

#[test]
fn an_unclean_election_loses_what_the_new_leader_has_not() {
    let mut partition = partition();
    append(&mut partition, 0);
    hold(&mut partition, 3, true);
    partition.isr = vec![1, 2];
    append(&mut partition, 1);
    assert_eq!(committed(&partition), [0, 1]);
    hold(&mut partition, 3, true);
    partition.elect_unclean(3);
    assert_eq!((partition.isr.clone(), committed(&partition)), (vec![3, 1, 2], vec![0]));
    append(&mut partition, 9);
    for broker in 1..=3 {
        assert_eq!(content(&partition, broker), [0, 9]);
    }
}

#[test]
fn a_broker_that_restarts_knows_of_each_producer_the_last_batch_only_and_then_what_is_written() {
    for cleanly in [false, true] {
        let mut partition = Partition::new(vec![1], |_| true);
        for n in 0..3 {
            append(&mut partition, n);
        }
        end(&mut partition, 1, cleanly);
        assert_eq!(partition.leader, None);
        partition.broker_started(1, false, 1000, 1000);
        assert_eq!(partition.leader, Some(1));
        let is_known = |partition: &Partition, sequence: i32| {
            let producers = &partition.latest().unwrap().producers;
            let origin = Origin {
                producer_id: 7,
                epoch: 0,
                first_sequence: sequence,
                last_sequence: sequence,
                transactional: false,
                marker: None,
            };
            let rules = crate::state::Rules { fences: true, wraps: true };
            matches!(producers.check(&origin, rules), Ok(crate::state::Sequenced::Duplicate(_)))
        };
        let known = |partition: &Partition| -> Vec<_> {
            (0..10).filter(|sequence| is_known(partition, *sequence)).collect()
        };
        assert_eq!(known(&partition), [2], "cleanly: {cleanly}");
        append(&mut partition, 3);
        assert_eq!(known(&partition), [2, 3]);
        // Truncated while it runs, it reads the snapshot and what is behind it.
        append(&mut partition, 4);
        partition.leading_mut().unwrap().truncate(4);
        assert_eq!(known(&partition), [2, 3]);
    }
}

#[test]
fn a_snapshot_is_no_use_when_its_batches_are_gone_or_too_old() {
    let known = |partition: &Partition| partition.latest().unwrap().producers.iter().count();
    let mut partition = Partition::new(vec![1], |_| true);
    for n in 0..3 {
        append(&mut partition, n);
    }
    partition.leading_mut().unwrap().log.delete_before(2);
    end(&mut partition, 1, true);
    partition.broker_started(1, false, 1000, 1000);
    assert_eq!(known(&partition), 1, "the last batch is there");
    partition.leading_mut().unwrap().log.delete_before(3);
    assert_eq!(known(&partition), 1, "a running broker forgets nothing");
    end(&mut partition, 1, true);
    partition.broker_started(1, false, 1000, 1000);
    assert_eq!(known(&partition), 0);

    append(&mut partition, 3);
    end(&mut partition, 1, true);
    partition.broker_started(1, false, 2000, 1000);
    assert_eq!(known(&partition), 0, "expired by its own timestamp");
}

#[test]
fn a_replica_far_behind_begins_where_the_leader_does() {
    let mut partition = partition();
    append(&mut partition, 0);
    hold(&mut partition, 2, true);
    partition.isr = vec![1, 3];
    for n in 1..4 {
        append(&mut partition, n);
    }
    partition.leading_mut().unwrap().log.delete_before(3);
    hold(&mut partition, 2, false);
    assert_eq!(content(&partition, 2), [3]);
    let log = &partition.replica(2).unwrap().log;
    assert_eq!((log.start_offset(), log.end_offset()), (3, 4));
}

#[derive(Debug, Clone)]
enum Event {
    Append,
    Hold(i32, bool),
    Shrink(i32),
    Stop(i32, bool),
    Miss(i32),
    Start(i32),
    Move(i32),
    DeleteHalf,
}

fn event() -> impl Strategy<Value = Event> {
    let broker = 1..=3i32;
    prop_oneof![
        6 => Just(Event::Append),
        2 => (broker.clone(), any::<bool>()).prop_map(|(broker, held)| Event::Hold(broker, held)),
        1 => broker.clone().prop_map(Event::Shrink),
        2 => (broker.clone(), any::<bool>()).prop_map(|(broker, clean)| Event::Stop(broker, clean)),
        1 => broker.clone().prop_map(Event::Miss),
        3 => broker.clone().prop_map(Event::Start),
        2 => broker.prop_map(Event::Move),
        1 => Just(Event::DeleteHalf),
    ]
}

proptest! {
    /// Whatever happens short of an unclean election: what was committed stays committed, at its offset,
    /// and in the end every copy is the same, less what was deleted.
    #[test]
    fn nothing_committed_is_ever_lost(events in prop::collection::vec(event(), 1..80)) {
        let mut partition = partition();
        let mut acknowledged: Vec<(i64, u8)> = Vec::new();
        let mut next = 0;
        // Ended, and not yet noticed.
        let mut missing = BTreeSet::new();
        for event in events {
            let has_leader = partition.leading_mut().is_some();
            match event {
                Event::Append if has_leader => {
                    let offset = append(&mut partition, next);
                    if partition.latest().unwrap().high_watermark > offset {
                        acknowledged.push((offset, next));
                    }
                    next = next.wrapping_add(1);
                }
                Event::Hold(broker, held) if partition.leader != Some(broker) => {
                    hold(&mut partition, broker, held);
                }
                Event::Shrink(broker) if partition.leader != Some(broker) && partition.isr.len() > 1 => {
                    let replica = partition.replica(broker).unwrap();
                    if replica.held || !replica.alive {
                        partition.isr.retain(|&id| id != broker);
                        partition.replicate();
                    }
                }
                Event::Stop(broker, clean) if partition.replica(broker).unwrap().alive => {
                    partition.broker_stopped(broker, clean);
                    missing.insert(broker);
                    if clean {
                        partition.broker_missed(broker, false, false);
                        missing.remove(&broker);
                    }
                }
                Event::Miss(broker) if missing.remove(&broker) => {
                    partition.broker_missed(broker, false, false);
                }
                Event::Start(broker) if !partition.replica(broker).unwrap().alive => {
                    if missing.remove(&broker) {
                        partition.broker_missed(broker, false, false);
                    }
                    partition.broker_started(broker, false, 1000, 1000);
                }
                Event::Move(broker) => {
                    let can = partition.isr.contains(&broker) && partition.replica(broker).unwrap().alive;
                    if can {
                        partition.elect(Some(broker));
                    }
                }
                Event::DeleteHalf if has_leader => {
                    let leader = partition.leading_mut().unwrap();
                    let before = (leader.log.start_offset() + leader.high_watermark) / 2;
                    leader.log.delete_before(before);
                    acknowledged.retain(|(offset, _)| *offset >= before);
                    partition.replicate();
                }
                _ => {}
            }
            if let Some(leader) = partition.leader {
                prop_assert!(partition.isr.contains(&leader));
                let leader = partition.replica(leader).unwrap();
                prop_assert!(leader.alive || missing.contains(&leader.broker));
                prop_assert!(leader.high_watermark <= leader.log.end_offset());
            }
        }
        for broker in 1..=3 {
            if missing.remove(&broker) {
                partition.broker_missed(broker, false, false);
            }
            if !partition.replica(broker).unwrap().alive {
                partition.broker_started(broker, false, 1000, 1000);
            }
            partition.replica_mut(broker).unwrap().held = false;
        }
        partition.replicate();
        prop_assert!(partition.leader.is_some());
        // A copy that was held may have missed a deletion.
        let start = partition.replicas.iter().map(|replica| replica.log.start_offset()).max().unwrap();
        let copies = [1, 2, 3].map(|broker| {
            let log = &partition.replica(broker).unwrap().log;
            let kept = log.batches().filter(|batch| batch.base_offset >= start);
            kept.map(|batch| batch.bytes[0]).collect::<Vec<_>>()
        });
        prop_assert_eq!(&copies[0], &copies[1]);
        prop_assert_eq!(&copies[0], &copies[2]);
        let log = &partition.latest().unwrap().log;
        let stored: Vec<_> = log.batches().map(|batch| (batch.base_offset, batch.bytes[0])).collect();
        for batch in acknowledged.into_iter().filter(|(offset, _)| *offset >= start) {
            prop_assert!(stored.contains(&batch), "{:?} of {:?}", batch, stored);
        }
    }
}
