//! `fetch`: where to read on is told, whatever the log has there.

use std::time::Duration;

use bytes::Bytes;
use rskafka::client::Client;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka_fake::Fault;
use tokio::time::Instant;

use super::common::{self, now, record, values};
use super::kit::{TOPIC, assert_says, fake, start};

/// The producer of the transactions here, by id and epoch.
const PRODUCER: (i64, i16) = (7, 0);

#[test]
fn recovery_ends_where_the_log_ends_in_markers() {
    // In real time: on paused time, a loop that asks again and again would never come to its timeout.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let cluster = fake().start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        for (value, committed) in [("committed", true), ("aborted", false)] {
            cluster.append_in_transaction(TOPIC, 0, PRODUCER, [value]).unwrap();
            cluster.end_transaction(TOPIC, 0, PRODUCER, committed).unwrap();
        }
        let client = Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        common::recovers_up_to_the_markers_at_the_end(&log).await;
        let fetches = cluster.requests().iter().filter(|request| request.api_key == ApiKey::FETCH).count();
        assert_eq!(fetches, 1);
    });
}

#[tokio::test(start_paused = true)]
async fn a_fetch_at_a_marker_gives_nothing_and_the_offset_behind_it() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("before")]).await.unwrap();
    cluster.append_in_transaction(TOPIC, 0, PRODUCER, ["in between"]).unwrap();
    let undecided = log.fetch(0).await.unwrap();
    assert_eq!((undecided.next_offset(), undecided.last_stable_offset()), (2, Some(1)));
    let marker = cluster.end_transaction(TOPIC, 0, PRODUCER, true).unwrap();

    let started = Instant::now();
    let fetched = log.fetch(marker).await.unwrap();
    assert_eq!((fetched.next_offset(), fetched.high_watermark()), (marker + 1, marker + 1));
    assert_eq!(fetched.into_records().count(), 0);
    assert!(started.elapsed() < Duration::from_millis(100), "it waited for {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_is_in_the_log_meanwhile_is_not_called_outside_of_its_bounds() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("there")]).await.unwrap();
    for offset in [0, 1] {
        cluster.inject(Fault::answer(ErrorCode::OFFSET_OUT_OF_RANGE).on(ApiKey::FETCH));
        let error = log.fetch(offset).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::OFFSET_OUT_OF_RANGE), "{error:?}");
    }
    let error = log.fetch(2).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::OffsetOutOfRange { offset: 2, log_start: 0, log_end: 1 });
}

#[tokio::test(start_paused = true)]
async fn limits_of_bytes_that_make_no_sense_are_explained() {
    let (_, _, log) = start(1).await;
    for fetch in [log.fetch(0).max_bytes(0), log.fetch(0).min_bytes(2).max_bytes(1)] {
        assert_says(
            &fetch.await.unwrap_err(),
            &["max_bytes must be at least 1, and min_bytes from 0 to max_bytes"],
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_compaction_removed_is_passed() {
    let (cluster, _, log) = start(1).await;
    let keyed = |value: &str| Record::<_, _, ()> {
        key: "the same",
        value: value.to_owned(),
        headers: (),
        timestamp: now(),
    };
    for value in ["first", "second", "third"] {
        log.produce([keyed(value)]).await.unwrap();
    }
    cluster.compact(TOPIC, 0).unwrap();
    assert_eq!(values(&common::read_all(&log).await), ["third"]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_tells_the_bounds_of_the_log_and_where_to_go_on() {
    let (cluster, _, log) = start(1).await;
    for number in 0..4 {
        log.produce([record(number.to_string()), record("x".repeat(1_000))]).await.unwrap();
    }
    cluster.delete_records(TOPIC, 0, 2).unwrap();
    let fetched = log.fetch(3).max_bytes(1).await.unwrap();
    assert_eq!((fetched.next_offset(), fetched.high_watermark()), (4, 8));
    assert_eq!((fetched.last_stable_offset(), fetched.log_start_offset()), (Some(8), Some(2)));
    let offsets: Vec<_> = fetched.into_records().map(|read| read.unwrap().offset).collect();
    assert_eq!(offsets, [3]);
    let fetched = log.fetch(2).max_bytes(1_000_000).await.unwrap();
    assert_eq!((fetched.next_offset(), fetched.into_records().count()), (8, 6));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_as_long_as_it_is_told() {
    let (_, _, log) = start(1).await;
    log.fetch(0).min_bytes(0).await.unwrap();
    let timed = async |fetch: rskafka::client::Fetch| {
        let started = Instant::now();
        let fetched = fetch.await.unwrap();
        assert_eq!((fetched.next_offset(), fetched.high_watermark()), (0, 0));
        started.elapsed().as_millis()
    };
    assert_eq!(timed(log.fetch(0).min_bytes(0).max_wait(Duration::from_secs(30))).await, 0);
    assert_eq!(timed(log.fetch(0)).await, 500);
    assert_eq!(timed(log.fetch(0).max_wait(Duration::from_millis(1_700))).await, 1_700);

    // A record that comes in between is given at once, unless more is waited for.
    for (min_bytes, waits) in [(1, 200), (1_000_000, 800)] {
        let end = log.fetch(0).min_bytes(0).await.unwrap().high_watermark();
        let fetch = log.fetch(end).min_bytes(min_bytes).max_wait(Duration::from_millis(800));
        let started = Instant::now();
        let poll = tokio::spawn(fetch.into_future());
        tokio::time::sleep(Duration::from_millis(200)).await;
        log.produce([record("new")]).await.unwrap();
        let fetched = poll.await.unwrap().unwrap();
        assert_eq!((fetched.next_offset(), started.elapsed().as_millis()), (end + 1, waits));
        let read: Vec<_> = fetched.into_records().map(|read| read.unwrap().record.value).collect();
        assert_eq!(read, [Some(Bytes::from("new"))]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_makes_no_sense_is_refused() {
    let (_, client, log) = start(1).await;
    for fetch in [log.fetch(-1), log.fetch(0).max_bytes(0), log.fetch(0).min_bytes(11).max_bytes(10)] {
        let error = fetch.await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
        assert_says(&error, &["Fetch on topic wal partition 0: invalid argument: "]);
    }
    log.produce([record("one")]).await.unwrap();
    let error = log.fetch(5).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::OffsetOutOfRange { offset: 5, log_start: 0, log_end: 1 });
    assert_eq!(error.outcome(), Outcome::NotWritten);
    client.close().await;
    assert_eq!(log.fetch(0).await.unwrap_err().kind(), &ErrorKind::Closed);
}
