//! Processes that claim an exclusive log again and again, and readers that follow it.
//!
//! Invariant: what they are told goes to the checker ([`Exclusive`](super::exclusive::Exclusive)) at once; a process stores only
//! what counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{Client, DurabilityKind};
use rskafka::protocol::records::batches;
use rskafka::record::{Headers, Record};
use rskafka::wal::{Entry, Position, Wal, Writer};
use rskafka_fake::FakeCluster;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::drop::{dropped_after, unless_dropped};
use super::exclusive::{Exclusive, Part, ids};
use super::kind::PRODUCE_DROPPED;
use super::rules::Wrong;
use super::run::{BROKERS, Stage, TOPIC, new_client};
use super::value::Id;

/// Bursts of appends of one claim.
const BURSTS: u32 = 20;
/// How long a process leaves the log to others.
const IDLE_MS: u64 = 8_000;
const PAUSE_MS: u64 = 500;
/// How long a process is cut off: some are back before anything fails.
const FROZEN_MS: [u64; 3] = [300, 2_500, 12_000];
/// After so many errors in a row, or tries, a process starts again.
const TRIES: u32 = 6;
const RISKS: [DurabilityKind; 4] = [
    DurabilityKind::UncleanElection,
    DurabilityKind::NotTold,
    DurabilityKind::RetentionMs,
    DurabilityKind::WritersTimes,
];

struct Claimant {
    number: u32,
    random: fastrand::Rng,
    stage: Arc<Stage>,
    /// The number of the next record.
    next: u32,
}

/// An append that was called, and its number in its writer's term.
type Called = (Id, Option<u64>);
/// Appends under way; each ends with whether it has failed, and how.
type Calls = JoinSet<(Called, Option<Outcome>)>;

impl Claimant {
    async fn run(mut self, appends: u64) {
        while self.stage.outcome().appends < appends {
            let idle = Duration::from_millis(self.random.u64(..IDLE_MS));
            let _ = timeout(idle, self.stage.turn.notified()).await;
            let seed = self.random.u64(..);
            let client = new_client(&self.stage.network.cluster, &self.stage, seed).await;
            let wal = open(&client, &self.stage).await;
            let mut calls = None;
            if let Some(writer) = Box::pin(self.claim(&wal)).await {
                calls = self.write(writer, &seed.to_string()).await;
            }
            drop(wal);
            if calls.is_none() && self.random.bool() {
                client.close().await;
            }
            // Or it crashes.
            drop(client);
            if let Some(calls) = calls {
                calls.join_all().await;
            }
        }
    }

    async fn claim(&mut self, wal: &Wal) -> Option<Writer> {
        let (stage, limit) = (self.stage.clone(), longest(&self.stage));
        let note = format!("process {}, claim {}", self.number, self.random.u32(..));
        let (position, since) = (stored(&stage, &mut self.random), stage.exclusive().acknowledged);
        let mut part =
            Part { reader: note.clone(), offsets: position.offset()..i64::MAX, entries: Vec::new() };
        let claim = if self.random.bool() {
            stage.book.timed(0, "claim", limit, wal.claim(position, note.clone())).await
        } else {
            let mut standby = wal.read(position).build();
            let items = self.random.u32(..100);
            read(&stage, &mut self.random, &mut standby, &mut part, items).await;
            stage.book.timed(0, "claim_by", limit, standby.claim(note.clone())).await
        };
        let mut recovery = match claim {
            Ok(recovery) => recovery,
            Err(error) => {
                stage.failed(&error);
                return None;
            }
        };
        let items = if self.random.u8(..16) == 0 { self.random.u32(..100) } else { u32::MAX };
        read(&stage, &mut self.random, &mut recovery, &mut part, items).await;
        let position = recovery.position();
        let writer = recovery.into_writer().ok();
        part.offsets.end = writer.as_ref().map_or(position.offset(), |writer| writer.claim().offset);
        let mut exclusive = stage.exclusive();
        exclusive.told(&position);
        exclusive.read(part);
        exclusive.claimed(writer.as_ref()?.claim(), since, &note);
        writer
    }

