//! The ways to read a log, which must not differ in what they read.

use std::ops::Range;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
use rskafka::client::PartitionClient;
use rskafka::client::consumer::{FetchedBatch, IsolationLevel, StartAt};
use rskafka::client::error::Result;
use rskafka::record::RecordAndOffset;

use super::PATIENCE;
use super::line::Line;

/// A record that was read here.
pub fn line(read: RecordAndOffset) -> Line {
    let RecordAndOffset { record, offset, .. } = read;
    let timestamp = i64::try_from(record.timestamp.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap();
    let headers =
        record.headers.iter().map(|(name, value)| (name.to_vec(), value.map(|value| value.to_vec())));
    let headers = headers.collect();
    let [key, value] = [record.key, record.value].map(|bytes| bytes.map(|bytes| bytes.to_vec()));
    Line { offset, timestamp, key, value, headers }
}

/// Fails unless these are the records within a range.
pub fn assert_read(read: Vec<RecordAndOffset>, range: Range<i64>, expected: &[Line]) {
    let mut expected = expected.iter().filter(|record| range.contains(&record.offset));
    for read in read.into_iter().map(line) {
        let expected = expected.next().map(ToString::to_string);
        assert!(expected.as_ref() == Some(&read.to_string()), "{range:?}: {expected:?}, but {read} is read");
    }
    let missing = expected.next();
    assert!(missing.is_none(), "{range:?}: {missing:?} is not read");
}

/// What a stream gives, which must not get stuck.
pub async fn collected<T>(stream: impl Stream<Item = Result<T>>) -> Vec<T> {
    tokio::time::timeout(PATIENCE, stream.try_collect()).await.expect("a reader gets stuck").unwrap()
}

/// The batches up to an offset.
pub async fn batches(log: &PartitionClient, end: i64) -> Vec<FetchedBatch> {
    collected(log.stream(StartAt::Earliest).until(end).build_batches()).await
}

/// Reads a range by fetches, by a stream and by replays, in small steps and in large ones: it has these records.
pub async fn read_alike(
    log: &PartitionClient,
    range: Range<i64>,
    isolation: IsolationLevel,
    expected: &[Line],
) {
    for max_bytes in [1, 3_000, 1 << 20] {
        let mut read = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let fetch = log.fetch(next).max_bytes(max_bytes).max_wait(Duration::ZERO).isolation(isolation);
            let fetched = fetch.await.unwrap();
            assert!(fetched.next_offset() > next, "it stays at {next}");
            next = fetched.next_offset();
            read.extend(fetched.into_records().map(|read| read.unwrap()));
        }
        read.retain(|read| range.contains(&read.offset));
        assert_read(read, range.clone(), expected);

        let stream = log.stream(StartAt::Offset(range.start)).until(range.end);
        let stream = stream.max_bytes(max_bytes).isolation(isolation).build();
        assert_read(collected(stream).await, range.clone(), expected);

        for connections in [1, 3] {
            let replay = log.replay(range.clone()).connections(connections).max_bytes(max_bytes);
            // Small pieces, so that each connection has some.
            let replay = replay.read_ahead_bytes(10 * max_bytes).isolation(isolation).build();
            assert_read(collected(replay).await, range.clone(), expected);
        }
    }
}
