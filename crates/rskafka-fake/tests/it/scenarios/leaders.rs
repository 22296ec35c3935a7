//! Leaders that move, die and come back while somebody appends.

use std::time::Duration;

use rskafka_fake::{ByteFault, Fault, Profile};
use rskafka_protocol::messages::metadata::MetadataResponse;
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, timeout};

use super::{Stage, numbered};
use crate::support::*;

const OUT_OF_ORDER: Result<i64, ErrorCode> = Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
const NOT_LEADER: Result<i64, ErrorCode> = Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);

/// How a leader ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Transfer,
    Kill,
    RollingRestart,
}

#[tokio::test]
async fn when_the_leader_moves_in_the_middle_of_producing_each_batch_is_acknowledged_once_and_in_order() {
    for profile in Profile::ALL {
        for how in [Move::Transfer, Move::Kill, Move::RollingRestart] {
            let stage = Stage::new(profile, 3).await;
            let topic = stage.topic(3);
            let mut client = stage.client(1).await;
            for sequence in 0..3 {
                assert_eq!(
                    stage.append(&mut client, &topic, numbered(7, 0, sequence)).await,
                    Ok(sequence.into())
                );
            }
            // One append is not acknowledged when the leader moves, because a follower has not replicated it.
            stage.cluster.hold_replica("t", 0, 3).unwrap();
            let waiting = stage.send_append(&mut client, &topic, numbered(7, 0, 3)).await;
            stage.appends_taken(4).await;
            match how {
                Move::Transfer => drop(stage.cluster.move_leader("t", 0, 2).unwrap()),
                Move::Kill => stage.cluster.stop_broker(1).await.unwrap(),
                Move::RollingRestart => {
                    stage.cluster.shut_down_broker(1).await.unwrap();
                    stage.cluster.start_broker(1).await.unwrap();
                }
            }
            stage.cluster.release_replica("t", 0, 3).unwrap();
            match how {
                Move::Transfer => {
                    let code = stage.appended(&mut client, waiting).await.error_code;
                    assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER, "{profile}");
                    assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 3)).await, NOT_LEADER);
                }
                _ => assert!(client.is_closed().await, "{profile} {how:?}"),
            }
            let leader = stage.cluster.leader("t", 0).unwrap().unwrap();
            assert_ne!(leader, 1, "{profile} {how:?}");
            let mut client = stage.client(leader).await;
            // Each retry gets the offset of the first copy.
            for sequence in [3, 1, 2, 3, 4] {
                let offset = stage.append(&mut client, &topic, numbered(7, 0, sequence)).await;
                assert_eq!(offset, Ok(sequence.into()), "{profile} {how:?}");
            }
            assert_eq!(stage.values(), ["0", "1", "2", "3", "4"], "{profile} {how:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_by_a_broker_that_does_not_lead_names_the_leader_from_produce_10_on() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(3);
        let epoch = stage.cluster.leader_epoch("t", 0).unwrap();
        let mut client = stage.client(2).await;
        let version = stage.newest::<ProduceRequest>().unwrap();
        let answer = client.call(version, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
        let endpoints: Vec<_> =
            answer.node_endpoints.iter().map(|node| (node.node_id, node.host.clone())).collect();
        let partition = produced(answer);
        assert_eq!(partition.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER, "{profile}");
        let named = (partition.current_leader.leader_id, partition.current_leader.leader_epoch);
        match version >= 10 {
            true => {
                assert_eq!((named, endpoints), ((1, epoch), vec![(1, "broker-1".to_owned())]), "{profile}")
            }
            false => assert_eq!((named, endpoints), ((-1, -1), vec![]), "{profile}"),
        }
    }
}

#[tokio::test]
async fn a_broker_that_dies_after_the_append_and_before_the_answer_has_written_it_and_a_retry_gets_its_offset()
 {
    for profile in Profile::ALL {
        for replicas in [3, 1] {
            let stage = Stage::new(profile, 3).await;
            let topic = stage.topic(replicas);
            let mut client = stage.client(1).await;
            stage.append(&mut client, &topic, numbered(7, 0, 0)).await.unwrap();
            let lost = stage.cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE));
            stage.send_append(&mut client, &topic, numbered(7, 0, 1)).await;
            assert!(client.is_closed().await, "{profile}");
            assert_eq!(stage.cluster.struck(lost), 1);
            stage.cluster.stop_broker(1).await.unwrap();
            if replicas == 1 {
                assert_eq!(stage.cluster.leader("t", 0).unwrap(), None);
                stage.cluster.start_broker(1).await.unwrap();
            }
            let leader = stage.cluster.leader("t", 0).unwrap().unwrap();
            let mut client = stage.client(leader).await;
            assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 1)).await, Ok(1), "{profile}");
            assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 2)).await, Ok(2), "{profile}");
            assert_eq!(stage.values(), ["0", "1", "2"], "{profile}");
        }
    }
}