    /// Appends for a while. Gives what is under way where the process is to crash.
    async fn write(&mut self, mut writer: Writer, name: &str) -> Option<Calls> {
        let mut appends = BTreeMap::new();
        for _ in 0..self.random.u32(1..BURSTS) {
            let mut calls = Calls::new();
            for _ in 0..self.random.u32(1..=8) {
                let (id, sequence) = self.append(&writer, &mut calls);
                appends.extend(sequence.map(|sequence| (sequence, id)));
            }
            match self.random.u8(..64) {
                0 => return Some(calls),
                1..4 => self.freeze(name).await,
                _ => {}
            }
            let ended = calls.join_all().await;
            let unknown = ended.iter().filter(|(_, outcome)| *outcome == Some(Outcome::Unknown));
            let unknown: Vec<Called> = unknown.map(|(called, _)| *called).collect();
            let has_failed = ended.iter().any(|(_, outcome)| outcome.is_some());
            if (has_failed || self.random.u8(..32) == 0)
                && !self.reclaim(&mut writer, &mut appends, &unknown).await
            {
                return None;
            }
            self.keep(&writer).await;
            if self.random.u8(..4) == 0 {
                sleep(Duration::from_millis(self.random.u64(..PAUSE_MS))).await;
            }
        }
        None
    }

    fn append(&mut self, writer: &Writer, calls: &mut Calls) -> Called {
        let count = self.random.u32(1..=3);
        let first = Id { writer: self.number, number: self.next };
        self.next += count;
        let timestamp = self.stage.network.wall_clock();
        let record = |number| {
            let value = Some(Id { number, ..first }.value());
            Record { key: None::<Bytes>, value, headers: Headers::new(), timestamp }
        };
        self.stage.outcome().appends += 1;
        let since = self.stage.exclusive().sent(first, count);
        let append = writer.append((first.number..self.next).map(record));
        let called = (first, append.sequence());
        let (dropped, stage) = (dropped_after(&mut self.random), self.stage.clone());
        calls.spawn(async move {
            let limit = stage.options.delivery_timeout;
            let append = unless_dropped(Box::pin(append), dropped);
            let result = stage.book.timed(0, "append", limit, append).await;
            stage.produce_is_over(matches!(result, Some(Ok(_))));
            let Some(result) = result else {
                *stage.outcome().dropped.entry(PRODUCE_DROPPED).or_default() += 1;
                return (called, None);
            };
            result.as_ref().inspect_err(|error| stage.failed(error)).ok();
            let result = result.as_ref().map_err(Error::outcome);
            stage.exclusive().settled(first, since, result);
            (called, result.err())
        });
        called
    }

    /// The process is cut off, and others may claim the log meanwhile.
    async fn freeze(&mut self, name: &str) {
        let cluster = &self.stage.network.cluster;
        for broker in 1..=BROKERS {
            // Fails only if there is no such broker.
            let _ = cluster.isolate_client(name, broker);
        }
        self.stage.turn.notify_one();
        let longest = FROZEN_MS[self.random.usize(..FROZEN_MS.len())];
        sleep(Duration::from_millis(self.random.u64(..longest))).await;
        rejoin(cluster);
    }

