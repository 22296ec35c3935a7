//! The client's side.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rskafka::bytes::Bytes;
use rskafka::client::consumer::StartAt;
use rskafka::client::env::Env;
use rskafka::client::error::Error;
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::client::{Client, Compression, PartitionClient, Produce};
use rskafka::protocol::records::RecordView;
use rskafka::record::{NewRecord, Record, RecordBatchBuilder};
use rskafka::time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::broker::runtime;
use crate::side::{BATCHES, Call, KEY, READ_ON, TOPIC, Times, WRITTEN, Work, serve};
use crate::{BATCH_BYTES, FETCH_BYTES, READ};

/// Of all sides.
const MOST_IN_FLIGHT: usize = 5;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `PartitionClient::produce`, or `fetch` and its records, owned.
    Records,
    /// `PartitionClient::produce_batch`, with a batch that is filled before, or `fetch` and its batches, borrowed.
    Batch,
    /// `PartitionClient::stream`.
    Stream,
    /// The same, with a stream for each pass.
    NewStream,
    /// What a stream reads, by one `fetch` after the other.
    Loop,
    /// `BatchProducer::produce`.
    BatchProducer,
}

/// A batch as callers have it.
pub(crate) type Values = Arc<Vec<Value>>;

pub(crate) struct Value {
    timestamp: OffsetDateTime,
    milliseconds: i64,
    value: Bytes,
}

/// Makes a new topic with batches to be read.
pub(crate) async fn new_topic(address: &str, work: &Work) {
    let client = Client::builder([address]).build().await.expect("a client");
    let _ = client.delete_topic(TOPIC).await;
    client
        .create_topic(TOPIC, exclusive_partition(work, MOST_IN_FLIGHT) + 1, 1)
        .config("max.message.bytes", (2 * BATCH_BYTES).to_string())
        .await
        .expect("a topic");
    for (partition, count) in [(READ, 1), (READ_ON, BATCHES)] {
        let log = client.partition_client(TOPIC, partition).compression(compression(work));
        let log = log.await.expect("a partition");
        for _ in 0..count {
            log.produce_batch(batch(&log, &values(work), work)).await.expect("an append");
        }
    }
}

/// The whole of a side, until standard input ends.
pub(crate) fn run(way: Way, work: &Work) {
    let runtime = runtime();
    let (client, logs) = runtime.block_on(open(way, work));
    let values = values(work);
    serve(|calls| {
        let (logs, values, work) = (logs.clone(), values.clone(), work.clone());
        // In a task of the client's runtime, as services have it.
        let side = runtime.spawn(async move {
            let log = &logs[0];
            match (work.call, way) {
                (Call::Produce, way) => produce(&logs, way, &values, &work, calls).await,
                (Call::Fetch, way) => fetch(log, way, &work, calls).await,
                (Call::Append, Way::BatchProducer) => {
                    return append_together(log, &values, &work, calls).await;
                }
                (Call::Append, _) => return append(log, &values, calls).await,
            }
            Vec::new()
        });
        runtime.block_on(side).expect("it ends")
    });
    runtime.block_on(client.close());
}

/// Connects through another address, if the work says so.
pub(crate) async fn client(work: &Work) -> Client {
    let mut client = Client::builder([&work.address]);
    if !work.through.is_empty() {
        let through = work.through.clone();
        let connector = move |_: String, _: u16| {
            let through = through.clone();
            async move { tokio::net::TcpStream::connect(through).await }
        };
        client = client.env(Env::builder().connector(connector).build());
    }
    client.build().await.expect("a client")
}

/// Gives those that are written to, or the one that is read.
pub(crate) async fn open(way: Way, work: &Work) -> (Client, Vec<PartitionClient>) {
    let client = client(work).await;
    let first = match (work.call, way) {
        (Call::Fetch, Way::Stream | Way::NewStream | Way::Loop) => READ_ON,
        (Call::Fetch, _) => READ,
        _ => WRITTEN,
    };
    let mut logs = Vec::new();
    for partition in [first].into_iter().chain(READ_ON + 1..READ_ON + work.partitions) {
        let log = client.partition_client(TOPIC, partition).max_in_flight(work.in_flight);
        let log = log.compression(compression(work)).await.expect("a partition");
        log.warm_up().await.expect("a leader");
        logs.push(log);
    }
    (client, logs)
}

/// The partition of a side's exclusive log: behind all others, and its own.
pub(crate) fn exclusive_partition(work: &Work, in_flight: usize) -> i32 {
    READ_ON + work.partitions + in_flight as i32 - 1
}

pub(crate) fn compression(work: &Work) -> Compression {
    if work.is_lz4 { Compression::Lz4 } else { Compression::None }
}

