//! Quotas: what a throttled answer does to the calls behind it (KIP-219), and what a refused creation does.

use std::time::Duration;

use bytes::Bytes;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::messages::create_topics::CreateTopicsResponse;
use rskafka::protocol::messages::delete_topics::DeleteTopicsResponse;
use rskafka::protocol::messages::fetch::FetchResponse;
use rskafka::protocol::messages::list_offsets::ListOffsetsResponse;
use rskafka::protocol::messages::produce::ProduceResponse;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, Fault, Profile};
use tokio::time::Instant;

use super::common::{read_all, record, values};
use super::kit::{DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, assert_says, failure, fake, profile};
use super::relay::{Asked, Meddle, change, env_meddling};

/// Longer than one attempt may take, shorter than a whole call.
const SILENCE: Duration = Duration::from_secs(5);

/// A cluster with a topic, and a client whose answers pass `meddle`.
async fn start(meddle: impl Meddle) -> (FakeCluster, Client, PartitionClient) {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let client = Client::builder(cluster.bootstrap_servers())
        .env(env_meddling(&cluster, meddle).build())
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .api_timeout(TIMEOUT)
        .build()
        .await
        .unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    (cluster, client, log)
}

/// Throttles the first answer to `api`.
fn throttle_once(api: ApiKey, silence: Duration) -> impl Meddle {
    let mut is_done = false;
    move |asked: &Asked, frame: Bytes| {
        if asked.api != api || is_done {
            return frame;
        }
        is_done = true;
        let ms = silence.as_millis() as i32;
        match api {
            ApiKey::PRODUCE => {
                change(asked, &frame, |answer: &mut ProduceResponse| answer.throttle_time_ms = ms)
            }
            ApiKey::FETCH => change(asked, &frame, |answer: &mut FetchResponse| answer.throttle_time_ms = ms),
            ApiKey::LIST_OFFSETS => {
                change(asked, &frame, |answer: &mut ListOffsetsResponse| answer.throttle_time_ms = ms)
            }
            _ => unreachable!("no test throttles {api}"),
        }
    }
}

fn arrivals(cluster: &FakeCluster, api: ApiKey) -> Vec<Instant> {
    let requests = cluster.requests().into_iter().filter(|request| request.api_key == api);
    requests.map(|request| request.arrived).collect()
}

#[tokio::test(start_paused = true)]
async fn a_throttled_produce_is_appended_exactly_once_and_the_next_one_waits() {
    let (cluster, _, log) = start(throttle_once(ApiKey::PRODUCE, SILENCE)).await;
    let started = Instant::now();
    assert_eq!(log.produce([record("throttled")]).await.unwrap().base_offset, 0);
    assert!(started.elapsed() < Duration::from_millis(100), "its result is given at once");
    assert_eq!(log.produce([record("next")]).await.unwrap().base_offset, 1);
    let [first, second] = arrivals(&cluster, ApiKey::PRODUCE)[..] else { panic!("two requests") };
    assert!(second - first >= SILENCE && second - first < SILENCE + Duration::from_millis(100));
    assert_eq!(values(&read_all(&log).await), ["throttled", "next"]);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_longer_than_the_deadline_fails_the_next_produce_unsent() {
    let (cluster, _, log) = start(throttle_once(ApiKey::PRODUCE, TIMEOUT * 2)).await;
    log.produce([record("throttled")]).await.unwrap();
    let error = failure(Duration::ZERO, log.produce([record("never")])).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Throttled, Outcome::NotWritten));
    assert!(error.is_retriable() && !error.is_timeout());
    assert_eq!(error.attempts(), 1);
    assert_says(&error, &["Produce on topic wal partition 0 at broker 1 (", "throttled", "quota"]);
    assert_eq!(arrivals(&cluster, ApiKey::PRODUCE).len(), 1);
    // Once the silence is nearly over there is time again.
    tokio::time::sleep(TIMEOUT * 2 - DELIVERY_TIMEOUT + Duration::from_secs(1)).await;
    assert_eq!(log.produce([record("later")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["throttled", "later"]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_fetch_gives_its_records_and_silences_its_own_connection_only() {
    let (cluster, _, log) = start(throttle_once(ApiKey::FETCH, SILENCE)).await;
    log.produce([record("one")]).await.unwrap();
    assert_eq!(log.fetch_records(0, 1..1_000_000, 1).await.unwrap().0.len(), 1);
    let started = Instant::now();
    log.produce([record("two")]).await.unwrap();
    log.get_offset(OffsetAt::Latest).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(100), "other connections go on");
    assert_eq!(log.fetch_records(1, 1..1_000_000, 1).await.unwrap().0.len(), 1);
    let [first, second] = arrivals(&cluster, ApiKey::FETCH)[..] else { panic!("two requests") };
    match profile() {
        // It speaks Fetch below version 8 only: with those a broker waits itself, before it answers.
        Profile::EventHubs => assert!(second - first < Duration::from_millis(100)),
        _ => assert!(second - first >= SILENCE),
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_metadata_is_not_waited_for_where_another_broker_can_be_asked() {
    let cluster = fake().brokers(3).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 3).unwrap();
    // Every broker answers ListOffsets with a throttle longer than the client waits for one broker.
    let env = env_meddling(&cluster, throttle_once(ApiKey::LIST_OFFSETS, Duration::from_secs(3600))).build();
    let client = Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.get_offset(OffsetAt::Latest).await.unwrap();
    let started = Instant::now();
    client.partition_client(TOPIC, 0).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_creation_or_deletion_over_the_quota_is_made_again_after_the_time() {
    let silence = |asked: &Asked, frame: Bytes| {
        let code = ErrorCode::THROTTLING_QUOTA_EXCEEDED;
        match asked.api {
            ApiKey::CREATE_TOPICS => change(asked, &frame, |answer: &mut CreateTopicsResponse| {
                if answer.topics.iter().any(|topic| topic.error_code == code) {
                    answer.throttle_time_ms = SILENCE.as_millis() as i32;
                }
            }),
            ApiKey::DELETE_TOPICS => change(asked, &frame, |answer: &mut DeleteTopicsResponse| {
                if answer.responses.iter().any(|topic| topic.error_code == code) {
                    answer.throttle_time_ms = SILENCE.as_millis() as i32;
                }
            }),
            _ => frame,
        }
    };
    let (cluster, client, _) = start(silence).await;
    for api in [ApiKey::CREATE_TOPICS, ApiKey::DELETE_TOPICS] {
        let refused = cluster.inject(Fault::answer(ErrorCode::THROTTLING_QUOTA_EXCEEDED).on(api));
        match api {
            ApiKey::CREATE_TOPICS => client.create_topic("second", 1, 1).await.unwrap(),
            _ => client.delete_topic("second").await.unwrap(),
        }
        assert_eq!(cluster.struck(refused), 1);
        let [first, second] = arrivals(&cluster, api)[..] else { panic!("two requests") };
        let pause = second - first;
        assert!(pause >= SILENCE && pause < SILENCE + Duration::from_millis(500), "{api}: {pause:?}");
    }

    cluster.inject(Fault::answer(ErrorCode::THROTTLING_QUOTA_EXCEEDED).on(ApiKey::CREATE_TOPICS).always());
    let error = failure(TIMEOUT, async { client.create_topic("third", 1, 1).await }).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Throttled, Outcome::NotWritten), "{error:?}");
    assert!(cluster.topic_id("third").is_err());
}