#[tokio::test]
async fn a_broker_that_restarted_has_forgotten_all_but_the_last_batch_and_calls_older_ones_out_of_order() {
    for profile in Profile::ALL {
        for (cleanly, replicas) in [(false, 1), (true, 1), (false, 3), (true, 3)] {
            let stage = Stage::new(profile, 3).await;
            let topic = stage.topic(replicas);
            let mut client = stage.client(1).await;
            for sequence in 0..4 {
                stage.append(&mut client, &topic, numbered(7, 0, sequence)).await.unwrap();
            }
            // With several replicas every one restarts, one after the other.
            for broker in stage.cluster.isr("t", 0).unwrap() {
                match cleanly {
                    true => stage.cluster.shut_down_broker(broker).await.unwrap(),
                    false => stage.cluster.stop_broker(broker).await.unwrap(),
                }
                stage.cluster.start_broker(broker).await.unwrap();
            }
            let leader = stage.cluster.leader("t", 0).unwrap().unwrap();
            let mut client = stage.client(leader).await;
            for sequence in 0..3 {
                let answer = stage.append(&mut client, &topic, numbered(7, 0, sequence)).await;
                assert_eq!(
                    answer, OUT_OF_ORDER,
                    "{profile} {cleanly} {replicas}: it was written, and is forgotten"
                );
            }
            for sequence in 3..9 {
                let answer = stage.append(&mut client, &topic, numbered(7, 0, sequence)).await;
                assert_eq!(answer, Ok(sequence.into()), "{profile}");
            }
            for sequence in 4..9 {
                let answer = stage.append(&mut client, &topic, numbered(7, 0, sequence)).await;
                assert_eq!(answer, Ok(sequence.into()), "{profile}: it remembers five again");
            }
            assert_eq!(stage.values().len(), 9, "{profile}");
        }
    }
}

#[tokio::test]
async fn a_leader_that_never_restarted_knows_five_batches_when_those_before_it_have_died() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(3);
        let mut client = stage.client(1).await;
        for sequence in 0..6 {
            stage.append(&mut client, &topic, numbered(7, 0, sequence)).await.unwrap();
        }
        stage.cluster.stop_broker(1).await.unwrap();
        stage.cluster.start_broker(1).await.unwrap();
        let leader = stage.cluster.leader("t", 0).unwrap().unwrap();
        assert_ne!(leader, 1);
        let mut client = stage.client(leader).await;
        for sequence in 1..6 {
            let answer = stage.append(&mut client, &topic, numbered(7, 0, sequence)).await;
            assert_eq!(answer, Ok(sequence.into()), "{profile}");
        }
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 0)).await, OUT_OF_ORDER, "{profile}");
        // The broker that restarted leads again, and remembers only the last batch.
        stage.cluster.move_leader("t", 0, 1).unwrap();
        let mut client = stage.client(1).await;
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 5)).await, Ok(5), "{profile}");
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 4)).await, OUT_OF_ORDER, "{profile}");
    }
}

#[tokio::test]
async fn a_leader_that_dies_in_the_middle_of_a_request_has_not_written_it() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(3);
        let mut client = stage.client(1).await;
        let cut = stage.cluster.inject_bytes(ByteFault::reset().after_received(60));
        stage.send_append(&mut client, &topic, numbered(7, 0, 0)).await;
        assert!(client.is_closed().await, "{profile}");
        assert_eq!((stage.cluster.struck(cut), stage.values().len()), (1, 0), "{profile}");
        let mut client = stage.client(1).await;
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 0)).await, Ok(0), "{profile}");
    }
}

fn told(metadata: &MetadataResponse) -> (i32, usize) {
    (metadata.topics[0].partitions[0].leader_id, metadata.brokers.len())
}

