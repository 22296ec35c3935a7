//! The simulation's rules applied to a real cluster, in real time: a writer and a reader for each partition, while the caller
//! causes faults. The demo is the same without faults.
//!
//! Invariant: no append is repeated, and a reader continues after the last record. The log's end is asked for after the last
//! append, so that no reader ends too early.

mod actor;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rskafka::client::error::{Error, Outcome};
use rskafka::client::{Client, ClientBuilder, OffsetAt, Produced};
use rskafka::record::RecordAndOffset;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::actor::Actor;
pub(crate) use self::actor::Followed;
use self::actor::end_of;
use super::rules::{Finding, Findings, Place, Rules, Wrong};
use super::value::{Id, Value, size};
use super::writer::fates;
use crate::progress::Counter;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(8);
/// How late a call may return on a machine that does much else.
const SLACK: Duration = Duration::from_secs(1);

/// A live run.
#[derive(Debug)]
pub struct Live {
    /// The way to the cluster.
    pub client: ClientBuilder,
    /// An empty topic for this run alone, with `CreateTime` timestamps.
    pub topic: String,
    /// How many partitions it has; each gets a writer and a reader.
    pub partitions: usize,
    /// How long writers write. Faults must end soon after.
    pub duration: Duration,
    /// Sizes, bursts and dropped calls follow from it.
    pub seed: u64,
}

/// The result of a live run.
#[derive(Debug, Default)]
pub struct LiveOutcome {
    /// What is wrong; nothing, if all is well.
    pub findings: Vec<Finding>,
    /// Records that were sent.
    pub sent: u64,
    /// Records of them that were acknowledged.
    pub acknowledged: u64,
    /// Records of them with an unknown outcome, without those of dropped calls.
    pub unknown: u64,
    /// Records that the last reader found.
    pub read: u64,
}

impl Live {
    /// Writes and reads, and reads all once more in the end.
    ///
    /// # Errors
    ///
    /// The cluster cannot be reached, or does not say where a log ends.
    pub async fn run(self) -> Result<LiveOutcome> {
        let builder = self.client.request_timeout(REQUEST_TIMEOUT);
        let builder = builder.delivery_timeout(TIMEOUT).api_timeout(TIMEOUT);
        let load = Load { records: u32::MAX, duration: self.duration, timeout: TIMEOUT, is_rough: true };
        let stage = Stage::new(self.topic, self.partitions, load);
        let client = builder.clone().build().await.context("the cluster cannot be reached")?;
        stage.write_and_follow(&client, self.seed).await?;
        client.close().await;

        // A new client reads the same.
        let client = builder.build().await.context("the cluster cannot be reached any more")?;
        let followed = stage.read.records();
        for partition in 0..self.partitions {
            let reader = stage.actor(&client, partition, fastrand::Rng::with_seed(self.seed)).await?;
            let end = reader.log.get_offset(OffsetAt::Latest).await?.offset;
            reader.follow("the last reader", watch::channel(Some(end)).1).await;
        }
        client.close().await;
        let mut outcome = std::mem::take(&mut *stage.counts());
        outcome.read = stage.read.records() - followed;
        outcome.findings = stage.finish().flat_map(|findings| findings.kept).collect();
        Ok(outcome)
    }
}

/// How the partitions are written to and read.
#[derive(Debug)]
pub(crate) struct Load {
    /// Records for each partition, at most.
    records: u32,
    duration: Duration,
    /// The longest that a produce or any other call may take.
    timeout: Duration,
    /// Whether calls are dropped, fetches are of any size, and failures are what is expected.
    is_rough: bool,
}

impl Load {
    /// This many records in large calls; the first failure ends the writing.
    pub(crate) fn steady(records: u32, timeout: Duration) -> Self {
        Self { records, duration: Duration::MAX, timeout, is_rough: false }
    }
}

/// What writers and readers share.
#[derive(Debug)]
pub(crate) struct Stage {
    topic: String,
    load: Load,
    since: OffsetDateTime,
    rules: Vec<Mutex<Rules>>,
    counts: Mutex<LiveOutcome>,
    /// What was acknowledged.
    pub(crate) appended: Counter,
    pub(crate) read: Counter,
}

