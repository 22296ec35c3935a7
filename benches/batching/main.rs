//! What a record costs that one of many tasks gives to a batch producer: `cargo bench -p rskafka-benches --bench batching`.
//!
//! Each task awaits its record before it gives the next. The broker is another process: the fake cluster, or the one that
//! `KAFKA_CONNECT` names.

#[path = "../limits/broker.rs"]
mod broker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use rskafka::bytes::Bytes;
use rskafka::client::Client;
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::record::Record;
use rskafka::time::OffsetDateTime;

/// For `broker`.
const BATCH_BYTES: usize = 1 << 20;

const TOPIC: &str = "batching";
/// How many tasks, unless the arguments say it.
const TASKS: [usize; 4] = [1, 16, 64, 512];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
static VALUE: [u8; 100] = [7; 100];

fn main() {
    if std::env::args().any(|arg| arg == broker::SERVE) {
        return broker::serve();
    }
    let fake = broker::Broker::start();
    let address = std::env::var("KAFKA_CONNECT").unwrap_or_else(|_| fake.address.clone());
    let runtime = broker::runtime();
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    for tasks in if asked.is_empty() { TASKS.to_vec() } else { asked } {
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| runtime.block_on(round(&address, tasks))).collect();
        rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (cpu, rate, batch, p99) = rounds[ROUNDS / 2];
        println!(
            "{tasks:>4} tasks: {cpu:>6.0} ns of CPU per record, {rate:>8.0} records/s, {batch:>5.1} per batch, p99 {p99:?}"
        );
    }
}

/// CPU in ns per record, records per second, records per batch, and the 99th percentile of the time of a call.
async fn round(address: &str, tasks: usize) -> (f64, f64, f64, Duration) {
    let client = Client::builder([address]).build().await.expect("a client");
    let _ = client.delete_topic(TOPIC).await;
    while client.create_topic(TOPIC, 1, 1).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = client.partition_client(TOPIC, 0).await.expect("a partition");
    let producer = BatchProducer::builder(log).build(RecordAggregator::new(BATCH_BYTES));
    let record = || Record::new((), Bytes::from_static(&VALUE), OffsetDateTime::now_utc());
    producer.produce(record()).await.expect("an append");
    let is_over = Arc::new(AtomicBool::new(false));
    let (since, cpu) = (Instant::now(), processor_time());
    let requests = client.stats();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (producer, is_over) = (producer.clone(), is_over.clone());
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(1 << 16);
                while !is_over.load(Ordering::Relaxed) {
                    let since = (times.len() % 64 == 0).then(Instant::now);
                    producer.produce(record()).await.expect("an append");
                    times.push(since.map(|since| since.elapsed()));
                }
                times
            })
        })
        .collect();
    tokio::time::sleep(ROUND).await;
    is_over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for task in running {
        all.extend(task.await.expect("it ends"));
    }
    let (elapsed, cpu) = (since.elapsed(), processor_time() - cpu);
    let count = all.len() as f64;
    let mut times: Vec<_> = all.into_iter().flatten().collect();
    times.sort();
    let sent = |stats: &rskafka::client::stats::Stats| {
        stats.brokers.iter().map(|broker| broker.stats.requests).sum::<u64>()
    };
    let batches = sent(&client.stats()) - sent(&requests);
    (
        cpu.as_secs_f64() * 1e9 / count,
        count / elapsed.as_secs_f64(),
        count / batches as f64,
        times[times.len() * 99 / 100],
    )
}

/// The processor time of this process so far.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock").into()
}
