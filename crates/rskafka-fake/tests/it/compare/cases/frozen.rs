//! A broker that falls silent: followers out of sync, leaders that move, partitions without leader.

use std::time::Duration;

use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use rskafka_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use rskafka_protocol::messages::produce::{ProduceRequest, ProduceResponse};

use super::super::records::*;
use super::Target;
use super::producers::{batch, new_id};
use crate::support::{TopicName, fetch_request, only, produce_request};

/// Where things are in the middle of it.
struct Scene {
    frozen: i32,
    /// Two that go on.
    leader: i32,
    follower: i32,
    /// Held by all three and led by a broker that goes on; of these one wants all in sync.
    kept: TopicName,
    strict: TopicName,
    /// Led by the frozen broker, with two followers and with none.
    moved: TopicName,
    alone: TopicName,
}

pub(crate) async fn broker(target: &mut Target) {
    let controller = target.controller_if_broker().await;
    let mut brokers = target.brokers();
    // The one that changes topics goes on.
    brokers.sort_by_key(|id| Some(*id) != controller);
    let [leader, follower, frozen] = brokers[..] else {
        return;
    };
    if !target.can_freeze() {
        eprintln!("no broker was frozen: set KAFKA_ENVIRONMENT to the environment's file");
        return;
    }
    let all = [leader, follower, frozen];
    let scene = Scene {
        frozen,
        leader,
        follower,
        kept: target.create_at("frozen-kept", &all, "1").await,
        strict: target.create_at("frozen-strict", &all, "3").await,
        moved: target.create_at("frozen-moved", &[frozen, leader, follower], "1").await,
        alone: target.create_at("frozen-alone", &[frozen], "1").await,
    };
    let id = new_id(target).await;
    let newest = target.at_most::<ProduceRequest>(13);
    for sequence in 0..6 {
        for (topic, leader) in [(&scene.kept, leader), (&scene.strict, leader), (&scene.moved, frozen)] {
            let request = produce_request(topic, 0, -1, Some(batch(id, 0, sequence, 1)));
            target.ask("before the freeze", leader, newest, &request).await;
        }
    }
    target.freeze(frozen).await;
    while_it_is_in_sync(target, &scene, id).await;
    target.wait_until_gone(frozen, &[&scene.kept, &scene.strict], &[&scene.moved, &scene.alone]).await;
    without_it(target, &scene, id).await;
    target.thaw(frozen).await;
    for topic in [&scene.kept, &scene.strict, &scene.moved] {
        target.wait_for_isr(topic, 3).await;
    }
    when_it_is_back(target, &scene, id).await;
}

/// An append waits for the broker; one of them is still waiting when it is given up on.
async fn while_it_is_in_sync(target: &mut Target, scene: &Scene, id: i64) {
    let newest = target.at_most::<ProduceRequest>(13);
    let request = produce_request(&scene.kept, 0, -1, Some(batch(id, 0, 6, 1)));
    let request = ProduceRequest { timeout_ms: 300, ..request };
    for case in ["too few have it", "sent again, too few have it"] {
        target.ask(case, scene.leader, newest, &request).await;
    }
    let request = produce_request(&scene.kept, 0, 1, Some(good()));
    target.ask("acks 1, too few have it", scene.leader, newest, &request).await;
    target.ask("what too few have", scene.leader, 12, &fetch_request(&scene.kept, 0, 5)).await;
    let request = produce_request(&scene.strict, 0, -1, Some(batch(id, 0, 6, 1)));
    let request = ProduceRequest { timeout_ms: 7_000, ..request };
    let mut client = target.new_client(scene.leader).await;
    let waiting = client.send(newest, &request).await;
    let answer = client.receive::<ProduceRequest>(newest, waiting).await;
    target.keep_answer("Produce: given up on while it waits", newest, &without_endpoints(answer));
}

fn without_endpoints(mut answer: ProduceResponse) -> ProduceResponse {
    answer.node_endpoints.clear();
    answer
}

fn asked(topic: &TopicName) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(topic.name.clone()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

async fn without_it(target: &mut Target, scene: &Scene, id: i64) {
    for version in target.versions::<MetadataRequest>() {
        for topic in [&scene.kept, &scene.strict, &scene.moved, &scene.alone] {
            let answer = target.ask("a broker is gone", scene.leader, version, &asked(topic)).await.unwrap();
            let brokers = answer.brokers.len();
            target.note(&format!("Metadata v{version}: brokers named"), brokers);
        }
    }
    let newest = target.at_most::<ProduceRequest>(13);
    let request = produce_request(&scene.kept, 0, -1, Some(batch(id, 0, 6, 1)));
    target.ask("sent again, enough have it", scene.leader, newest, &request).await;
    for version in target.versions::<ProduceRequest>() {
        for acks in [-1, 1] {
            let request = produce_request(&scene.strict, 0, acks, Some(good()));
            target.ask(&format!("not enough in sync, acks {acks}"), scene.leader, version, &request).await;
        }
        let request = produce_request(&scene.alone, 0, -1, Some(good()));
        target.ask("no leader", scene.leader, version, &request).await;
    }
    let request = produce_request(&scene.strict, 0, -1, Some(batch(id, 0, 6, 1)));
    target.ask("sent again, not enough in sync", scene.leader, newest, &request).await;
    // What the other follower takes is committed, or not, when it has asked for more.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for version in target.versions::<FetchRequest>() {
        target.ask("no leader", scene.leader, version, &fetch_request(&scene.alone, 0, 0)).await;
        target.ask("not enough in sync", scene.leader, version, &fetch_request(&scene.strict, 0, 5)).await;
    }
    for version in target.versions::<ListOffsetsRequest>() {
        target.ask("no leader", scene.leader, version, &list(&scene.alone, -1)).await;
        target.ask("not enough in sync", scene.leader, version, &list(&scene.strict, -1)).await;
    }
    a_new_leader(target, scene, id).await;
}

