//! What an append takes where all replicas in sync must have it:
//! `cargo xtask env up kafka --brokers 3`, then `KAFKA_CONNECT=.. cargo bench -p rskafka-benches --bench replicated`.
//!
//! Each line is a topic of its own, with a partition of three replicas and the settings of a log. One record or batch after the
//! other, or so many in flight; the time of a call is from the call to its acknowledgement.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use rskafka::bytes::Bytes;
use rskafka::client::{Client, PartitionClient};
use rskafka::record::Record;
use rskafka::time::OffsetDateTime;
use rskafka::wal::{Position, Writer};

/// Before anything counts, and while it counts.
const WARM_UP: Duration = Duration::from_secs(2);
const ROUND: Duration = Duration::from_secs(10);

/// Records of a batch, bytes of a value, batches in flight.
const WORKS: [(usize, usize, usize); 5] =
    [(1, 100, 1), (1, 1024, 1), (1000, 1024, 1), (1000, 1024, 5), (100, 1024, 5)];

enum Log {
    Plain(PartitionClient),
    Exclusive(Box<Writer>),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let address = std::env::var("KAFKA_CONNECT").expect("KAFKA_CONNECT says where three brokers are");
    let client = Client::builder([address]).build().await.expect("a client");
    println!("| append | records, bytes each | in flight | p50 | p99 | appends/s | MiB/s |");
    println!("|---|---|--:|--:|--:|--:|--:|");
    for (number, (records, size, in_flight)) in WORKS.into_iter().enumerate() {
        for is_exclusive in [false, true] {
            let topic =
                format!("replicated-{number}-{is_exclusive}-{}", OffsetDateTime::now_utc().unix_timestamp());
            client.create_topic(&topic, 1, 3).for_log().await.expect("a topic of three brokers");
            let log = open(&client, &topic, is_exclusive).await;
            let value = Bytes::from(vec![7; size]);
            run(&log, records, &value, in_flight, WARM_UP).await;
            let mut times = run(&log, records, &value, in_flight, ROUND).await;
            times.sort_unstable();
            let rate = times.len() as f64 / ROUND.as_secs_f64();
            let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
            let (name, mib) = (
                if is_exclusive { "`Writer::append`" } else { "`produce`" },
                (records * size) as f64 / (1 << 20) as f64,
            );
            let (p50, p99) = (at(50), at(99));
            println!(
                "| {name} | {records}, {size} | {in_flight} | {p50:.2} ms | {p99:.2} ms | {rate:.0} | {:.1} |",
                rate * mib
            );
            let _ = client.delete_topic(&topic).await;
        }
    }
    client.close().await;
}

async fn open(client: &Client, topic: &str, is_exclusive: bool) -> Log {
    if !is_exclusive {
        return Log::Plain(client.partition_client(topic, 0).await.expect("a partition"));
    }
    let wal = client.wal(topic, 0).await.expect("a log");
    let mut recovery = wal.claim(Position::START, "bench").await.expect("a log that is durable");
    while recovery.try_next().await.expect("it is empty").is_some() {}
    Log::Exclusive(Box::new(recovery.into_writer().expect("it counts")))
}

/// Makes the call, which gives the batch its place. Await the future for the acknowledgement.
fn append(log: &Log, records: usize, value: &Bytes) -> BoxFuture<'static, ()> {
    let records = (0..records).map(|_| Record::new((), value.clone(), OffsetDateTime::now_utc()));
    match log {
        Log::Plain(log) => {
            let call = log.produce(records);
            Box::pin(async { _ = call.await.expect("an append") })
        }
        Log::Exclusive(writer) => {
            let call = writer.append(records);
            Box::pin(async { _ = call.await.expect("an append") })
        }
    }
}

/// The times of the appends that begin within that time, as seen by a caller who awaits them in order.
async fn run(log: &Log, records: usize, value: &Bytes, in_flight: usize, time: Duration) -> Vec<Duration> {
    let (since, mut under_way, mut times) = (Instant::now(), VecDeque::new(), Vec::new());
    loop {
        let is_over = since.elapsed() >= time;
        if is_over || under_way.len() == in_flight {
            let Some((begun, call)): Option<(Instant, BoxFuture<()>)> = under_way.pop_front() else {
                return times;
            };
            call.await;
            times.push(begun.elapsed());
        }
        if !is_over {
            under_way.push_back((Instant::now(), append(log, records, value)));
        }
    }
}
