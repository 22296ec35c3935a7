//! Leader epochs: where they ended, and readers that name the epoch of what they read last.

use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use rskafka_protocol::messages::produce::ProduceRequest;

use super::super::records::*;
use super::Target;
use crate::support::{fetch_request, produce_request};

fn request(topic: &str, partition: i32, current: i32, epoch: i32) -> OffsetForLeaderEpochRequest {
    let asked = OffsetForLeaderPartition { partition, current_leader_epoch: current, leader_epoch: epoch };
    let topic = OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![asked] };
    OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] }
}

pub(crate) async fn ends(target: &mut Target) {
    let topic = target.create("epochs", 1, &[]).await;
    let empty = target.create("epochs-empty", 1, &[]).await;
    let leader = target.leader(&topic);
    let version = target.at_most::<ProduceRequest>(13);
    for _ in 0..2 {
        target.ask("append", leader, version, &produce_request(&topic, 0, -1, Some(good()))).await;
    }
    let unknown = target.name("unknown");
    for version in target.versions::<OffsetForLeaderEpochRequest>() {
        for epoch in [-2, -1, 0, 1, 9] {
            for topic in [&topic, &empty] {
                let leader = target.leader(topic);
                let is_empty = topic.name == empty.name;
                let case = format!("epoch {epoch}, empty {is_empty}");
                target.ask(&case, leader, version, &request(&topic.name, 0, -1, epoch)).await;
            }
        }
        for current in [0, 1] {
            let case = format!("current epoch {current}");
            target.ask(&case, leader, version, &request(&topic.name, 0, current, 0)).await;
        }
        target.ask("unknown topic", leader, version, &request(&unknown, 0, -1, 0)).await;
        target.ask("unknown partition", leader, version, &request(&topic.name, 5, -1, 0)).await;
        if let Some(other) = target.other_broker(&topic) {
            target.ask("not a replica", other, version, &request(&topic.name, 0, -1, 0)).await;
            target.ask("not a replica, current 3", other, version, &request(&topic.name, 0, 3, 0)).await;
        }
    }
    for version in target.versions::<FetchRequest>().filter(|version| *version >= 12) {
        for (offset, epoch) in
            [(0, 0), (2, 0), (4, 0), (5, 0), (1000, 0), (-1, 0), (0, 1), (4, 1), (9, 7), (4, -1), (4, -2)]
        {
            for current in [-1, 0] {
                let mut request = fetch_request(&topic, 0, offset);
                request.topics[0].partitions[0].last_fetched_epoch = epoch;
                request.topics[0].partitions[0].current_leader_epoch = current;
                let case = format!("offset {offset} behind epoch {epoch}, current {current}");
                target.ask(&case, leader, version, &request).await;
            }
        }
        let leader = target.leader(&empty);
        for (offset, epoch) in [(0, 0), (0, 1), (1, 0)] {
            let mut request = fetch_request(&empty, 0, offset);
            request.topics[0].partitions[0].last_fetched_epoch = epoch;
            target.ask(&format!("empty: offset {offset} behind {epoch}"), leader, version, &request).await;
        }
    }
}