    /// Whether the log is still this process's.
    async fn reclaim(
        &mut self,
        writer: &mut Writer,
        appends: &mut BTreeMap<u64, Id>,
        unknown: &[Called],
    ) -> bool {
        let (stage, limit) = (self.stage.clone(), 2 * longest(&self.stage));
        for _ in 0..TRIES {
            let note = format!("process {}, again {}", self.number, self.random.u32(..));
            let since = stage.exclusive().acknowledged;
            let reclaim =
                unless_dropped(Box::pin(writer.reclaim(note.clone())), dropped_after(&mut self.random));
            let reclaimed = match stage.book.timed(0, "reclaim", limit, reclaim).await {
                Some(Ok(reclaimed)) => reclaimed,
                failed => {
                    failed.and_then(Result::err).iter().for_each(|error| stage.failed(error));
                    sleep(Duration::from_millis(self.random.u64(..PAUSE_MS))).await;
                    continue;
                }
            };
            let mut exclusive = stage.exclusive();
            if let Some((id, _)) =
                unknown.iter().find(|(_, at)| !at.is_some_and(|at| reclaimed.settled.contains_key(&at)))
            {
                exclusive.add(Wrong::Silent, format!("{id} is unknown after a reclaim"));
            }
            for (sequence, appended) in &reclaimed.settled {
                if let Some(id) = appends.get(sequence) {
                    exclusive.settled(*id, 0, appended.as_ref().ok_or(Outcome::NotWritten));
                }
            }
            appends.clear();
            match &reclaimed.fenced_by {
                Some(claim) => exclusive.told_of(claim),
                None => exclusive.claimed(writer.claim(), since, &note),
            }
            return reclaimed.fenced_by.is_none();
        }
        false
    }

    /// Stores where it is, and deletes what is behind all that was stored.
    async fn keep(&mut self, writer: &Writer) {
        let (stage, limit) = (self.stage.clone(), self.stage.options);
        if self.random.u8(..16) == 0 {
            let since = stage.exclusive().acknowledged;
            match stage.book.timed(0, "barrier", limit.delivery_timeout, writer.barrier()).await {
                Ok(position) if position.offset() <= since => {
                    stage
                        .exclusive()
                        .add(Wrong::Reordered, format!("a barrier before {position}, called at {since}"));
                }
                Ok(position) => stage.exclusive().told(&position),
                Err(error) => stage.failed(&error),
            }
        }
        if self.random.u8(..4) == 0 {
            let position = writer.position();
            let mut exclusive = stage.exclusive();
            exclusive.told(&position);
            if exclusive.stored.is_none_or(|stored| stored.is_before(&position)) {
                exclusive.stored = Some(position);
            }
        }
        let stored = stage.exclusive().stored;
        if let Some(position) = stored.filter(|_| self.random.u8(..32) == 0)
            && judge(&stage) >= position.offset()
        {
            let trimmed = stage.exclusive().trimmed;
            stage.exclusive().trimmed = position.offset().max(trimmed);
            let trim = stage.book.timed(0, "trim", limit.api_timeout, writer.trim(&position)).await;
            trim.inspect_err(|error| stage.failed(error)).ok();
        }
    }
}

/// Starts the processes, and as many readers.
pub(super) fn start(
    (processes, appends): (usize, u64),
    stage: &Arc<Stage>,
    random: &mut fastrand::Rng,
    reading: (&Client, &watch::Receiver<bool>),
    (writers, readers): (&mut JoinSet<()>, &mut JoinSet<()>),
) {
    for number in 0..processes as u32 {
        let claimant = Claimant { number, random: random.fork(), stage: stage.clone(), next: 0 };
        writers.spawn(claimant.run(appends));
        readers.spawn(follow(reading.0.clone(), random.fork(), stage.clone(), reading.1.clone()));
    }
}

/// Judges the whole log, and holds against it what everybody was told.
pub(super) async fn finish(stage: &Stage) {
    // What crashed ends with the deadlines of its calls.
    sleep(longest(stage)).await;
    judge(stage);
    let exclusive = std::mem::take(&mut *stage.exclusive());
    exclusive.finish().into_iter().for_each(|(wrong, what)| stage.book.rules(0).add(wrong, what));
}

