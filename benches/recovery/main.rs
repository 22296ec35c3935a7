//! How long a recovery takes: a partition with some gigabytes of records of 1 KiB on a real broker, read from its first offset
//! to its end by single fetches, a stream, replays and librdkafka, from near and with 2 ms added to each round trip.
//!
//! `KAFKA_CONNECT=host:port cargo bench -p rskafka-benches --bench recovery -- [GIB [PASSES]]`. Prints a table in Markdown. The
//! broker shares the machine, so a reader over several connections gains only what processors are left.

#[path = "../limits/delay.rs"]
mod delay;
#[allow(dead_code, reason = "librdkafka's side is told by it what to do")]
#[path = "../limits/side.rs"]
mod side;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use rskafka::client::consumer::StartAt;
use rskafka::client::env::Env;
use rskafka::client::error::Error;
use rskafka::client::{Client, PartitionClient};
use rskafka::record::{NewRecord, RecordAndOffset};

use crate::side::{Call, KEY, READ_ON, Sample, TOPIC, Work};

const SIZE: usize = 1024;
/// In a batch, which has about 1 MiB.
const RECORDS: usize = 1000;
/// Batches that are appended before the first is answered.
const IN_FLIGHT: usize = 5;
/// Half of what is added to a round trip.
const ONE_WAY: Duration = Duration::from_millis(1);

/// How to read.
#[derive(Clone, Copy)]
enum Reader {
    Fetches,
    Stream,
    Replay(usize),
    Rdkafka,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |at: usize, default: f64| args.get(at).map_or(default, |arg| arg.parse().expect("a number"));
    let (gib, passes) = (number(0, 1.0), number(1, 3.0) as usize);
    let address = std::env::var("KAFKA_CONNECT").expect("KAFKA_CONNECT=host:port of a broker");
    let address = address.split(',').next().expect("an address").to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let runtime = runtime.expect("a runtime");
    let batches = ((gib * f64::from(1 << 30)) as usize / (SIZE * RECORDS)).max(1);
    runtime.block_on(fill(&address, batches));
    let far_away = delay::start(&address, ONE_WAY).expect("a port");
    println!("{batches} batches of {RECORDS} records of {SIZE} B; medians of {passes} passes\n");
    println!("| reader | near: MiB/s | CPU per record | 2 ms away: MiB/s |\n|---|--:|--:|--:|");
    for reader in [Reader::Fetches, Reader::Stream, Reader::Replay(1), Reader::Replay(4), Reader::Rdkafka] {
        let mut line = format!("| {} |", reader.name());
        for through in ["", &far_away] {
            let mut samples: Vec<_> =
                (0..passes).filter_map(|_| sample(&runtime, reader, &address, through, batches)).collect();
            samples.sort_by(|one, other| one.wall.total_cmp(&other.wall));
            let Some(median) = samples.get(samples.len() / 2) else {
                line += if through.is_empty() { " – | – |" } else { " – |" };
                continue;
            };
            let mib = (batches * RECORDS * SIZE) as f64 / f64::from(1 << 20);
            let _ = write!(line, " {:.0} |", mib / (median.wall / 1e9));
            if through.is_empty() {
                let _ = write!(line, " {:.0} ns |", median.cpu / (batches * RECORDS) as f64);
            }
        }
        println!("{line}");
    }
}

async fn fill(address: &str, batches: usize) {
    let client = Client::builder([address]).build().await.expect("a client");
    let _ = client.delete_topic(TOPIC).await;
    let create = || client.create_topic(TOPIC, READ_ON + 1, 1).config("max.message.bytes", "2000000");
    while create().await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = client.partition_client(TOPIC, READ_ON).await.expect("a partition");
    let work = work(address, "");
    let values = work.values();
    let mut waited = VecDeque::new();
    for number in 0..batches {
        let mut batch = log.batch_builder(RECORDS * (SIZE + 24));
        for value in &values {
            batch.push(NewRecord::new(work.timestamp, Some(&KEY), Some(value))).expect("there is room");
        }
        waited.push_back(log.produce_batch(batch));
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
    client.close().await;
}

fn work(address: &str, through: &str) -> Work {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_millis() as i64;
    Work {
        call: Call::Fetch,
        records: RECORDS,
        size: SIZE,
        is_lz4: false,
        in_flight: 1,
        partitions: 1,
        callers: 1,
        timestamp: now,
        address: address.to_owned(),
        through: through.to_owned(),
    }
}

/// One pass; `None` if the reader is not there.
fn sample(
    runtime: &tokio::runtime::Runtime,
    reader: Reader,
    address: &str,
    through: &str,
    batches: usize,
) -> Option<Sample> {
    if let Reader::Rdkafka = reader {
        // It cannot be made to connect through the delay.
        return if through.is_empty() { rdkafka(address, batches) } else { None };
    }
    let end = (batches * RECORDS) as i64;
    let client = runtime.block_on(client(address, through));
    let log = runtime.block_on(client.partition_client(TOPIC, READ_ON).into_future()).expect("a partition");
    let (since, cpu) = (Instant::now(), side::processor_time());
    let task = runtime.spawn(async move {
        match reader {
            Reader::Fetches => fetch(&log, end).await,
            Reader::Stream => follow(log.stream(StartAt::Offset(0)).until(end).build(), end).await,
            Reader::Replay(connections) => {
                follow(log.replay(0..end).connections(connections).build(), end).await;
            }
            Reader::Rdkafka => {}
        }
    });
    runtime.block_on(task).expect("it reads");
    let (wall, cpu) = (since.elapsed(), side::processor_time() - cpu);
    runtime.block_on(client.close());
    Some(Sample { cpu: cpu.as_nanos() as f64, wall: wall.as_nanos() as f64, p50: 0.0, p99: 0.0, faults: 0.0 })
}

async fn client(address: &str, through: &str) -> Client {
    let mut client = Client::builder([address]);
    if !through.is_empty() {
        let through = through.to_owned();
        let connector = move |_: String, _: u16| {
            let through = through.clone();
            async move { tokio::net::TcpStream::connect(through).await }
        };
        client = client.env(Env::builder().connector(connector).build());
    }
    client.build().await.expect("a client")
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

/// By librdkafka's side of the other comparisons, if it was built.
fn rdkafka(address: &str, batches: usize) -> Option<Sample> {
    let program = std::env::current_exe().ok()?.parent()?.with_file_name("rskafka-benches-rdkafka");
    let work = serde_json::to_string(&work(address, "")).expect("it is JSON");
    let mut command = Command::new(program);
    command.arg(work).env("BATCHES", batches.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut asks = child.stdin.take()?;
    writeln!(asks, "{batches}").ok()?;
    let answer = BufReader::new(child.stdout.take()?).lines().next()?.ok()?;
    drop(asks);
    let _ = child.wait();
    serde_json::from_str(&answer).ok()
}

impl Reader {
    fn name(self) -> String {
        match self {
            Self::Fetches => "single fetches".to_owned(),
            Self::Stream => "stream".to_owned(),
            Self::Replay(1) => "replay, 1 connection".to_owned(),
            Self::Replay(connections) => format!("replay, {connections} connections"),
            Self::Rdkafka => "rdkafka".to_owned(),
        }
    }
}
