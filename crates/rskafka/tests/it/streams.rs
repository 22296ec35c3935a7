//! Streams and positions: nothing is skipped, nothing comes twice, and what is gone is told.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use rskafka::bytes::Bytes;
use rskafka::client::consumer::{IsolationLevel, OutOfRange, Position, RecordStream, StartAt};
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka_fake::{FakeCluster, Fault, Rewritten};
use tokio::time::timeout;

use super::common::{now, record};
use super::kit::{TOPIC, builder, env, fake, has_topic_ids, speaks, start};

const PRODUCER: (i64, i16) = (7, 0);

async fn append(log: &PartitionClient, values: std::ops::Range<usize>) {
    for value in values {
        log.produce([record(value.to_string())]).await.unwrap();
    }
}

/// A record of this value, between two others.
async fn append_around(log: &PartitionClient, value: &str) {
    for value in ["before", value, "behind"] {
        log.produce([record(value)]).await.unwrap();
    }
}

async fn take(stream: &mut RecordStream, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    for _ in 0..count {
        offsets.push(stream.try_next().await.unwrap().unwrap().offset);
    }
    offsets
}

/// A request whose answer has a bit flipped where these bytes are.
fn damaged(body: &Bytes, needle: &'static [u8]) -> Rewritten {
    let damage = move |answer: Option<Bytes>| {
        let mut answer = answer?.to_vec();
        if let Some(at) = answer.windows(needle.len()).position(|window| window == needle) {
            answer[at] ^= 1;
        }
        Some(answer.into())
    };
    Rewritten { bodies: vec![body.clone()], answer: Box::new(damage) }
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_every_record_once_across_moves_of_the_leader() {
    let (cluster, _, log) = start(3).await;
    append(&log, 0..10).await;
    let mut stream = log.stream(StartAt::Earliest).max_bytes(1).read_ahead_bytes(100).build();
    assert_eq!((stream.position(), stream.lag(), stream.is_caught_up()), (None, None, false));
    let mut read = take(&mut stream, 3).await;
    for round in 0..6 {
        let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
        cluster.move_leader(TOPIC, 0, leader % 3 + 1).unwrap();
        append(&log, 0..3).await;
        read.extend(take(&mut stream, 4).await);
        assert_eq!(stream.position().unwrap().offset(), 3 + 4 * (round + 1));
    }
    read.extend(take(&mut stream, 1).await);
    assert_eq!(read, (0..28).collect::<Vec<_>>());
    assert!(stream.is_caught_up() && stream.lag() == Some(0));
    assert!(timeout(Duration::from_secs(5), stream.next()).await.is_err(), "there is nothing more");
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_where_it_is_told() {
    let (_, _, log) = start(1).await;
    append(&log, 0..4).await;
    let first = log.stream(StartAt::Earliest).build().next().await.unwrap().unwrap();
    for (start, offset) in [
        (StartAt::Earliest, 0),
        (StartAt::Offset(2), 2),
        (StartAt::Timestamp(first.record.timestamp), 0),
        (StartAt::Latest, 4),
    ] {
        let mut stream = log.stream(start).build();
        if start == StartAt::Latest {
            // It finds the end when it is first polled.
            assert!(stream.next().now_or_never().is_none());
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(stream.next().now_or_never().is_none());
            append(&log, 4..5).await;
        }
        assert_eq!(stream.try_next().await.unwrap().unwrap().offset, offset, "{start:?}");
    }
    let error = log.stream(StartAt::Offset(-1)).build().next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidArgument("the offset is negative"));
    assert_eq!((error.api(), error.topic()), (Some(ApiKey::FETCH), Some(TOPIC)));
}

#[tokio::test(start_paused = true)]
async fn the_next_fetch_is_under_way_while_records_are_consumed() {
    let (cluster, _, log) = start(1).await;
    append(&log, 0..6).await;
    let fetches = || cluster.requests().iter().filter(|request| request.api_key == ApiKey::FETCH).count();
    let settle = || tokio::time::sleep(Duration::from_millis(20));
    for (room, expected) in [(1 << 20, [2, 3, 4]), (0, [1, 2, 3])] {
        let mut stream = log.stream(StartAt::Earliest).max_bytes(1).read_ahead_bytes(room).build();
        let before = fetches();
        for (record, expected) in expected.into_iter().enumerate() {
            assert_eq!(take(&mut stream, 1).await, [record as i64]);
            settle().await;
            assert_eq!(fetches() - before, expected, "{room} bytes, after record {record}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bounded_stream_ends_behind_offsets_without_records() {
    let (cluster, _, log) = start(1).await;
    append(&log, 0..2).await;
    cluster.append_in_transaction(TOPIC, 0, PRODUCER, ["aborted"]).unwrap();
    cluster.end_transaction(TOPIC, 0, PRODUCER, false).unwrap();
    let end = log.get_offset(OffsetAt::Latest).await.unwrap().offset;
    assert_eq!(end, 4);
    for (isolation, records) in [(IsolationLevel::ReadUncommitted, 3), (IsolationLevel::ReadCommitted, 2)] {
        let mut stream = log.stream(StartAt::Earliest).until(end).isolation(isolation).build();
        assert_eq!(take(&mut stream, records).await.len(), records);
        assert!(stream.next().await.is_none());
        assert!(stream.next().await.is_none());
        assert_eq!(stream.position().unwrap().offset(), end);
    }
    // Within a batch, and where nothing is.
    log.produce([record("a"), record("b"), record("c")]).await.unwrap();
    let mut stream = log.stream(StartAt::Offset(5)).until(6).build();
    assert_eq!(take(&mut stream, 1).await, [5]);
    assert!(stream.next().await.is_none());
    // It continues within the batch.
    let position = stream.position().unwrap();
    assert_eq!((position.offset(), position.leader_epoch().is_some()), (6, true));
    let rest: Vec<_> = log.stream(StartAt::Position(position)).until(7).build().try_collect().await.unwrap();
    assert_eq!(rest.iter().map(|read| read.offset).collect::<Vec<_>>(), [6]);
    assert!(log.stream(StartAt::Offset(5)).until(5).build().next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn undecided_transactions_are_waited_for() {
    let (cluster, _, log) = start(1).await;
    append(&log, 0..1).await;
    let mut stream = log.stream(StartAt::Earliest).isolation(IsolationLevel::ReadCommitted).build();
    cluster.append_in_transaction(TOPIC, 0, PRODUCER, ["undecided"]).unwrap();
    append(&log, 1..2).await;
    assert_eq!(take(&mut stream, 1).await, [0]);
    assert!(timeout(Duration::from_secs(3), stream.next()).await.is_err());
    assert!(stream.is_caught_up(), "up to the last stable offset");
    assert_eq!(stream.lag(), Some(2), "and something holds it up");
    cluster.end_transaction(TOPIC, 0, PRODUCER, true).unwrap();
    assert_eq!(take(&mut stream, 2).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_is_an_error_unless_the_stream_may_continue() {
    let (cluster, _, log) = start(1).await;
    append(&log, 0..10).await;
    cluster.delete_records(TOPIC, 0, 6).unwrap();
    let gone = ErrorKind::OffsetOutOfRange { offset: 2, log_start: 6, log_end: 10 };

    let mut stream = log.stream(StartAt::Offset(2)).build();
    for _ in 0..3 {
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &gone);
    }
    stream.skip_to(8);
    assert_eq!(take(&mut stream, 2).await, [8, 9]);

    let mut stream = log.stream(StartAt::Offset(2)).on_out_of_range(OutOfRange::Continue).build();
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &gone);
    assert_eq!(take(&mut stream, 4).await, [6, 7, 8, 9]);

    let mut stream = log.stream(StartAt::Offset(12)).on_out_of_range(OutOfRange::Continue).build();
    let beyond = ErrorKind::OffsetOutOfRange { offset: 12, log_start: 6, log_end: 10 };
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &beyond);
    append(&log, 0..1).await;
    assert_eq!(take(&mut stream, 1).await, [10]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_polled_on_after_refusals_pauses_between_fetches() {
    let (cluster, _, log) = start(1).await;
    append(&log, 0..10).await;
    cluster.delete_records(TOPIC, 0, 6).unwrap();
    // So the log's bounds are not told.
    let refuses = Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(ApiKey::LIST_OFFSETS);
    let refused = cluster.inject(refuses.always());
    let mut stream = log.stream(StartAt::Offset(2)).on_out_of_range(OutOfRange::Continue).build();
    let started = tokio::time::Instant::now();
    for _ in 0..10 {
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::OFFSET_OUT_OF_RANGE));
    }
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    cluster.remove_fault(refused);
    let gone = ErrorKind::OffsetOutOfRange { offset: 2, log_start: 6, log_end: 10 };
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &gone);
    assert_eq!(take(&mut stream, 4).await, [6, 7, 8, 9]);
}

/// A log whose first two records are on both brokers, and whose others are lost with the first one.
async fn truncated() -> (FakeCluster, PartitionClient, Position) {
    let (cluster, _, log) = start(2).await;
    append(&log, 0..2).await;
    cluster.hold_replica(TOPIC, 0, 2).unwrap();
    cluster.shrink_isr(TOPIC, 0, 2).unwrap();
    append(&log, 2..5).await;
    let mut stream = log.stream(StartAt::Earliest).build();
    assert_eq!(take(&mut stream, 5).await.len(), 5);
    let position = stream.position().unwrap();
    cluster.elect_unclean(TOPIC, 0, 2).unwrap();
    // Other records at the offsets of those that are lost, and more.
    let other = builder(&cluster).build().await.unwrap().partition_client(TOPIC, 0).await.unwrap();
    append(&other, 0..9).await;
    (cluster, log, position)
}

#[tokio::test(start_paused = true)]
async fn a_truncation_is_found_by_a_stored_position() {
    let (cluster, log, position) = truncated().await;
    if !speaks(&cluster, ApiKey::OFFSET_FOR_LEADER_EPOCH, 3) {
        return;
    }
    assert_eq!(position.leader_epoch(), Some(0));
    let stored = Position::from_bytes(&position.to_bytes()).unwrap();
    let lost = ErrorKind::LogTruncated { divergence_offset: 2 };
    let error = log.fetch_at(stored).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&lost, Outcome::NotWritten));
    let stored: Position = position.to_string().parse().unwrap();
    let mut stream = log.stream(StartAt::Position(stored)).build();
    for _ in 0..2 {
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &lost);
    }
    let mut stream = log.stream(StartAt::Position(stored)).on_out_of_range(OutOfRange::Continue).build();
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &lost);
    assert_eq!(take(&mut stream, 9).await, (2..11).collect::<Vec<_>>());
    // Without an epoch nothing is known.
    assert!(log.fetch(5).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_truncation_is_found_by_a_stream_under_way() {
    let (cluster, _, log) = start(2).await;
    if !speaks(&cluster, ApiKey::OFFSET_FOR_LEADER_EPOCH, 3) {
        return;
    }
    append(&log, 0..2).await;
    cluster.hold_replica(TOPIC, 0, 2).unwrap();
    cluster.shrink_isr(TOPIC, 0, 2).unwrap();
    append(&log, 2..5).await;
    let mut stream = log.stream(StartAt::Earliest).build();
    assert_eq!(take(&mut stream, 5).await.len(), 5);
    cluster.elect_unclean(TOPIC, 0, 2).unwrap();
    let other = builder(&cluster).build().await.unwrap().partition_client(TOPIC, 0).await.unwrap();
    append(&other, 0..9).await;
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::LogTruncated { divergence_offset: 2 });
}

#[tokio::test(start_paused = true)]
async fn a_recreated_topic_ends_a_stream() {
    let (cluster, client, log) = start(1).await;
    if !has_topic_ids() {
        return;
    }
    append(&log, 0..5).await;
    let mut stream = log.stream(StartAt::Earliest).build();
    assert_eq!(take(&mut stream, 5).await.len(), 5);
    let position = stream.position().unwrap();
    assert!(stream.next().now_or_never().is_none());
    cluster.recreate_topic(TOPIC).unwrap();
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TopicRecreated, "{error:?}");
    assert!(stream.next().await.is_none());
    let recreated = client.partition_client(TOPIC, 0).await.unwrap();
    let error = recreated.fetch_at(position).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::OtherTopic);
    let mut stream = recreated.stream(StartAt::Position(position)).build();
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &ErrorKind::OtherTopic);
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_lags_behind_makes_no_recreated_topic() {
    let (cluster, _, _) = start(2).await;
    if !has_topic_ids() {
        return;
    }
    // One broker gives the id of before, for a moment.
    cluster.hold_metadata_for(1, 2).unwrap();
    cluster.recreate_topic(TOPIC).unwrap();
    let client =
        Client::builder([cluster.bootstrap_servers().remove(1)]).env(env(&cluster)).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    append(&log, 0..1).await;
    cluster.stop_broker(2).await.unwrap();
    // It has to be asked who leads.
    cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::FETCH));
    assert_eq!(log.fetch(0).await.unwrap().into_records().count(), 1);
    assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_ends_a_stream_without_an_end_and_fails_one_with_an_end() {
    let (_, client, log) = start(1).await;
    append(&log, 0..1).await;
    let mut tail = log.stream(StartAt::Earliest).build();
    let mut bounded = log.stream(StartAt::Earliest).until(9).build();
    assert_eq!((take(&mut tail, 1).await, take(&mut bounded, 1).await), (vec![0], vec![0]));
    client.close().await;
    assert!(tail.next().await.is_none());
    assert_eq!(bounded.next().await.unwrap().unwrap_err().kind(), &ErrorKind::Closed);
    assert!(bounded.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_an_item_and_passed_only_on_request() {
    let (cluster, _, log) = start(1).await;
    append_around(&log, "needle").await;
    cluster.inject(Fault::rewrite(|_, body| damaged(body, b"needle")).on(ApiKey::FETCH).always());
    let mut stream = log.stream(StartAt::Earliest).build();
    assert_eq!(take(&mut stream, 1).await, [0]);
    for _ in 0..2 {
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::CorruptBatch { base_offset: Some(1) });
        assert_eq!(stream.position().unwrap().offset(), 1);
    }
    stream.skip_to(2);
    assert_eq!(take(&mut stream, 1).await, [2]);
}

/// A request whose answer has the only record of a batch, with this value, out of the offsets of its batch; the checksum is
/// right.
fn misnumbered(body: &Bytes, value: &'static [u8]) -> Rewritten {
    const VALUE_AT: usize = 61 + 6;
    let damage = move |answer: Option<Bytes>| {
        let mut answer = answer?.to_vec();
        if let Some(at) = answer.windows(value.len()).position(|window| window == value) {
            let batch = &mut answer[at - VALUE_AT..];
            let size = 12 + u32::from_be_bytes(batch[8..12].try_into().unwrap()) as usize;
            batch[61 + 3] = 2;
            let crc = crc32c::crc32c(&batch[21..size]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        Some(answer.into())
    };
    Rewritten { bodies: vec![body.clone()], answer: Box::new(damage) }
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_read_are_not_passed() {
    let (cluster, _, log) = start(1).await;
    append_around(&log, "needle").await;
    cluster.inject(Fault::rewrite(|_, body| misnumbered(body, b"needle")).on(ApiKey::FETCH).always());
    // Without a long poll under way, which would hold up the next fetch.
    let mut stream = log.stream(StartAt::Earliest).read_ahead_bytes(0).build();
    let mut replay = log.replay(0..3).build();
    assert_eq!(take(&mut stream, 1).await, [0]);
    assert_eq!(replay.next().await.unwrap().unwrap().offset, 0);
    let started = tokio::time::Instant::now();
    for _ in 0..2 {
        for error in [stream.next().await.unwrap(), replay.next().await.unwrap()].map(Result::unwrap_err) {
            assert_eq!(error.kind(), &ErrorKind::CorruptBatch { base_offset: Some(1) });
            assert_eq!((error.topic(), error.partition()), (Some(TOPIC), Some(0)));
        }
        assert_eq!(stream.position().unwrap().offset(), 1);
    }
    assert!(started.elapsed() >= Duration::from_millis(100), "the same is fetched again at once");
    stream.skip_to(2);
    assert_eq!(take(&mut stream, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leads_no_further_is_not_asked_for_in_a_loop() {
    let (cluster, _, log) = start(1).await;
    append(&log, 0..1).await;
    let mut stream = log.stream(StartAt::Offset(1)).max_wait(Duration::ZERO).build();
    cluster.clear_requests();
    assert!(timeout(Duration::from_secs(10), stream.next()).await.is_err());
    let fetches = cluster.requests().iter().filter(|request| request.api_key == ApiKey::FETCH).count();
    assert!((90..=101).contains(&fetches), "{fetches}");
}

#[tokio::test(start_paused = true)]
async fn replicas_nearby_are_read_from_and_left_when_they_fail() {
    let cluster = fake().brokers(3).racks(["a", "b", "c"]).in_memory().start().await.unwrap();
    if !speaks(&cluster, ApiKey::FETCH, 11) {
        return;
    }
    cluster.create_topic(TOPIC, 1, 3).unwrap();
    let client = builder(&cluster).env(env(&cluster)).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    append(&log, 0..3).await;
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    let (near, rack) = [(1, "a"), (2, "b"), (3, "c")].into_iter().find(|(id, _)| *id != leader).unwrap();
    let fetches = |broker| {
        let requests = cluster.requests();
        requests.iter().filter(|one| one.api_key == ApiKey::FETCH && one.broker == broker).count()
    };
    let mut stream = log.stream(StartAt::Earliest).rack(rack).max_bytes(1).build();
    assert_eq!(take(&mut stream, 3).await, [0, 1, 2]);
    assert_eq!(fetches(leader), 1);
    assert!(fetches(near) >= 3);
    // Out of range there only: the leader knows better.
    cluster.inject(Fault::answer(ErrorCode::OFFSET_OUT_OF_RANGE).on(ApiKey::FETCH).at_broker(near).always());
    append(&log, 3..5).await;
    assert_eq!(take(&mut stream, 2).await, [3, 4]);
    let at_the_leader = fetches(leader);
    assert!(at_the_leader >= 2);
    // Not asked for again before metadata would be old.
    cluster.clear_faults();
    append(&log, 5..6).await;
    assert_eq!(take(&mut stream, 1).await, [5]);
    let at_the_replica = fetches(near);
    tokio::time::sleep(Duration::from_secs(301)).await;
    append(&log, 6..9).await;
    assert_eq!(take(&mut stream, 3).await, [6, 7, 8]);
    assert!(fetches(near) > at_the_replica);
    // A stream without a rack reads from the leader.
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = fetches(near);
    let mut stream = log.stream(StartAt::Earliest).build();
    assert_eq!(take(&mut stream, 9).await.len(), 9);
    assert_eq!(fetches(near), before);
}

#[tokio::test(start_paused = true)]
async fn facts_of_batches_are_given() {
    let (_, _, log) = start(1).await;
    let produced = log.produce([record("a"), record("b")]).await.unwrap();
    let fetched = log.fetch(1).await.unwrap();
    let [batch] = fetched.batches() else { panic!("{fetched:?}") };
    assert_eq!(
        (batch.header().base_offset, batch.next_offset(), batch.encoded_size()),
        (0, 2, produced.encoded_size)
    );
    assert_eq!((batch.header().base_sequence, batch.header().record_count, batch.magic()), (0, 2, 2));
    assert!(batch.header().producer_id >= 0 && batch.leader_epoch() == Some(0));
    let read: Vec<_> = batch.records().map(|read| read.unwrap().offset).collect();
    assert_eq!((read, fetched.encoded_size()), (vec![1], produced.encoded_size));
    assert_eq!(fetched.next().offset(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_not_polled_for_long_continues() {
    let (cluster, _, log) = start(2).await;
    append(&log, 0..3).await;
    let mut stream = log.stream(StartAt::Earliest).max_bytes(1).read_ahead_bytes(1).build();
    for offset in 0..3 {
        assert_eq!(take(&mut stream, 1).await, [offset]);
        // The fetch under way fails meanwhile, and has no time left to be made again.
        cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::FETCH));
        assert!(stream.next().now_or_never().is_none());
        tokio::time::sleep(Duration::from_secs(1_000)).await;
    }
    append(&log, 3..4).await;
    assert_eq!(take(&mut stream, 1).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_left_alone_holds_up_nobody_who_asks_for_metadata() {
    let (cluster, _, log) = start(2).await;
    append(&log, 0..1).await;
    let mut stream = log.stream(StartAt::Earliest).build();
    assert_eq!(take(&mut stream, 1).await, [0]);
    cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::FETCH));
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::METADATA));
    assert!(timeout(Duration::from_millis(900), stream.next()).await.is_err());
    // It waits for metadata now, and is not polled any more.
    cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::PRODUCE));
    timeout(Duration::from_secs(5), append(&log, 1..2)).await.unwrap();
    assert_eq!(take(&mut stream, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_at_the_address_of_the_leader_tells_no_truncation_although_it_names_no_broker() {
    let (cluster, _, log) = start(2).await;
    append(&log, 0..1).await;
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    let follower = 3 - leader;
    cluster.hold_replica(TOPIC, 0, follower).unwrap();
    cluster.shrink_isr(TOPIC, 0, follower).unwrap();
    append(&log, 1..3).await;
    let mut stream = log.stream(StartAt::Earliest).build();
    assert_eq!(take(&mut stream, 3).await, [0, 1, 2]);
    // So brokers answer that have just started.
    let knows_none = Fault::answer(ErrorCode::LEADER_NOT_AVAILABLE).on(ApiKey::METADATA);
    cluster.inject(knows_none.at_broker(follower).always());
    cluster.swap_addresses(leader, follower).await.unwrap();
    for _ in 0..3 {
        if let Ok(next) = timeout(Duration::from_secs(10), stream.next()).await {
            let failure = next.unwrap().unwrap_err();
            assert!(failure.is_retriable(), "{failure:?}");
        }
    }
    cluster.clear_faults();
    append(&log, 3..4).await;
    while let Err(failure) = stream.next().await.unwrap() {
        assert!(failure.is_retriable(), "{failure:?}");
    }
    assert_eq!(stream.position().unwrap().offset(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_found_does_not_move() {
    let (cluster, _, log) = start(1).await;
    append(&log, 0..2).await;
    let mut stream = log.stream(StartAt::Latest).build();
    cluster.inject(Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(ApiKey::FETCH));
    assert!(stream.next().await.unwrap().is_err());
    append(&log, 2..4).await;
    assert_eq!(take(&mut stream, 2).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_first_record_that_cannot_be_read_is_not_passed_either() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("needle")]).await.unwrap();
    cluster.inject(Fault::rewrite(|_, body| misnumbered(body, b"needle")).on(ApiKey::FETCH).always());
    for start in [StartAt::Earliest, StartAt::Offset(0)] {
        let mut stream = log.stream(start).build();
        for _ in 0..2 {
            let error = stream.next().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::CorruptBatch { base_offset: Some(0) });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_read_ahead_counts_whole_answers() {
    let (cluster, _, log) = start(1).await;
    for _ in 0..20 {
        log.produce([record("seen")]).await.unwrap();
        cluster.append_in_transaction(TOPIC, 0, PRODUCER, ["x".repeat(1_000)]).unwrap();
        cluster.end_transaction(TOPIC, 0, PRODUCER, false).unwrap();
    }
    let stream = log.stream(StartAt::Earliest).isolation(IsolationLevel::ReadCommitted);
    let mut stream = stream.max_bytes(1_300).read_ahead_bytes(2_000).build();
    cluster.clear_requests();
    assert!(stream.next().await.unwrap().is_ok());
    for _ in 0..20 {
        assert!(stream.lag() > Some(0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(stream.next().await.unwrap().is_ok());
    let fetches = cluster.requests().iter().filter(|request| request.api_key == ApiKey::FETCH).count();
    assert!(fetches <= 4, "{fetches}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_fit_beside_another_is_not_asked_for_twice() {
    let (_cluster, client, log) = start(1).await;
    let mut size = 0;
    for number in 0..20 {
        // Not all of one size, and one larger than what is asked for.
        let value = vec![b'x'; if number == 10 { 12_000 } else { 6_000 + number % 3 }];
        size += log.produce([Record::new((), value, now())]).await.unwrap().encoded_size as u64;
    }
    let read = || client.stats().brokers.iter().map(|broker| broker.stats.bytes_in).sum::<u64>();
    let before = read();
    let mut stream = log.stream(StartAt::Earliest).max_bytes(10_000).until(20).build();
    assert_eq!(take(&mut stream, 20).await, Vec::from_iter(0..20));
    // Of the first two batches, and of those around the large one, a piece comes that is of no use.
    let more = read() - before - size;
    assert!(more < size / 5, "{more} bytes beside {size}");
}