/// Follows the log until all processes have ended, and then to its end.
async fn follow(
    client: Client,
    mut random: fastrand::Rng,
    stage: Arc<Stage>,
    is_all_written: watch::Receiver<bool>,
) {
    let wal = open(&client, &stage).await;
    let mut position = Position::START;
    loop {
        let is_last = *is_all_written.borrow();
        // Nothing is appended any more.
        let until = if is_last { judge(&stage) } else { i64::MAX };
        if random.u8(..4) == 0 || position.offset() < stage.exclusive().trimmed {
            position = stored(&stage, &mut random);
        }
        let mut reader = wal.read(position).until(until).build();
        let mut part =
            Part { reader: "a reader".to_owned(), offsets: position.offset()..0, entries: Vec::new() };
        let items = if is_last { u32::MAX } else { random.u32(..200) };
        let has_ended = read(&stage, &mut random, &mut reader, &mut part, items).await;
        position = reader.position();
        part.offsets.end = position.offset();
        stage.exclusive().told(&position);
        stage.exclusive().read(part);
        if is_last && has_ended && position.offset() >= until {
            return;
        }
    }
}

/// Takes so many entries of a stream at most. Gives whether it has ended.
async fn read(
    stage: &Stage,
    random: &mut fastrand::Rng,
    stream: &mut (impl Stream<Item = Result<Entry, Error>> + Unpin),
    part: &mut Part,
    items: u32,
) -> bool {
    let mut errors = 0;
    for _ in 0..items {
        let patience = if items == u32::MAX { longest(stage) } else { Duration::from_secs(2) };
        match timeout(patience, stream.next()).await {
            Ok(Some(Ok(entry))) => {
                errors = 0;
                stage.exclusive().told(&entry.position());
                let offsets = entry.offsets();
                let values = entry.into_records().map_while(|read| Some(read.ok()?.record.value));
                part.entries.push((offsets, ids(values)));
            }
            Ok(Some(Err(error))) => {
                stage.failed(&error);
                errors += 1;
                if errors == TRIES || matches!(error.kind(), ErrorKind::OffsetOutOfRange { .. }) {
                    break;
                }
                sleep(Duration::from_millis(random.u64(..PAUSE_MS))).await;
            }
            Ok(None) => return true,
            Err(_) => {
                if items == u32::MAX {
                    let what = format!("{} got nothing in {patience:?}", part.reader);
                    stage.exclusive().add(Wrong::Overdue, what);
                }
                break;
            }
        }
    }
    false
}

/// Judges what nobody can take back. Gives up to where.
fn judge(stage: &Stage) -> i64 {
    let mut exclusive = stage.exclusive();
    if let Ok(log) = stage.network.cluster.log(TOPIC, 0) {
        for batch in log.batches.iter().flat_map(batches).map_while(Result::ok) {
            if batch.base_offset() >= exclusive.judged && batch.next_offset() <= log.high_watermark {
                exclusive.judge(&batch);
            }
        }
    }
    exclusive.judged
}

/// Where a process or a reader begins.
fn stored(stage: &Stage, random: &mut fastrand::Rng) -> Position {
    let Exclusive { stored, trimmed, .. } = &*stage.exclusive();
    stored.filter(|_| *trimmed > 0 || random.bool()).unwrap_or(Position::START)
}

/// Ends the isolation of processes.
pub(super) fn rejoin(cluster: &FakeCluster) {
    for broker in 1..=BROKERS {
        // Fails only if there is no such broker.
        let _ = cluster.rejoin_broker(broker);
    }
}

/// Longer than a claim, or a read, may take.
fn longest(stage: &Stage) -> Duration {
    2 * (stage.options.api_timeout + stage.options.delivery_timeout)
}

async fn open(client: &Client, stage: &Stage) -> Wal {
    loop {
        let call = client.wal(TOPIC, 0).accept_risks(RISKS).into_future();
        match stage.book.timed(0, "wal", stage.options.api_timeout, call).await {
            Ok(wal) => return wal,
            Err(error) => stage.failed(&error),
        }
    }
}
