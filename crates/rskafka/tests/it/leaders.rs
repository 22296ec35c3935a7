//! Leaders that move.

use std::time::Duration;

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, Fault, Profile};
use tokio::time::Instant;

use super::common::{now, read_all, record, values};
use super::kit::{
    TIMEOUT, TOPIC, builder, env, failure, fake, has_topic_ids, profile, speaks, start, start_plain,
};

/// A client that knows of one broker, as the first that it asks.
async fn bootstrapped_at(cluster: &FakeCluster, broker: i32) -> (Client, PartitionClient) {
    let address = cluster.bootstrap_servers()[broker as usize - 1].clone();
    let client = Client::builder([address]).env(env(cluster)).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    (client, log)
}

#[tokio::test(start_paused = true)]
async fn reading_follows_the_leader() {
    let (cluster, _, log) = start(3).await;
    log.produce([record("one")]).await.unwrap();
    for broker in [2, 3, 1, 2] {
        cluster.move_leader(TOPIC, 0, broker).unwrap();
        assert_eq!(values(&read_all(&log).await), ["one"]);
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_produce_after_a_move_is_reported_and_the_next_finds_the_leader() {
    let (cluster, _, log) = start_plain(3).await;
    log.produce([record("one")]).await.unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.move_leader(TOPIC, 0, old % 3 + 1).unwrap();
    let error = log.produce([record("two")]).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert_eq!((error.outcome(), error.is_retriable()), (Outcome::Unknown, true));
    assert_eq!(error.broker().and_then(|(id, _)| id), Some(old));
    assert_eq!(log.produce([record("three")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["one", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_leader_is_replaced_and_its_connections_with_it() {
    let (cluster, _, log) = start(3).await;
    log.produce([record("one")]).await.unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.stop_broker(old).await.unwrap();
    // Nothing was in flight, so nothing is unknown: the append goes to the new leader.
    assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_an_answer_names_is_not_asked_for() {
    let (cluster, _, log) = start_plain(3).await;
    log.produce([record("one")]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    let move_leader = || {
        let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
        cluster.move_leader(TOPIC, 0, old % 3 + 1).unwrap();
        // It counts how often the topic's leaders are asked for.
        cluster.inject(Fault::delay(Duration::from_millis(1)).on(ApiKey::METADATA).topic(TOPIC).always())
    };
    let looks = move_leader();
    log.produce([record("refused")]).await.unwrap_err();
    log.produce([record("two")]).await.unwrap();
    let is_named = speaks(&cluster, ApiKey::PRODUCE, 10);
    assert_eq!(cluster.struck(looks), u64::from(!is_named));
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    cluster.clear_faults();
    let looks = move_leader();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    // A reader that does not know the epoch is served by the old leader, as by any follower.
    let is_refused = speaks(&cluster, ApiKey::METADATA, 9) || !speaks(&cluster, ApiKey::FETCH, 11);
    let is_named = speaks(&cluster, ApiKey::FETCH, 16);
    assert_eq!(cluster.struck(looks), u64::from(is_refused && !is_named));
}

#[tokio::test(start_paused = true)]
async fn after_an_append_without_an_answer_the_leader_is_asked_for() {
    let (cluster, _, log) = start_plain(3).await;
    log.produce([record("one")]).await.unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let lost = log.produce([record("lost")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.stop_broker(old).await.unwrap();
    assert_eq!(lost.await.unwrap_err().outcome(), Outcome::Unknown);
    let started = Instant::now();
    log.produce([record("two")]).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(10), "it tried the old one: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_waited_for_and_then_reported() {
    let cluster = fake().brokers(2).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.stop_broker(leader).await.unwrap();
    let error = failure(TIMEOUT, async { client.partition_client(TOPIC, 0).await }).await;
    assert_eq!((error.kind(), error.is_retriable()), (&ErrorKind::NoLeader, true), "{error:?}");
    let waiting = client.clone();
    let waiting = tokio::spawn(async move { waiting.partition_client(TOPIC, 0).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.start_broker(leader).await.unwrap();
    waiting.await.unwrap().unwrap().produce([record("one")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_hear_of_a_move_is_not_asked_again_and_again() {
    // Later ones name the new leader when they refuse (KIP-951), so that nobody is asked.
    let names_leader = matches!(profile(), Profile::Kafka3_9 | Profile::Kafka4_4);
    let profile = if names_leader { Profile::Kafka2_8 } else { profile() };
    let cluster = fake().profile(profile).brokers(3).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 3).unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    let [next, asked] = [old % 3 + 1, (old + 1) % 3 + 1];
    let (_client, log) = bootstrapped_at(&cluster, asked).await;
    cluster.hold_metadata(asked).unwrap();
    cluster.move_leader(TOPIC, 0, next).unwrap();
    let started = Instant::now();
    log.produce([record("two")]).await.unwrap();
    assert_eq!(values(&read_all(&log).await), ["two"]);
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stood_still_does_not_end_the_log_before_an_offset() {
    let (cluster, _, log) = start(3).await;
    log.produce([record("old")]).await.unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.hold_metadata(old).unwrap();
    cluster.move_leader(TOPIC, 0, old % 3 + 1).unwrap();
    log.produce([record("new")]).await.unwrap();

    // It hears of the move late: it calls itself the leader, and an offset that it has not is out of range for it.
    let (_client, log) = bootstrapped_at(&cluster, old).await;
    cluster.inject(Fault::answer(ErrorCode::OFFSET_OUT_OF_RANGE).on(ApiKey::FETCH));
    let asked =
        cluster.inject(Fault::delay(Duration::from_millis(1)).on(ApiKey::METADATA).topic(TOPIC).always());
    let fetched = log.fetch(1).await.unwrap();
    let records = fetched.into_records().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(values(&records), ["new"]);
    // Who fetches by the topic's name asks also whether it is still the same topic.
    let by_name = has_topic_ids() && !speaks(&cluster, ApiKey::FETCH, 13);
    assert_eq!(cluster.struck(asked), 1 + u64::from(by_name));
}

#[tokio::test(start_paused = true)]
async fn an_offset_comes_with_the_epoch_of_its_record() {
    let (cluster, _, log) = start(2).await;
    let time = now();
    log.produce([record("one")]).await.unwrap();
    let before = cluster.leader_epoch(TOPIC, 0).unwrap();
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.move_leader(TOPIC, 0, 3 - leader).unwrap();
    let found = log.get_offset(OffsetAt::Timestamp(time)).await.unwrap();
    let is_told = speaks(&cluster, ApiKey::LIST_OFFSETS, 4);
    assert_eq!((found.offset, found.leader_epoch), (0, is_told.then_some(before)));
}
