//! Creating topics: a topic can be used when the call returns, all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::protocol::messages::find_coordinator::{FindCoordinatorRequest, GROUP};
use rskafka::protocol::messages::metadata::MetadataResponse;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::Fault;
use rskafka_transport::CallOptions;

use super::common::raw::{connect, deadline};
use super::common::record;
use super::kit::{TIMEOUT, TOPIC, builder, failure, fake, start};
use super::relay::{Asked, change, env_meddling};

#[tokio::test(start_paused = true)]
async fn a_creation_waits_until_each_partition_is_served() {
    for late in 0..3 {
        let (cluster, client, _) = start(1).await;
        let refusal = Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).partition("second", late);
        let asked = cluster.inject(refusal.clone().on(ApiKey::LIST_OFFSETS).times(3));
        client.create_topic("second", 3, 1).await.unwrap();
        assert_eq!(cluster.struck(asked), 3, "partition {late} is not waited for");
        for partition in 0..3 {
            let log = client.partition_client("second", partition).await.unwrap();
            assert_eq!(log.produce([record("first")]).await.unwrap().base_offset, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_waits_until_each_partition_has_a_leader() {
    const ROUNDS: usize = 3;
    for late in 0..3 {
        let cluster = fake().in_memory().start().await.unwrap();
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = rounds.clone();
        let meddle = move |asked: &Asked, frame: Bytes| {
            if asked.api != ApiKey::METADATA {
                return frame;
            }
            change(asked, &frame, |answer: &mut MetadataResponse| {
                let partitions = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                let late = partitions.filter(|partition| partition.partition_index == late);
                for partition in late {
                    if counted.fetch_add(1, Ordering::Relaxed) < ROUNDS {
                        partition.error_code = ErrorCode::LEADER_NOT_AVAILABLE;
                        partition.leader_id = -1;
                    }
                }
            })
        };
        let client = builder(&cluster).env(env_meddling(&cluster, meddle).build()).build().await.unwrap();
        client.create_topic("second", 3, 1).await.unwrap();
        assert!(rounds.load(Ordering::Relaxed) > ROUNDS, "partition {late} is not waited for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_takes_its_time_is_asked_once() {
    // Longer than a request's time, but not than the time that the controller was given beside it.
    let slow = Fault::delay(Duration::from_secs(4));
    let (cluster, client, _) = start(1).await;
    cluster.inject(slow.clone().on(ApiKey::CREATE_TOPICS));
    client.create_topic("second", 1, 1).await.unwrap();
    cluster.inject(slow.on(ApiKey::DELETE_TOPICS));
    client.delete_topic("second").await.unwrap();
    for api in [ApiKey::CREATE_TOPICS, ApiKey::DELETE_TOPICS] {
        assert_eq!(cluster.requests().iter().filter(|request| request.api_key == api).count(), 1, "{api}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_topic_that_the_client_has_deleted() {
    let (cluster, client, log) = start(1).await;
    log.produce([record("one")]).await.unwrap();
    client.delete_topic(TOPIC).await.unwrap();
    cluster.clear_requests();
    let error = log.produce([record("two")]).await.unwrap_err();
    let said = (error.kind(), error.outcome());
    assert_eq!(said, (&ErrorKind::UnknownTopicOrPartition, Outcome::NotWritten), "{error:?}");
    assert!(cluster.requests().iter().all(|request| request.api_key != ApiKey::PRODUCE));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_leaders_ends_with_the_deadline_of_the_whole_creation() {
    for api in [ApiKey::LIST_OFFSETS, ApiKey::METADATA] {
        let (cluster, client, _) = start(1).await;
        cluster.inject(Fault::delay(Duration::from_secs(4)).on(ApiKey::CREATE_TOPICS));
        cluster.inject(Fault::swallow().on(api).topic("second").always());
        let error = failure(TIMEOUT, async { client.create_topic("second", 3, 1).await }).await;
        assert_eq!((error.outcome(), error.is_timeout()), (Outcome::Unknown, true), "{error:?}");
        assert!(cluster.topic_id("second").is_ok());
    }
}

#[tokio::test]
async fn the_topics_of_kafka_itself_are_listed_as_internal() {
    let cluster = fake().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let connection = connect(cluster.bootstrap_servers()[0].parse().unwrap()).await;
    let find = FindCoordinatorRequest { key: "readers".to_owned(), key_type: GROUP, ..Default::default() };
    // Later versions have lists of keys.
    let options = CallOptions { max_version: Some(3), ..CallOptions::new(deadline()) };
    connection.call(&find, options).await.unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let topics = client.list_topics().await.unwrap();
    let mut listed: Vec<_> = topics.iter().map(|topic| (topic.name.as_str(), topic.is_internal)).collect();
    listed.sort_unstable();
    assert_eq!(listed, [("__consumer_offsets", true), (TOPIC, false)]);
}
