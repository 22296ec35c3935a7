//! What no longer exists: a topic that was deleted and created again, records that were deleted for their age.

use std::time::Duration;

use rskafka_protocol::messages::delete_topics::DeleteTopicsRequest;
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use rskafka_protocol::messages::produce::ProduceRequest;

use super::super::records::*;
use super::Target;
use super::producers::{batch, new_id, remembered};
use crate::support::{TopicName, fetch_request, only, produce_request};

fn list(topic: &TopicName, timestamp: i64) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition { timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![asked] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

/// A topic is deleted and made again: what its old id and its name lead to.
pub(crate) async fn recreated(target: &mut Target) {
    let controller = target.controller().await;
    let old = target.create("recreated", 1, &[]).await;
    let id = new_id(target).await;
    let newest = target.at_most::<ProduceRequest>(13);
    for sequence in 0..3 {
        let leader = target.leader(&old);
        let request = produce_request(&old, 0, -1, Some(batch(id, 0, sequence, 1)));
        target.ask("before the deletion", leader, newest, &request).await;
    }
    let names = vec![old.name.clone()];
    let request = DeleteTopicsRequest { topic_names: names, timeout_ms: 10_000, ..Default::default() };
    target.ask("to be made again", controller, 5, &request).await;
    target.wait_until_unknown(&old).await;
    let new = target.create("recreated", 1, &[]).await;
    let leader = target.leader(&new);
    for version in target.versions::<FetchRequest>() {
        for (case, topic) in [("old id", &old), ("new id", &new)] {
            for offset in [0, 3] {
                let case = format!("made again, {case}, offset {offset}");
                target.ask(&case, leader, version, &fetch_request(topic, 0, offset)).await;
            }
        }
    }
    for version in target.versions::<ProduceRequest>() {
        for (case, topic) in [("old id", &old), ("new id", &new)] {
            let request = produce_request(topic, 0, -1, Some(good()));
            target.ask(&format!("made again, {case}"), leader, version, &request).await;
        }
    }
    // The new topic remembers no producer of the old one.
    for (sequence, case) in [(7, "any sequence"), (2, "one before it")] {
        let request = produce_request(&new, 0, -1, Some(batch(id, 0, sequence, 1)));
        target.ask(&format!("made again, {case}"), leader, newest, &request).await;
    }
    for version in target.versions::<MetadataRequest>().filter(|version| *version >= 12) {
        for (case, topic) in [("old id", &old), ("new id", &new)] {
            let asked = MetadataRequestTopic { name: None, topic_id: topic.id };
            let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
            target.ask(&format!("made again, {case}"), leader, version, &request).await;
        }
    }
    for version in target.versions::<ListOffsetsRequest>() {
        target.ask("made again", leader, version, &list(&new, -1)).await;
    }
}

/// Retention takes all that a log has.
pub(crate) async fn expired(target: &mut Target) {
    let topic = target.create("expired", 1, &[("retention.ms", "1000")]).await;
    let leader = target.leader(&topic);
    let newest = target.at_most::<ProduceRequest>(13);
    let old = built(&[(1000, Some("a")), (2000, Some("b"))]).into_bytes();
    for case in ["old records", "more of them"] {
        target.ask(case, leader, newest, &produce_request(&topic, 0, -1, Some(old.clone()))).await;
    }
    let id = new_id(target).await;
    let request = produce_request(&topic, 0, -1, Some(batch(id, 0, 5, 2)));
    target.ask("the last of them", leader, newest, &request).await;
    while only(only(target.client(leader).call(1, &list(&topic, -2)).await.topics).partitions).offset < 6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for version in target.versions::<FetchRequest>() {
        for offset in [0, 4, 5, 6, 7] {
            let case = format!("expired, offset {offset}");
            target.ask(&case, leader, version, &fetch_request(&topic, 0, offset)).await;
        }
    }
    for version in target.versions::<ListOffsetsRequest>() {
        for timestamp in [-1, -2, -3, 0, 1500] {
            target.ask(&format!("expired, at {timestamp}"), leader, version, &list(&topic, timestamp)).await;
        }
    }
    // The running broker still knows who wrote.
    remembered(target, &topic, 0).await;
    for (case, epoch, sequence, records) in
        [("the same", 0, 5, 2), ("gap", 0, 9, 1), ("next", 0, 7, 1), ("old epoch", -1, 8, 1)]
    {
        let request = produce_request(&topic, 0, -1, Some(batch(id, epoch, sequence, records)));
        target.ask(&format!("expired, {case}"), leader, newest, &request).await;
    }
}
