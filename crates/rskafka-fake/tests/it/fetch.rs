//! Fetch: what is read, how much, and how long it waits.

use std::time::Duration;

use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::records::batches;
use rskafka_protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use crate::support::*;

/// A cluster with a topic `t` of one partition held by all brokers and led by broker 1.
async fn with_topic(brokers: usize) -> (rskafka_fake::FakeCluster, TopicName, RawClient) {
    let cluster = cluster(brokers).await;
    cluster.create_topic("t", 1, brokers as i16).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    let client = RawClient::pipe(&cluster, 1).await;
    let topic = topic(&cluster, "t");
    (cluster, topic, client)
}

fn waiting(topic: &TopicName, offset: i64, min_bytes: i32, max_wait_ms: i32) -> FetchRequest {
    FetchRequest { min_bytes, max_wait_ms, ..fetch_request(topic, 0, offset) }
}

#[tokio::test]
async fn offsets_outside_of_the_log_are_out_of_range() {
    let (cluster, topic, mut client) = with_topic(1).await;
    for _ in 0..3 {
        produce(&mut client, &topic, 0, batch(["a", "b"])).await;
    }
    cluster.delete_records("t", 0, 3).unwrap();
    for (offset, code) in [
        (-1, ErrorCode::OFFSET_OUT_OF_RANGE),
        (2, ErrorCode::OFFSET_OUT_OF_RANGE),
        (3, ErrorCode::NONE),
        (6, ErrorCode::NONE),
        (7, ErrorCode::OFFSET_OUT_OF_RANGE),
    ] {
        let data = fetch(&mut client, &topic, 0, offset).await;
        assert_eq!(data.error_code, code, "offset {offset}");
        assert_eq!(data.high_watermark, if code.is_ok() { 6 } else { -1 });
        assert_eq!(data.log_start_offset, if code.is_ok() { 3 } else { -1 });
    }
    let data = fetch(&mut client, &topic, 0, 3).await;
    assert_eq!(records(&data)[0].0, 2, "whole batches: the first begins before the offset");
}

#[tokio::test]
async fn a_first_batch_comes_whole_and_a_last_one_may_be_cut() {
    let (_cluster, topic, mut client) = with_topic(1).await;
    let size = batch(["a"]).len() as i32;
    for _ in 0..3 {
        produce(&mut client, &topic, 0, batch(["a"])).await;
    }
    for (max_bytes, whole, leftover) in
        [(0, 1, 0), (1, 1, 0), (size, 1, 0), (size + 20, 1, 20), (2 * size, 2, 0), (1 << 20, 3, 0)]
    {
        let mut request = fetch_request(&topic, 0, 0);
        request.topics[0].partitions[0].partition_max_bytes = max_bytes;
        let data = fetched(client.call(12, &request).await);
        let bytes = data.records.unwrap();
        let mut set = batches(&bytes);
        assert_eq!((set.by_ref().count(), set.leftover()), (whole, leftover), "max {max_bytes}");
    }
}

