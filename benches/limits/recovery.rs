//! How long a recovery takes: a partition with some gigabytes of records of 1 KiB on a real broker, read from its first offset
//! to its end by single fetches, a stream, replays and other clients, from near and with 2 ms added to each round trip.
//!
//! The broker shares the machine, so a reader over several connections gains only what processors are left.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use rskafka::client::consumer::StartAt;
use rskafka::client::error::Error;
use rskafka::client::{Client, PartitionClient};
use rskafka::record::{NewRecord, RecordAndOffset};
use rskafka::wal::Position;
use tokio::runtime::Runtime;

use crate::broker::runtime;
use crate::cases::Side;
use crate::side::{self, Call, KEY, READ_ON, Sample, TOPIC, Work};
use crate::{READ, delay, exclusive, ours, sides};

pub(crate) const NAME: &str = "recovery";
/// How many GiB, if it is not one.
const GIB: &str = "RECOVERY_GIB";
const PASSES: usize = 3;
const SIZE: usize = 1024;
/// In a batch, which has about 1 MiB.
const RECORDS: usize = 1000;
/// Batches that are appended before the first is answered.
const IN_FLIGHT: usize = 5;
/// The partition of the exclusive log.
const EXCLUSIVE: i32 = READ_ON + 1;
/// Half of what is added to a round trip.
const ONE_WAY: Duration = Duration::from_millis(1);

/// How to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Fetches,
    Stream,
    Replay(usize),
    /// The claim of an exclusive log with the same records.
    Claim,
    Peer(Side),
}

const READERS: [Reader; 8] = [
    // The same batch again and again.
    Reader::Peer(Side::Raw),
    Reader::Fetches,
    Reader::Stream,
    Reader::Replay(1),
    Reader::Replay(4),
    Reader::Claim,
    Reader::Peer(Side::Rdkafka),
    Reader::Peer(Side::Earlier),
];

/// What was measured.
pub(crate) struct Recovery {
    batches: usize,
    readers: Vec<Measured>,
}

/// Medians: from near, and from far away where the reader can be made to connect through the delay.
pub(crate) struct Measured {
    pub(crate) reader: Reader,
    pub(crate) near: Sample,
    far: Option<Sample>,
}

/// On the broker at this address.
pub(crate) fn measure(address: &str) -> Recovery {
    let gib: f64 = std::env::var(GIB).map_or(1.0, |gib| gib.parse().expect("a number of GiB"));
    let runtime = runtime();
    let batches = ((gib * f64::from(1 << 30)) as usize / (SIZE * RECORDS)).max(1);
    runtime.block_on(fill(address, batches));
    let far_away = delay::start(address, ONE_WAY).expect("a port");
    let mut readers = Vec::new();
    for reader in READERS {
        let median = |through: &str| {
            let mut samples: Vec<_> =
                (0..PASSES).filter_map(|_| sample(&runtime, reader, address, through, batches)).collect();
            samples.sort_by(|one, other| one.wall.total_cmp(&other.wall));
            samples.get(samples.len() / 2).copied()
        };
        let (near, far) = (median(""), median(&far_away));
        let measured = near.map(|near| Measured { reader, near, far });
        readers.extend(measured.inspect(|measured| eprintln!("recovery: {}", measured.line(batches))));
    }
    Recovery { batches, readers }
}

impl Recovery {
    pub(crate) fn gib(&self) -> f64 {
        mib(self.batches) / 1024.0
    }

    pub(crate) fn readers(&self) -> &[Measured] {
        &self.readers
    }

    /// In Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:.1} GiB, {} batches of {RECORDS} records of {SIZE} B; medians of {PASSES} passes.\n\n",
            self.gib(),
            self.batches
        );
        text += "| reader | near: s | MiB/s | CPU per record | 2 ms away: MiB/s |\n|---|--:|--:|--:|--:|\n";
        for measured in &self.readers {
            text += &measured.line(self.batches);
            text += "\n";
        }
        text
    }
}

impl Measured {
    fn line(&self, batches: usize) -> String {
        let rate = |sample: &Sample| format!("{:.0}", mib(batches) / (sample.wall / 1e9));
        let cpu = self.near.cpu / (batches * RECORDS) as f64;
        let (seconds, near) = (self.near.wall / 1e9, rate(&self.near));
        let far = self.far.as_ref().map_or("–".to_owned(), rate);
        format!("| {} | {seconds:.2} | {near} | {cpu:.0} ns | {far} |", self.reader.name())
    }
}

fn mib(batches: usize) -> f64 {
    (batches * RECORDS * SIZE) as f64 / f64::from(1 << 20)
}