fn list(topic: &TopicName, current_leader_epoch: i32) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition { timestamp: -1, current_leader_epoch, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![asked] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

/// Another broker leads under the next epoch, and knows what the first one knew of producers.
async fn a_new_leader(target: &mut Target, scene: &Scene, id: i64) {
    let answer = target.client(scene.leader).call(9, &asked(&scene.moved)).await;
    let leader = only(only(answer.topics).partitions).leader_id;
    let newest = target.at_most::<ProduceRequest>(13);
    for sequence in [0, 1, 2, 3, 4, 5, 7, 6] {
        let request = produce_request(&scene.moved, 0, -1, Some(batch(id, 0, sequence, 1)));
        target.ask(&format!("moved: sequence {sequence}"), leader, newest, &request).await;
    }
    for version in target.versions::<FetchRequest>() {
        target.ask("moved", leader, version, &fetch_request(&scene.moved, 0, 5)).await;
        for (offset, current, last) in
            [(6, 0, -1), (6, 1, -1), (6, 2, -1), (7, -1, 0), (6, -1, 0), (7, -1, 1), (9, 1, 0), (7, 1, 2)]
        {
            if version < 12 && last != -1 || version < 9 && current != -1 {
                continue;
            }
            let mut request = fetch_request(&scene.moved, 0, offset);
            request.topics[0].partitions[0].current_leader_epoch = current;
            request.topics[0].partitions[0].last_fetched_epoch = last;
            target.ask(&format!("moved: {offset}, {current}, {last}"), leader, version, &request).await;
        }
    }
    for version in target.versions::<ListOffsetsRequest>().filter(|version| *version >= 4) {
        for current in [-1, 0, 1, 2] {
            let request = list(&scene.moved, current);
            target.ask(&format!("moved: epoch {current}"), leader, version, &request).await;
        }
    }
    for version in target.versions::<OffsetForLeaderEpochRequest>() {
        for (current, leader_epoch) in [(-1, 0), (-1, 1), (-1, 2), (0, 0), (1, 0), (2, 0)] {
            let asked =
                OffsetForLeaderPartition { partition: 0, current_leader_epoch: current, leader_epoch };
            let topic = OffsetForLeaderTopic { topic: scene.moved.name.clone(), partitions: vec![asked] };
            let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
            target.ask(&format!("moved: {leader_epoch}, {current}"), leader, version, &request).await;
        }
    }
}

async fn when_it_is_back(target: &mut Target, scene: &Scene, id: i64) {
    target.reconnect(scene.frozen).await;
    // It learns of the others' new offsets with its next fetches.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for version in target.versions::<ProduceRequest>() {
        let request = produce_request(&scene.moved, 0, -1, Some(good()));
        target.ask("led before", scene.frozen, version, &request).await;
        let request = produce_request(&scene.alone, 0, -1, Some(good()));
        target.ask("leads again", scene.frozen, version, &request).await;
        let request = produce_request(&scene.strict, 0, -1, Some(good()));
        target.ask("enough in sync again", scene.leader, version, &request).await;
    }
    let newest = target.at_most::<ProduceRequest>(13);
    for sequence in [6, 7] {
        let request = produce_request(&scene.strict, 0, -1, Some(batch(id, 0, sequence, 1)));
        target.ask(&format!("strict: sequence {sequence}"), scene.leader, newest, &request).await;
    }
    for version in target.versions::<FetchRequest>() {
        for current in [-1, 0, 1] {
            if version < 9 && current != -1 {
                continue;
            }
            let mut request = fetch_request(&scene.moved, 0, 0);
            request.topics[0].partitions[0].current_leader_epoch = current;
            target.ask(&format!("led before, epoch {current}"), scene.frozen, version, &request).await;
            target.ask(&format!("followed, epoch {current}"), scene.follower, version, &request).await;
        }
    }
    for version in target.versions::<MetadataRequest>() {
        for topic in [&scene.kept, &scene.moved, &scene.alone] {
            target.ask("a broker is back", scene.leader, version, &asked(topic)).await;
        }
    }
}
