//! Logs with message sets, the formats before record batches (magic 0 and 1). Brokers before Kafka 3.0 write them where
//! `message.format.version` says so.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use rskafka::client::consumer::{FetchedBatch, IsolationLevel, Position, StartAt};
use rskafka::client::error::Outcome;
use rskafka::client::{Client, PartitionClient};
use rskafka::protocol::records::Compression;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_transport::Endpoint;

use crate::common::line::Line;
use crate::common::message_sets::{OldMessage, compressed, plain};
use crate::common::reads::{assert_read, batches, collected, read_alike};
use crate::common::{self, Brokers, PATIENCE, new_topic, now, record, served};
use crate::environment::{self, Environment};
use crate::raw::{call_unlisted, leader_of, string};

/// Where brokers keep the old formats, by magic.
pub const FORMATS: [&str; 2] = ["0.9.0", "0.10.0"];
/// The last versions of Produce that carried message sets, by magic.
const PRODUCE: [i16; 2] = [1, 2];
/// The cleaner looks for work every 15 s.
const UNTIL_COMPACTED: Duration = Duration::from_secs(90);

/// Says so where the brokers write record batches only.
pub fn has_old_formats(environment: &Environment, test: &str) -> bool {
    let version = environment.fact("version");
    let has_them = version.starts_with("2.");
    if !has_them {
        common::skipped(
            &format!("Kafka {version}"),
            test,
            "since Kafka 3.0 all that is written is of magic 2",
        );
    }
    has_them
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn message_sets_are_read_with_every_codec_and_timestamp_type() {
    environment::run(|environment, brokers| async move {
        if !has_old_formats(
            &environment,
            "old_formats::message_sets_are_read_with_every_codec_and_timestamp_type",
        ) {
            return;
        }
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        // If the topic names a codec, the broker compresses every batch again with it. Zstandard needs magic 2.
        for codec in ["producer", "uncompressed", "gzip", "snappy", "lz4"] {
            for (magic, stamped_by) in [(0, "CreateTime"), (1, "CreateTime"), (1, "LogAppendTime")] {
                let config = [("compression.type", codec), ("message.timestamp.type", stamped_by)];
                let log = OldLog::new(&client, &brokers, magic, &config).await;
                let mut expected = Vec::new();
                for (numbers, is_compressed) in [(0..=3, false), (0..=6, true), (7..=7, false)] {
                    expected.extend(log.append_messages(numbers, is_compressed).await);
                }
                let end = expected.len() as i64;
                let batches = batches(&log.log, end).await;
                assert!(batches.iter().all(|batch| batch.magic() == magic), "{batches:?}");
                let wanted = match codec {
                    "producer" => vec![Compression::None; 4]
                        .into_iter()
                        .chain([Compression::Gzip, Compression::None])
                        .collect(),
                    "uncompressed" => vec![Compression::None; 12],
                    _ => vec![*Compression::ALL.iter().find(|known| known.to_string() == codec).unwrap(); 3],
                };
                let used = batches.iter().map(FetchedBatch::compression);
                assert_eq!(used.collect::<Vec<_>>(), wanted, "{codec}, magic {magic}");
                read_alike(&log.log, 0..end, IsolationLevel::ReadUncommitted, &expected).await;
                read_alike(&log.log, 0..end, IsolationLevel::ReadCommitted, &expected).await;
                client.delete_topic(log.log.topic()).await.unwrap();
            }
        }
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn what_compaction_leaves_of_message_sets_is_read() {
    environment::run(|environment, brokers| async move {
        if !has_old_formats(&environment, "old_formats::what_compaction_leaves_of_message_sets_is_read") {
            return;
        }
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        let config = [
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0"),
            // Each set begins another one, and the last one is left alone.
            ("segment.bytes", "400"),
        ];
        let (old, new) = tokio::join!(
            OldLog::new(&client, &brokers, 0, &config),
            OldLog::new(&client, &brokers, 1, &config)
        );
        let mut logs = Vec::new();
        for log in [old, new] {
            let mut written: Vec<Line> = Vec::new();
            for keys in ["abcde", "axce", "bxfg", "zzzzz"] {
                let keyed = |(at, key): (usize, char)| {
                    let value = format!("value {at} of {keys}").into_bytes();
                    (at as i64, milliseconds() + at as i64, Some(vec![key as u8]), Some(value))
                };
                let inner: Vec<_> = keys.chars().enumerate().map(keyed).collect();
                let set = compressed(log.magic, inner.len() as i64 - 1, &inner);
                written.extend(log.append(&set).await.filled(&inner));
            }
            logs.push((log, written));
        }
        for (log, mut left) in logs {
            let end = left.len() as i64;
            // Of the first set one message is left, and of the second one is missing within.
            left.retain(|record| [3, 5, 7, 8].contains(&record.offset) || record.offset >= 9);
            let compacting = async {
                loop {
                    let read = log.log.stream(StartAt::Earliest).until(end).build();
                    let read: Vec<_> = read.map_ok(|read| read.offset).try_collect().await.unwrap();
                    if read.len() == left.len() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            tokio::time::timeout(UNTIL_COMPACTED, compacting).await.expect("the log is not compacted");
            read_alike(&log.log, 0..end, IsolationLevel::ReadUncommitted, &left).await;
            for start in 0..end {
                let read = log.log.stream(StartAt::Offset(start)).until(end).build();
                assert_read(collected(read).await, start..end, &left);
            }
            let batches = batches(&log.log, 9).await;
            let facts = |batch: &FetchedBatch| {
                (batch.magic(), batch.compression(), batch.header().base_offset, batch.next_offset())
            };
            let gzip = |base_offset, next| (log.magic, Compression::Gzip, base_offset, next);
            assert_eq!(batches.iter().map(facts).collect::<Vec<_>>(), [gzip(3, 4), gzip(5, 9)]);
            client.delete_topic(log.log.topic()).await.unwrap();
        }
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_stream_goes_from_the_old_formats_to_the_new_one() {
    environment::run(|environment, brokers| async move {
        if !has_old_formats(&environment, "old_formats::a_stream_goes_from_the_old_formats_to_the_new_one") {
            return;
        }
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        let mut log = OldLog::new(&client, &brokers, 0, &[]).await;
        let mut stream = log.log.stream(StartAt::Earliest).build();
        let mut expected: Vec<Line> = Vec::new();
        let mut positions: Vec<Position> = Vec::new();
        for magic in [0, 1, 2] {
            let begin = expected.len();
            log.change_format(&client, magic, &mut expected).await;
            if magic < 2 {
                expected.extend(log.append_messages(0..=6, true).await);
                expected.extend(log.append_messages(7..=9, false).await);
                // What this client writes is taken only if it has no sequence numbers, which such a log cannot keep.
                let idempotent = client.partition_client(log.log.topic(), 0).await.unwrap();
                let error = idempotent.produce([record("refused")]).await.unwrap_err();
                assert_eq!(error.code(), Some(ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT), "{error:?}");
                assert_eq!(error.outcome(), Outcome::NotWritten);
            }
            let plain = client.partition_client(log.log.topic(), 0).idempotence(magic == 2);
            let plain = plain.compression(Compression::Lz4).await.unwrap();
            let ours: Vec<_> = (0..5).map(|number| record(format!("ours {number} ").repeat(100))).collect();
            let base_offset = plain.produce(ours.clone()).await.unwrap().base_offset;
            expected.extend((base_offset..).zip(&ours).map(|(offset, record)| Line {
                offset,
                timestamp: if magic == 0 {
                    -1
                } else {
                    (record.timestamp.unix_timestamp_nanos() / 1_000_000) as i64
                },
                key: None,
                value: Some(record.value.clone()),
                headers: Vec::new(),
            }));
            let following = stream.by_ref().take(expected.len() - begin).try_collect::<Vec<_>>();
            let read = tokio::time::timeout(PATIENCE, following).await.expect("no more comes").unwrap();
            let begins = expected[begin].offset;
            assert_read(read, begins..i64::MAX, &expected);
            positions.push(stream.position().unwrap());
        }
        let end = expected.len() as i64;
        let batches = batches(&log.log, end).await;
        assert!(batches.is_sorted_by_key(FetchedBatch::magic));
        assert_eq!((batches[0].magic(), batches.last().unwrap().magic()), (0, 2));
        assert!(batches.iter().all(|batch| batch.leader_epoch().is_some() == (batch.magic() == 2)));
        read_alike(&log.log, 0..end, IsolationLevel::ReadUncommitted, &expected).await;
        for position in positions {
            let stored: Position = position.to_string().parse().unwrap();
            let read = log.log.stream(StartAt::Position(stored)).until(end).build();
            assert_read(collected(read).await, position.offset()..end, &expected);
        }
        client.delete_topic(log.log.topic()).await.unwrap();
    });
}

/// A topic's only partition, which keeps an old format.
pub struct OldLog {
    magic: i8,
    pub log: PartitionClient,
    leader: Endpoint,
}

/// Where a set was appended.
struct Appended {
    base_offset: i64,
    /// What stands for the producer's time of each record, if something does.
    timestamp: Option<i64>,
}

impl OldLog {
    pub async fn new(client: &Client, brokers: &Brokers, magic: i8, config: &[(&str, &str)]) -> Self {
        let topic = new_topic("old-formats");
        let create =
            client.create_topic(&topic, 1, 1).config("message.format.version", FORMATS[magic as usize]);
        config.iter().fold(create, |create, (name, value)| create.config(*name, *value)).await.unwrap();
        let log = served(client, &topic, 0).await;
        let (leader, _) = leader_of(brokers, &topic).await;
        Self { magic, log, leader }
    }

    /// Appends a message set as a client of its time did.
    async fn append(&self, set: &[u8]) -> Appended {
        let (acks, timeout_ms, one, partition) = ((-1i16).to_be_bytes(), 10_000u32, 1u32, 0u32);
        let [timeout_ms, one, partition, size] =
            [timeout_ms, one, partition, set.len() as u32].map(u32::to_be_bytes);
        let topic = string(self.log.topic());
        let request = [&acks[..], &timeout_ms, &one, &topic, &one, &partition, &size, set].concat();
        let version = PRODUCE[self.magic as usize];
        let appending = async {
            loop {
                let answer = call_unlisted(&self.leader, ApiKey::PRODUCE, version, &request).await;
                let rest = answer[4 + topic.len() + 4 + 4..].to_vec();
                match ErrorCode(i16::from_be_bytes(*rest.first_chunk().unwrap())) {
                    ErrorCode::NONE => return rest,
                    // It leads the new topic, and has not been told of it by the metadata yet.
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    code => panic!("{code}"),
                }
            }
        };
        let rest = tokio::time::timeout(PATIENCE, appending).await.expect("the topic stays unknown");
        let number = |at: usize| i64::from_be_bytes(*rest[at..].first_chunk().unwrap());
        let stamped = (self.magic == 1).then(|| number(10)).filter(|time| *time >= 0);
        Appended { base_offset: number(2), timestamp: stamped.or((self.magic == 0).then_some(-1)) }
    }

    async fn append_messages(&self, numbers: RangeInclusive<i64>, is_compressed: bool) -> Vec<Line> {
        let messages = messages(numbers);
        let last = messages.len() as i64 - 1;
        let set = if is_compressed {
            compressed(self.magic, last, &messages)
        } else {
            plain(self.magic, &messages)
        };
        self.append(&set).await.filled(&messages)
    }

    /// Has the log keep another format from now on: appends until it does.
    async fn change_format(&mut self, client: &Client, magic: i8, expected: &mut Vec<Line>) {
        let format = FORMATS.get(magic as usize).unwrap_or(&"2.8");
        let change = [("message.format.version", Some(*format))];
        client.alter_configs(self.log.topic(), &change).await.unwrap();
        self.magic = magic.min(1);
        let changing = async {
            loop {
                let message = messages(0..=0);
                let appended = self.append(&plain(self.magic, &message)).await;
                let fetched = self.log.fetch(appended.base_offset).await.unwrap();
                let found = fetched.batches()[0].magic();
                let timestamp = if found == 0 { Some(-1) } else { appended.timestamp };
                expected.extend(Appended { timestamp, ..appended }.filled(&message));
                if found == magic {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, changing).await.expect("the format stays");
    }
}

impl Appended {
    /// The records of the set.
    fn filled(&self, messages: &[OldMessage]) -> Vec<Line> {
        let place = |(offset, (_, timestamp, key, value)): (i64, &OldMessage)| Line {
            offset,
            timestamp: self.timestamp.unwrap_or(*timestamp),
            key: key.clone(),
            value: value.clone(),
            headers: Vec::new(),
        };
        (self.base_offset..).zip(messages).map(place).collect()
    }
}

fn milliseconds() -> i64 {
    (now().unix_timestamp_nanos() / 1_000_000) as i64
}

/// With these numbers: with nulls, empty and larger ones, their times out of order, their offsets from 0 on.
fn messages(numbers: RangeInclusive<i64>) -> Vec<OldMessage> {
    let message = |(offset, number): (usize, i64)| {
        let value = format!("value {number} ");
        let (key, value) = match number % 5 {
            0 => (None, Some(value)),
            1 => (Some(""), Some(String::new())),
            2 => (Some("tombstone"), None),
            3 => (None, None),
            _ => (Some("large"), Some(value.repeat(1_000))),
        };
        let timestamp = milliseconds() - (number % 3) * 1_000;
        (offset as i64, timestamp, key.map(|key| key.as_bytes().to_vec()), value.map(String::into_bytes))
    };
    numbers.enumerate().map(message).collect()
}
