//! The client's side with an exclusive log.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use rskafka::client::{Client, DurabilityKind};
use rskafka::wal::{Append, Position, Wal, Writer};

use crate::broker::runtime;
use crate::ours::{Values, compression, records, values};
use crate::side::{BATCHES, Call, TOPIC, Times, Work, serve};
use crate::{FETCH_BYTES, ours};

/// The whole of a side, until standard input ends.
pub(crate) fn run(work: &Work) {
    let runtime = runtime();
    let (client, _) = runtime.block_on(ours::open(ours::Way::Records, work));
    let (log, writer, first) = runtime.block_on(prepare(&client, work));
    let (writer, values) = (std::sync::Arc::new(writer), values(work));
    serve(|calls| {
        let (log, writer, values, work) = (log.clone(), writer.clone(), values.clone(), work.clone());
        // In a task of the client's runtime, as services have it.
        let side = runtime.spawn(async move {
            match work.call {
                Call::Produce => produce(&writer, &values, &work, calls).await,
                Call::Fetch => read(&log, first, &work, calls).await,
                Call::Append => return append(&writer, &values, calls).await,
            }
            Vec::new()
        });
        runtime.block_on(side).expect("it ends")
    });
    runtime.block_on(client.close());
}

/// On a broker that is alone.
pub(crate) async fn open(client: &Client, work: &Work, partition: i32) -> Wal {
    use DurabilityKind::{MinInsyncTooLow, NotTold, OneReplica, RetentionMs, UncleanElection, WritersTimes};
    let risks = [MinInsyncTooLow, NotTold, OneReplica, RetentionMs, UncleanElection, WritersTimes];
    let log = client.wal(TOPIC, partition).max_in_flight(work.in_flight).compression(compression(work));
    log.accept_risks(risks).await.expect("a log")
}

/// Claims a partition that nobody else uses, and appends what is to be read. Gives also where that begins.
async fn prepare(client: &Client, work: &Work) -> (Wal, Writer, Position) {
    let partition = ours::exclusive_partition(work, work.in_flight);
    let log = open(client, work, partition).await;
    let end = client.partition_client(TOPIC, partition).await.expect("a partition");
    let end = end.get_offset(rskafka::client::OffsetAt::Latest).await.expect("an offset").offset;
    // The entries of processes before it are of a log of their own.
    let mut recovery = log.claim(Position::genesis(end), "bench").await.expect("a leader");
    while let Some(entry) = recovery.next().await {
        entry.expect("an entry");
    }
    let writer = recovery.into_writer().expect("it counts");
    let first = writer.position();
    if work.call == Call::Fetch {
        for _ in 0..BATCHES {
            writer.append(records(&values(work))).await.expect("an append");
        }
    }
    (log, writer, first)
}

pub(crate) async fn produce(writer: &Writer, values: &Values, work: &Work, calls: u32) {
    let mut waited: VecDeque<Append> = VecDeque::new();
    for _ in 0..calls {
        if waited.len() == work.in_flight {
            waited.pop_front().expect("one is in flight").await.expect("an append");
        }
        waited.push_back(writer.append(records(values)));
    }
    for append in waited {
        append.await.expect("an append");
    }
}

async fn append(writer: &Writer, values: &Values, calls: u32) -> Vec<Duration> {
    let mut times = Times::new(1);
    for _ in 0..calls {
        let since = times.begin();
        writer.append(records(values)).await.expect("an append");
        times.end(since);
    }
    times.taken()
}

/// Whole passes over the entries.
async fn read(log: &Wal, first: Position, work: &Work, calls: u32) {
    let records = BATCHES as usize * work.records;
    let end = first.offset() + records as i64;
    for _ in 0..calls / BATCHES {
        let (mut reader, mut read) = (log.read(first).max_bytes(FETCH_BYTES).until(end).build(), 0);
        while let Some(entry) = reader.next().await {
            for record in entry.expect("an entry").into_records() {
                std::hint::black_box(record.expect("a record"));
                read += 1;
            }
        }
        assert_eq!(read, records);
    }
}
