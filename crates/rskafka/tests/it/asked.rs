//! What brokers are asked: the fields of the requests that they get.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rskafka::client::{Acks, Client, OffsetAt, PartitionClient};
use rskafka::protocol::messages::create_topics::CreateTopicsRequest;
use rskafka::protocol::messages::delete_topics::DeleteTopicsRequest;
use rskafka::protocol::messages::fetch::{FetchRequest, FetchResponse};
use rskafka::protocol::messages::list_offsets::ListOffsetsRequest;
use rskafka::protocol::messages::produce::ProduceRequest;
use rskafka::protocol::{ApiKey, ErrorCode, Request};
use rskafka_fake::{FakeCluster, Fault};
use tokio::time::Instant;

use super::common::{SLACK, record};
use super::kit::{DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, builder, fake, speaks};
use super::relay::{Asked, change, env_meddling};

/// The requests of one kind that were answered, in order.
type Requests<R> = Arc<Mutex<Vec<R>>>;

/// As `kit::start`, with the requests of type `R`.
async fn start<R: Request>() -> (FakeCluster, Client, PartitionClient, Requests<R>) {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let requests = Requests::<R>::default();
    let noted = requests.clone();
    let note = move |asked: &Asked, frame: Bytes| {
        noted.lock().unwrap().extend(asked.request::<R>());
        frame
    };
    let client = builder(&cluster).env(env_meddling(&cluster, note).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    (cluster, client, log, requests)
}

fn millis(duration: Duration) -> i32 {
    duration.as_millis() as i32
}

#[tokio::test(start_paused = true)]
async fn an_append_gives_its_replicas_no_more_time_than_it_has_itself() {
    let (cluster, client, _, requests) = start::<ProduceRequest>().await;
    let log = client.partition_client(TOPIC, 0).max_in_flight(1).await.unwrap();
    let delay = REQUEST_TIMEOUT - Duration::from_millis(50);
    cluster.inject(Fault::delay(delay).on(ApiKey::PRODUCE).times(2));
    let calls = ["first", "second", "third"].map(|value| log.produce([record(value)]));
    for call in calls {
        call.await.unwrap();
    }
    let told: Vec<_> = requests.lock().unwrap().iter().map(|request| request.timeout_ms).collect();
    let left = DELIVERY_TIMEOUT - 2 * delay;
    assert!(left < REQUEST_TIMEOUT);
    assert_eq!(told[..2], [millis(REQUEST_TIMEOUT); 2], "an attempt's time, where more is left");
    assert!(told[2] <= millis(left) && told[2] > millis(left - SLACK), "{told:?}: what is left");
}

#[tokio::test(start_paused = true)]
async fn a_controller_gets_no_more_time_than_the_call_has() {
    let started = Instant::now();
    let (cluster, client, _, requests) = start::<CreateTopicsRequest>().await;
    // The last of three attempts has less time than one may take.
    let slow = Fault::answer(ErrorCode::NOT_CONTROLLER).delayed_by(REQUEST_TIMEOUT - SLACK);
    cluster.inject(slow.clone().on(ApiKey::CREATE_TOPICS).times(2));
    client.create_topic("second", 1, 1).await.unwrap();
    let told: Vec<_> = requests.lock().unwrap().iter().map(|request| request.timeout_ms).collect();
    let left = millis(TIMEOUT - started.elapsed());
    assert_eq!(told[..2], [millis(REQUEST_TIMEOUT); 2]);
    assert!(told[2] < millis(REQUEST_TIMEOUT) && told[2] >= left && told[2] < left + 200, "{told:?}, {left}");

    let started = Instant::now();
    let (cluster, client, _, requests) = start::<DeleteTopicsRequest>().await;
    cluster.inject(slow.on(ApiKey::DELETE_TOPICS).times(2));
    client.delete_topic(TOPIC).await.unwrap();
    let told: Vec<_> = requests.lock().unwrap().iter().map(|request| request.timeout_ms).collect();
    let left = millis(TIMEOUT - started.elapsed());
    assert_eq!(told[..2], [millis(REQUEST_TIMEOUT); 2]);
    assert!(told[2] < millis(REQUEST_TIMEOUT) && told[2] >= left && told[2] < left + 200, "{told:?}, {left}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_told_how_long_it_may_look_for_an_offset() {
    let (cluster, _client, log, requests) = start::<ListOffsetsRequest>().await;
    log.get_offset(OffsetAt::Earliest).await.unwrap();
    // Before version 10 there is no such field.
    let told = if speaks(&cluster, ApiKey::LIST_OFFSETS, 10) { millis(REQUEST_TIMEOUT) } else { 0 };
    assert_eq!(requests.lock().unwrap().last().unwrap().timeout_ms, told);
}

#[tokio::test(start_paused = true)]
async fn an_append_says_who_must_hold_it() {
    let (_, client, log, requests) = start::<ProduceRequest>().await;
    log.produce([record("all, by default")]).await.unwrap();
    for acks in [Acks::All, Acks::Leader] {
        let log = client.partition_client(TOPIC, 0).idempotence(false).acks(acks).await.unwrap();
        log.produce([record("as asked for")]).await.unwrap();
    }
    let told: Vec<_> = requests.lock().unwrap().iter().map(|request| request.acks).collect();
    assert_eq!(told, [-1, -1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_says_from_where_how_much_and_how_long() {
    let (_, _client, log, requests) = start::<FetchRequest>().await;
    for number in 0..3 {
        log.produce([record(number.to_string())]).await.unwrap();
    }
    log.fetch_records(2, 17..4_711, 83).await.unwrap();
    log.fetch(1).min_bytes(19).max_bytes(4_713).max_wait(Duration::from_millis(89)).await.unwrap();
    log.fetch(0).await.unwrap();
    let told = [(2, 17, 4_711, 83), (1, 19, 4_713, 89), (0, 1, 1024 * 1024, 500)];
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), told.len());
    for (fetch, (offset, min_bytes, max_bytes, max_wait_ms)) in requests.iter().zip(told) {
        let partition = &fetch.topics[0].partitions[0];
        assert_eq!((partition.partition, partition.fetch_offset), (0, offset));
        assert_eq!((fetch.min_bytes, fetch.max_wait_ms), (min_bytes, max_wait_ms));
        assert_eq!((fetch.max_bytes, partition.partition_max_bytes), (max_bytes, max_bytes));
        // A reader, which is given all records.
        assert_eq!((fetch.replica_id, fetch.isolation_level), (-1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_told_in_which_epoch_it_is_asked() {
    let (cluster, client, log, requests) = start::<FetchRequest>().await;
    cluster.elect_unclean(TOPIC, 0, 1).unwrap();
    let epoch = cluster.leader_epoch(TOPIC, 0).unwrap();
    assert!(epoch > 0);
    // It looks at what is there now.
    client.partition_client(TOPIC, 0).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    let fetch = requests.lock().unwrap()[0].clone();
    // As far as metadata can be relied on for it, and the request can say it.
    let is_known = speaks(&cluster, ApiKey::METADATA, 9);
    let says = is_known && speaks(&cluster, ApiKey::FETCH, 9);
    assert_eq!(fetch.topics[0].partitions[0].current_leader_epoch, if says { epoch } else { -1 });

    let (cluster, client, log, requests) = start::<ListOffsetsRequest>().await;
    cluster.elect_unclean(TOPIC, 0, 1).unwrap();
    client.partition_client(TOPIC, 0).await.unwrap();
    log.get_offset(OffsetAt::Latest).await.unwrap();
    let list = requests.lock().unwrap()[0].clone();
    let says = is_known && speaks(&cluster, ApiKey::LIST_OFFSETS, 4);
    assert_eq!(list.topics[0].partitions[0].current_leader_epoch, if says { epoch } else { -1 });
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_no_more_than_an_answer_may_hold() {
    const MAX_FRAME_BYTES: usize = 10_000;
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let client = builder(&cluster).max_frame_bytes(MAX_FRAME_BYTES).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    for _ in 0..4 {
        log.produce([record("x".repeat(MAX_FRAME_BYTES / 4))]).await.unwrap();
    }
    log.fetch_records(0, 1..1, 1).await.unwrap();
    let started = Instant::now();
    log.fetch_records(0, 20_000..30_000, 1_000).await.unwrap();
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_refused_as_a_whole_is_made_again() {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let mut refusals = 2;
    let refuse = move |asked: &Asked, frame: Bytes| {
        // Before version 7 an answer has no code of its own.
        if asked.api != ApiKey::FETCH || asked.version < 7 || refusals == 0 {
            return frame;
        }
        refusals -= 1;
        change(asked, &frame, |answer: &mut FetchResponse| {
            answer.error_code = ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR;
            answer.responses.clear();
        })
    };
    let client = builder(&cluster).env(env_meddling(&cluster, refuse).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();
    assert_eq!(log.fetch_records(0, 1..1_000_000, 1).await.unwrap().0.len(), 1);
}
