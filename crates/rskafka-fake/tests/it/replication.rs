//! Replicas, the ISR, the high watermark, and what is lost when a replica that is not in sync becomes the leader.

use std::time::Duration;

use rskafka_fake::{ControlError, FakeCluster, Profile};
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::list_offsets::{
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
    ListOffsetsTopic,
};
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::support::*;

/// Three brokers that hold a partition, of which the first leads.
async fn three() -> (FakeCluster, TopicName, RawClient) {
    let cluster = cluster(3).await;
    cluster.create_topic("t", 1, 3).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    let topic = topic(&cluster, "t");
    let client = RawClient::pipe(&cluster, 1).await;
    (cluster, topic, client)
}

fn values(cluster: &FakeCluster, broker: i32) -> Vec<bytes::Bytes> {
    cluster.log_at("t", 0, broker).unwrap().values().unwrap()
}

async fn latest(client: &mut RawClient, version: i16) -> ListOffsetsPartitionResponse {
    let asked = ListOffsetsPartition { timestamp: LATEST_TIMESTAMP, ..Default::default() };
    let topic = ListOffsetsTopic { name: "t".to_owned(), partitions: vec![asked] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    only(only(client.call(version, &request).await.topics).partitions)
}

#[tokio::test(start_paused = true)]
async fn acks_all_waits_for_a_replica_in_sync_that_does_not_follow_and_readers_do_not_see_it() {
    let (cluster, topic, mut client) = three().await;
    produce(&mut client, &topic, 0, batch(["a"])).await;
    cluster.hold_replica("t", 0, 2).unwrap();
    let request = ProduceRequest { timeout_ms: 60_000, ..produce_request(&topic, 0, -1, Some(batch(["b"]))) };
    let id = client.send(12, &request).await;
    let mut other = RawClient::pipe(&cluster, 1).await;
    assert_eq!(produce_acks_1(&mut other, &topic).await, 2, "acks=1 does not wait");
    let data = fetch(&mut other, &topic, 0, 0).await;
    assert_eq!((data.high_watermark, records(&data).len()), (1, 1));
    assert_eq!(latest(&mut other, 7).await.offset, 1);

    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(9)).await;
    cluster.release_replica("t", 0, 2).unwrap();
    assert_eq!(produced(client.receive::<ProduceRequest>(12, id).await).base_offset, 1);
    assert_eq!(start.elapsed(), Duration::from_secs(9));
    assert_eq!(fetch(&mut other, &topic, 0, 0).await.high_watermark, 3);
}

async fn produce_acks_1(client: &mut RawClient, topic: &TopicName) -> i64 {
    produced(client.call(12, &produce_request(topic, 0, 1, Some(batch(["c"])))).await).base_offset
}

