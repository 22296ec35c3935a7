//! The side of the earlier rskafka, 0.6, in the comparisons of `cargo xtask bench`.
//!
//! It knows no idempotence, and its records own what they hold: they are made for each call, as a service would have to.

#[path = "../../../limits/side.rs"]
mod side;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use earlier::client::ClientBuilder;
use earlier::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use earlier::client::producer::BatchProducerBuilder;
use earlier::client::producer::aggregator::RecordAggregator;
use earlier::record::Record;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::side::{BATCHES, Call, KEY, READ_ON, TOPIC, Times, WRITTEN, Work, serve};

const BATCH_BYTES: usize = 1 << 20;
/// What a fetch asks for, as clients do by default.
const FETCH_BYTES: i32 = 1 << 20;
const MAX_WAIT_MS: i32 = 500;

fn main() {
    let work = std::env::args().next_back().and_then(|work| serde_json::from_str::<Work>(&work).ok());
    let work = work.expect("the last argument says what to work on");
    // As many threads as the other sides have.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let log = Arc::new(runtime.block_on(open(&work)));
    let values = Arc::new(work.values());
    serve(|calls| {
        let (log, values, work) = (log.clone(), values.clone(), work.clone());
        let side = runtime.spawn(async move {
            match work.call {
                Call::Produce => produce(&log, &values, &work, calls).await,
                Call::Fetch => fetch(&log, &work, calls).await,
                Call::Append if work.callers == 1 => return append(&log, &values, &work, calls).await,
                Call::Append => return append_together(&log, &values, &work, calls).await,
            }
            Vec::new()
        });
        runtime.block_on(side).expect("it ends")
    });
}

async fn open(work: &Work) -> PartitionClient {
    let client = ClientBuilder::new(vec![work.address.clone()]).build().await.expect("a client");
    let partition = if work.call == Call::Fetch { READ_ON } else { WRITTEN };
    client.partition_client(TOPIC, partition, UnknownTopicHandling::Retry).await.expect("a partition")
}

fn compression(work: &Work) -> Compression {
    if work.is_lz4 { Compression::Lz4 } else { Compression::NoCompression }
}

fn timestamp(milliseconds: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(milliseconds).single().expect("a time")
}

fn record(value: &[u8], milliseconds: i64) -> Record {
    Record {
        key: Some(KEY.to_vec()),
        value: Some(value.to_vec()),
        headers: BTreeMap::new(),
        timestamp: timestamp(milliseconds),
    }
}

async fn produce(log: &PartitionClient, values: &[Vec<u8>], work: &Work, calls: u32) {
    for _ in 0..calls {
        let records = (work.timestamp..).zip(values).map(|(time, value)| record(value, time)).collect();
        log.produce(records, compression(work)).await.expect("an append");
    }
}

/// A call is a batch of a partition with [`BATCHES`] of them, or as many as the environment says, which is read again and
/// again.
async fn fetch(log: &PartitionClient, work: &Work, calls: u32) {
    let batches = std::env::var("BATCHES").map_or(BATCHES, |batches| batches.parse().expect("a number"));
    let end = i64::from(batches) * work.records as i64;
    for _ in 0..calls / batches {
        let (mut next, mut read) = (0, 0);
        while next < end {
            let (records, _) = log.fetch_records(next, 1..FETCH_BYTES, MAX_WAIT_MS).await.expect("a fetch");
            for record in records {
                assert_eq!(record.record.value.as_ref().map(Vec::len), Some(work.size));
                next = record.offset + 1;
                read += 1;
            }
        }
        assert_eq!(read, end);
    }
}

/// Alone.
async fn append(log: &PartitionClient, values: &[Vec<u8>], work: &Work, calls: u32) -> Vec<Duration> {
    let mut times = Times::new(1);
    for _ in 0..calls {
        let since = times.begin();
        let record = record(&values[0], work.timestamp);
        log.produce(vec![record], Compression::NoCompression).await.expect("an append");
        times.end(since);
    }
    times.taken()
}

/// From many tasks, each of which awaits its record before it gives the next, by its batch producer without a pause.
async fn append_together(
    log: &Arc<PartitionClient>,
    values: &Arc<Vec<Vec<u8>>>,
    work: &Work,
    calls: u32,
) -> Vec<Duration> {
    let producer = BatchProducerBuilder::new(log.clone())
        .with_linger(Duration::ZERO)
        .build(RecordAggregator::new(BATCH_BYTES));
    let producer = Arc::new(producer);
    let mut tasks = JoinSet::new();
    let (callers, timestamp) = (work.callers, work.timestamp);
    for _ in 0..callers {
        let (producer, values) = (producer.clone(), values.clone());
        tasks.spawn(async move {
            let mut times = Times::new(callers);
            for _ in 0..calls / callers as u32 {
                let since = times.begin();
                producer.produce(record(&values[0], timestamp)).await.expect("an append");
                times.end(since);
            }
            times.taken()
        });
    }
    tasks.join_all().await.concat()
}
