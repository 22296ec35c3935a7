//! The simulation's rules held against a cluster that is not simulated, in real time: writers and readers like the
//! simulation's, while whoever calls makes things go wrong.
//!
//! Invariant: what is said to the rules is what the client said; nothing is sent again, and a reader goes on where the
//! last record ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{ClientBuilder, OffsetAt, PartitionClient, Produced};
use rskafka::record::{Record, RecordAndOffset};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::drop::{Dropped, dropped_after};
use super::rules::{Fate, Finding, Place, Rules, Wrong};
use super::value::{Id, Value};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(8);
/// How late a call may return on a machine that does much else.
const SLACK: Duration = Duration::from_secs(1);
const WHOLE: i32 = 1 << 20;
const PAUSE: Duration = Duration::from_millis(20);

/// What is to be done with a cluster.
#[derive(Debug)]
pub struct Live {
    /// The way to the cluster.
    pub client: ClientBuilder,
    /// A topic that is empty and nobody else's.
    pub topic: String,
    /// How many partitions it has; each gets a writer and a reader.
    pub partitions: usize,
    /// How long it is written to. What went wrong by then must have ended soon after.
    pub duration: Duration,
    /// Sizes, bursts and dropped calls follow from it.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct LiveOutcome {
    /// What is wrong; nothing, if all is well.
    pub findings: Vec<Finding>,
    /// Records that were sent.
    pub sent: u64,
    /// Records of them that were acknowledged.
    pub acknowledged: u64,
    /// Records of them of which nobody knows, but for dropped calls.
    pub unknown: u64,
    /// Records that the last reader found.
    pub read: u64,
}

#[derive(Debug)]
struct Stage {
    partitions: Vec<Mutex<Rules>>,
    counts: Mutex<LiveOutcome>,
}

impl Live {
    /// Writes and reads, and reads all once more in the end.
    ///
    /// # Errors
    ///
    /// The cluster cannot be reached, or not be read in the end.
    pub async fn run(self) -> Result<LiveOutcome> {
        let Self { topic, partitions, duration, .. } = &self;
        let builder = self.client.clone().request_timeout(REQUEST_TIMEOUT);
        let builder = builder.delivery_timeout(TIMEOUT).api_timeout(TIMEOUT);
        let stage = Arc::new(Stage {
            partitions: (0..*partitions).map(|_| Mutex::default()).collect(),
            counts: Mutex::default(),
        });
        let client = builder.clone().build().await.context("the cluster cannot be reached")?;
        let until = Instant::now() + *duration;
        let (all_written, is_all_written) = watch::channel(false);
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
        for partition in 0..*partitions {
            let mut actor = async || -> Result<Actor> {
                let log = client.partition_client(topic, i32::try_from(partition)?).await?;
                Ok(Actor { log, partition, random: random.fork(), stage: stage.clone() })
            };
            stage.rules(partition).writer(u32::try_from(partition)?, false, false);
            writers.spawn(actor().await?.write(until));
            readers.spawn(actor().await?.follow(is_all_written.clone()));
        }
        while let Some(ended) = writers.join_next().await {
            ended?;
        }
        all_written.send_replace(true);
        while let Some(ended) = readers.join_next().await {
            ended?;
        }
        client.close().await;

        // Somebody who was not there sees the same.
        let client = builder.build().await.context("the cluster cannot be reached any more")?;
        for partition in 0..*partitions {
            let log = client.partition_client(topic, i32::try_from(partition)?).await?;
            let end = log.get_offset(OffsetAt::Latest).await?.offset;
            let mut next = 0;
            while next < end {
                let (records, _) = log.fetch_records(next, 1..WHOLE, 500).await?;
                stage.counts().read += records.len() as u64;
                next = stage.take(partition, "the last reader", next, &records);
            }
        }
        client.close().await;
        let mut outcome = std::mem::take(&mut *stage.counts());
        for partition in 0..*partitions {
            let rules = std::mem::take(&mut *stage.rules(partition));
            outcome.findings.extend(rules.finish(0).0);
        }
        Ok(outcome)
    }
}

