//! The writer and the reader of a partition.
//!
//! Invariant: each record that was handed to the client gets exactly one result, and a reader continues after its last
//! record.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use rskafka::client::error::{Error, ErrorKind};
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::client::{OffsetAt, PartitionClient};
use rskafka::record::Record;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::appending::{Batches, append};
use super::super::drop::{dropped_after, unless_dropped};
use super::super::rules::Wrong;
use super::super::value::{Id, size};
use super::{Load, Stage};

const WHOLE: i32 = 1 << 20;
/// Bytes in a batch of a producer of batches, at most.
const MOST_IN_BATCH: usize = 1 << 16;
const PAUSE: Duration = Duration::from_millis(20);
/// How long it may take after the last append until there is a record or the log's end.
const PATIENCE: Duration = Duration::from_secs(15);

/// What was written to a partition and read from it.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// SHA-256 of all values in the order of the calls, each followed by a line feed.
    pub(crate) digest: Sha256,
    /// How long each call took, in ascending order.
    pub(crate) latencies: Vec<Duration>,
    /// From the start to the last acknowledgement, and to the last record.
    pub(crate) elapsed: [Duration; 2],
    /// The first append that failed.
    pub(crate) failure: Option<Error>,
}

/// Writes to a partition, or follows it.
pub(super) struct Actor {
    pub(super) log: PartitionClient,
    pub(super) partition: usize,
    pub(super) random: fastrand::Rng,
    pub(super) stage: Arc<Stage>,
}

/// How long a call took, and how it ended; `None` if it was dropped.
type Ended = (Duration, Option<Result<Range<i64>, Error>>);

impl Actor {
    /// Produce calls in the order of their records, several at a time.
    pub(super) async fn write(mut self) -> Followed {
        let stage = self.stage.clone();
        let Load { records, is_rough, .. } = stage.load;
        // Records in a call, and calls in flight.
        let batches = is_rough && self.partition % 2 == 1;
        let (per_call, in_flight) = match (is_rough, batches) {
            (false, _) => (1_000..=1_000, 16..=16),
            (true, false) => (1..=3, 1..=8),
            (true, true) => (1..=1, 1..=64),
        };
        let batches = batches
            .then(|| BatchProducer::builder(self.log.clone()).build(RecordAggregator::new(MOST_IN_BATCH)));
        let since = Instant::now();
        let mut followed = Followed::default();
        let (mut next, mut calls) = (0, JoinSet::new());
        let mut allowed = stage.allowed.subscribe();
        while next < records
            && !stage.has_ended.load(Ordering::Relaxed)
            && (is_rough || followed.failure.is_none())
        {
            // The stage, which has the other end, is there.
            let _ = allowed.wait_for(|allowed| *allowed > next).await;
            let first = next;
            next = records.min(next.saturating_add(self.random.u32(per_call.clone())));
            self.call(batches.as_ref(), &mut calls, &mut followed.digest, first..next);
            let most = self.random.usize(in_flight.clone());
            while calls.len() >= most
                && let Some(ended) = calls.join_next().await
            {
                followed.note(ended.ok());
            }
            if is_rough && self.random.u8(..20) == 0 {
                tokio::time::sleep(Duration::from_millis(self.random.u64(..50))).await;
            }
        }
        while let Some(ended) = calls.join_next().await {
            followed.note(ended.ok());
        }
        followed.latencies.sort_unstable();
        followed.elapsed[0] = since.elapsed();
        followed
    }

