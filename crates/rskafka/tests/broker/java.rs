//! What this library writes is read by Kafka's own consumer, and what Kafka's own producer writes is read here.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use rskafka::client::consumer::{FetchedBatch, StartAt};
use rskafka::client::{Client, OffsetAt};
use rskafka::protocol::ErrorCode;
use rskafka::protocol::messages::metadata::MetadataResponseTopic;
use rskafka::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rskafka::protocol::records::{Compression, NewRecord, RecordBatch, RecordBatchBuilder};
use rskafka::record::Record;
use rskafka::wal::{Entry, Position};
use rskafka_transport::Connection;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::common::{self, Brokers, exclusive, new_topic, now};
use crate::environment::{self, Environment};
use crate::raw::{call, connect, leader_of};

/// Far more than a JVM needs to start and read a megabyte, on a busy machine.
const JAVA_TIMEOUT: Duration = Duration::from_secs(120);

/// Has Java print what it reads as [`Written::printed_by_java`] does.
const PRINT_EVERYTHING: [&str; 6] = [
    "print.timestamp=true",
    "print.offset=true",
    "print.headers=true",
    "print.key=true",
    "key.separator=|",
    "null.literal=<null>",
];
/// What newer versions print first, to standard output; older ones have no other option.
const WARNING: &[u8] = b"Option --property is deprecated and will be removed in a future version. \
    Use --formatter-property instead.\n";

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn java_reads_what_is_compressed_here_with_every_codec() {
    environment::run(|environment, brokers| async move {
        let topic = new_topic("codecs");
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        client.create_topic(&topic, 1, 1).await.unwrap();
        let leader = Leader::of(&brokers, &topic).await;
        let mut written = Vec::new();
        let mut expected = Vec::new();
        let mut sizes = Vec::new();
        for (codec, level) in codecs() {
            let records = records(codec, level);
            let batch = batch(codec, level, &records);
            sizes.push((codec, level, batch.size_in_bytes()));
            leader.append(written.len(), batch).await;
            for record in records {
                record.printed_by_java(written.len(), &mut expected);
                written.push(record);
            }
        }
        // Otherwise Java would have read nothing that was compressed. (The fastest level of zstd compresses nothing here.)
        let most = sizes[0].2 / 2;
        let mut defaults = sizes[1..].iter().filter(|(_, level, _)| level.is_none());
        assert!(defaults.all(|(_, _, size)| *size < most), "{sizes:?}");

        let log = client.partition_client(&topic, 0).await.unwrap();
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, written.len() as i64);
        let read = read_with_java(&environment, &brokers, &topic, written.len()).await;
        assert!(!read.is_empty(), "Java has read nothing");
        assert!(read == expected, "{}", difference(&read, &expected));
        println!("Java has read {} records in {} batches: {sizes:?}", written.len(), sizes.len());
        client.delete_topic(&topic).await.unwrap();
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn what_java_writes_with_every_codec_is_read_here() {
    environment::run(|environment, brokers| async move {
        let topic = new_topic("java-writes");
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        client.create_topic(&topic, 1, 1).await.unwrap();
        // Some larger than what Java's codecs compress at once.
        let mut lines: Vec<String> = (0..500).map(|number| format!("key {number}|value {number}")).collect();
        lines.push(format!("large|{}", "lorem ipsum ".repeat(30_000)));
        lines.push("empty|".to_owned());
        for codec in Compression::ALL {
            write_with_java(&environment, &brokers, &topic, codec, &lines).await;
        }
        let log = client.partition_client(&topic, 0).await.unwrap();
        let end = (Compression::ALL.len() * lines.len()) as i64;
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, end);
        let batches = log.stream(StartAt::Earliest).until(end).build_batches();
        let batches: Vec<_> = batches.try_collect().await.unwrap();
        let used: BTreeSet<_> = batches.iter().map(|batch| batch.compression().to_string()).collect();
        assert_eq!(used, Compression::ALL.iter().map(ToString::to_string).collect());
        let read = batches.into_iter().flat_map(FetchedBatch::into_records).map(|record| {
            let Record { key, value, .. } = record.unwrap().record;
            [&key.unwrap()[..], b"|", &value.unwrap()].concat()
        });
        let written =
            Compression::ALL.iter().flat_map(|_| lines.iter().map(|line| line.clone().into_bytes()));
        assert!(read.eq(written));
        client.delete_topic(&topic).await.unwrap();
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn java_finds_the_same_entries_of_an_exclusive_log() {
    environment::run(|environment, brokers| async move {
        let topic = new_topic("java-exclusive");
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        client.create_topic(&topic, 1, 1).await.unwrap();
        let wal = exclusive::wal(&client, &topic).await;
        let mut writers = Vec::new();
        for (term, note) in ["first", "second", "third"].into_iter().enumerate() {
            let (writer, _) = exclusive::claim(&wal, Position::START, note).await;
            for number in 0..5 {
                let values = (0..3).map(|part| common::record(format!("{term}.{number}.{part}")));
                writer.append(values).await.unwrap();
            }
            writer.barrier().await.unwrap();
            writers.push(writer);
        }
        // Dead batches behind the last claim.
        for writer in &writers[..2] {
            assert!(writer.append([common::record("late")]).await.is_err());
        }
        let end = writers[2].append([common::record("end")]).await.unwrap().offsets.end;
        let entries: Vec<_> = wal.read(Position::START).until(end).build().try_collect().await.unwrap();
        let records = entries.into_iter().flat_map(Entry::into_records).map(|record| {
            let record = record.unwrap();
            format!(
                "{} {}\n",
                record.offset,
                String::from_utf8(record.record.value.unwrap().to_vec()).unwrap()
            )
        });
        let expected: String = records.collect();
        assert_eq!(expected.lines().count(), 46);
        let mut java = Command::new(environment.fact("java"));
        java.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/ReadExclusiveLog.java"));
        java.args([&brokers[0], &topic]).kill_on_drop(true).stderr(Stdio::inherit());
        let output =
            tokio::time::timeout(JAVA_TIMEOUT, java.output()).await.expect("Java has not ended").unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        client.delete_topic(&topic).await.unwrap();
    });
}

/// Has Java append lines of `key|value`.
async fn write_with_java(
    environment: &Environment,
    brokers: &Brokers,
    topic: &str,
    codec: Compression,
    lines: &[String],
) {
    let mut java = Command::new(environment.fact("console.producer"));
    java.args(["--bootstrap-server", &brokers.join(","), "--topic", topic])
        .arg(format!("--compression-codec={codec}"))
        .args(["--property", "parse.key=true", "--property", "key.separator=|"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut java = java.spawn().unwrap();
    let mut input = java.stdin.take().unwrap();
    input.write_all((lines.join("\n") + "\n").as_bytes()).await.unwrap();
    drop(input);
    let output =
        tokio::time::timeout(JAVA_TIMEOUT, java.wait_with_output()).await.expect("Java does not end");
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every codec, with its default level, its ends and some between.
fn codecs() -> Vec<(Compression, Option<i32>)> {
    let mut codecs = Vec::new();
    for codec in Compression::ALL {
        assert!(codec.is_supported(), "{codec} is not compiled in");
        codecs.push((codec, None));
        let levels = codec.levels().into_iter().flat_map(|levels| {
            let some = [*levels.start(), -5, 1, 6, *levels.end()];
            let mut some: Vec<i32> = some.into_iter().filter(|level| levels.contains(level)).collect();
            some.dedup();
            some
        });
        codecs.extend(levels.map(|level| (codec, Some(level))));
    }
    codecs
}

type Header = (&'static str, Option<&'static [u8]>);

struct Written {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: &'static [Header],
}

/// Nulls, empty and binary content, and values beyond the blocks of every codec: one that compresses, one that does not.
fn records(codec: Compression, level: Option<i32>) -> Vec<Written> {
    let text = |size: usize| {
        let line = format!("{codec} at level {level:?} ");
        line.bytes().cycle().take(size).collect::<Vec<u8>>()
    };
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let noise = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()[3]
    });
    let noise: Vec<u8> = noise.take(70_000).collect();
    // Out of order, because nothing says that timestamps are in order.
    vec![
        Written::new(5, None, None, &[]),
        Written::new(0, Some(b""), Some(Vec::new()), &[("null", None), ("empty", Some(b""))]),
        Written::new(-700, Some(b"key"), None, &[]),
        Written::new(1, None, Some(text(40)), &[("twice", Some(b"1")), ("twice", Some(b"2"))]),
        Written::new(1, Some(b"\0\xff\n"), Some(noise), &[("binary", Some(b"\xfe\0"))]),
        Written::new(30_000, Some(b"long"), Some(text(300_000)), &[]),
        Written::new(2, Some(b"last"), Some(text(1)), &[]),
    ]
}

impl Written {
    /// A record of `ms` milliseconds after now; an old one would fall to retention.
    fn new(ms: i64, key: Option<&[u8]>, value: Option<Vec<u8>>, headers: &'static [Header]) -> Self {
        let timestamp = i64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap() + ms;
        Self { timestamp, key: key.map(<[u8]>::to_vec), value, headers }
    }

    /// What Java's console consumer prints of it.
    fn printed_by_java(&self, offset: usize, into: &mut Vec<u8>) {
        let or_null = |bytes: Option<&[u8]>| bytes.unwrap_or(b"<null>").to_vec();
        let headers =
            self.headers.iter().map(|(key, value)| [key.as_bytes(), b":", &or_null(*value)].concat());
        let headers = match self.headers {
            [] => b"NO_HEADERS".to_vec(),
            _ => headers.collect::<Vec<_>>().join(b",".as_slice()),
        };
        write!(into, "CreateTime:{}|Offset:{offset}|", self.timestamp).unwrap();
        let rest = [headers, or_null(self.key.as_deref()), or_null(self.value.as_deref())];
        into.extend(rest.join(b"|".as_slice()));
        into.push(b'\n');
    }
}

fn batch(codec: Compression, level: Option<i32>, records: &[Written]) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new();
    builder.set_compression(codec);
    builder.set_compression_level(level);
    for Written { timestamp, key, value, headers } in records {
        let record = NewRecord::new(*timestamp, key.as_deref(), value.as_deref());
        let headers = headers.iter().map(|(key, value)| (key.as_bytes(), *value));
        builder.push(record.headers(headers)).unwrap();
    }
    let batch = builder.build().unwrap();
    assert_eq!(batch.header().attributes.compression(), Ok(codec));
    batch
}

/// A connection to the leader of a topic's only partition: the client has no option for compression.
struct Leader {
    connection: Connection,
    topic: MetadataResponseTopic,
}

impl Leader {
    async fn of(brokers: &Brokers, name: &str) -> Self {
        let (endpoint, topic) = leader_of(brokers, name).await;
        Self { connection: connect(endpoint).await, topic }
    }

    async fn append(&self, base_offset: usize, batch: RecordBatch) {
        let codec = batch.header().attributes.compression();
        let data = PartitionProduceData { index: 0, records: Some(batch.into_bytes()) };
        let topic = TopicProduceData {
            name: self.topic.name.clone().unwrap(),
            topic_id: self.topic.topic_id,
            partition_data: vec![data],
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        let produced = call(&self.connection, &request).await;
        let produced = &produced.responses[0].partition_responses[0];
        assert_eq!(produced.error_code, ErrorCode::NONE, "{codec:?}: {produced:?}");
        assert_eq!(produced.base_offset, base_offset as i64);
    }
}

async fn read_with_java(
    environment: &Environment,
    brokers: &Brokers,
    topic: &str,
    records: usize,
) -> Vec<u8> {
    let (brokers, records) = (brokers.join(","), records.to_string());
    let mut java = Command::new(environment.fact("console.consumer"));
    java.args(["--bootstrap-server", &brokers, "--topic", topic, "--partition", "0", "--offset", "0"])
        .args(["--max-messages", &records, "--timeout-ms", "20000"])
        .args(PRINT_EVERYTHING.iter().flat_map(|property| ["--property", property]))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(JAVA_TIMEOUT, java.output()).await.expect("Java does not end").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Java's console consumer: {}: {said}", output.status);
    println!("{said}");
    output.stdout.strip_prefix(WARNING).map_or(output.stdout.clone(), <[u8]>::to_vec)
}

/// Where what Java printed begins to differ.
fn difference(read: &[u8], expected: &[u8]) -> String {
    let at = read.iter().zip(expected).take_while(|(read, expected)| read == expected).count();
    let around = |all: &[u8]| {
        let part = &all[at.saturating_sub(60).min(all.len())..(at + 60).min(all.len())];
        String::from_utf8_lossy(part).into_owned()
    };
    format!(
        "Java printed {} bytes instead of {}; they differ from byte {at} on: {:?} instead of {:?}",
        read.len(),
        expected.len(),
        around(read),
        around(expected)
    )
}
