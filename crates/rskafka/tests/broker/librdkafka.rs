//! What this library writes is read by librdkafka, and what librdkafka writes is read here.
//!
//! Only with `RSKAFKA_TEST_RDKAFKA=1`: librdkafka is built for it, which needs a C and a C++ compiler and make, and some minutes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rskafka::client::consumer::{FetchedBatch, IsolationLevel};
use rskafka::client::{Client, PartitionClient};
use rskafka::protocol::records::{Compression, Flag};
use rskafka::record::Record;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::common::line::Line;
use crate::common::reads::{batches, read_alike};
use crate::common::{self, Brokers, new_topic, now, served};
use crate::environment;
use crate::old_formats::{self, OldLog};

const VARIABLE: &str = "RSKAFKA_TEST_RDKAFKA";
/// Far more than a program needs to write or read a megabyte, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn what_librdkafka_writes_with_every_codec_is_read_here() {
    environment::run(|_, brokers| async move {
        let Some(librdkafka) = Librdkafka::get("what_librdkafka_writes_with_every_codec_is_read_here").await
        else {
            return;
        };
        for stamped_by in ["CreateTime", "LogAppendTime"] {
            let (client, log) = new_log(&brokers, stamped_by).await;
            let is_appended = stamped_by == "LogAppendTime";
            let mut written = Vec::new();
            for codec in Compression::ALL {
                let codec = format!("compression.type={codec}");
                written.extend(librdkafka.write(&brokers, log.topic(), &[&codec], &records(&codec)).await);
            }
            let end = written.len() as i64;
            let batches = batches(&log, end).await;
            let used: Vec<_> = batches.iter().map(FetchedBatch::compression).collect();
            assert_eq!(used, Compression::ALL, "a batch of each");
            assert!(
                batches.iter().all(|batch| batch.header().attributes.has(Flag::LogAppendTime) == is_appended)
            );
            // What it says it wrote has the producer's times, also where the broker's are in the log.
            let read = librdkafka.read(&brokers, log.topic(), written.len()).await;
            for (read, written) in read.iter().zip(&mut written) {
                assert_eq!(read.timestamp == written.timestamp, !is_appended, "{read} is not {written}");
                written.timestamp = read.timestamp;
            }
            read_alike(&log, 0..end, IsolationLevel::ReadUncommitted, &written).await;
            client.delete_topic(log.topic()).await.unwrap();
        }
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn librdkafka_reads_what_is_written_here_with_every_codec() {
    environment::run(|_, brokers| async move {
        let Some(librdkafka) =
            Librdkafka::get("librdkafka_reads_what_is_written_here_with_every_codec").await
        else {
            return;
        };
        for stamped_by in ["CreateTime", "LogAppendTime"] {
            let (client, log) = new_log(&brokers, stamped_by).await;
            let mut written = Vec::new();
            for codec in Compression::ALL {
                let log = client.partition_client(log.topic(), 0).compression(codec).await.unwrap();
                let lines = records(&codec.to_string());
                let records = lines.iter().map(|line| Record {
                    key: line.key.clone(),
                    value: line.value.clone(),
                    headers: line.headers.clone(),
                    timestamp: OffsetDateTime::from_unix_timestamp_nanos(
                        i128::from(line.timestamp) * 1_000_000,
                    )
                    .unwrap(),
                });
                let appended = log.produce(records).await.unwrap();
                let stamped =
                    appended.log_append_time.map(|time| (time.unix_timestamp_nanos() / 1_000_000) as i64);
                assert_eq!(stamped.is_some(), stamped_by == "LogAppendTime");
                written.extend((appended.base_offset..).zip(lines).map(|(offset, line)| Line {
                    offset,
                    timestamp: stamped.unwrap_or(line.timestamp),
                    ..line
                }));
            }
            let end = written.len() as i64;
            let batches = batches(&log, end).await;
            assert_eq!(batches.iter().map(FetchedBatch::compression).collect::<Vec<_>>(), Compression::ALL);
            let read = librdkafka.read(&brokers, log.topic(), written.len()).await;
            assert_eq!(read.len(), written.len());
            for (read, written) in read.iter().zip(&written) {
                assert!(read == written, "librdkafka reads {read} instead of {written}");
            }
            client.delete_topic(log.topic()).await.unwrap();
        }
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn what_librdkafka_writes_in_the_old_formats_is_read_here() {
    environment::run(|environment, brokers| async move {
        const NAME: &str = "librdkafka::what_librdkafka_writes_in_the_old_formats_is_read_here";
        if !old_formats::has_old_formats(&environment, NAME) {
            return;
        }
        let Some(librdkafka) =
            Librdkafka::get("what_librdkafka_writes_in_the_old_formats_is_read_here").await
        else {
            return;
        };
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        for magic in [0, 1] {
            let log = OldLog::new(&client, &brokers, magic, &[]).await.log;
            let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4];
            // Below 0.10 it writes magic 0; else it asks for versions, and the broker makes magic 1 of what it writes.
            let fallback = format!("broker.version.fallback={}.0", old_formats::FORMATS[magic as usize]);
            let mut written = Vec::new();
            for codec in codecs {
                let mut lines = records(&codec.to_string());
                lines.iter_mut().for_each(|line| line.headers.clear());
                let codec = format!("compression.type={codec}");
                let options = [&*codec, "api.version.request=false", &fallback];
                written.extend(librdkafka.write(&brokers, log.topic(), &options, &lines).await);
            }
            if magic == 0 {
                written.iter_mut().for_each(|line| line.timestamp = -1);
            }
            let end = written.len() as i64;
            let batches = batches(&log, end).await;
            assert!(batches.iter().all(|batch| batch.magic() == magic), "{batches:?}");
            let mut used: Vec<_> = batches.iter().map(FetchedBatch::compression).collect();
            used.dedup();
            assert_eq!(used, codecs);
            read_alike(&log, 0..end, IsolationLevel::ReadUncommitted, &written).await;
            client.delete_topic(log.topic()).await.unwrap();
        }
    });
}

/// A log whose records are stamped by their producer or by the broker.
async fn new_log(brokers: &Brokers, stamped_by: &str) -> (Client, PartitionClient) {
    let client = Client::new_plain(brokers.clone()).await.unwrap();
    let topic = new_topic("librdkafka");
    client.create_topic(&topic, 1, 1).config("message.timestamp.type", stamped_by).await.unwrap();
    let log = served(&client, &topic, 0).await;
    (client, log)
}

/// With nulls, empty and binary content, headers that come twice, and values of which one compresses and one does not. In all
/// less than a batch of librdkafka's may have.
fn records(of: &str) -> Vec<Line> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()[2]
    });
    let noise: Vec<u8> = noise.take(70_000).collect();
    let text = |size: usize| Some(of.bytes().cycle().take(size).collect::<Vec<u8>>());
    let row = |key: Option<&[u8]>, value, headers: &[(&str, Option<&[u8]>)]| {
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec)));
        Line { offset: 0, timestamp: 0, key: key.map(<[u8]>::to_vec), value, headers: headers.collect() }
    };
    let mut lines = vec![
        row(None, None, &[]),
        row(Some(b"key"), text(40), &[("twice", Some(b"1")), ("twice", Some(b"2"))]),
        row(None, text(1), &[("null", None), ("empty", Some(b""))]),
        row(Some(b"tombstone"), None, &[("binary", Some(b"\0\xfe"))]),
        row(Some(b"\0\xff\n"), Some(noise), &[("\u{e4}", Some(b"1")), ("a", None), ("\u{e4}", None)]),
        row(Some(b"long"), text(300_000), &[]),
        row(Some(b""), Some(Vec::new()), &[]),
    ];
    // Out of order, and none is when the broker appends it.
    let then = (now().unix_timestamp_nanos() / 1_000_000) as i64 - 60_000;
    let seconds = [5, -3, 0, 7, 1, -9, 2];
    lines.iter_mut().zip(seconds).for_each(|(line, seconds)| line.timestamp = then + seconds * 1_000);
    lines
}

