//! What waits in a partition client's line: it ends by its own time, is held back behind a failure, and is not kept
//! waiting by what has left.

use std::time::Duration;

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::client::{Client, PartitionClient};
use rskafka::protocol::records::{NewRecord, RecordBatchBuilder};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka::time::OffsetDateTime;
use rskafka_fake::{FakeCluster, Fault};
use tokio::time::Instant;

use super::common::{SLACK, read_all, record, values};
use super::kit::{DELIVERY_TIMEOUT, TOPIC, assert_says, builder, failure, fake, speaks, start, start_plain};

const MIB: usize = 1 << 20;

/// A client whose connections have room for one request of `LARGE` bytes, and a log whose producer the partition knows.
async fn narrow(stops_on_failure: bool) -> (FakeCluster, Client, PartitionClient) {
    let cluster = fake().brokers(2).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 2).unwrap();
    let client = builder(&cluster).max_in_flight_bytes(3_000).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).stop_on_failure(stops_on_failure).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    cluster.clear_requests();
    (cluster, client, log)
}

const LARGE: usize = 2_000;

fn produce_requests(cluster: &FakeCluster) -> usize {
    cluster.requests().iter().filter(|request| request.api_key == ApiKey::PRODUCE).count()
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_ends_by_its_own_time_beside_an_append_that_has_more() {
    let cluster = fake().brokers(1).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let time = Duration::from_secs(2);
    let client = builder(&cluster).api_timeout(time).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    cluster.inject(Fault::swallow().on(ApiKey::INIT_PRODUCER_ID).always());
    let append = log.produce([record("append")]);
    let begun = Instant::now();
    let error = log.warm_up().await.unwrap_err();
    assert!(begun.elapsed() <= time + SLACK, "{:?}", begun.elapsed());
    assert!(error.is_timeout() && error.outcome() == Outcome::NotWritten, "{error:?}");
    drop(append);
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_that_fails_says_what_was_asked_and_what_to_do() {
    let (cluster, _client, log) = start(1).await;
    let loading = Fault::answer(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    cluster.inject(loading.on(ApiKey::INIT_PRODUCER_ID).always());
    let error = log.warm_up().await.unwrap_err();
    assert!(error.is_timeout() && error.attempts() > 2, "{error:?}");

    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::answer(ErrorCode::CLUSTER_AUTHORIZATION_FAILED).on(ApiKey::INIT_PRODUCER_ID));
    assert_says(&log.warm_up().await.unwrap_err(), &["InitProducerId", "grant WRITE"]);
    cluster.inject(Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(ApiKey::PRODUCE));
    assert_says(&log.produce([record("refused")]).await.unwrap_err(), &["Produce", TOPIC, "grant WRITE"]);
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_after_a_truncation_is_refused() {
    let (cluster, _client, log) = start(1).await;
    log.produce([record("first")]).await.unwrap();
    log.produce([record("second")]).await.unwrap();
    cluster.truncate(TOPIC, 0, 0).unwrap();
    log.produce([record("lost")]).await.unwrap_err();
    let error = log.warm_up().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LogTruncated { divergence_offset: 0 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_append_ends_by_its_time_while_the_line_waits_for_the_answer_to_one_behind_it() {
    let (cluster, client, _) = start(1).await;
    let time = Duration::from_secs(2);
    let log = client.partition_client(TOPIC, 0).delivery_timeout(time).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    let late = Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).delayed_by(Duration::from_millis(1_600));
    cluster.inject(late.on(ApiKey::PRODUCE));
    let begun = Instant::now();
    let ahead = async {
        let error = log.produce([record("ahead")]).await.unwrap_err();
        (begun.elapsed(), error)
    };
    let behind = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        cluster.inject(Fault::swallow().on(ApiKey::PRODUCE).always());
        log.produce([record("behind")]).await
    };
    let ((took, error), behind) = tokio::join!(ahead, behind);
    assert!(took <= time + SLACK, "{took:?}");
    assert_eq!(error.outcome(), Outcome::NotWritten, "{error:?}");
    behind.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_by_its_time_behind_an_append_that_has_more() {
    let (cluster, _client, log) = start(1).await;
    log.produce([record("first")]).await.unwrap();
    let builder = BatchProducer::builder(log.clone()).linger(DELIVERY_TIMEOUT / 2);
    let producer = builder.build(RecordAggregator::new(MIB));
    let begun = Instant::now();
    let early = producer.produce(record("early"));
    tokio::time::sleep(DELIVERY_TIMEOUT / 2 - Duration::from_millis(10)).await;
    cluster.stop_broker(cluster.leader(TOPIC, 0).unwrap().unwrap()).await.unwrap();
    let later = log.produce([record("later")]);
    early.await.unwrap_err();
    assert!(begun.elapsed() <= DELIVERY_TIMEOUT + SLACK, "{:?}", begun.elapsed());
    let error = later.await.unwrap_err();
    assert!(begun.elapsed() > DELIVERY_TIMEOUT + SLACK, "the append ended before its time: {error:?}");
}

#[tokio::test(start_paused = true)]
async fn with_stop_on_failure_an_append_whose_time_ends_in_the_queue_stops_those_behind_it() {
    let (cluster, client, _) = start(1).await;
    let log = client.partition_client(TOPIC, 0).stop_on_failure(true).max_in_flight(1).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    let builder = BatchProducer::builder(log.clone()).linger(DELIVERY_TIMEOUT / 2);
    let producer = builder.build(RecordAggregator::new(MIB));
    let early = producer.produce(record("early"));
    tokio::time::sleep(DELIVERY_TIMEOUT / 2 - Duration::from_millis(10)).await;
    // Slow, but within their own time.
    cluster.inject(Fault::delay(Duration::from_millis(1_300)).on(ApiKey::PRODUCE).times(3));
    let slow: Vec<_> = ["a", "b", "c"].into_iter().map(|value| log.produce([record(value)])).collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let behind = log.produce([record("behind")]);
    for slow in slow {
        slow.await.unwrap();
    }
    assert!(early.await.unwrap_err().is_timeout());
    assert_eq!(behind.await.unwrap_err().kind(), &ErrorKind::Stopped);
    assert_eq!(values(&read_all(&log).await), ["first", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_behind_a_failure_is_not_sent_again_after_a_resume() {
    let (cluster, client, _) = start(1).await;
    let log = client.partition_client(TOPIC, 0).stop_on_failure(true).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::MESSAGE_TOO_LARGE).on(ApiKey::PRODUCE));
    cluster.inject(Fault::delay(Duration::from_millis(500)).on(ApiKey::PRODUCE));
    let (refused, behind) = (log.produce([record("refused")]), log.produce([record("behind")]));
    refused.await.unwrap_err();
    // Before the broker has refused the one behind it, which does not follow the first.
    log.resume();
    let again = log.produce([record("again")]);
    let error = behind.await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Stopped, "{error:?}");
    again.await.unwrap();
    assert_eq!(values(&read_all(&log).await), ["first", "again"]);
}

#[tokio::test(start_paused = true)]
async fn with_stop_on_failure_what_waits_for_room_is_not_sent_behind_a_failure() {
    let (cluster, _client, log) = narrow(true).await;
    let refusal = Fault::answer(ErrorCode::MESSAGE_TOO_LARGE).delayed_by(Duration::from_millis(100));
    cluster.inject(refusal.on(ApiKey::PRODUCE));
    let large = |byte| log.produce([record(vec![byte; LARGE])]);
    let (refused, behind) = (large(b'a'), large(b'b'));
    refused.await.unwrap_err();
    let error = behind.await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Stopped, Outcome::NotWritten), "{error:?}");
    assert_eq!(produce_requests(&cluster), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_is_not_sent_to_a_leader_that_has_refused() {
    let (cluster, _client, log) = narrow(false).await;
    let refusal = Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).delayed_by(Duration::from_millis(100));
    cluster.inject(refusal.on(ApiKey::PRODUCE));
    let large = |byte| log.produce([record(vec![byte; LARGE])]);
    let (refused, behind) = (large(b'a'), large(b'b'));
    assert_eq!((refused.await.unwrap().base_offset, behind.await.unwrap().base_offset), (1, 2));
    assert_eq!(produce_requests(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_the_line_lets_the_next_one_go() {
    let (cluster, client, _) = start(1).await;
    let log = client.partition_client(TOPIC, 0).buffer_memory(3_000).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    let sent = || client.stats().brokers.iter().map(|broker| broker.stats.bytes_out).sum::<u64>();
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::PRODUCE));
    let slow = log.produce([record(vec![b'a'; LARGE])]);
    let large = log.produce([record(vec![b'b'; LARGE])]);
    let small = log.produce([record("small")]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = sent();
    drop(large);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(sent() > before, "the small one waits for the answer to the first");
    assert_eq!((slow.await.unwrap().base_offset, small.await.unwrap().base_offset), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn timestamps_before_1970_are_refused_however_the_record_is_given() {
    let (_cluster, _client, log) = start(1).await;
    let timestamp = OffsetDateTime::UNIX_EPOCH - Duration::from_secs(10);
    let old = || Record { timestamp, ..record("old") };
    let mut batch = RecordBatchBuilder::new();
    batch.push(NewRecord::new(-10_000, None, Some(b"old"))).unwrap();
    let producer = BatchProducer::builder(log.clone()).build(RecordAggregator::new(MIB));
    let errors = [
        log.produce([old()]).await.unwrap_err(),
        log.produce_batch(batch).await.unwrap_err(),
        producer.produce(old()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.outcome(), Outcome::NotWritten);
        assert!(format!("{error:?}").contains("before 1970"), "{error:?}");
    }
    assert!(read_all(&log).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn appends_that_fail_one_after_another_at_a_wrong_leader_go_out_after_growing_pauses() {
    let (cluster, _client, log) = start_plain(1).await;
    log.produce([record("first")]).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::PRODUCE).times(10));
    let begun = Instant::now();
    let calls: Vec<_> = (0..11).map(|number| log.produce([record(number.to_string())])).collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.is_ok());
    }
    assert_eq!(results.iter().filter(|is_written| !**is_written).count(), 10, "{results:?}");
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn appends_whose_time_ends_at_once_do_not_each_ask_all_brokers_again() {
    let (cluster, _client, log) = start_plain(1).await;
    if !speaks(&cluster, ApiKey::METADATA, 13) {
        // Older brokers cannot send a client back to the start.
        return;
    }
    log.produce([record("first")]).await.unwrap();
    for api in [ApiKey::API_VERSIONS, ApiKey::METADATA] {
        cluster.inject(Fault::answer(ErrorCode::REBOOTSTRAP_REQUIRED).on(api).always());
    }
    cluster.cut_connections(1).unwrap();
    tokio::time::sleep(SLACK).await;
    cluster.clear_requests();
    let calls: Vec<_> = (0..100).map(|number| log.produce([record(number.to_string())])).collect();
    for call in calls {
        let error = call.await.unwrap_err();
        assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true), "{error:?}");
    }
    let asked = cluster.requests().iter().filter(|asked| asked.api_key == ApiKey::API_VERSIONS).count();
    assert!((10..100).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_behind_the_oldest_append_needs_no_time_for_a_pause_of_its_own() {
    let (cluster, _, _) = start(3).await;
    if !speaks(&cluster, ApiKey::PRODUCE, 10) {
        // No broker names the leader, so that the oldest needs a pause as well.
        return;
    }
    let client = builder(&cluster).backoff(2 * DELIVERY_TIMEOUT, 2 * DELIVERY_TIMEOUT).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.move_leader(TOPIC, 0, old % 3 + 1).unwrap();
    let calls = ["a", "b", "c"].map(|value| log.produce([record(value)]));
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(values(&read_all(&log).await), ["first", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_waits_for_the_one_before_it_is_not_called_out_of_sequence() {
    let (cluster, _client, log) = start(1).await;
    log.produce([record("first")]).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE));
    let (struck, behind) = (log.produce([record("struck")]), log.produce([record("behind")]));
    // The broker refuses both: what is behind does not follow the first.
    cluster.requests_like(3, |request| request.api_key == ApiKey::PRODUCE).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE).always());
    let error = failure(DELIVERY_TIMEOUT, behind).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::NotWritten), "{error:?}");
    assert_eq!(struck.await.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(values(&read_all(&log).await), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_fails_behind_the_oldest_does_not_cut_its_pause_short() {
    let (cluster, _, _) = start(1).await;
    let pause = Duration::from_secs(1);
    let client = builder(&cluster).backoff(pause, pause).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).stop_on_failure(true).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    for code in
        [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::MESSAGE_TOO_LARGE, ErrorCode::NOT_LEADER_OR_FOLLOWER]
    {
        cluster.inject(Fault::answer(code).on(ApiKey::PRODUCE));
    }
    let begun = Instant::now();
    let [oldest, refused, stopped] =
        ["oldest", "refused", "stopped"].map(|value| log.produce([record(value)]));
    oldest.await.unwrap();
    assert!(begun.elapsed() >= pause * 4 / 5, "{:?}", begun.elapsed());
    assert_eq!(refused.await.unwrap_err().code(), Some(ErrorCode::MESSAGE_TOO_LARGE));
    assert_eq!(stopped.await.unwrap_err().kind(), &ErrorKind::Stopped);
    assert_eq!(values(&read_all(&log).await), ["first", "oldest"]);
}
