//! Streams, replays and positions.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use rskafka::client::PartitionClient;
use rskafka::client::consumer::{OutOfRange, Position, StartAt};
use rskafka::client::error::ErrorKind;
use rskafka::protocol::records::Compression;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::{Record, RecordAndOffset};

use super::{Brokers, advertised, has_topic_ids, new_log, now, record, served};

/// Records from `start` on, appended in batches of some, so many.
async fn append(log: &PartitionClient, start: i64, count: i64) {
    let mut next = start;
    while next < start + count {
        let end = (next + 1 + next % 7).min(start + count);
        log.produce((next..end).map(|offset| record(format!("{offset:0100}")))).await.unwrap();
        next = end;
    }
}

fn assert_whole(read: &[RecordAndOffset], offsets: std::ops::Range<i64>) {
    assert_eq!(read.iter().map(|read| read.offset).collect::<Vec<_>>(), offsets.collect::<Vec<_>>());
    for read in read {
        assert_eq!(read.record.value.as_deref(), Some(format!("{:0100}", read.offset).as_bytes()));
    }
}

pub async fn a_stream_reads_what_is_there_and_what_comes(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "stream").await;
    append(&log, 0, 100).await;
    let mut stream = log.stream(StartAt::Earliest).max_bytes(1_000).read_ahead_bytes(10_000).build();
    let mut read: Vec<_> = stream.by_ref().take(100).try_collect().await.unwrap();
    assert_eq!((stream.lag(), stream.is_caught_up()), (Some(0), true));
    let following = stream.by_ref().take(50).try_collect::<Vec<_>>();
    let ((), more) = tokio::join!(append(&log, 100, 50), following);
    read.extend(more.unwrap());
    assert_whole(&read, 0..150);
    // A stored position continues where the stream was.
    let position: Position = stream.position().unwrap().to_string().parse().unwrap();
    append(&log, 150, 10).await;
    let resumed = log.stream(StartAt::Position(position)).until(160).build();
    assert_whole(&resumed.try_collect::<Vec<_>>().await.unwrap(), 150..160);
}

pub async fn a_replay_reads_ranges_over_several_connections(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "replay").await;
    append(&log, 0, 500).await;
    let replay = log.replay(0..500).max_bytes(2_000).read_ahead_bytes(16_000).build();
    assert_whole(&replay.try_collect::<Vec<_>>().await.unwrap(), 0..500);
    let ranges = vec![3..20, 21..22, 100..140, 499..500];
    let wanted: Vec<i64> = ranges.iter().cloned().flatten().collect();
    let replay = log.replay(ranges).connections(3).max_bytes(2_000).read_ahead_bytes(6_000).build();
    let read: Vec<_> = replay.map_ok(|read| read.offset).try_collect().await.unwrap();
    assert_eq!(read, wanted);
}

pub async fn a_stream_tells_what_was_deleted(brokers: Brokers) {
    if !advertised(&brokers).await.contains_key(&ApiKey::DELETE_RECORDS) {
        return;
    }
    let (client, log) = new_log(&brokers, "trimmed").await;
    append(&log, 0, 30).await;
    assert_eq!(log.delete_records(20).await.unwrap(), 20);
    let gone = ErrorKind::OffsetOutOfRange { offset: 5, log_start: 20, log_end: 30 };
    let error = log.stream(StartAt::Offset(5)).build().next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &gone);
    let mut stream = log.stream(StartAt::Offset(5)).on_out_of_range(OutOfRange::Continue).build();
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &gone);
    let read: Vec<_> = stream.take(10).try_collect().await.unwrap();
    assert_whole(&read, 20..30);
    drop(client);
}

pub async fn a_position_of_a_recreated_topic_is_refused(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "position").await;
    if !has_topic_ids(&brokers).await {
        return;
    }
    append(&log, 0, 5).await;
    let position = log.fetch(0).await.unwrap().next();
    assert_eq!(position.offset(), 5);
    let topic = log.topic().to_owned();
    client.delete_topic(&topic).await.unwrap();
    let created = async {
        while client.create_topic(&topic, 1, 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, created).await.expect("the topic is not created again");
    let error = log.fetch_at(position).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TopicRecreated, "{error:?}");
    let recreated = served(&client, &topic, 0).await;
    assert_eq!(recreated.fetch_at(position).await.unwrap_err().kind(), &ErrorKind::OtherTopic);
}

/// Batches of every codec, some larger than the size from which on another thread decompresses them.
pub async fn every_codec_is_read(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "codecs").await;
    let mut expected = Vec::new();
    for codec in Compression::ALL {
        let log = client.partition_client(log.topic(), 0).compression(codec).await.unwrap();
        for size in [10, 200_000] {
            let mut random = fastrand_bytes(size);
            random.extend(vec![b'x'; size]);
            let record =
                Record { key: "key", value: random, headers: vec![("a", "1"), ("a", "2")], timestamp: now() };
            match log.produce([record.clone(), record.clone()]).await {
                // Event Hubs takes gzip only.
                Err(error) if error.code() == Some(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE) => continue,
                produced => produced.map(drop).unwrap(),
            }
            expected.extend([record.value.clone(), record.value]);
        }
    }
    let end = expected.len() as i64;
    for read_ahead in [0, 16 << 20] {
        let stream = log.stream(StartAt::Earliest).until(end).read_ahead_bytes(read_ahead).build();
        let read: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(&expected) {
            assert!(read.record.value.as_deref() == Some(expected), "offset {}", read.offset);
            assert_eq!(read.record.headers.len(), 2);
        }
    }
}

/// Bytes that do not compress.
fn fastrand_bytes(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[2]
    });
    bytes.take(size).collect()
}
