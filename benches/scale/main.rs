//! What one process with very many partition clients holds: memory, connections, and the list of all partitions.
//!
//! `cargo bench -p rskafka-benches --bench scale -- [PARTITIONS..]`. Prints a table in Markdown. Each row is a process of its own that
//! has only the client in it, beside a fake cluster of three brokers in another.

use std::process::Command;
use std::time::{Duration, Instant};

use rskafka::client::{Client, PartitionClient};
use rskafka::record::Record;
use rskafka_fake::FakeCluster;
use time::OffsetDateTime;
use tokio::runtime::Builder;

/// Partitions of a topic.
const OF_TOPIC: usize = 1_000;
/// How many append at once.
const WAVE: usize = 500;
/// More would take more files than a process may have by default.
const MOST_CONNECTIONS: usize = 5_000;
const IDLE: Duration = Duration::from_secs(1);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|of| of != "--bench").collect();
    if let [client, brokers, partitions, shared] = &arguments[..]
        && client == "client"
    {
        return measure(brokers, partitions.parse().expect("a number"), shared == "true");
    }
    let all: Vec<usize> = arguments.iter().map(|of| of.parse().expect("a number of partitions")).collect();
    let all = if all.is_empty() { vec![10, 1_000, 100_000] } else { all };
    println!(
        "| partitions | produce connections | bytes each, opened | bytes each, after an append | connections while {WAVE} append | after being idle | the list of all: ms |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|");
    for partitions in all {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let builder =
            FakeCluster::builder().brokers(3).recorded_requests(0).retain_bytes_per_partition(1_000);
        let cluster = runtime.block_on(builder.start()).expect("a cluster");
        for topic in 0..partitions.div_ceil(OF_TOPIC) {
            let count = OF_TOPIC.min(partitions - topic * OF_TOPIC);
            cluster.create_topic(&name(topic), count as i32, 1).expect("a topic");
        }
        let program = std::env::current_exe().expect("this program's file");
        let brokers = cluster.bootstrap_servers().join(",");
        for shared in [false, true].into_iter().filter(|shared| *shared || partitions <= MOST_CONNECTIONS) {
            let arguments = ["client", &brokers, &partitions.to_string(), &shared.to_string()];
            let status = Command::new(&program).args(arguments).status().expect("a client");
            assert!(status.success(), "the client failed");
        }
    }
}

fn name(topic: usize) -> String {
    format!("topic-{topic}")
}

fn measure(brokers: &str, partitions: usize, shared: bool) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let builder = Client::builder([brokers]).connections_max_idle(IDLE);
        let builder = if shared { builder.share_produce_connections() } else { builder };
        let client = builder.build().await.expect("a client");
        // What is there once is not there for each.
        append(&open(&client, 0).await).await;
        let before = resident_bytes();
        let mut logs = Vec::with_capacity(partitions);
        for index in 0..partitions {
            logs.push(open(&client, index).await);
        }
        let each = |bytes: u64| bytes.saturating_sub(before) / partitions as u64;
        let opened = each(resident_bytes());
        let mut connections = 0;
        for wave in logs.chunks(WAVE) {
            let appends: Vec<_> =
                wave.iter().cloned().map(|log| tokio::spawn(async move { append(&log).await })).collect();
            for append in appends {
                append.await.expect("it ends");
            }
            connections = connections.max(sockets());
            if !shared {
                tokio::time::sleep(2 * IDLE).await;
            }
        }
        let used = each(resident_bytes());
        tokio::time::sleep(3 * IDLE).await;
        let idle = sockets();
        let since = Instant::now();
        let topics = client.list_topics().await.expect("a list");
        let took = since.elapsed().as_millis();
        assert_eq!(topics.len(), partitions.div_ceil(OF_TOPIC));
        let way = if shared { "shared" } else { "one each" };
        println!("| {partitions} | {way} | {opened} | {used} | {connections} | {idle} | {took} |");
    });
}

async fn open(client: &Client, index: usize) -> PartitionClient {
    let partition = (index % OF_TOPIC) as i32;
    client.partition_client(name(index / OF_TOPIC), partition).await.expect("a partition client")
}

async fn append(log: &PartitionClient) {
    log.produce([Record::new((), &[7; 100][..], OffsetDateTime::now_utc())]).await.expect("an append");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells of this process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kib * 1024
}

/// Those of this process.
fn sockets() -> u64 {
    let files = std::fs::read_dir("/proc/self/fd").expect("the kernel tells of this process");
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count() as u64
}
