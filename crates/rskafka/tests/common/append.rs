//! Appending and reading back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Acks, Client, OffsetAt};
use rskafka::record::{Headers, Record};
use time::OffsetDateTime;

use super::{Brokers, new_log, new_topic, now, read_all, record, values};

pub async fn appended_records_come_back_as_they_were(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "content").await;
    let mut headers = Headers::new();
    headers.push("twice", Some("one"));
    headers.push("null", None::<Bytes>);
    headers.push(Bytes::from_static(&[0xff, 0xfe]), Some(Bytes::new()));
    headers.push("twice", Some("two"));
    let times = [now(), OffsetDateTime::UNIX_EPOCH, now() - Duration::from_secs(1_000_000)];
    let written = [
        Record { key: None, value: None, headers: Headers::new(), timestamp: times[0] },
        Record {
            key: Some(Bytes::new()),
            value: Some(Bytes::new()),
            headers: headers.clone(),
            timestamp: times[1],
        },
        Record {
            key: Some(Bytes::from_static(b"key\0\xff")),
            value: Some(vec![7u8; 100_000].into()),
            headers,
            timestamp: times[2],
        },
    ];
    let produced = log.produce(written.clone()).await.unwrap();
    assert_eq!((produced.base_offset, produced.record_count, produced.offsets()), (0, 3, 0..3));
    assert_eq!(produced.log_append_time, None);
    let read = read_all(&log).await;
    assert_eq!(read.iter().map(|read| read.offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(read.into_iter().map(|read| read.record).collect::<Vec<_>>(), written);
}

pub async fn calls_are_appended_in_the_order_in_which_they_were_made(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "order").await;
    let clone = log.clone();
    let mut calls = Vec::new();
    for number in 0..200 {
        let writer = if number % 2 == 0 { &log } else { &clone };
        calls.push(writer.produce([record(number.to_string())]));
    }
    // Awaited in the opposite order: the place in line was taken by the call.
    for (number, call) in calls.into_iter().enumerate().rev() {
        assert_eq!(call.await.unwrap().base_offset, number as i64);
    }
    let expected: Vec<_> = (0..200).map(|number: i32| number.to_string()).collect();
    assert_eq!(values(&read_all(&log).await), expected);
}

pub async fn a_batch_has_consecutive_offsets(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "batches").await;
    let leader_only =
        client.partition_client(log.topic(), 0).idempotence(false).acks(Acks::Leader).await.unwrap();
    for (count, writer) in [(5, &log), (1, &leader_only), (7, &log)] {
        let produced = writer.produce((0..count).map(|number| record(number.to_string()))).await.unwrap();
        assert_eq!(produced.record_count, count);
        assert!(produced.encoded_size > 61);
    }
    let offsets: Vec<_> = read_all(&log).await.iter().map(|read| read.offset).collect();
    assert_eq!(offsets, (0..13).collect::<Vec<i64>>());
}

pub async fn a_dropped_produce_hurts_no_other(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "dropped").await;
    let mut kept = Vec::new();
    for number in 0..60 {
        let call = log.produce([record(number.to_string())]);
        if number % 3 == 0 {
            drop(call);
        } else {
            kept.push((number, call));
        }
    }
    for (number, call) in kept {
        assert_eq!(call.await.unwrap().base_offset, number);
    }
    // Within the buffer, a dropped call keeps its place: all are written, once and in order.
    let expected: Vec<_> = (0..60).map(|number: i32| number.to_string()).collect();
    assert_eq!(values(&read_all(&log).await), expected);
}

pub async fn large_records_one_by_one_do_not_wait_for_delayed_acknowledgements(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "nodelay").await;
    let mut medians = Vec::new();
    for size in [10, 10 * 1024] {
        let mut times = Vec::new();
        for _ in 0..60 {
            let started = Instant::now();
            log.produce([record(vec![1u8; size])]).await.unwrap();
            times.push(started.elapsed());
        }
        times.sort();
        medians.push(times[30]);
    }
    // Waiting for a delayed acknowledgement takes 40 ms, each time; a small record never waits for one.
    assert!(medians[1] < medians[0] + Duration::from_millis(20), "{medians:?}");
}

pub async fn a_batch_larger_than_asked_for_is_read_whole(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "kip-74").await;
    log.produce((0..10).map(|_| record(vec![5u8; 10_000]))).await.unwrap();
    let (records, _) = log.fetch_records(4, 1..100, 1_000).await.unwrap();
    assert_eq!(records.iter().map(|read| read.offset).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
}

pub async fn clients_can_be_used_from_another_runtime(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "runtimes").await;
    let other = log.clone();
    let offset = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            other.produce([record("from elsewhere")]).await.unwrap();
            other.get_offset(OffsetAt::Latest).await.unwrap().offset
        })
    });
    assert_eq!(offset.await.unwrap(), 1);
    // The other runtime is gone; connections that it opened would be gone with it.
    assert_eq!(log.produce([record("from here")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["from elsewhere", "from here"]);
}

pub async fn close_waits_for_what_is_in_line(brokers: Brokers) {
    let client = Client::new_plain(brokers.clone()).await.unwrap();
    let topic = new_topic("close");
    client.create_topic(&topic, 1, 1).await.unwrap();
    let log = client.partition_client(&topic, 0).await.unwrap();
    let calls: Vec<_> = (0..50).map(|number| log.produce([record(number.to_string())])).collect();
    client.close().await;
    for (number, call) in calls.into_iter().enumerate() {
        let done = tokio::time::timeout(Duration::ZERO, call).await;
        assert_eq!(done.expect("close has waited for it").unwrap().base_offset, number as i64);
    }
    let error = log.produce([record("late")]).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Closed, Outcome::NotWritten));
    assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap_err().kind(), &ErrorKind::Closed);
    assert_eq!(client.list_topics().await.unwrap_err().kind(), &ErrorKind::Closed);
}
