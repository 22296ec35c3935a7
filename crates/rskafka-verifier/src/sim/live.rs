//! The simulation's rules applied to a real cluster, in real time: a writer and a reader for each partition, while the caller
//! causes faults. Every second writer is one of batches that are made of single records. The demo is the same without faults.
//!
//! Invariant: no append is repeated, and a reader continues after the last record. The log's end is asked for after the last
//! append, so that no reader ends too early.

mod actor;
pub(crate) mod duel;
pub mod process;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rskafka::client::error::{Error, Outcome};
use rskafka::client::{Client, ClientBuilder, OffsetAt};
use rskafka::record::{Record, RecordAndOffset};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::actor::Actor;
pub(crate) use self::actor::Followed;
use self::actor::end_of;
use super::book::Book;
use super::rules::{Fate, Finding, Findings, Place, Wrong};
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
#[derive(Debug, Clone, Default)]
pub struct LiveOutcome {
    /// What is wrong; nothing, if all is well.
    pub findings: Vec<Finding>,
    /// Records that were sent.
    pub sent: u64,
    /// Records of them that were acknowledged.
    pub acknowledged: u64,
    /// Records of them with an unknown outcome, without those of dropped calls.
    pub unknown: u64,
    /// Records of them that were reported as not written.
    pub not_written: u64,
    /// Records that the last reader found.
    pub read: u64,
    /// How much of each kind is wrong; of each partition, the first few things of a kind are among the findings.
    pub wrong: BTreeMap<Wrong, u64>,
}

impl Live {
    /// Writes and reads, and reads all once more in the end.
    ///
    /// # Errors
    ///
    /// The cluster cannot be reached, or does not say where a log ends.
    pub async fn run(mut self) -> Result<LiveOutcome> {
        let builder = self.client.request_timeout(REQUEST_TIMEOUT);
        self.client = builder.delivery_timeout(TIMEOUT).api_timeout(TIMEOUT);
        let end = Instant::now() + self.duration;
        let waiting = async |_: &Stage| {
            tokio::time::sleep_until(end).await;
            Ok(())
        };
        Ok(self.run_while(TIMEOUT, waiting).await?.0)
    }

    /// The same, while something goes on that may look at the stage; also gives what that gives. No call may take longer than
    /// `timeout`.
    pub(crate) async fn run_while<T>(
        self,
        timeout: Duration,
        something: impl AsyncFnOnce(&Stage) -> Result<T>,
    ) -> Result<(LiveOutcome, T)> {
        let load = Load { records: u32::MAX, timeout, is_rough: true };
        let stage = Stage::new(self.topic, self.partitions, load);
        let client = self.client.clone().build().await.context("the cluster cannot be reached")?;
        let going_on = async {
            let result = something(&stage).await;
            stage.has_ended.store(true, Ordering::Relaxed);
            result
        };
        let (given, _) = tokio::try_join!(going_on, stage.write_and_follow(&client, self.seed))?;
        client.close().await;

        // A new client reads the same.
        let client = self.client.build().await.context("the cluster cannot be reached any more")?;
        let followed = stage.read.records();
        for partition in 0..self.partitions {
            let reader = stage.actor(&client, partition, fastrand::Rng::with_seed(self.seed)).await?;
            let end = reader.log.get_offset(OffsetAt::Latest).await?.offset;
            reader.follow("the last reader", watch::channel(Some(end)).1).await;
        }
        client.close().await;
        let mut outcome = std::mem::take(&mut *stage.counts());
        outcome.read = stage.read.records() - followed;
        outcome.take(stage.finish());
        Ok((outcome, given))
    }
}

impl LiveOutcome {
    fn take(&mut self, all: impl Iterator<Item = Findings>) {
        for Findings { kept, counts } in all {
            self.findings.extend(kept);
            counts.into_iter().for_each(|(wrong, count)| *self.wrong.entry(wrong).or_default() += count);
        }
    }
}

/// How the partitions are written to and read.
#[derive(Debug)]
pub(crate) struct Load {
    /// Records for each partition, at most.
    pub(crate) records: u32,
    /// The longest that a produce or any other call may take.
    pub(crate) timeout: Duration,
    /// Whether calls are dropped, fetches are of any size, and failures are what is expected. If not, calls are large, and the first
    /// failure ends the writing.
    pub(crate) is_rough: bool,
}

/// What writers and readers share.
#[derive(Debug)]
pub(crate) struct Stage {
    topic: String,
    load: Load,
    since: OffsetDateTime,
    has_ended: AtomicBool,
    /// How many records each writer may have given to its client.
    pub(crate) allowed: watch::Sender<u32>,
    book: Book,
    acknowledgements: Vec<Mutex<Vec<Instant>>>,
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
            has_ended: AtomicBool::new(false),
            allowed: watch::Sender::new(u32::MAX),
            book: Book::new(partitions, SLACK),
            acknowledgements: (0..partitions).map(|_| Mutex::default()).collect(),
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
        for partition in 0..self.book.partitions() {
            self.book.rules(partition).writer(u32::try_from(partition)?, false, false);
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

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn partitions(&self) -> usize {
        self.book.partitions()
    }

    /// When calls of a partition's writer were acknowledged.
    pub(crate) fn acknowledgements(&self, partition: usize) -> MutexGuard<'_, Vec<Instant>> {
        self.acknowledgements[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a probe append its next record beside a partition's writer; gives whether it was acknowledged. Without an offset it is not
    /// known what became of it.
    pub(crate) async fn probe(
        &self,
        partition: usize,
        number: u32,
        append: impl AsyncFnOnce(&Record) -> Result<i64>,
    ) -> bool {
        // Numbered behind the writers.
        let id = Id { writer: (self.book.partitions() + partition) as u32, number };
        // Where nobody else writes records of this kind, nobody reads them.
        let is_read = self.load.records > 0;
        if is_read {
            self.book.rules(partition).sent(id);
        }
        let offset = append(&id.record(self.since)).await.ok();
        if is_read {
            let fate = offset.map_or(Fate::Unknown, Fate::Acked);
            self.book.rules(partition).settled_in(None, id, fate);
        }
        offset.is_some()
    }

    /// What is wrong with each partition.
    pub(crate) fn finish(&self) -> impl Iterator<Item = Findings> {
        self.book.close().map(|rules| rules.finish(0).0)
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

    fn counts(&self) -> MutexGuard<'_, LiveOutcome> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the rules what a reader was given; gives what comes next.
    fn take(&self, partition: usize, name: &str, mut next: i64, records: &[RecordAndOffset]) -> i64 {
        self.read.add(records.len(), records.iter().map(|read| size(&read.record)).sum());
        let mut rules = self.book.rules(partition);
        for RecordAndOffset { offset, record, .. } in records {
            let place = Place { next, ..Place::default() };
            rules.read(name, place, *offset, Value::of_record(record, self.since));
            next = offset + 1;
        }
        next
    }

    /// Notes what came of a produce; nothing did if it was dropped.
    fn settle(&self, partition: usize, ids: &[Id], result: Option<&Result<Range<i64>, Error>>) {
        let count = ids.len() as u64;
        match result {
            Some(Ok(_)) => self.counts().acknowledged += count,
            Some(Err(error)) if error.outcome() == Outcome::Unknown => self.counts().unknown += count,
            Some(Err(_)) => self.counts().not_written += count,
            None => {}
        }
        if let Some(Ok(_)) = result {
            self.acknowledgements(partition).push(Instant::now());
        }
        let mut rules = self.book.rules(partition);
        ids.iter().zip(fates(result, ids.len())).for_each(|(id, fate)| rules.settled_in(None, *id, fate));
    }
}
