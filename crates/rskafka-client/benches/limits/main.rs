//! The memory and the connections that partition clients may hold, measured for `cargo xtask bench`.
//!
//! Invariant: what is measured is a process that has only the client in it; the cluster is another one. All of
//! it happens on one thread, whose allocations are counted.

use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt as _;
use rskafka_client::record::{NewRecord, Record, RecordBatchBuilder};
use rskafka_client::wal::Position;
use rskafka_client::{Client, DurabilityKind, OffsetAt, PartitionClient, Produce};
use rskafka_fake::FakeCluster;
use serde_json::json;
use time::OffsetDateTime;
use tokio::runtime::{Builder, Runtime};

const TOPICS: usize = 1000;
const PARTITIONS: i32 = 10;
const CLIENTS: usize = TOPICS * PARTITIONS as usize;

/// What a partition client may hold, in bytes.
const LIMIT: u64 = 2048;

/// How many are in use at once, before they are left alone. The process keeps some of the memory that these
/// need while they are active, which counts as growth too.
const WAVE: usize = 500;
/// The shortest time after which a connection counts as idle.
const IDLE: Duration = Duration::from_secs(1);

/// How many connections 500 active clients may have: one to produce and one to fetch for each, and one to each
/// broker for all else.
const ACTIVE_CONNECTIONS: u64 = 2 * WAVE as u64 + 3;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|arg| arg == "--client") {
        Some(place) => measure(args[place + 1].split(',').map(str::to_owned).collect()),
        None => serve(),
    }
}

/// Runs the cluster, and this program again as its client.
fn serve() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let builder = FakeCluster::builder().brokers(3).recorded_requests(0);
    let cluster = runtime.block_on(builder.start()).expect("a cluster");
    for topic in 0..TOPICS {
        cluster.create_topic(&name(topic), PARTITIONS, 3).expect("a topic");
    }
    let program = std::env::current_exe().expect("this program's file");
    let brokers = cluster.bootstrap_servers().join(",");
    let status = Command::new(program).args(["--client", &brokers]).status().expect("a client");
    assert!(status.success(), "the client failed");
}

fn measure(brokers: Vec<String>) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(async {
        let client = Client::builder(brokers).connections_max_idle(IDLE).build().await.expect("a client");
        // What is there once is not there for each.
        use_all(&[open(&client, 0).await]).await;
        tokio::time::sleep(2 * IDLE).await;
        client
    });

    let before = resident_bytes();
    let mut idle = Vec::with_capacity(CLIENTS);
    let opened = allocation_counter::measure(|| {
        runtime.block_on(async {
            for index in 0..CLIENTS {
                idle.push(open(&client, index).await);
            }
        });
    });
    let growth = || each(resident_bytes().saturating_sub(before));
    row("idle-client-memory", "bytes of a partition client that was not used yet", LIMIT, growth());
    let live = opened.bytes_current.cast_unsigned();
    row("idle-client-heap", "bytes of those that are allocated", LIMIT, each(live));
    row("idle-client-connections", "connections of 10,000 that were not used yet", 3, sockets());

    let mut most = 0;
    let used = allocation_counter::measure(|| {
        runtime.block_on(async {
            for wave in idle.chunks(WAVE) {
                use_all(wave).await;
                most = most.max(sockets());
                tokio::time::sleep(2 * IDLE).await;
            }
            tokio::time::sleep(2 * IDLE).await;
        });
    });
    let what = "connections of 500 that are active at once, to 3 brokers";
    row("active-client-connections", what, ACTIVE_CONNECTIONS, most);
    let what = "bytes of a partition client that was used and left alone, after 500 at once";
    row("used-client-memory", what, LIMIT, growth());
    let live = opened.bytes_current.saturating_add(used.bytes_current).cast_unsigned();
    row("used-client-heap", "bytes of those that are allocated", LIMIT, each(live));
    row("used-client-connections", "connections of 10,000 that were used and left alone", 0, sockets());
    appends(&runtime, &idle[0]);
    entries(&runtime, &client, &idle[1]);
}

