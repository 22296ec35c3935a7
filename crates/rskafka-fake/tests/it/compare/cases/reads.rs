//! Fetch and ListOffsets.

use bytes::Bytes;
use rskafka_protocol::Uuid;
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use rskafka_protocol::messages::produce::ProduceRequest;

use super::super::records::*;
use super::Target;
use crate::support::{TopicName, fetch_request, produce_request};

async fn append(target: &mut Target, topic: &TopicName, records: Bytes) {
    let leader = target.leader(topic);
    let version = target.at_most::<ProduceRequest>(12);
    target.ask("append", leader, version, &produce_request(topic, 0, -1, Some(records))).await;
}

pub(crate) async fn fetch(target: &mut Target) {
    let topic = target.create("fetched", 1, &[]).await;
    let leader = target.leader(&topic);
    let unknown = TopicName { name: target.name("unknown"), id: Uuid([7; 16]) };
    let newest = target.at_most::<FetchRequest>(18);
    target.ask("empty log", leader, newest, &fetch_request(&topic, 0, 0)).await;
    for _ in 0..3 {
        append(target, &topic, good()).await;
    }
    for version in target.versions::<FetchRequest>() {
        for offset in [-2, -1, 0, 1, 2, 5, 6, 7, 1000] {
            target.ask(&format!("offset {offset}"), leader, version, &fetch_request(&topic, 0, offset)).await;
        }
        target.ask("unknown topic", leader, version, &fetch_request(&unknown, 0, 0)).await;
        target.ask("unknown partition", leader, version, &fetch_request(&topic, 7, 0)).await;
        let mut request = fetch_request(&topic, 0, 0);
        request.isolation_level = 1;
        target.ask("read committed", leader, version, &request).await;
        if version >= 9 {
            for epoch in [-1, 0, 1] {
                let mut request = fetch_request(&topic, 0, 0);
                request.topics[0].partitions[0].current_leader_epoch = epoch;
                target.ask(&format!("leader epoch {epoch}"), leader, version, &request).await;
                if let Some(other) = target.other_broker(&topic) {
                    target.ask(&format!("leader epoch {epoch} elsewhere"), other, version, &request).await;
                }
            }
        }
        if let Some(other) = target.other_broker(&topic) {
            target.ask("not a replica", other, version, &fetch_request(&topic, 0, 0)).await;
            target.ask("not a replica, offset 99", other, version, &fetch_request(&topic, 0, 99)).await;
        }
        if version >= 7 {
            for (session_id, session_epoch) in [(0, 0), (4711, 1), (4711, 0), (4711, -1)] {
                let mut request = fetch_request(&topic, 0, 0);
                (request.session_id, request.session_epoch) = (session_id, session_epoch);
                if (session_id, session_epoch) != (0, 0) {
                    let case = format!("session {session_id} epoch {session_epoch}");
                    target.ask(&case, leader, version, &request).await;
                }
            }
        }
        let request = FetchRequest { topics: Vec::new(), ..fetch_request(&topic, 0, 0) };
        target.ask("nothing", leader, version, &request).await;
    }
    if target.broker_count() > 1 {
        let topic = target.create("followed", 2, &[]).await;
        append(target, &topic, good()).await;
        // The follower learns the high watermark with its next fetches.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        for version in target.versions::<FetchRequest>() {
            if let Some(follower) = target.follower(&topic).await {
                target.ask("from a follower", follower, version, &fetch_request(&topic, 0, 0)).await;
                target
                    .ask("from a follower, offset 9", follower, version, &fetch_request(&topic, 0, 9))
                    .await;
            }
        }
    }
}

pub(crate) async fn fetch_limits(target: &mut Target) {
    let topic = target.create("limits", 1, &[]).await;
    let leader = target.leader(&topic);
    let size = good().len() as i32;
    for _ in 0..4 {
        append(target, &topic, good()).await;
    }
    for version in [4, 12, 18] {
        for (max_bytes, partition_max_bytes) in [
            (i32::MAX, 0),
            (0, i32::MAX),
            (0, 0),
            (i32::MAX, 1),
            (1, i32::MAX),
            (i32::MAX, size),
            (i32::MAX, size + 1),
            (i32::MAX, size + 20),
            (i32::MAX, 2 * size - 1),
            (i32::MAX, 2 * size),
            (size + 30, i32::MAX),
            (3 * size, 2 * size),
            (-1, -1),
        ] {
            let mut request = fetch_request(&topic, 0, 3);
            request.max_bytes = max_bytes;
            request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
            let case =
                format!("{max_bytes} bytes, {partition_max_bytes} of the partition, batches of {size}");
            target.ask(&case, leader, version, &request).await;
        }
        // The same partition twice: the second gets what the first leaves.
        let mut request = fetch_request(&topic, 0, 0);
        request.min_bytes = 1_000_000;
        request.max_wait_ms = 50;
        target.ask("min bytes that never come", leader, version, &request).await;
    }
}

pub(crate) async fn list_offsets(target: &mut Target) {
    let topic = target.create("listed", 1, &[("retention.ms", "-1")]).await;
    let empty = target.create("listed-empty", 1, &[]).await;
    let unknown = TopicName { name: target.name("unknown"), id: Uuid([7; 16]) };
    // Times that both clusters take, and that do not depend on the run: Kafka has no lower bound.
    let times = |times: &[i64]| {
        let records: Vec<_> = times.iter().map(|&time| (time, Some("k"))).collect();
        built(&records).into_bytes()
    };
    append(target, &topic, times(&[1000, 3000, 2000])).await;
    append(target, &topic, times(&[500])).await;
    append(target, &topic, times(&[4000, 4000])).await;
    append(target, &topic, times(&[100, 4000])).await;
    for version in target.versions::<ListOffsetsRequest>() {
        for timestamp in
            [-1, -2, -3, -4, -5, -6, -7, i64::MIN, 0, 500, 1000, 1001, 2500, 3001, 4000, 4001, i64::MAX]
        {
            for topic in [&topic, &empty] {
                let leader = target.leader(topic);
                let case =
                    format!("{} at {timestamp}", if topic.name == empty.name { "empty" } else { "log" });
                target.ask(&case, leader, version, &request(topic, 0, timestamp, -1)).await;
            }
        }
        let leader = target.leader(&topic);
        target.ask("unknown topic", leader, version, &request(&unknown, 0, -1, -1)).await;
        target.ask("unknown partition", leader, version, &request(&topic, 8, -1, -1)).await;
        if let Some(other) = target.other_broker(&topic) {
            target.ask("not the leader", other, version, &request(&topic, 0, -1, -1)).await;
            target.ask("not the leader, epoch 9", other, version, &request(&topic, 0, -1, 9)).await;
        }
        for epoch in [0, 1] {
            target.ask(&format!("epoch {epoch}"), leader, version, &request(&topic, 0, -1, epoch)).await;
        }
        let mut twice = request(&topic, 0, -1, -1);
        let again = twice.topics[0].partitions[0].clone();
        twice.topics[0].partitions.push(again);
        target.ask("a partition twice", leader, version, &twice).await;
    }
}

fn request(
    topic: &TopicName,
    partition_index: i32,
    timestamp: i64,
    current_leader_epoch: i32,
) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition { partition_index, current_leader_epoch, timestamp };
    let topic = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![asked] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}
