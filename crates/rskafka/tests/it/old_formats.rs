//! Logs that begin with message sets, which brokers have kept since before Kafka 0.11.

use futures_util::TryStreamExt as _;
use rskafka::client::PartitionClient;
use rskafka::client::consumer::{IsolationLevel, Position, StartAt};
use rskafka::client::error::ErrorKind;
use rskafka::protocol::messages::fetch::{FetchRequest, FetchResponse};
use rskafka::protocol::records;

use super::common::line::Line;
use super::common::message_sets::{OldMessage, compressed, plain};
use super::common::reads::{assert_read, batches, collected, line, read_alike};
use super::common::record;
use super::kit::{TOPIC, builder, fake};
use super::relay::{change, env_meddling};

/// Where the log ends. From [`OLD_END`] on it has record batches.
const END: i64 = 30;
const OLD_END: i64 = 21;

/// What it has before: magic, and the offsets of messages that are compressed in one, or of a message that stands alone.
/// Compaction has left gaps among the former and between them.
const OLD: [(i8, &[i64]); 6] =
    [(0, &[0, 1, 2]), (0, &[4, 6, 7]), (0, &[9]), (1, &[11, 12, 15]), (1, &[16]), (1, &[18, 20])];

fn message(magic: i8, offset: i64) -> OldMessage {
    let timestamp = if magic == 0 { -1 } else { 1_000_000 + offset };
    let key = (offset % 2 == 0).then(|| format!("key {offset}").into_bytes());
    let value = (offset % 5 != 0).then(|| format!("value {offset}").into_bytes());
    (offset, timestamp, key, value)
}

/// As a broker has it: the messages in one of magic 1 count from the first of them.
fn stored(magic: i8, offsets: &[i64]) -> Vec<u8> {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let base = if magic == 1 { first } else { 0 };
    let inner = offsets.iter().map(|offset| {
        let (_, timestamp, key, value) = message(magic, *offset);
        (offset - base, timestamp, key, value)
    });
    match offsets {
        [alone] => plain(magic, &[message(magic, *alone)]),
        _ => compressed(magic, last, &inner.collect::<Vec<_>>()),
    }
}

/// The log, whose old part `spoil` may change, and what a reader gets of it.
async fn old_log(spoil: fn(i64, &mut Vec<u8>)) -> (PartitionClient, Vec<Line>) {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let writer = builder(&cluster).build().await.unwrap().partition_client(TOPIC, 0).await.unwrap();
    for offset in 0..END {
        writer.produce([record(format!("new {offset}"))]).await.unwrap();
    }
    let of_old = |(magic, offsets): (i8, &'static [i64])| {
        offsets.iter().map(move |offset| {
            let (offset, timestamp, key, value) = message(magic, *offset);
            Line { offset, timestamp, key, value, headers: Vec::new() }
        })
    };
    let mut expected: Vec<_> = OLD.into_iter().flat_map(of_old).collect();
    let new = writer.stream(StartAt::Offset(OLD_END)).until(END).build();
    expected.extend(new.map_ok(line).try_collect::<Vec<_>>().await.unwrap());

    let env = env_meddling(&cluster, move |asked, frame| {
        let Some(request) = asked.request::<FetchRequest>() else { return frame };
        let from = request.topics[0].partitions[0].fetch_offset;
        change::<FetchResponse>(asked, &frame, |answer| {
            let records = &mut answer.responses[0].partitions[0].records;
            let old = OLD.iter().filter(|(_, offsets)| offsets.last().is_some_and(|last| *last >= from));
            let mut set: Vec<u8> = old
                .flat_map(|(magic, offsets)| {
                    let mut bytes = stored(*magic, offsets);
                    spoil(offsets[0], &mut bytes);
                    bytes
                })
                .collect();
            let all = records.take().unwrap_or_default();
            let replaced =
                records::batches(&all).map(Result::unwrap).filter(|batch| batch.base_offset() < OLD_END);
            let replaced = replaced.map(|batch| batch.size_in_bytes()).sum();
            set.extend(&all[replaced..]);
            *records = Some(set.into());
        })
    });
    let reader = builder(&cluster).env(env.build()).build().await.unwrap();
    (reader.partition_client(TOPIC, 0).await.unwrap(), expected)
}

#[tokio::test(start_paused = true)]
async fn a_log_of_old_and_new_formats_is_read_by_all_readers() {
    let (log, expected) = old_log(|_, _| {}).await;
    for isolation in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
        for start in 0..END {
            read_alike(&log, start..END, isolation, &expected).await;
            read_alike(&log, 0..start, isolation, &expected).await;
        }
    }
    let batches = batches(&log, END).await;
    let old = batches.iter().map(|batch| (batch.magic(), batch.header().base_offset)).take(OLD.len());
    assert!(old.eq(OLD.map(|(magic, offsets)| (magic, offsets[0]))));
    assert!(batches.iter().all(|batch| batch.leader_epoch().is_some() == (batch.magic() == 2)));
}

#[tokio::test(start_paused = true)]
async fn a_position_within_messages_of_an_old_format_is_resumed() {
    let (log, expected) = old_log(|_, _| {}).await;
    let mut stream = log.stream(StartAt::Earliest).build();
    for record in &expected {
        assert_eq!(line(stream.try_next().await.unwrap().unwrap()), *record);
        let stored: Position = stream.position().unwrap().to_string().parse().unwrap();
        assert_eq!(
            (stored.offset(), stored.leader_epoch().is_some()),
            (record.offset + 1, record.offset >= OLD_END)
        );
        let rest = log.stream(StartAt::Position(stored)).until(END).build();
        assert_read(collected(rest).await, stored.offset()..END, &expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_message_of_an_old_format_is_named_by_its_offset_and_passed_on_request() {
    // The last byte is of the message's value: its checksum is wrong.
    let (log, expected) = old_log(|first, bytes| *bytes.last_mut().unwrap() ^= u8::from(first == 11)).await;
    let mut stream = log.stream(StartAt::Earliest).until(END).build();
    let mut read = Vec::new();
    let error = loop {
        match stream.try_next().await {
            Ok(next) => read.push(next.expect("it does not end before")),
            Err(error) => break error,
        }
    };
    assert_read(read, 0..11, &expected);
    // The message's own offset, which is the last one's within.
    assert_eq!(error.kind(), &ErrorKind::CorruptBatch { base_offset: Some(15) }, "{error:?}");
    assert_eq!(stream.position().unwrap().offset(), 10);
    stream.skip_to(16);
    assert_read(collected(stream).await, 16..END, &expected);
}
