//! Replays: several connections, one order.

#![allow(
    clippy::single_range_in_vec_init,
    clippy::reversed_empty_ranges,
    reason = "lists of ranges, also wrong ones"
)]

use std::ops::Range;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use rskafka::client::PartitionClient;
use rskafka::client::consumer::{IsolationLevel, Ranges, Replay};
use rskafka::client::error::ErrorKind;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, Fault, Profile};
use tokio::time::{Instant, timeout};

use super::common::record;
use super::kit::{TIMEOUT, TOPIC, builder, fake, speaks, start};

const RECORDS: i64 = 400;

/// A log of many small batches of one to three records.
async fn filled(brokers: usize) -> (FakeCluster, PartitionClient) {
    let (cluster, _, log) = start(brokers).await;
    let mut offset = 0;
    while offset < RECORDS {
        let count = (1 + offset % 3).min(RECORDS - offset);
        let records = (offset..offset + count).map(|offset| record(format!("{offset:0100}")));
        offset = log.produce(records).await.unwrap().offsets().end;
    }
    (cluster, log)
}

async fn replay(log: &PartitionClient, ranges: impl Into<Ranges>) -> Vec<i64> {
    let replay = log.replay(ranges).max_bytes(500).read_ahead_bytes(4_000).build();
    let read: Vec<_> = replay.try_collect().await.unwrap();
    for record in &read {
        let value = record.record.value.as_deref().unwrap();
        assert_eq!(std::str::from_utf8(value).unwrap().parse(), Ok(record.offset));
    }
    read.iter().map(|record| record.offset).collect()
}

