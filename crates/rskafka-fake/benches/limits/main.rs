//! How soon the fake is there and how fast it takes in batches, measured for `cargo xtask bench`.
//!
//! Invariant: the fake and the raw loop get the same bytes over loopback, in the same run, and each checks the
//! CRC of every batch.

#[path = "../../../rskafka-protocol/benches/limits/harness.rs"]
mod harness;
mod raw;

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use rskafka_fake::FakeCluster;
use rskafka_protocol::encode_request;
use rskafka_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::harness::{Check, Clock, Limit, run};

const BATCH_BYTES: usize = 1 << 20;
const RECORD_BYTES: usize = 10 * 1024;
/// In a pass.
const BATCHES: usize = 20;
const IN_FLIGHT: usize = 5;

/// What a start of three brokers may take, in µs.
const START_LIMIT: u128 = 10_000;
const STARTS: usize = 21;

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if !std::env::args().any(|arg| arg == "--passes") {
        let took = runtime.block_on(start_time());
        let what = "µs of the start of three brokers, the median";
        println!("{}", json!({ "name": "start", "what": what, "allocations": [START_LIMIT, took] }));
    }

    let frame = frame();
    let cluster = runtime.block_on(cluster());
    let fake = cluster.bootstrap_servers().remove(0);
    let raw = runtime.block_on(raw::start()).expect("a free port");
    let runtime = Rc::new(runtime);
    let pass = |address: String| {
        let (runtime, frame) = (runtime.clone(), frame.clone());
        Box::new(move || runtime.block_on(send(&address, &frame)).expect("it takes them in"))
    };
    run(
        vec![Check {
            name: "ingest-1MiB",
            what: "the time that 20 batches of 1 MiB take",
            baseline_is: "a raw loop's that reads them and checks their CRC",
            limit: Limit::Times(2.0),
            clock: Clock::P50(3),
            renew: None,
            records: BATCHES,
            bytes: BATCHES * BATCH_BYTES,
            subject: pass(fake),
            baseline: pass(raw),
        }],
        Vec::new(),
    );
}

async fn start_time() -> u128 {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let since = Instant::now();
        let cluster = FakeCluster::builder().brokers(3).start().await.expect("a cluster");
        times.push(since.elapsed().as_micros());
        cluster.shutdown().await;
    }
    times.sort_unstable();
    times[STARTS / 2]
}

/// A broker that keeps no more than 16 batches.
async fn cluster() -> FakeCluster {
    let builder = FakeCluster::builder().retain_bytes_per_partition(16 * BATCH_BYTES);
    let cluster = builder.start().await.expect("a cluster");
    cluster.create_topic_with("t", 1, 1, [("max.message.bytes", "2000000")]).expect("a topic");
    cluster
}

/// A request with a batch.
fn frame() -> Bytes {
    let mut builder = RecordBatchBuilder::with_capacity(BATCH_BYTES);
    let value = vec![7; RECORD_BYTES];
    while builder.encoded_size() + RECORD_BYTES < BATCH_BYTES {
        builder.push(NewRecord::new(0, None, Some(&value))).expect("it fits");
    }
    let records = Some(builder.build().expect("it has records").into_bytes());
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: "t".to_owned(), partition_data, ..Default::default() };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
    encode_request(&request, 9, 1, None).expect("it can be encoded").to_bytes()
}

/// Sends the frame again and again, a few ahead of the answers.
async fn send(address: &str, frame: &Bytes) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.into_split();
    let mut answer = vec![0; 4096];
    for sent in 0..BATCHES + IN_FLIGHT {
        if sent >= IN_FLIGHT {
            let length = read.read_i32().await? as usize;
            read.read_exact(&mut answer[..length]).await?;
        }
        if sent < BATCHES {
            write.write_all(frame).await?;
        }
    }
    Ok(())
}
