//! Answers from outdated metadata, and topics that are deleted and created again.

use rskafka_fake::Profile;
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ErrorCode, Uuid};

use super::Stage;
use crate::support::*;

/// The version from which on Metadata has leader epochs.
const EPOCHS_FROM: i16 = 7;

/// Leader and leader epoch of the partition; -1 for an epoch that the version does not have.
fn leader(metadata: &MetadataResponse) -> (i32, i32) {
    let partition = &metadata.topics[0].partitions[0];
    (partition.leader_id, partition.leader_epoch)
}

#[tokio::test]
async fn stale_metadata_names_the_old_leader_under_the_old_epoch_until_it_is_released() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(3);
        let old_epoch = stage.cluster.leader_epoch("t", 0).unwrap();
        stage.cluster.hold_metadata(2).unwrap();
        stage.cluster.move_leader("t", 0, 3).unwrap();
        stage.cluster.create_topic("u", 1, 1).unwrap();
        let expected = |leader: i32, epoch: i32| match stage.newest::<MetadataRequest>() {
            Some(version) if version < EPOCHS_FROM => (leader, -1),
            _ => (leader, epoch),
        };

        // One broker answers with the current state and then another with old metadata: the epoch goes backwards.
        let (mut knows, mut lags) = (stage.client(3).await, stage.client(2).await);
        for _ in 0..2 {
            let (now, old) = (stage.metadata(&mut knows).await, stage.metadata(&mut lags).await);
            assert_eq!(leader(&now), expected(3, old_epoch + 1), "{profile}");
            assert_eq!(leader(&old), expected(1, old_epoch), "{profile}");
        }
        let all = stage.call(&mut lags, &MetadataRequest { topics: None, ..Default::default() }).await;
        let names: Vec<_> = all.topics.iter().map(|topic| topic.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["t"], "{profile}: nor has it heard of new topics");
        let mut misled = stage.client(1).await;
        let refused = stage.append(&mut misled, &topic, batch(["a"])).await;
        assert_eq!(
            refused,
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            "{profile}: a client that believes the old metadata"
        );

        stage.cluster.release_metadata(2).unwrap();
        assert_eq!(leader(&stage.metadata(&mut lags).await), expected(3, old_epoch + 1), "{profile}");
    }
}

#[tokio::test]
async fn stale_metadata_may_last_for_some_answers_only() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 2).await;
        stage.topic(2);
        stage.cluster.hold_metadata_for(1, 2).unwrap();
        stage.cluster.move_leader("t", 0, 2).unwrap();
        let mut client = stage.client(1).await;
        let mut leaders = Vec::new();
        for _ in 0..3 {
            leaders.push(leader(&stage.metadata(&mut client).await).0);
        }
        assert_eq!(leaders, [1, 1, 2], "{profile}");
    }
}

#[tokio::test]
async fn stale_metadata_does_not_know_a_topic_that_came_later_nor_that_one_went() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 2).await;
        stage.cluster.hold_metadata(2).unwrap();
        let topic = stage.topic(1);
        let mut lags = stage.client(2).await;
        let code = stage.metadata(&mut lags).await.topics[0].error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "{profile}");
        if stage.newest::<MetadataRequest>() >= Some(12) {
            let asked = MetadataRequestTopic { topic_id: topic.id, name: None };
            let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
            let code = stage.call(&mut lags, &request).await.topics[0].error_code;
            assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_ID, "{profile}");
        }
        stage.cluster.hold_metadata(2).unwrap();
        stage.cluster.delete_topic("t").unwrap();
        let stale = stage.metadata(&mut lags).await;
        assert_eq!((stale.topics[0].error_code, leader(&stale).0), (ErrorCode::NONE, 1), "{profile}");
    }
}