#[tokio::test]
async fn the_whole_answers_limit_leaves_later_partitions_empty() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 2, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    for partition in 0..2 {
        produce(&mut client, &topic, partition, batch(["a".repeat(500)])).await;
    }
    let mut request = FetchRequest { max_bytes: 300, ..fetch_request(&topic, 0, 0) };
    let second = fetch_request(&topic, 1, 0).topics[0].partitions[0].clone();
    request.topics[0].partitions.push(second);
    let data = only(client.call(12, &request).await.responses).partitions;
    assert_eq!(records(&data[0]).len(), 1);
    assert_eq!(records(&data[1]).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_at_the_end_waits_for_its_time_and_no_longer() {
    let (_cluster, topic, mut client) = with_topic(1).await;
    let start = Instant::now();
    let data = fetched(client.call(12, &waiting(&topic, 0, 1, 5000)).await);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!((data.error_code, data.records.unwrap().len()), (ErrorCode::NONE, 0));
    let start = Instant::now();
    fetched(client.call(12, &waiting(&topic, 0, 0, 5000)).await);
    assert_eq!(start.elapsed(), Duration::ZERO, "without a minimum there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn an_append_wakes_a_waiting_fetch_once_it_has_enough() {
    let (cluster, topic, mut reader) = with_topic(1).await;
    let size = batch(["a"]).len() as i32;
    let start = Instant::now();
    let id = reader.send(12, &waiting(&topic, 0, 2 * size, 60_000)).await;
    let mut writer = RawClient::pipe(&cluster, 1).await;
    for second in 1..=2 {
        tokio::time::sleep_until(start + Duration::from_secs(second)).await;
        produce(&mut writer, &topic, 0, batch(["a"])).await;
    }
    let data = fetched(reader.receive::<FetchRequest>(12, id).await);
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(records(&data).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_ends_the_wait_besides_records_is_an_error_of_the_partition() {
    for version in [10, 12] {
        let (cluster, topic, mut client) = with_topic(3).await;
        let version = client.spoken::<FetchRequest>(version);
        let code = match version {
            11.. => ErrorCode::FENCED_LEADER_EPOCH,
            _ => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        };
        let mut request = waiting(&topic, 0, 1, 60_000);
        if version >= 11 {
            request.topics[0].partitions[0].current_leader_epoch = cluster.leader_epoch("t", 0).unwrap();
        }
        let start = Instant::now();
        let id = client.send(version, &request).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.move_leader("t", 0, 2).unwrap();
        assert_eq!(fetched(client.receive::<FetchRequest>(version, id).await).error_code, code);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
    let (cluster, topic, mut client) = with_topic(1).await;
    let id = client.send(13, &waiting(&topic, 0, 1, 60_000)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.delete_topic("t").unwrap();
    let answer = fetched(client.receive::<FetchRequest>(13, id).await);
    let by_id = client.spoken::<FetchRequest>(13) >= 13;
    let code = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    assert_eq!(answer.error_code, code);
}

#[tokio::test]
async fn epochs_and_leaders_are_checked() {
    let (cluster, topic, mut leader) = with_topic(3).await;
    cluster.create_topic("single", 1, 1).unwrap();
    cluster.move_leader("t", 0, 2).unwrap();
    let epoch = cluster.move_leader("t", 0, 1).unwrap();
    produce(&mut leader, &topic, 0, batch(["a"])).await;
    let mut follower = RawClient::pipe(&cluster, 2).await;
    for (current, code) in [
        (-1, ErrorCode::NONE),
        (epoch, ErrorCode::NONE),
        (epoch - 1, ErrorCode::FENCED_LEADER_EPOCH),
        (epoch + 1, ErrorCode::UNKNOWN_LEADER_EPOCH),
    ] {
        let mut request = fetch_request(&topic, 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = current;
        let version = leader.spoken::<FetchRequest>(12);
        // Requests below version 9 carry no epoch.
        let code = if version >= 9 { code } else { ErrorCode::NONE };
        assert_eq!(fetched(leader.call(12, &request).await).error_code, code);
        let data = fetched(follower.call(12, &request).await);
        let code = if version >= 11 { code } else { ErrorCode::NOT_LEADER_OR_FOLLOWER };
        assert_eq!(data.error_code, code, "a follower in sync serves readers from version 11 on");
    }
    let data = fetched(follower.call(10, &fetch_request(&topic, 0, 0)).await);
    assert_eq!(data.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);

    let single = crate::support::topic(&cluster, "single");
    let leader_id = cluster.leader("single", 0).unwrap().unwrap();
    let mut other = RawClient::pipe(&cluster, leader_id % 3 + 1).await;
    let response = other.call(16, &fetch_request(&single, 0, 0)).await;
    let endpoints: Vec<_> = response.node_endpoints.iter().map(|endpoint| endpoint.node_id).collect();
    let data = fetched(response);
    assert_eq!(data.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let told =
        if other.spoken::<FetchRequest>(16) >= 16 { (leader_id, vec![leader_id]) } else { (-1, vec![]) };
    assert_eq!((data.current_leader.leader_id, endpoints), told);
}

#[tokio::test]
async fn sessions_are_not_offered() {
    let (_cluster, topic, mut client) = with_topic(1).await;
    let asking = FetchRequest { session_epoch: 0, ..fetch_request(&topic, 0, 0) };
    assert_eq!(client.call(12, &asking).await.session_id, 0);
    let unknown = FetchRequest { session_id: 9, session_epoch: 1, ..asking };
    let has_sessions = client.spoken::<FetchRequest>(12) >= 7;
    let code = if has_sessions { ErrorCode::FETCH_SESSION_ID_NOT_FOUND } else { ErrorCode::NONE };
    assert_eq!(client.call(12, &unknown).await.error_code, code);
}

#[tokio::test]
async fn a_topic_created_again_is_not_found_under_its_old_id() {
    let (cluster, topic, mut client) = with_topic(1).await;
    produce(&mut client, &topic, 0, batch(["old"])).await;
    cluster.delete_topic("t").unwrap();
    let id: Uuid = cluster.create_topic("t", 1, 1).unwrap();
    assert_ne!(id, topic.id);
    let data = fetched(client.call(13, &fetch_request(&topic, 0, 0)).await);
    let by_id = client.spoken::<FetchRequest>(13) >= 13;
    assert_eq!(data.error_code, if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::NONE });
    assert_eq!(fetch(&mut client, &topic, 0, 0).await.high_watermark, 0, "by name it is the new one");
}
