//! Regions of the log in which a reader finds no record: markers of transactions, and what compaction leaves.

use std::ops::Range;
use std::time::Duration;

use rskafka::protocol::ApiKey;
use rskafka::record::RecordAndOffset;
use rskafka_fake::{FakeCluster, Fault};
use tokio::time::{Instant, sleep};

use super::common::{SLACK, record};
use super::kit::{TIMEOUT, TOPIC, failure, start};

/// Who writes in transactions: producer id and epoch.
const WRITER: (i64, i16) = (9_000, 0);

/// So few bytes that an answer holds one batch, also one without records.
const ONE_BATCH: Range<i32> = 1..1;

fn offsets(records: &[RecordAndOffset]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

fn fetches(cluster: &FakeCluster) -> usize {
    cluster.requests().iter().filter(|request| request.api_key == ApiKey::FETCH).count()
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_past_a_marker() {
    for is_committed in [true, false] {
        let (cluster, _, log) = start(1).await;
        log.produce([record("before")]).await.unwrap();
        cluster.append_in_transaction(TOPIC, 0, WRITER, ["within"]).unwrap();
        let marker = cluster.end_transaction(TOPIC, 0, WRITER, is_committed).unwrap();
        log.produce([record("after")]).await.unwrap();
        let started = Instant::now();
        let (records, high_watermark) = log.fetch_records(marker, ONE_BATCH, 1_000).await.unwrap();
        assert_eq!((offsets(&records), high_watermark), (vec![marker + 1], marker + 2));
        assert!(started.elapsed() < SLACK, "there is no need to wait: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_past_what_compaction_has_emptied() {
    let (cluster, _, log) = start(1).await;
    for _ in 0..10 {
        // Records without key, all of which compaction drops; of the transaction's batch the frame stays.
        log.produce([record("dropped"), record("dropped")]).await.unwrap();
        cluster.append_in_transaction(TOPIC, 0, WRITER, ["emptied", "emptied"]).unwrap();
        cluster.end_transaction(TOPIC, 0, WRITER, true).unwrap();
    }
    let last = log.produce([record("kept")]).await.unwrap().base_offset;
    cluster.compact(TOPIC, 0).unwrap();
    assert_eq!(cluster.log(TOPIC, 0).unwrap().values().unwrap(), ["kept"]);
    for offset in 0..=last {
        for bytes in [ONE_BATCH, 1..1_000_000] {
            let started = Instant::now();
            let (records, high_watermark) = log.fetch_records(offset, bytes, 1_000).await.unwrap();
            assert_eq!((offsets(&records), high_watermark), (vec![last], last + 1), "from {offset}");
            assert!(started.elapsed() < SLACK, "from {offset}: {:?}", started.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn markers_that_keep_coming_make_no_wait_longer() {
    let (cluster, _, log) = start(1).await;
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    cluster.clear_requests();
    let ending = cluster.clone();
    let markers = tokio::spawn(async move {
        for _ in 0..20 {
            sleep(Duration::from_millis(300)).await;
            ending.end_transaction(TOPIC, 0, WRITER, true).unwrap();
        }
    });
    let started = Instant::now();
    let (records, high_watermark) = log.fetch_records(0, 1..1_000_000, 1_000).await.unwrap();
    let elapsed = started.elapsed();
    assert_eq!((offsets(&records), high_watermark), (vec![], 3));
    assert!(elapsed >= Duration::from_secs(1) && elapsed <= Duration::from_secs(1) + SLACK, "{elapsed:?}");
    assert_eq!(fetches(&cluster), 4, "one at first, and one after each marker");
    markers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_region_at_the_end_of_the_log_is_waited_behind_with_one_request() {
    let (cluster, _, log) = start(1).await;
    let marker = cluster.end_transaction(TOPIC, 0, WRITER, true).unwrap();
    log.fetch_records(marker, 1..1_000_000, 1).await.unwrap();
    cluster.clear_requests();
    let reader = log.clone();
    let poll = tokio::spawn(async move { reader.fetch_records(marker, 1..1_000_000, 5_000).await });
    sleep(Duration::from_secs(2)).await;
    log.produce([record("at last")]).await.unwrap();
    let (records, high_watermark) = poll.await.unwrap().unwrap();
    assert_eq!((offsets(&records), high_watermark), (vec![marker + 1], marker + 2));
    assert_eq!(fetches(&cluster), 2, "one over the marker, one that waits");
}

#[tokio::test(start_paused = true)]
async fn the_high_watermark_lies_behind_a_transaction_that_is_not_decided() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("before")]).await.unwrap();
    cluster.append_in_transaction(TOPIC, 0, WRITER, ["within"]).unwrap();
    let (records, high_watermark) = log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!((offsets(&records), high_watermark), (vec![0, 1], 2));
}

#[tokio::test(start_paused = true)]
async fn a_long_region_holds_no_fetch_beyond_its_deadline() {
    let (cluster, _, log) = start(1).await;
    for _ in 0..20 {
        cluster.end_transaction(TOPIC, 0, WRITER, true).unwrap();
    }
    log.produce([record("behind")]).await.unwrap();
    cluster.inject(Fault::delay(Duration::from_secs(2)).on(ApiKey::FETCH).always());
    let wait = Duration::from_secs(1);
    let error = failure(TIMEOUT + wait, log.fetch_records(0, ONE_BATCH, wait.as_millis() as i32)).await;
    assert!(error.is_timeout(), "{error:?}");
    // A reader that is told how far each answer leads gets there all the same.
    let mut next = 0;
    let mut read = Vec::new();
    while read.is_empty() {
        let fetched = log.fetch(next).max_bytes(1).await.unwrap();
        assert_eq!(fetched.next_offset(), next + 1);
        next = fetched.next_offset();
        read.extend(fetched.into_records().map(Result::unwrap));
    }
    assert_eq!(offsets(&read), [20]);
}