#[tokio::test]
async fn a_partition_whose_replicas_are_all_down_has_leader_minus_1_until_one_that_was_in_sync_is_back() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic(2);
        let holders = stage.cluster.isr("t", 0).unwrap();
        let asked = (1..=3).find(|id| !holders.contains(id)).unwrap();
        let mut client = stage.client(asked).await;
        let epochs = |metadata: &MetadataResponse| leader(metadata).1;
        let before = epochs(&stage.metadata(&mut client).await);
        // The last one down is the last in sync.
        let (first, last) = (holders[1], holders[0]);
        stage.cluster.stop_broker(first).await.unwrap();
        stage.cluster.stop_broker(last).await.unwrap();
        let metadata = stage.metadata(&mut client).await;
        let partition = &metadata.topics[0].partitions[0];
        let told = (partition.error_code, partition.leader_id);
        assert_eq!(told, (ErrorCode::LEADER_NOT_AVAILABLE, -1), "{profile}");
        let in_sync = if profile == Profile::Kafka4_4 { vec![] } else { vec![last] };
        assert_eq!(partition.isr_nodes, in_sync, "{profile}");
        let named: Vec<_> = metadata.brokers.iter().map(|broker| broker.node_id).collect();
        assert_eq!(named, [asked], "{profile}");
        stage.cluster.start_broker(first).await.unwrap();
        assert_eq!(
            leader(&stage.metadata(&mut client).await).0,
            -1,
            "{profile}: it lacks what came after it"
        );
        stage.cluster.start_broker(last).await.unwrap();
        let metadata = stage.metadata(&mut client).await;
        assert_eq!(leader(&metadata).0, last, "{profile}");
        assert!(before == -1 || epochs(&metadata) > before, "{profile}");
        let mut client = stage.client(last).await;
        assert_eq!(stage.append(&mut client, &topic, batch(["a"])).await, Ok(0), "{profile}");
    }
}

#[tokio::test]
async fn a_topic_deleted_and_recreated_has_another_id_and_begins_at_offset_0_and_epoch_0() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let topic = stage.topic_with(3, &[("max.message.bytes", "5000")]);
        let mut client = stage.client(1).await;
        for n in 0..3 {
            assert_eq!(stage.append(&mut client, &topic, batch(["old"])).await, Ok(n));
        }
        let old = stage.metadata(&mut client).await;
        let new_id = stage.cluster.recreate_topic("t").unwrap();
        assert_ne!(new_id, topic.id);
        assert_eq!(stage.cluster.topic_configs("t").unwrap()["max.message.bytes"], "5000");
        let new = stage.metadata(&mut client).await;
        let shape = |metadata: &MetadataResponse| {
            let partitions = metadata.topics[0].partitions.iter();
            partitions.map(|partition| partition.replica_nodes.clone()).collect::<Vec<_>>()
        };
        assert_eq!(shape(&old), shape(&new), "{profile}");
        match profile {
            // Its clients cannot tell the topics apart but by the offsets.
            Profile::EventHubs | Profile::Redpanda => {
                assert_eq!((old.topics[0].topic_id, new.topics[0].topic_id), (Uuid::ZERO, Uuid::ZERO));
            }
            _ => assert_eq!((old.topics[0].topic_id, new.topics[0].topic_id), (topic.id, new_id)),
        }
        if stage.newest::<MetadataRequest>() >= Some(EPOCHS_FROM) {
            assert_eq!(leader(&new).1, 0, "{profile}: epochs start again at 0");
        }

        // Requests by name cannot tell the topics apart; the old offsets are gone.
        let leader = leader(&new).0;
        let mut client = stage.client(leader).await;
        let fetch = |offset| fetch_request(&topic, 0, offset);
        let by_name = stage.newest::<FetchRequest>().unwrap().min(12);
        let data = fetched(client.call(by_name, &fetch(3)).await);
        assert_eq!(data.error_code, ErrorCode::OFFSET_OUT_OF_RANGE, "{profile}");
        let by_name = stage.newest::<ProduceRequest>().unwrap().min(12);
        let request = produce_request(&topic, 0, -1, Some(batch(["new"])));
        assert_eq!(produced(client.call(by_name, &request).await).base_offset, 0, "{profile}");
        assert_eq!(stage.values(), ["new"], "{profile}");

        // Requests by id find that the old topic does not exist.
        if stage.newest::<FetchRequest>() >= Some(13) {
            let data = fetched(client.call(13, &fetch(0)).await);
            assert_eq!(data.error_code, ErrorCode::UNKNOWN_TOPIC_ID, "{profile}");
        }
        if stage.newest::<ProduceRequest>() >= Some(13) {
            let code = produced(client.call(13, &request).await).error_code;
            assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_ID, "{profile}");
            assert_eq!(stage.values(), ["new"], "{profile}");
        }
    }
}