#[tokio::test(start_paused = true)]
async fn ranges_come_whole_and_in_order() {
    let (_, log) = filled(1).await;
    for ranges in [
        vec![0..RECORDS],
        vec![1..399],
        vec![7..8],
        vec![5..5],
        vec![],
        vec![0..3, 3..10, 10..11, 50..60, 64..200, 399..400],
        (0..40).map(|start| start * 10..start * 10 + 2).collect(),
        vec![0..1, 390..400],
    ] {
        let expected: Vec<i64> = ranges.iter().cloned().flat_map(|range: Range<i64>| range).collect();
        assert_eq!(replay(&log, ranges.clone()).await, expected, "{ranges:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn fetches_of_all_connections_are_under_way_together() {
    let (cluster, log) = filled(1).await;
    cluster.inject(Fault::delay(Duration::from_millis(10)).on(ApiKey::FETCH).always());
    let mut times = Vec::new();
    for connections in [1, 4] {
        let begun = Instant::now();
        let mut replay =
            log.replay(0..RECORDS).connections(connections).max_bytes(500).read_ahead_bytes(16_000).build();
        assert_eq!(replay.progress().offsets_read, 0);
        let mut read = 0;
        while let Some(record) = replay.try_next().await.unwrap() {
            read += 1;
            assert_eq!(record.offset + 1, read);
            assert_eq!(replay.progress().offsets_read, read as u64);
        }
        let progress = replay.progress();
        assert_eq!((progress.offsets_read, progress.offsets_total), (RECORDS as u64, RECORDS as u64));
        assert!(progress.bytes_read > RECORDS as u64 * 100);
        times.push(begun.elapsed());
    }
    assert!(times[1] * 3 < times[0], "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_bounded() {
    let (cluster, log) = filled(1).await;
    let mut replay = log.replay(0..RECORDS).connections(4).max_bytes(500).read_ahead_bytes(4_000).build();
    replay.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let fetches = cluster.requests().iter().filter(|request| request.api_key == ApiKey::FETCH).count();
    // Each of four connections: 1,000 bytes in fetches of about 500, and one more.
    assert!(fetches <= 4 * 4, "{fetches}");
    assert!(replay.progress().bytes_read <= 4 * (1_000 + 600));
}

#[tokio::test(start_paused = true)]
async fn a_range_ends_behind_offsets_without_records() {
    let (cluster, log) = filled(1).await;
    cluster.append_in_transaction(TOPIC, 0, (7, 0), ["aborted"]).unwrap();
    let marker = cluster.end_transaction(TOPIC, 0, (7, 0), false).unwrap();
    let mut replay = log.replay(390..marker + 1).isolation(IsolationLevel::ReadCommitted).build();
    let mut last = 0;
    while let Some(record) = replay.try_next().await.unwrap() {
        last = record.offset;
    }
    assert_eq!(last, RECORDS - 1);
    assert_eq!(replay.progress().offsets_read, 12);
}

#[tokio::test(start_paused = true)]
async fn failures_that_pass_lose_nothing() {
    let (cluster, log) = filled(3).await;
    cluster.inject(Fault::close().on(ApiKey::FETCH).skip(3).times(5));
    cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::FETCH).skip(20).times(3));
    let mut replay = log.replay(0..RECORDS).max_bytes(500).read_ahead_bytes(4_000).build();
    let mut next = 0;
    while let Some(record) = replay.try_next().await.unwrap() {
        assert_eq!(record.offset, next);
        next += 1;
        if next % 100 == 50 {
            let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
            cluster.move_leader(TOPIC, 0, leader % 3 + 1).unwrap();
        }
    }
    assert_eq!(next, RECORDS);
}

/// The next record, which is there already.
async fn poll_once(replay: &mut Replay) -> Option<i64> {
    tokio::time::timeout(TIMEOUT, replay.next()).await.ok()?.map(|record| record.unwrap().offset)
}

#[tokio::test(start_paused = true)]
async fn a_truncation_between_two_pieces_is_found() {
    let (cluster, log) = filled(2).await;
    if !speaks(&cluster, ApiKey::OFFSET_FOR_LEADER_EPOCH, 3) {
        return;
    }
    let mut replay = log.replay(0..RECORDS).connections(2).max_bytes(500).read_ahead_bytes(20_000).build();
    for offset in 0..10 {
        assert_eq!(replay.try_next().await.unwrap().unwrap().offset, offset);
    }
    // Two pieces are read as far as they go, and no third is begun.
    let mut quiet = 0;
    while quiet < 6 {
        let before = cluster.requests().len();
        assert!(poll_once(&mut replay).await.is_some());
        tokio::time::sleep(Duration::from_millis(50)).await;
        quiet = if cluster.requests().len() == before { quiet + 1 } else { 0 };
    }
    // Everything from the fifth record on is lost, and there are others.
    cluster.truncate(TOPIC, 0, 5).unwrap();
    let other = builder(&cluster).build().await.unwrap().partition_client(TOPIC, 0).await.unwrap();
    for offset in 5..RECORDS {
        other.produce([record(format!("{offset:0100}"))]).await.unwrap();
    }
    let error = loop {
        match timeout(TIMEOUT, replay.try_next()).await.expect("an item") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the truncation was not noticed"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error.kind(), ErrorKind::LogTruncated { divergence_offset } if *divergence_offset <= 400),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_back_and_does_not_know_it_holds_up_no_replay() {
    let cluster = fake().profile(Profile::Kafka3_9).brokers(3).racks(["a", "b", "c"]);
    let cluster = cluster.in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 3).unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    for offset in 0..RECORDS {
        log.produce([record(format!("{offset:0100}"))]).await.unwrap();
    }
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    let (near, rack) = [(1, "a"), (2, "b"), (3, "c")].into_iter().find(|(id, _)| *id != leader).unwrap();
    // Its list of brokers lacks itself. A client that connects to it no longer knows it, and asks the leader next, whose list
    // has it again.
    cluster.shut_down_broker(near).await.unwrap();
    cluster.hold_metadata(near).unwrap();
    cluster.start_broker(near).await.unwrap();
    cluster.inject(Fault::delay(Duration::from_millis(1)).on(ApiKey::FETCH).always());
    for connections in 1..=4 {
        let replay = log.replay(0..RECORDS).rack(rack).max_bytes(500).read_ahead_bytes(4_000);
        let read = replay.connections(connections).build().try_collect::<Vec<_>>();
        let read = timeout(TIMEOUT, read).await.expect("it ends").unwrap();
        assert!(read.iter().map(|record| record.offset).eq(0..RECORDS), "{connections}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_the_log_is_an_error_behind_what_comes_before_it() {
    let (cluster, log) = filled(1).await;
    cluster.delete_records(TOPIC, 0, 100).unwrap();
    let mut replay = log.replay(vec![90..110]).build();
    let error = replay.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::OffsetOutOfRange { offset: 90, log_start: 100, log_end: 400 });
    let mut replay = log.replay(vec![5..3]).build();
    assert!(matches!(replay.next().await.unwrap().unwrap_err().kind(), ErrorKind::InvalidArgument(_)));
    assert!(replay.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_between_ranges_is_no_error_when_another_broker_leads() {
    let (cluster, log) = filled(2).await;
    let replay = log.replay(vec![0..5, 300..310]).connections(1).max_bytes(500).read_ahead_bytes(500);
    let mut replay = replay.build();
    for offset in 0..5 {
        assert_eq!(replay.try_next().await.unwrap().unwrap().offset, offset);
    }
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.move_leader(TOPIC, 0, 3 - leader).unwrap();
    cluster.delete_records(TOPIC, 0, 200).unwrap();
    let read: Vec<_> = replay.map_ok(|record| record.offset).try_collect().await.unwrap();
    assert_eq!(read, (300..310).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_gap_between_ranges_is_not_read() {
    let (_, log) = filled(1).await;
    for connections in [1, 2, 4] {
        let replay = log.replay(vec![0..3, 200..203, 397..400]).connections(connections);
        let mut replay = replay.max_bytes(500).read_ahead_bytes(4_000).build();
        let mut read = Vec::new();
        while let Some(record) = replay.try_next().await.unwrap() {
            read.push(record.offset);
        }
        assert_eq!(read, [0, 1, 2, 200, 201, 202, 397, 398, 399]);
        // Each range has up to three batches in it.
        let most = 3 * 3 * 600;
        assert!(replay.progress().bytes_read < most, "{connections}: {:?}", replay.progress());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_behind_an_error_that_ends_a_replay() {
    let (_, client, log) = {
        let (cluster, log) = filled(1).await;
        let client = builder(&cluster).build().await.unwrap();
        let other = client.partition_client(TOPIC, 0).await.unwrap();
        drop(log);
        (cluster, client, other)
    };
    let mut replay = log.replay(0..RECORDS).max_bytes(500).read_ahead_bytes(4_000).build();
    for offset in 0..20 {
        assert_eq!(replay.try_next().await.unwrap().unwrap().offset, offset);
    }
    client.close().await;
    let mut last = 19;
    let error = loop {
        match replay.next().await.unwrap() {
            Ok(record) => {
                assert_eq!(record.offset, last + 1);
                last = record.offset;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), &ErrorKind::Closed);
    assert!(replay.next().await.is_none());
    assert!(replay.next().await.is_none());
}