impl Stage {
    fn rules(&self, partition: usize) -> MutexGuard<'_, Rules> {
        self.partitions[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, LiveOutcome> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the rules what a reader was given; gives what comes next.
    fn take(&self, partition: usize, name: &str, mut next: i64, records: &[RecordAndOffset]) -> i64 {
        let mut rules = self.rules(partition);
        for RecordAndOffset { offset, record, .. } in records {
            rules.read(name, Place { next, cuts: 0 }, *offset, Value::of(record.value.as_ref()));
            next = offset + 1;
        }
        next
    }

    /// Notes what came of a produce; nothing did if it was dropped.
    fn settle(&self, partition: usize, ids: &[Id], result: Option<Result<Produced, Error>>) {
        let count = ids.len() as u64;
        let fates: Vec<Fate> = match &result {
            Some(Ok(produced)) => {
                self.counts().acknowledged += count;
                produced.offsets().map(Fate::Acked).collect()
            }
            Some(Err(error)) if error.outcome() == Outcome::NotWritten => vec![Fate::NotWritten; ids.len()],
            Some(Err(_)) => {
                self.counts().unknown += count;
                vec![Fate::Unknown; ids.len()]
            }
            None => vec![Fate::Unknown; ids.len()],
        };
        let mut rules = self.rules(partition);
        ids.iter().zip(fates).for_each(|(id, fate)| rules.settled(*id, fate));
    }

    /// Holds a call against its deadline.
    async fn timed<T>(&self, partition: usize, limit: Duration, call: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let result = call.await;
        let took = since.elapsed();
        if took > limit + SLACK {
            let what = format!("a call took {took:?}, its limit is {limit:?}");
            self.rules(partition).add(Wrong::Overdue, what);
        }
        result
    }
}

/// Writes to a partition, or follows it.
struct Actor {
    log: PartitionClient,
    partition: usize,
    random: fastrand::Rng,
    stage: Arc<Stage>,
}

impl Actor {
    /// Bursts of produce calls, some of them dropped, until the time has come.
    async fn write(mut self, until: Instant) {
        let writer = self.partition as u32;
        let mut next = 0;
        while Instant::now() < until {
            let mut calls = JoinSet::new();
            for _ in 0..self.random.u32(1..=8) {
                let first = next;
                next += self.random.u32(1..=3);
                let ids: Vec<Id> = (first..next).map(|number| Id { writer, number }).collect();
                ids.iter().for_each(|id| self.stage.rules(self.partition).sent(*id));
                self.stage.counts().sent += ids.len() as u64;
                let timestamp = OffsetDateTime::now_utc();
                let produce = self.log.produce(ids.iter().map(|id| {
                    let key = id.number.to_be_bytes().to_vec();
                    Record { key, value: id.value(), headers: (), timestamp }
                }));
                let produce = Dropped::new(Box::pin(produce), dropped_after(&mut self.random));
                let (stage, partition) = (self.stage.clone(), self.partition);
                calls.spawn(async move {
                    let result = stage.timed(partition, TIMEOUT, produce).await;
                    stage.settle(partition, &ids, result);
                });
            }
            while calls.join_next().await.is_some() {}
            if self.random.u8(..4) == 0 {
                tokio::time::sleep(Duration::from_millis(self.random.u64(..50))).await;
            }
        }
    }

    /// Reads while the log grows, and to its end.
    async fn follow(mut self, is_all_written: watch::Receiver<bool>) {
        let name = format!("the reader of partition {}", self.partition);
        let mut next = 0;
        loop {
            let is_last = *is_all_written.borrow();
            let max_bytes = [1, 500, 5_000, WHOLE][self.random.usize(..4)];
            let wait_ms = self.random.u64(0..500);
            let fetch = Box::pin(self.log.fetch_records(next, 1..max_bytes.max(2), wait_ms as i32));
            let fetch = Dropped::new(fetch, dropped_after(&mut self.random));
            let limit = TIMEOUT + Duration::from_millis(wait_ms);
            match self.stage.timed(self.partition, limit, fetch).await {
                None => {}
                Some(Ok((records, end))) => {
                    if is_last && records.is_empty() && next >= end {
                        return;
                    }
                    next = self.stage.take(self.partition, &name, next, &records);
                }
                Some(Err(error)) => {
                    if let Some(wrong) = wrong(&error) {
                        let what = format!("{name} at offset {next}: {error:?}");
                        return self.stage.rules(self.partition).add(wrong, what);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
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