impl Stage {
    pub(crate) fn new(topic: String, partitions: usize, load: Load) -> Arc<Self> {
        let now = OffsetDateTime::now_utc();
        Arc::new(Self {
            topic,
            load,
            // Kafka keeps milliseconds.
            since: now.replace_nanosecond(0).unwrap_or(now),
            rules: (0..partitions).map(|_| Mutex::default()).collect(),
            counts: Mutex::default(),
            appended: Counter::default(),
            read: Counter::default(),
        })
    }

    /// Writes to and reads all partitions, until every reader has reached the end.
    pub(crate) async fn write_and_follow(
        self: &Arc<Self>,
        client: &Client,
        seed: u64,
    ) -> Result<Vec<Followed>> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut partitions = Vec::new();
        for partition in 0..self.rules.len() {
            self.rules(partition).writer(u32::try_from(partition)?, false, false);
            // Two partition clients: the reader shares nothing with the writer.
            let writer = self.actor(client, partition, random.fork()).await?;
            let reader = self.actor(client, partition, random.fork()).await?;
            let (ended, end) = watch::channel(None);
            let log = writer.log.clone();
            let reading = AbortOnDropHandle::new(tokio::spawn(reader.follow("the reader", end)));
            partitions.push(AbortOnDropHandle::new(tokio::spawn(async move {
                let mut followed = writer.write().await;
                ended.send_replace(Some(end_of(&log).await.context("asking for the log's end")?));
                followed.elapsed[1] = reading.await?;
                anyhow::Ok(followed)
            })));
        }
        let mut followed = Vec::new();
        for partition in partitions {
            followed.push(partition.await??);
        }
        Ok(followed)
    }

    /// What is wrong with each partition.
    pub(crate) fn finish(&self) -> impl Iterator<Item = Findings> {
        let rules = self.rules.iter().map(|rules| rules.lock().unwrap_or_else(PoisonError::into_inner));
        rules.map(|mut rules| std::mem::take(&mut *rules).finish(0).0)
    }

    async fn actor(
        self: &Arc<Self>,
        client: &Client,
        partition: usize,
        random: fastrand::Rng,
    ) -> Result<Actor> {
        let log = client.partition_client(&self.topic, i32::try_from(partition)?).await?;
        Ok(Actor { log, partition, random, stage: self.clone() })
    }

    fn rules(&self, partition: usize) -> MutexGuard<'_, Rules> {
        self.rules[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, LiveOutcome> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the rules what a reader was given; gives what comes next.
    fn take(&self, partition: usize, name: &str, mut next: i64, records: &[RecordAndOffset]) -> i64 {
        self.read.add(records.len(), records.iter().map(|read| size(&read.record)).sum());
        let mut rules = self.rules(partition);
        for RecordAndOffset { offset, record, .. } in records {
            let place = Place { next, ..Place::default() };
            rules.read(name, place, *offset, Value::of_record(record, self.since));
            next = offset + 1;
        }
        next
    }

    /// Notes what came of a produce; nothing did if it was dropped.
    fn settle(&self, ids: &[Id], result: Option<&Result<Produced, Error>>) {
        let count = ids.len() as u64;
        match result {
            Some(Ok(_)) => self.counts().acknowledged += count,
            Some(Err(error)) if error.outcome() == Outcome::Unknown => self.counts().unknown += count,
            _ => {}
        }
        let Some(first) = ids.first() else { return };
        let mut rules = self.rules(first.writer as usize);
        ids.iter().zip(fates(result, ids.len())).for_each(|(id, fate)| rules.settled(*id, fate));
    }

    /// Holds a call against its deadline.
    async fn timed<T>(
        &self,
        partition: usize,
        limit: Duration,
        call: impl Future<Output = T>,
    ) -> (T, Duration) {
        let since = Instant::now();
        let result = call.await;
        let took = since.elapsed();
        if took > limit + SLACK {
            let what = format!("a call took {took:?}, its limit is {limit:?}");
            self.rules(partition).add(Wrong::Overdue, what);
        }
        (result, took)
    }
}