    /// Takes the batch's place in line at once; only its end is awaited in a task. A call by a producer of batches has one record.
    fn call(
        &mut self,
        batches: Option<&Batches>,
        calls: &mut JoinSet<Ended>,
        digest: &mut Sha256,
        numbers: Range<u32>,
    ) {
        let writer = self.partition as u32;
        let ids: Vec<Id> = numbers.map(|number| Id { writer, number }).collect();
        let records: Vec<Record> = ids.iter().map(|id| id.record(self.stage.since)).collect();
        for value in records.iter().filter_map(|record| record.value.as_ref()) {
            digest.update(value);
            digest.update(b"\n");
        }
        ids.iter().for_each(|id| self.stage.book.rules(self.partition).sent(*id));
        self.stage.counts().sent += ids.len() as u64;
        let bytes = records.iter().map(size).sum();
        let produce = append(&self.log, batches, records);
        let dropped = if self.stage.load.is_rough { dropped_after(&mut self.random) } else { None };
        let produce = unless_dropped(produce, dropped);
        let (stage, partition) = (self.stage.clone(), self.partition);
        calls.spawn(async move {
            let since = Instant::now();
            let result = stage.book.timed(partition, "produce", stage.load.timeout, produce).await;
            let took = since.elapsed();
            stage.settle(partition, &ids, result.as_ref());
            if let Some(Ok(_)) = &result {
                stage.appended.add(ids.len(), bytes);
            }
            (took, result)
        });
    }

    /// Reads while the log grows, and once beyond its end, where nothing should be; gives how long it took to the last record.
    pub(super) async fn follow(mut self, name: &str, end: watch::Receiver<Option<i64>>) -> Duration {
        let name = format!("{name} of partition {}", self.partition);
        let since = Instant::now();
        let (mut next, mut last) = (0, since);
        let mut is_alive = since;
        loop {
            // Looked at before the fetch, so that its whole wait lies after the last append.
            let end = *end.borrow();
            let is_rough = self.stage.load.is_rough;
            let max_bytes = if is_rough { [2, 500, 5_000, WHOLE][self.random.usize(..4)] } else { WHOLE };
            let wait_ms = if is_rough { self.random.u64(0..500) } else { 300 };
            let fetch = Box::pin(self.log.fetch_records(next, 1..max_bytes, wait_ms as i32));
            let fetch = unless_dropped(fetch, if is_rough { dropped_after(&mut self.random) } else { None });
            let limit = self.stage.load.timeout + Duration::from_millis(wait_ms);
            let mut failure = None;
            match self.stage.book.timed(self.partition, "fetch_records", limit, fetch).await {
                None => {}
                Some(Ok((records, _))) => {
                    if !records.is_empty() {
                        next = self.stage.take(self.partition, &name, next, &records);
                        last = Instant::now();
                    } else if end.is_some_and(|end| next >= end) {
                        return last - since;
                    }
                }
                Some(Err(error)) => {
                    if let Some(wrong) = wrong(&error) {
                        let what = format!("{name} at offset {next}: {error:?}");
                        self.stage.book.rules(self.partition).add(wrong, what);
                        return last - since;
                    }
                    failure = Some(error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
            match end {
                None => is_alive = Instant::now(),
                Some(end) if is_alive.max(last).elapsed() > PATIENCE => {
                    let what = format!("{name} came to offset {next} of {end} ({failure:?})");
                    self.stage.book.rules(self.partition).add(Wrong::Overdue, what);
                    return last - since;
                }
                Some(_) => {}
            }
        }
    }
}

impl Followed {
    fn note(&mut self, ended: Option<Ended>) {
        let Some((took, result)) = ended else { return };
        self.latencies.push(took);
        if let Some(Err(error)) = result {
            self.failure.get_or_insert(error);
        }
    }
}

/// Where a log ends; what went wrong may still be ending.
pub(super) async fn end_of(log: &PartitionClient) -> Result<i64> {
    let since = Instant::now();
    loop {
        match log.get_offset(OffsetAt::Latest).await {
            Err(_) if since.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            end => return Ok(end?.offset),
        }
    }
}

/// What a reader's error shows, if it is not that a broker could not be asked.
fn wrong(error: &Error) -> Option<Wrong> {
    match error.kind() {
        ErrorKind::OffsetOutOfRange { .. } => Some(Wrong::Lost),
        ErrorKind::CorruptBatch { .. } | ErrorKind::InvalidArgument(_) => Some(Wrong::Corrupted),
        _ => None,
    }
}
