//! Where the log begins and ends, and what lies where.

use std::time::Duration;

use rskafka::client::OffsetAt;
use rskafka::client::error::ErrorKind;
use rskafka::record::Record;

use super::{Brokers, new_log, now, record, values};

pub async fn offsets_of_an_empty_log(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "empty").await;
    for at in [OffsetAt::Earliest, OffsetAt::Latest, OffsetAt::Timestamp(now())] {
        let found = log.get_offset(at).await.unwrap();
        assert_eq!((found.offset, found.timestamp), (0, None), "{at:?}");
    }
}

pub async fn offsets_by_end_and_by_time(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "offsets").await;
    let start = now() - Duration::from_secs(100);
    for number in 0..10u64 {
        let timestamp = start + Duration::from_secs(10 * number);
        log.produce([Record { key: (), value: "x", headers: (), timestamp }]).await.unwrap();
    }
    assert_eq!(log.get_offset(OffsetAt::Earliest).await.unwrap().offset, 0);
    assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 10);
    for (seconds, expected) in [(0, 0), (1, 1), (10, 1), (55, 6), (90, 9)] {
        let found = log.get_offset(OffsetAt::Timestamp(start + Duration::from_secs(seconds))).await.unwrap();
        assert_eq!(found.offset, expected, "{seconds} s");
        assert_eq!(found.timestamp, Some(start + Duration::from_secs(10 * expected as u64)));
    }
    // No record is that young: the end, where such a record would come to lie.
    let found = log.get_offset(OffsetAt::Timestamp(start + Duration::from_secs(91))).await.unwrap();
    assert_eq!((found.offset, found.timestamp), (10, None));
}

pub async fn fetch_beyond_the_log_reports_its_bounds(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "bounds").await;
    log.produce([record("one"), record("two")]).await.unwrap();
    let error = log.fetch_records(3, 1..1_000_000, 1_000).await.unwrap_err();
    let expected = ErrorKind::OffsetOutOfRange { offset: 3, log_start: 0, log_end: 2 };
    assert_eq!(error.kind(), &expected);
    assert!(!error.is_retriable());
    let text = error.to_string();
    assert!(text.contains("Fetch on topic ") && text.contains(" partition 0 at broker "), "{text}");
    // The end itself is in range: there is nothing yet.
    assert_eq!(log.fetch_records(2, 1..1_000_000, 1).await.unwrap(), (Vec::new(), 2));
}

pub async fn fetch_from_the_middle_of_a_batch_begins_at_the_offset(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "middle").await;
    log.produce(["a", "b", "c"].map(record)).await.unwrap();
    log.produce(["d", "e"].map(record)).await.unwrap();
    let (records, high_watermark) = log.fetch_records(1, 1..1_000_000, 1_000).await.unwrap();
    assert_eq!(records[0].offset, 1);
    assert_eq!(values(&records), ["b", "c", "d", "e"]);
    assert_eq!(high_watermark, 5);
}