/// Prints how often memory is allocated for an append of few and of many records.
fn appends(runtime: &Runtime, log: &PartitionClient) {
    let now = OffsetDateTime::now_utc();
    let of_records = |count| log.produce((0..count).map(|_| Record::new((), &[7; 100][..], now)));
    let of_batch = |count| {
        let mut batch = RecordBatchBuilder::with_capacity(count * 128 + 64);
        let milliseconds = now.unix_timestamp() * 1000;
        for _ in 0..count {
            batch.push(NewRecord::new(milliseconds, None, Some(&[7; 100]))).expect("there is room");
        }
        log.produce_batch(batch)
    };
    let counted = |append: &dyn Fn(usize) -> Produce, count| {
        let run = || {
            runtime.block_on(async { append(count).await }).expect("an append");
        };
        // Connects, and lets memory grow.
        (0..3).for_each(|_| run());
        allocation_counter::measure(run).count_total
    };
    let print = |name, what: &str, append: &dyn Fn(usize) -> Produce| {
        let what =
            format!("allocations of an append of 1,000 records{what}; the limit is what one of 100 has");
        row(name, &what, counted(append, 100), counted(append, 1000));
    };
    print("append-allocations", "", &of_records);
    print("append-batch-allocations", " in a filled batch", &of_batch);
}

/// Prints how often memory is allocated for an entry of an exclusive log, beyond an append of the same records.
fn entries(runtime: &Runtime, client: &Client, plain: &PartitionClient) {
    let now = OffsetDateTime::now_utc();
    let records = || (0..1000).map(|_| Record::new((), &[7; 100][..], now));
    let writer = runtime.block_on(async {
        use DurabilityKind::{MinInsyncTooLow, NotTold, RetentionMs, UncleanElection, WritersTimes};
        let risks = [MinInsyncTooLow, NotTold, RetentionMs, UncleanElection, WritersTimes];
        let log = client.wal(name(0), PARTITIONS - 1).accept_risks(risks).await.expect("a log");
        let end = open(client, PARTITIONS as usize - 1).await.get_offset(OffsetAt::Latest).await;
        let end = end.expect("an offset").offset;
        let mut recovery = log.claim(Position::genesis(end), "bench").await.expect("a leader");
        while recovery.next().await.is_some() {}
        recovery.into_writer().expect("it counts")
    });
    let counted = |append: &dyn Fn()| {
        (0..3).for_each(|_| append());
        allocation_counter::measure(append).count_total
    };
    let entry = counted(&|| {
        runtime.block_on(async { writer.append(records()).await }).expect("an entry");
    });
    let append = counted(&|| {
        runtime.block_on(async { plain.produce(records()).await }).expect("an append");
    });
    let what = "allocations of an entry of 1,000 records beyond those of an append";
    row("entry-allocations", what, 1, entry.saturating_sub(append));
}

async fn open(client: &Client, index: usize) -> PartitionClient {
    let partition = (index % PARTITIONS as usize) as i32;
    client.partition_client(name(index / PARTITIONS as usize), partition).await.expect("a partition client")
}

/// Uses all of them at once.
async fn use_all(logs: &[PartitionClient]) {
    let tasks = logs.iter().cloned().map(|log| tokio::spawn(async move { use_of(&log).await }));
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("each of them works");
    }
}

async fn use_of(log: &PartitionClient) {
    let record =
        Record { key: (), value: b"value".to_vec(), headers: (), timestamp: OffsetDateTime::now_utc() };
    log.produce([record]).await.expect("an append");
    let (records, _) = log.fetch_records(0, 1..1000, 1000).await.expect("a fetch");
    assert!(!records.is_empty());
}

fn name(topic: usize) -> String {
    format!("topic-{topic}")
}

/// What one of the clients has of so many bytes.
fn each(bytes: u64) -> u64 {
    bytes / CLIENTS as u64
}

/// A line for a count and its limit.
fn row(name: &str, what: &str, limit: u64, measured: u64) {
    println!("{}", json!({ "name": name, "what": what, "allocations": [limit, measured] }));
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells of this process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kib * 1024
}

/// The sockets of this process.
fn sockets() -> u64 {
    let files = std::fs::read_dir("/proc/self/fd").expect("the kernel tells of this process");
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let is_tcp = |link: &std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    links.filter(is_tcp).count() as u64
}