pub(crate) fn values(work: &Work) -> Values {
    let value = |(milliseconds, value)| Value {
        timestamp: OffsetDateTime::UNIX_EPOCH + Duration::from_millis(milliseconds as u64),
        milliseconds,
        value: Bytes::from(value),
    };
    Arc::new((work.timestamp..).zip(work.values()).map(value).collect())
}

pub(crate) fn records(values: &Values) -> impl Iterator<Item = Record<&[u8], &[u8], ()>> {
    values.iter().map(|Value { timestamp, value, .. }| Record::new(&KEY[..], &value[..], *timestamp))
}

fn batch(log: &PartitionClient, values: &Values, work: &Work) -> RecordBatchBuilder {
    let room = work.records * (work.size + 28) + 61;
    let mut batch = log.batch_builder(room.min(BATCH_BYTES));
    for Value { milliseconds, value, .. } in values.iter() {
        let record = NewRecord::new(*milliseconds, Some(&KEY), Some(value));
        batch.push(record).expect("there is room");
    }
    batch
}

/// With as many batches in flight as the work says.
async fn produce(logs: &[PartitionClient], way: Way, values: &Values, work: &Work, calls: u32) {
    let mut waited: VecDeque<Produce> = VecDeque::new();
    for log in logs.iter().cycle().take(calls as usize) {
        if waited.len() == work.in_flight {
            waited.pop_front().expect("one is in flight").await.expect("an append");
        }
        waited.push_back(match way {
            Way::Batch => log.produce_batch(batch(log, values, work)),
            _ => log.produce(records(values)),
        });
    }
    for produce in waited {
        produce.await.expect("an append");
    }
}

async fn fetch(log: &PartitionClient, way: Way, work: &Work, calls: u32) {
    match way {
        Way::Stream | Way::NewStream => return follow(log, way, work, calls).await,
        Way::Loop => return walk(log, work, calls).await,
        _ => {}
    }
    for _ in 0..calls {
        let fetched = log.fetch(0).max_bytes(FETCH_BYTES).await.expect("a fetch");
        let read = match way {
            Way::Batch => fetched.batches().iter().map(|batch| batch.records().map(seen).count()).sum(),
            _ => fetched.into_records().inspect(|record| assert!(record.is_ok())).count(),
        };
        assert_eq!(read, work.records);
    }
}

fn seen(record: Result<RecordView<'_>, Error>) {
    let RecordView { key, value, .. } = record.expect("a record");
    std::hint::black_box((key, value));
}

/// Whole passes over the partition with many batches.
async fn walk(log: &PartitionClient, work: &Work, calls: u32) {
    let end = i64::from(BATCHES) * work.records as i64;
    for _ in 0..calls / BATCHES {
        let (mut next, mut read) = (0, 0);
        while next < end {
            let fetched = log.fetch(next).max_bytes(FETCH_BYTES).await.expect("a fetch");
            next = fetched.next_offset();
            for record in fetched.into_records() {
                std::hint::black_box(record.expect("a record"));
                read += 1;
            }
        }
        assert_eq!(read, end);
    }
}

/// The same as a stream, over one connection.
async fn follow(log: &PartitionClient, way: Way, work: &Work, calls: u32) {
    let end = i64::from(BATCHES) * work.records as i64;
    let new = || log.stream(StartAt::Offset(0)).max_bytes(FETCH_BYTES).until(end).build();
    let mut stream = new();
    for _ in 0..calls / BATCHES {
        match way {
            Way::NewStream => stream = new(),
            _ => stream.skip_to(0),
        }
        let mut read = 0;
        while let Some(record) = stream.next().await {
            std::hint::black_box(record.expect("a record"));
            read += 1;
        }
        assert_eq!(read, end);
    }
}

/// Alone.
async fn append(log: &PartitionClient, values: &Values, calls: u32) -> Vec<Duration> {
    let mut times = Times::new(1);
    for _ in 0..calls {
        let since = times.begin();
        log.produce(records(values)).await.expect("an append");
        times.end(since);
    }
    times.taken()
}

/// From many tasks, each of which awaits its record before it gives the next.
async fn append_together(log: &PartitionClient, values: &Values, work: &Work, calls: u32) -> Vec<Duration> {
    let producer = BatchProducer::builder(log.clone()).build(RecordAggregator::new(BATCH_BYTES));
    let callers = work.callers;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (producer, values) = (producer.clone(), values.clone());
        tasks.spawn(async move {
            let (mut times, Value { timestamp, value, .. }) = (Times::new(callers), &values[0]);
            for _ in 0..calls / callers as u32 {
                let since = times.begin();
                let record = Record::new(Bytes::from_static(&KEY), value.clone(), *timestamp);
                producer.produce(record).await.expect("an append");
                times.end(since);
            }
            times.taken()
        });
    }
    tasks.join_all().await.concat()
}