#[tokio::test(start_paused = true)]
async fn acks_all_times_out_and_the_batch_may_be_there_all_the_same() {
    let (cluster, topic, mut client) = three().await;
    cluster.hold_replica("t", 0, 3).unwrap();
    let start = Instant::now();
    let answer = produce(&mut client, &topic, 0, batch(["a"])).await;
    assert_eq!(answer.error_code, ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    cluster.release_replica("t", 0, 3).unwrap();
    assert_eq!(cluster.log("t", 0).unwrap().high_watermark, 1);
}

#[tokio::test(start_paused = true)]
async fn too_few_in_sync_are_told_before_the_append_or_after_it() {
    let cluster = cluster(3).await;
    cluster.create_topic_with("t", 1, 3, [("min.insync.replicas", "2")]).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    for broker in [2, 3] {
        cluster.hold_replica("t", 0, broker).unwrap();
    }
    let request = ProduceRequest { timeout_ms: 60_000, ..produce_request(&topic, 0, -1, Some(batch(["b"]))) };
    let id = client.send(12, &request).await;
    cluster.requests_like(1, |request| request.taken.is_some()).await;
    cluster.shrink_isr("t", 0, 2).unwrap();
    cluster.shrink_isr("t", 0, 3).unwrap();
    let answer = produced(client.receive::<ProduceRequest>(12, id).await);
    // Since KIP-966 the record is not committed, so the answer waits.
    let (code, committed) = match profile() {
        Profile::Kafka3_9 | Profile::Kafka4_4 | Profile::Redpanda => (ErrorCode::REQUEST_TIMED_OUT, 0),
        _ => (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, 1),
    };
    assert_eq!(answer.error_code, code);
    let log = cluster.log("t", 0).unwrap();
    assert_eq!((log.end_offset, log.high_watermark), (1, committed), "it is written");
    assert_eq!(cluster.isr("t", 0).unwrap(), [1]);

    let answer = produce(&mut client, &topic, 0, batch(["c"])).await;
    let (code, is_written) = too_few_in_sync();
    assert_eq!(answer.error_code, code);
    let end = 1 + i64::from(is_written);
    assert_eq!(cluster.log("t", 0).unwrap().end_offset, end);
    assert_eq!(produce_acks_1(&mut client, &topic).await, end);
}

#[tokio::test]
async fn min_insync_replicas_above_the_number_of_replicas_is_capped_but_not_by_kafka_2_8() {
    for profile in Profile::ALL {
        let cluster = FakeCluster::builder().profile(profile).in_memory().start().await.unwrap();
        cluster.create_topic_with("t", 1, 1, [("min.insync.replicas", "2")]).unwrap();
        let mut client = RawClient::pipe(&cluster, 1).await;
        let topic = topic(&cluster, "t");
        let answer = produced(client.call(7, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await);
        let is_old = profile == Profile::Kafka2_8;
        let expected = if is_old { ErrorCode::NOT_ENOUGH_REPLICAS } else { ErrorCode::NONE };
        assert_eq!(answer.error_code, expected, "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_goes_while_an_append_waits() {
    let (cluster, topic, mut client) = three().await;
    cluster.hold_replica("t", 0, 2).unwrap();
    let id = client.send(12, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
    cluster.requests_like(1, |request| request.taken.is_some()).await;
    let epoch = cluster.move_leader("t", 0, 3).unwrap();
    let answer = client.receive::<ProduceRequest>(12, id).await;
    let endpoints: Vec<_> = answer.node_endpoints.iter().map(|node| node.node_id).collect();
    let answer = produced(answer);
    assert_eq!(answer.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let named = (answer.current_leader.leader_id, answer.current_leader.leader_epoch);
    match client.spoken::<ProduceRequest>(12) >= 10 {
        true => assert_eq!((named, endpoints), ((3, epoch), vec![3])),
        false => assert_eq!((named, endpoints), ((-1, -1), vec![])),
    }
    assert_eq!(values(&cluster, 3), ["a"], "and yet it is written");

    // It stops and starts again before the append checks the replicas again.
    let (cluster, topic, mut client) = three().await;
    cluster.hold_replica("t", 0, 2).unwrap();
    let id = client.send(12, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
    cluster.requests_like(1, |request| request.taken.is_some()).await;
    cluster.move_leader("t", 0, 3).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    cluster.release_replica("t", 0, 2).unwrap();
    let answer = produced(client.receive::<ProduceRequest>(12, id).await);
    assert_eq!(answer.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);

    let (cluster, topic, mut client) = three().await;
    cluster.hold_replica("t", 0, 2).unwrap();
    let id = client.send(12, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
    cluster.requests_like(1, |request| request.taken.is_some()).await;
    cluster.delete_topic("t").unwrap();
    let answer = produced(client.receive::<ProduceRequest>(12, id).await);
    assert_eq!(answer.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test]
async fn what_only_a_dead_leader_had_is_gone_and_its_copy_follows() {
    let (cluster, topic, mut client) = three().await;
    produce(&mut client, &topic, 0, batch(["a"])).await;
    cluster.hold_replica("t", 0, 2).unwrap();
    cluster.hold_replica("t", 0, 3).unwrap();
    assert_eq!(produce_acks_1(&mut client, &topic).await, 1);
    cluster.stop_broker(1).await.unwrap();
    let leader = cluster.leader("t", 0).unwrap().unwrap();
    let mut client = RawClient::pipe(&cluster, leader).await;
    cluster.release_replica("t", 0, 5 - leader).unwrap();
    assert_eq!(produce(&mut client, &topic, 0, batch(["b"])).await.base_offset, 1);
    assert_eq!(values(&cluster, 1), ["a", "c"]);
    cluster.start_broker(1).await.unwrap();
    assert_eq!(values(&cluster, 1), ["a", "b"]);
    assert_eq!(cluster.isr("t", 0).unwrap().len(), 3);
}

#[tokio::test]
async fn a_machine_that_dies_loses_what_was_not_on_its_disk() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    for value in ["a", "b", "c"] {
        produce(&mut client, &topic, 0, batch([value])).await;
    }
    assert!(matches!(cluster.lose_tail("t", 0, 1, 2), Err(ControlError::BrokerRuns { broker: 1 })));
    cluster.stop_broker(1).await.unwrap();
    cluster.lose_tail("t", 0, 1, 2).unwrap();
    cluster.start_broker(1).await.unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    assert_eq!(values(&cluster, 1), ["a"]);
    assert_eq!(produce(&mut client, &topic, 0, batch(["d"])).await.base_offset, 1);
}

/// A log of epoch 0 from 0, of epoch 2 from 2, after an unclean election that lost offset 2 and more of
/// epoch 0.
async fn diverged() -> (FakeCluster, TopicName, RawClient) {
    let (cluster, topic, mut client) = three().await;
    let first_epoch = cluster.leader_epoch("t", 0).unwrap();
    produce(&mut client, &topic, 0, batch(["a", "b"])).await;
    cluster.hold_replica("t", 0, 2).unwrap();
    cluster.shrink_isr("t", 0, 2).unwrap();
    produce(&mut client, &topic, 0, batch(["lost", "lost"])).await;
    assert!(matches!(cluster.move_leader("t", 0, 2), Err(ControlError::NotInSync { .. })));
    assert_eq!(cluster.elect_unclean("t", 0, 2).unwrap(), first_epoch + 1);
    let mut client = RawClient::pipe(&cluster, 2).await;
    assert_eq!(produce(&mut client, &topic, 0, batch(["new"])).await.base_offset, 2);
    for broker in 1..=3 {
        assert_eq!(values(&cluster, broker), ["a", "b", "new"]);
    }
    (cluster, topic, client)
}

#[tokio::test]
async fn a_reader_is_told_where_its_log_and_the_leaders_part() {
    needs!(FetchRequest, 12, "a reader cannot say which epoch it has read");
    let (cluster, topic, mut client) = diverged().await;
    let epoch = cluster.leader_epoch("t", 0).unwrap();
    for version in [12, 13, 18].map(|version| client.spoken::<FetchRequest>(version)) {
        let mut ask = async |offset: i64, last_fetched_epoch: i32| {
            let mut request = fetch_request(&topic, 0, offset);
            request.topics[0].partitions[0].last_fetched_epoch = last_fetched_epoch;
            request.max_wait_ms = 60_000;
            fetched(client.call(version, &request).await)
        };
        // It has read "lost" at 2 and 3 in the epoch before.
        for offset in [3, 4, 1000] {
            let data = ask(offset, epoch - 1).await;
            assert_eq!((data.error_code, data.records.as_deref()), (ErrorCode::NONE, Some(&[][..])));
            assert_eq!((data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (epoch - 1, 2));
        }
        let data = ask(2, epoch - 1).await;
        assert_eq!((data.diverging_epoch.epoch, records(&data).len()), (-1, 1), "it has not gone so far");
        assert_eq!(ask(3, epoch + 5).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let asked = |leader_epoch| OffsetForLeaderPartition { leader_epoch, ..Default::default() };
    let partitions = [epoch - 1, epoch, epoch + 1].map(asked).to_vec();
    let asked = OffsetForLeaderTopic { topic: "t".to_owned(), partitions };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![asked] };
    let ends = only(client.call(4, &request).await.topics).partitions;
    let ends: Vec<_> = ends.iter().map(|end| (end.leader_epoch, end.end_offset)).collect();
    assert_eq!(ends, [(epoch - 1, 2), (epoch, 3), (-1, -1)]);
}

#[tokio::test]
async fn a_log_is_truncated_on_command() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    for value in ["a", "b", "c"] {
        produce(&mut client, &topic, 0, batch([value])).await;
    }
    assert_eq!(cluster.truncate("t", 0, 1).unwrap(), 1);
    assert!(matches!(cluster.truncate("t", 0, 2), Err(ControlError::OffsetOutOfRange { end: 1, .. })));
    let mut request = fetch_request(&topic, 0, 3);
    if client.spoken::<FetchRequest>(12) >= 12 {
        request.topics[0].partitions[0].last_fetched_epoch = 0;
        let data = fetched(client.call(12, &request).await);
        assert_eq!((data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, 1));
        request.topics[0].partitions[0].last_fetched_epoch = -1;
    }
    assert_eq!(fetched(client.call(12, &request).await).error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    let answer = produce(&mut client, &topic, 0, batch(["d"])).await;
    assert_eq!((answer.base_offset, values(&cluster, 1)), (1, vec!["a".into(), "d".into()]));
}

#[tokio::test]
async fn a_new_leader_that_does_not_know_the_end_says_so_from_version_5_on() {
    let (cluster, topic, mut client) = three().await;
    produce(&mut client, &topic, 0, batch(["a"])).await;
    cluster.hold_replica("t", 0, 3).unwrap();
    produce_acks_1(&mut client, &topic).await;
    cluster.move_leader("t", 0, 2).unwrap();
    let mut client = RawClient::pipe(&cluster, 2).await;
    let code = match client.spoken::<ListOffsetsRequest>(5) {
        5.. => ErrorCode::OFFSET_NOT_AVAILABLE,
        _ => ErrorCode::LEADER_NOT_AVAILABLE,
    };
    assert_eq!(latest(&mut client, 5).await.error_code, code);
    assert_eq!(latest(&mut client, 4).await.error_code, ErrorCode::LEADER_NOT_AVAILABLE);
    let data = fetch(&mut client, &topic, 0, 1).await;
    assert_eq!((data.error_code, data.high_watermark), (ErrorCode::NONE, 1), "a fetch does not say so");
    cluster.release_replica("t", 0, 3).unwrap();
    assert_eq!(latest(&mut client, 5).await.offset, 2);
}

#[tokio::test]
async fn unclean_elections_happen_by_themselves_where_the_topic_allows_them() {
    let unclean = (profile() != Profile::Redpanda).then_some(2);
    for (allowed, leader) in [("false", None), ("true", unclean)] {
        let cluster = cluster(2).await;
        cluster.create_topic_with("t", 1, 2, [("unclean.leader.election.enable", allowed)]).unwrap();
        cluster.move_leader("t", 0, 1).unwrap();
        cluster.hold_replica("t", 0, 2).unwrap();
        cluster.shrink_isr("t", 0, 2).unwrap();
        cluster.stop_broker(1).await.unwrap();
        assert_eq!(cluster.leader("t", 0).unwrap(), leader);
    }
}

#[tokio::test]
async fn a_reader_that_names_its_rack_is_sent_there_from_version_11_on() {
    needs!(FetchRequest, 11, "a reader cannot name its rack");
    let cluster = fake().brokers(3).racks(["a", "b", "c"]).in_memory().start().await.unwrap();
    cluster.create_topic("t", 1, 3).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    produce(&mut client, &topic, 0, batch(["a"])).await;
    let racks: Vec<_> = client.call(9, &MetadataRequest::default()).await.brokers;
    assert_eq!(racks[2].rack.as_deref(), Some("c"));
    for (rack, preferred) in [("c", 3), ("a", -1), ("elsewhere", -1), ("", -1)] {
        let request = FetchRequest { rack_id: rack.to_owned(), ..fetch_request(&topic, 0, 0) };
        let data = fetched(client.call(11, &request).await);
        let expected = if preferred < 0 { 1 } else { 0 };
        assert_eq!((data.preferred_read_replica, records(&data).len()), (preferred, expected), "{rack}");
        assert_eq!(data.high_watermark, 1);
    }
    let request = FetchRequest { rack_id: "c".to_owned(), ..fetch_request(&topic, 0, 0) };
    let mut follower = RawClient::pipe(&cluster, 3).await;
    let data = fetched(follower.call(11, &request).await);
    assert_eq!((data.preferred_read_replica, records(&data).len()), (-1, 1));
    // Readers are not sent to a replica that is not in sync; asked directly, it gives the records that it has.
    cluster.hold_replica("t", 0, 3).unwrap();
    cluster.shrink_isr("t", 0, 3).unwrap();
    produce(&mut client, &topic, 0, batch(["b"])).await;
    assert_eq!(fetched(client.call(11, &request).await).preferred_read_replica, -1);
    assert_eq!(fetched(follower.call(11, &request).await).high_watermark, 1);
}

#[tokio::test]
async fn commands_to_replicas_that_cannot_be_are_errors() {
    let (cluster, _, _) = three().await;
    assert!(matches!(cluster.shrink_isr("t", 0, 2), Err(ControlError::Follows { broker: 2, .. })));
    assert!(matches!(cluster.shrink_isr("t", 0, 1), Err(ControlError::Follows { broker: 1, .. })));
    assert!(matches!(cluster.shrink_isr("t", 0, 9), Err(ControlError::NotReplica { broker: 9, .. })));
    assert!(matches!(cluster.hold_replica("t", 1, 2), Err(ControlError::UnknownPartition { .. })));
    assert!(matches!(cluster.log_at("t", 0, 9), Err(ControlError::NotReplica { .. })));
    for broker in 1..=3 {
        cluster.stop_broker(broker).await.unwrap();
    }
    assert!(matches!(cluster.truncate("t", 0, 0), Err(ControlError::NoLeader { .. })));
    assert!(matches!(cluster.elect_unclean("t", 0, 2), Err(ControlError::BrokerStopped { broker: 2 })));
    assert_eq!(cluster.requests_like(0, |request| request.api_key == ApiKey::FETCH).await.len(), 0);
}

#[tokio::test]
async fn retention_keeps_what_is_not_committed() {
    let cluster = cluster(2).await;
    cluster.create_topic_with("t", 1, 2, [("retention.bytes", "1")]).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    cluster.hold_replica("t", 0, 2).unwrap();
    for offset in 0..3 {
        assert_eq!(produce_acks_1(&mut client, &topic).await, offset);
    }
    cluster.apply_retention();
    let log = cluster.log("t", 0).unwrap();
    assert_eq!((log.log_start_offset, log.high_watermark, log.batches.len()), (0, 0, 3));
    cluster.release_replica("t", 0, 2).unwrap();
    cluster.apply_retention();
    for broker in [1, 2] {
        let log = cluster.log_at("t", 0, broker).unwrap();
        assert_eq!((log.log_start_offset, log.high_watermark, log.batches.len()), (2, 3, 1));
    }
}

#[tokio::test]
async fn a_broker_that_starts_leads_what_has_no_leader_where_unclean_elections_are_allowed() {
    let unclean = (profile() != Profile::Redpanda).then_some(2);
    for (allowed, leader) in [("true", unclean), ("false", None)] {
        let cluster = cluster(2).await;
        cluster.create_topic_with("t", 1, 2, [("unclean.leader.election.enable", allowed)]).unwrap();
        cluster.move_leader("t", 0, 1).unwrap();
        for broker in [2, 1] {
            cluster.stop_broker(broker).await.unwrap();
        }
        assert_eq!(cluster.leader("t", 0).unwrap(), None);
        cluster.start_broker(2).await.unwrap();
        assert_eq!(cluster.leader("t", 0).unwrap(), leader, "{allowed}");
        cluster.start_broker(1).await.unwrap();
        assert_eq!(cluster.leader("t", 0).unwrap(), leader.or(Some(1)), "{allowed}");
    }
}