/// A program with librdkafka.
#[derive(Clone)]
struct Librdkafka(PathBuf);

impl Librdkafka {
    /// Builds it; `None` if nobody asks for it.
    async fn get(test: &str) -> Option<Self> {
        static BUILT: OnceCell<Librdkafka> = OnceCell::const_new();
        if std::env::var_os(VARIABLE).is_none_or(|value| value != "1") {
            let why = format!("librdkafka is built only with {VARIABLE}=1");
            common::skipped("any Kafka", &format!("librdkafka::{test}"), &why);
            return None;
        }
        let build = async || {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("librdkafka");
            let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/librdkafka/Cargo.toml");
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path", manifest]);
            let status = cargo.arg("--target-dir").arg(&folder).status().await.unwrap();
            assert!(status.success(), "librdkafka does not build: it needs a C and a C++ compiler and make");
            Self(folder.join("release/rskafka-tests-librdkafka"))
        };
        Some(BUILT.get_or_init(build).await.clone())
    }

    async fn run(&self, arguments: &[&str], input: &[Line]) -> Vec<Line> {
        let mut program = Command::new(&self.0);
        program.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut program = program.spawn().unwrap();
        let mut stdin = program.stdin.take().unwrap();
        let text: String = input.iter().map(|line| format!("{line}\n")).collect();
        // The program may end before it has read all.
        let _ = stdin.write_all(text.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(TIMEOUT, program.wait_with_output()).await;
        let output = output.expect("librdkafka does not end").unwrap();
        assert!(output.status.success(), "librdkafka's program: {}", output.status);
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Has it write records: gives them with their offsets.
    async fn write(&self, brokers: &Brokers, topic: &str, options: &[&str], records: &[Line]) -> Vec<Line> {
        let brokers = brokers.join(",");
        self.run(&[&["write", &*brokers, topic], options].concat(), records).await
    }

    /// Has it read the first records of a topic.
    async fn read(&self, brokers: &Brokers, topic: &str, records: usize) -> Vec<Line> {
        self.run(&["read", &brokers.join(","), topic, &records.to_string()], &[]).await
    }
}
