//! Leaders over time: what answers and hints may and may not change.

use proptest::prelude::*;
use rskafka_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition};

use super::*;

fn answer(id: u8, leader_id: i32, leader_epoch: i32) -> MetadataResponse {
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: format!("broker-{node_id}"),
        port: 9092,
        ..Default::default()
    };
    let partition = MetadataResponsePartition {
        leader_id,
        leader_epoch,
        replica_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    MetadataResponse {
        brokers: (1..=3).map(broker).collect(),
        topics: vec![MetadataResponseTopic {
            name: Some("wal".to_owned()),
            topic_id: Uuid([id; 16]),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The id of the topic in an answer with id 1.
const ID: Uuid = Uuid([1; 16]);

fn hint(leader_id: i32, leader_epoch: i32) -> LeaderHint {
    LeaderHint { leader_id, leader_epoch, endpoint: Endpoint::new(format!("broker-{leader_id}"), 9092) }
}

fn apply(metadata: &mut Metadata, version: i16, answer: &MetadataResponse, is_list_of_all: bool) -> Topics {
    let mut answer = answer.clone();
    let topics = topics_of(version, std::mem::take(&mut answer.topics));
    metadata.apply(&answer, topics, is_list_of_all)
}

fn is_asked_for(metadata: &Metadata) -> bool {
    matches!(metadata.leader("wal", 0), Ok(None))
}

fn leader_of(metadata: &Metadata) -> Option<(i32, Option<i32>)> {
    match metadata.leader("wal", 0) {
        Ok(Some(leader)) => Some((leader.broker.id, leader.epoch)),
        _ => None,
    }
}

proptest! {
    #[test]
    fn the_leader_epoch_never_goes_backwards(events in prop::collection::vec((1..=3i32, 0..20i32, any::<bool>()), 1..30)) {
        let mut metadata = Metadata::default();
        let mut highest = -1;
        for (leader, epoch, is_hint) in events {
            if is_hint {
                metadata.apply_hint("wal", ID, 0, &hint(leader, epoch));
            } else {
                apply(&mut metadata, 12, &answer(1, leader, epoch), false);
            }
            let epoch = leader_of(&metadata).and_then(|(_, epoch)| epoch).unwrap_or(highest);
            prop_assert!(epoch >= highest);
            highest = epoch;
        }
    }
}

#[test]
fn an_older_answer_is_dropped_and_a_newer_one_taken() {
    let mut metadata = Metadata::default();
    apply(&mut metadata, 12, &answer(1, 1, 5), false);
    apply(&mut metadata, 12, &answer(1, 2, 4), false);
    assert_eq!(leader_of(&metadata), Some((1, Some(5))));
    apply(&mut metadata, 12, &answer(1, 3, 6), false);
    assert_eq!(leader_of(&metadata), Some((3, Some(6))));
}

#[test]
fn a_topic_that_was_deleted_and_created_again_has_epochs_of_its_own() {
    let mut metadata = Metadata::default();
    apply(&mut metadata, 12, &answer(1, 1, 5), false);
    apply(&mut metadata, 12, &answer(2, 2, 0), false);
    assert_eq!(leader_of(&metadata), Some((2, Some(0))));
}

#[test]
fn epochs_below_version_nine_are_not_judged_by() {
    let mut metadata = Metadata::default();
    apply(&mut metadata, 8, &answer(1, 1, 5), false);
    apply(&mut metadata, 8, &answer(1, 2, 4), false);
    assert_eq!(leader_of(&metadata), Some((2, None)));
}

#[test]
fn each_partition_keeps_what_is_newer_though_answers_list_others() {
    let of = |partitions: &[(i32, i32)]| {
        let mut answer = answer(1, 1, 0);
        let partition = |&(partition_index, leader_epoch): &(i32, i32)| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            leader_epoch,
            ..Default::default()
        };
        answer.topics[0].partitions = partitions.iter().map(partition).collect();
        answer
    };
    let mut metadata = Metadata::default();
    apply(&mut metadata, 12, &of(&[(0, 5), (2, 5), (3, 5), (5, 5)]), false);
    apply(&mut metadata, 12, &of(&[(1, 1), (2, 4), (3, 6), (5, 4), (7, 1)]), false);
    let epoch = |partition| metadata.leader("wal", partition).ok().flatten().and_then(|leader| leader.epoch);
    let epochs: Vec<_> = (0..8).map(epoch).collect();
    assert_eq!(epochs, [None, Some(1), Some(5), Some(6), None, Some(5), None, Some(1)]);
}

#[test]
fn a_hint_is_taken_if_its_epoch_is_newer_and_otherwise_makes_the_topic_stale() {
    let mut metadata = Metadata::default();
    apply(&mut metadata, 12, &answer(1, 1, 5), false);
    assert!(metadata.apply_hint("wal", ID, 0, &hint(2, 6)));
    assert_eq!(leader_of(&metadata), Some((2, Some(6))));
    for useless in [hint(3, 6), hint(1, 5)] {
        assert!(!metadata.apply_hint("wal", ID, 0, &useless));
        assert!(is_asked_for(&metadata));
        apply(&mut metadata, 12, &answer(1, 2, 6), false);
    }
}

#[test]
fn an_answer_gives_a_hint_only_if_it_names_the_leader_and_where_it_listens() {
    let nodes = [(1, "broker-1", 9092), (2, "broker-2", -1), (-1, "nobody", 9092)];
    assert_eq!(LeaderHint::of_answer(1, 7, nodes), Some(hint(1, 7)));
    for leader_id in [2, 3, -1] {
        assert_eq!(LeaderHint::of_answer(leader_id, 7, nodes), None, "{leader_id}");
    }
}

#[test]
fn a_hint_for_a_topic_that_was_created_again_since_says_nothing_of_its_epochs() {
    let mut metadata = Metadata::default();
    apply(&mut metadata, 12, &answer(1, 1, 5), false);
    apply(&mut metadata, 12, &answer(2, 2, 0), false);
    assert!(!metadata.apply_hint("wal", ID, 0, &hint(3, 6)));
    apply(&mut metadata, 12, &answer(2, 2, 0), false);
    assert_eq!(leader_of(&metadata), Some((2, Some(0))));
}

#[test]
fn no_leader_and_no_partition_are_told_apart() {
    let mut metadata = Metadata::default();
    assert!(is_asked_for(&metadata));
    apply(&mut metadata, 12, &answer(1, -1, 5), false);
    assert!(matches!(metadata.leader("wal", 0), Err(Failure::NoLeader { .. })));
    assert!(matches!(metadata.leader("wal", 1), Err(Failure::UnknownPartition)));
    assert_eq!(Failure::UnknownPartition.code(), None, "the broker answered without an error");
}

#[test]
fn a_partition_without_a_leader_has_the_code_that_the_broker_gives_for_it() {
    let mut metadata = Metadata::default();
    let coded = |leader, error_code| {
        let mut answer = answer(1, leader, 5);
        answer.topics[0].partitions[0].error_code = error_code;
        answer
    };
    for code in [ErrorCode::LEADER_NOT_AVAILABLE, ErrorCode::LISTENER_NOT_FOUND] {
        apply(&mut metadata, 12, &coded(-1, code), false);
        let failure = metadata.leader("wal", 0).unwrap_err();
        assert_eq!(failure.code(), Some(code));
        assert!(failure.is_transient() && matches!(failure, Failure::NoLeader { .. }), "{failure}");
    }
    apply(&mut metadata, 12, &coded(1, ErrorCode::REPLICA_NOT_AVAILABLE), false);
    assert_eq!(leader_of(&metadata), Some((1, Some(5))), "a leader that a replica cannot follow still leads");
}

#[test]
fn the_id_of_another_cluster_is_cut_in_the_error() {
    let mut metadata = Metadata::default();
    metadata.check_cluster(Some("ours")).unwrap();
    let other = "x".repeat(5000);
    let shown = metadata.check_cluster(Some(&other)).unwrap_err().to_string();
    assert!(shown.len() < MAX_SHOWN + 200, "{shown}");
}

#[test]
fn an_answer_without_brokers_does_not_empty_the_cluster() {
    let mut metadata = Metadata::default();
    apply(&mut metadata, 12, &answer(1, 1, 5), false);
    apply(&mut metadata, 12, &MetadataResponse::default(), false);
    assert_eq!(metadata.brokers().count(), 3);
}

#[test]
fn a_list_of_all_topics_updates_those_in_use_and_adds_no_others() {
    let mut metadata = Metadata::default();
    assert_eq!(apply(&mut metadata, 12, &answer(1, 1, 5), true).len(), 1);
    assert!(is_asked_for(&metadata));
    apply(&mut metadata, 12, &answer(1, 1, 5), false);
    apply(&mut metadata, 12, &answer(1, 2, 6), true);
    assert_eq!(leader_of(&metadata), Some((2, Some(6))));
    metadata.forget_topic("wal");
    assert_eq!((is_asked_for(&metadata), metadata.topics.len()), (true, 0));
}

#[test]
fn a_client_sent_back_to_the_start_remembers_which_cluster_it_is_of_and_nothing_else() {
    let mut metadata = Metadata::default();
    metadata.check_cluster(Some("ours")).unwrap();
    apply(&mut metadata, 12, &answer(1, 1, 5), false);
    metadata.asked = Some(Endpoint::new("broker-1", 9092));
    metadata.forget();
    assert!(matches!(metadata.check_cluster(Some("other")), Err(Failure::OtherCluster { .. })));
    metadata.check_cluster(Some("ours")).unwrap();
    assert_eq!((metadata.brokers().count(), metadata.controller(), metadata.asked.clone()), (0, None, None));
    assert!(is_asked_for(&metadata));
}

#[test]
fn an_answer_of_the_same_epoch_is_taken_for_it_may_know_of_other_replicas_in_sync() {
    let in_sync = |isr: &[i32]| {
        let mut answer = answer(1, 1, 5);
        answer.topics[0].partitions[0].isr_nodes = isr.to_vec();
        answer
    };
    let mut metadata = Metadata::default();
    for isr in [&[1, 2, 3][..], &[1], &[1, 2]] {
        let topics = apply(&mut metadata, 12, &in_sync(isr), false);
        assert_eq!(topics[0].1.as_ref().unwrap().partitions[&0].isr, isr);
    }
}