async fn fill(address: &str, batches: usize) {
    let client = Client::builder([address]).build().await.expect("a client");
    let _ = client.delete_topic(TOPIC).await;
    let create = || client.create_topic(TOPIC, EXCLUSIVE + 1, 1).config("max.message.bytes", "2000000");
    while create().await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = client.partition_client(TOPIC, READ_ON).await.expect("a partition");
    let work = work(address, "");
    let values = work.values();
    let batch = || {
        let mut batch = log.batch_builder(RECORDS * (SIZE + 24));
        for value in &values {
            batch.push(NewRecord::new(work.timestamp, Some(&KEY), Some(value))).expect("there is room");
        }
        batch
    };
    let of_raw = client.partition_client(TOPIC, READ).await.expect("a partition");
    of_raw.produce_batch(batch()).await.expect("an append");
    let mut waited = VecDeque::new();
    for number in 0..batches {
        waited.push_back(log.produce_batch(batch()));
        if waited.len() == IN_FLIGHT {
            waited.pop_front().expect("some are in flight").await.expect("an append");
        }
        if number % 1024 == 1023 {
            eprintln!("{} of {batches} batches appended", number + 1);
        }
    }
    for produce in waited {
        produce.await.expect("an append");
    }
    let work = Work { in_flight: IN_FLIGHT, ..work };
    let log = exclusive::open(&client, &work, EXCLUSIVE).await;
    let mut recovery = log.claim(Position::START, "bench").await.expect("a leader");
    assert!(recovery.next().await.is_none(), "the log is new");
    let writer = recovery.into_writer().expect("it counts");
    exclusive::produce(&writer, &ours::values(&work), &work, batches as u32).await;
    client.close().await;
}

fn work(address: &str, through: &str) -> Work {
    Work {
        call: Call::Fetch,
        records: RECORDS,
        size: SIZE,
        is_lz4: false,
        in_flight: 1,
        partitions: 1,
        callers: 1,
        timestamp: sides::now(),
        address: address.to_owned(),
        through: through.to_owned(),
    }
}

/// One pass; `None` if the reader is not there, or cannot be made to connect through the delay.
fn sample(runtime: &Runtime, reader: Reader, address: &str, through: &str, batches: usize) -> Option<Sample> {
    let work = work(address, through);
    if let Reader::Peer(side) = reader {
        return through.is_empty().then(|| peer(side, &work, batches)).flatten();
    }
    let end = (batches * RECORDS) as i64;
    let client = runtime.block_on(ours::client(&work));
    let log = runtime.block_on(client.partition_client(TOPIC, READ_ON).into_future()).expect("a partition");
    let reading = client.clone();
    let (since, cpu) = (Instant::now(), side::processor_time());
    let task = runtime.spawn(async move {
        match reader {
            Reader::Fetches => fetch(&log, end).await,
            Reader::Stream => follow(log.stream(StartAt::Offset(0)).until(end).build(), end).await,
            Reader::Replay(connections) => {
                follow(log.replay(0..end).connections(connections).build(), end).await;
            }
            Reader::Claim => recover(&reading, &work, end).await,
            Reader::Peer(_) => unreachable!("it is a program of its own"),
        }
    });
    runtime.block_on(task).expect("it reads");
    let (wall, cpu) = (since.elapsed(), side::processor_time() - cpu);
    runtime.block_on(client.close());
    Some(Sample { cpu: cpu.as_nanos() as f64, wall: wall.as_nanos() as f64, p50: 0.0, p99: 0.0, faults: 0.0 })
}

async fn recover(client: &Client, work: &Work, end: i64) {
    let log = exclusive::open(client, work, EXCLUSIVE).await;
    let (mut recovery, mut read) = (log.claim(Position::START, "bench").await.expect("a leader"), 0);
    while let Some(entry) = recovery.next().await {
        for record in entry.expect("an entry").into_records() {
            std::hint::black_box(record.expect("a record"));
            read += 1;
        }
    }
    recovery.into_writer().expect("it counts");
    assert_eq!(read, end);
}

async fn fetch(log: &PartitionClient, end: i64) {
    let (mut next, mut read) = (0, 0);
    while next < end {
        let fetched = log.fetch(next).await.expect("a fetch");
        next = fetched.next_offset();
        for record in fetched.into_records() {
            std::hint::black_box(record.expect("a record"));
            read += 1;
        }
    }
    assert_eq!(read, end);
}

async fn follow(mut records: impl Stream<Item = Result<RecordAndOffset, Error>> + Unpin, end: i64) {
    let mut read = 0;
    while let Some(record) = records.next().await {
        assert_eq!(record.expect("a record").offset, read);
        read += 1;
    }
    assert_eq!(read, end);
}

/// By the side of another client, if it was built.
fn peer(side: Side, work: &Work, batches: usize) -> Option<Sample> {
    let mut command = sides::command(side, work)?;
    command.env("BATCHES", batches.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut asks = child.stdin.take()?;
    writeln!(asks, "{batches}").ok()?;
    let answer = BufReader::new(child.stdout.take()?).lines().next()?.ok()?;
    drop(asks);
    let _ = child.wait();
    serde_json::from_str(&answer).ok()
}

impl Reader {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Fetches => "single fetches".to_owned(),
            Self::Stream => "stream".to_owned(),
            Self::Replay(1) => "replay, 1 connection".to_owned(),
            Self::Replay(connections) => format!("replay, {connections} connections"),
            Self::Claim => "claim of an exclusive log".to_owned(),
            Self::Peer(Side::Raw) => "raw, one batch again and again".to_owned(),
            Self::Peer(side) => side.name(),
        }
    }
}