#[tokio::test(start_paused = true)]
async fn a_crash_may_be_noticed_late_and_until_then_metadata_names_the_dead_leader() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(3);
        let epoch = stage.cluster.leader_epoch("t", 0).unwrap();
        stage.cluster.miss_crashes_after(Duration::from_secs(9));
        stage.cluster.stop_broker(1).await.unwrap();
        let start = Instant::now();
        let mut client = stage.client(2).await;
        tokio::time::sleep(Duration::from_millis(8999)).await;
        assert_eq!(told(&stage.metadata(&mut client).await), (1, 3), "{profile}");
        assert!(stage.cluster.connect("broker-1", 9092).await.is_err(), "{profile}: but nobody is there");
        assert_eq!(stage.append(&mut client, &topic, batch(["a"])).await, NOT_LEADER, "{profile}");
        assert_eq!(stage.cluster.isr("t", 0).unwrap().len(), 3, "{profile}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (leader, brokers) = told(&stage.metadata(&mut client).await);
        assert!(leader != 1 && brokers == 2, "{profile}: {leader} of {brokers}");
        assert_eq!(stage.cluster.leader_epoch("t", 0).unwrap(), epoch + 1, "{profile}");
        assert_eq!(start.elapsed(), Duration::from_secs(9));
        let mut client = stage.client(leader).await;
        assert_eq!(stage.append(&mut client, &topic, batch(["a"])).await, Ok(0), "{profile}");

        // It starts before its next crash is noticed, which the cluster notices then.
        stage.cluster.start_broker(1).await.unwrap();
        stage.cluster.move_leader("t", 0, 1).unwrap();
        stage.cluster.stop_broker(1).await.unwrap();
        stage.cluster.start_broker(1).await.unwrap();
        assert_ne!(stage.cluster.leader("t", 0).unwrap(), Some(1), "{profile}");
        assert_eq!(stage.cluster.isr("t", 0).unwrap().len(), 3, "{profile}");
        // A shutdown is announced.
        stage.cluster.move_leader("t", 0, 1).unwrap();
        stage.cluster.shut_down_broker(1).await.unwrap();
        assert_ne!(stage.cluster.leader("t", 0).unwrap(), Some(1), "{profile}");
        assert_eq!(told(&stage.metadata(&mut client).await).1, 2, "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_waits_for_a_follower_whose_crash_is_not_noticed_and_goes_on_when_it_is() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(3);
        stage.cluster.miss_crashes_after(Duration::from_secs(9));
        stage.cluster.stop_broker(3).await.unwrap();
        let start = Instant::now();
        let mut client = stage.client(1).await;
        let late = stage.append(&mut client, &topic, numbered(7, 0, 0)).await;
        assert_eq!(late, Err(ErrorCode::REQUEST_TIMED_OUT), "{profile}");
        let request = produce_request(&topic, 0, -1, Some(numbered(7, 0, 1)));
        let version = stage.newest::<ProduceRequest>().unwrap();
        let request = ProduceRequest { timeout_ms: 60_000, ..request };
        let answer = produced(client.call(version, &request).await);
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, 1), "{profile}");
        assert_eq!(start.elapsed(), Duration::from_secs(9), "{profile}: as soon as it is taken out");
        assert_eq!(
            stage.append(&mut client, &topic, numbered(7, 0, 0)).await,
            Ok(0),
            "{profile}: it was written"
        );
        // The only broker left in sync dies, and there is none to take over.
        stage.cluster.stop_broker(2).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        stage.cluster.stop_broker(1).await.unwrap();
        assert_eq!(stage.cluster.leader("t", 0).unwrap(), Some(1), "{profile}");
        let noticed = async {
            while stage.cluster.leader("t", 0).unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(10), noticed).await.expect("it is noticed");
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_follower_dies_the_leader_goes_on_and_with_zookeeper_under_another_epoch() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(3);
        let epoch = stage.cluster.leader_epoch("t", 0).unwrap();
        let mut client = stage.client(1).await;
        stage.cluster.miss_crashes_after(Duration::from_millis(500));
        stage.cluster.stop_broker(3).await.unwrap();
        // This does not disturb requests that wait.
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 0)).await, Ok(0), "{profile}");
        let grows_by = if profile == Profile::Kafka2_8 { 1 } else { 0 };
        assert_eq!(stage.cluster.leader_epoch("t", 0).unwrap(), epoch + grows_by, "{profile}");
        assert_eq!(stage.cluster.leader("t", 0).unwrap(), Some(1), "{profile}");
        stage.cluster.start_broker(3).await.unwrap();
        assert_eq!(stage.cluster.leader_epoch("t", 0).unwrap(), epoch + grows_by, "{profile}");
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 1)).await, Ok(1), "{profile}");
    }
}

#[tokio::test]
async fn a_dead_leader_gives_its_followers_nothing_though_its_crash_is_not_noticed() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 2).await;
        let topic = stage.topic(2);
        let mut client = stage.client(1).await;
        stage.cluster.hold_replica("t", 0, 2).unwrap();
        let version = stage.newest::<ProduceRequest>().unwrap();
        let request = produce_request(&topic, 0, 1, Some(batch(["only here"])));
        assert_eq!(produced(client.call(version, &request).await).base_offset, 0, "{profile}");
        stage.cluster.miss_crashes_after(Duration::from_secs(60));
        stage.cluster.stop_broker(1).await.unwrap();
        stage.cluster.release_replica("t", 0, 2).unwrap();
        let values = |broker| stage.cluster.log_at("t", 0, broker).unwrap().values().unwrap();
        assert_eq!((values(1).len(), values(2).len()), (1, 0), "{profile}");
        let gone = stage.cluster.delete_records("t", 0, 0);
        assert!(matches!(gone, Err(rskafka_fake::ControlError::NoLeader { .. })), "{profile}");
        // The new leader does not have the record, so the dead broker loses it too.
        stage.cluster.move_leader("t", 0, 2).unwrap();
        stage.cluster.start_broker(1).await.unwrap();
        assert_eq!((values(1).len(), values(2).len()), (0, 0), "{profile}");
    }
}
