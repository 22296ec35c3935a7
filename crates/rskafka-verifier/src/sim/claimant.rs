//! A process that claims an exclusive log and appends to it while it may: in the simulation, or on a real cluster.
//!
//! Invariant: all that it does and is told goes to the checker ([`Exclusive`](super::exclusive::Exclusive)), a call before it is made.
//! It stores only what counts.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::record::{Headers, Record};
use rskafka::wal::{Entry, Position, Wal, Writer};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::drop::{dropped_after, unless_dropped};
use super::exclusive::{Part, Told, ids};
use super::rules::Wrong;
use super::value::Id;

/// Bursts of appends of one claim.
const BURSTS: u32 = 20;
const PAUSE_MS: u64 = 500;
/// After so many errors in a row, or tries, a process starts again.
const TRIES: u32 = 6;

/// What is around a process.
pub(super) trait World: Clone + Send + Sync + 'static {
    fn tell(&self, told: Told);

    /// A call has failed.
    fn failed(&self, error: &Error) {
        Told::failed(error).into_iter().for_each(|told| self.tell(told));
    }

    /// The offset behind all that was acknowledged, as far as anybody here was told.
    fn acknowledged(&self) -> i64;

    /// Where to begin to read.
    fn stored(&self, random: &mut fastrand::Rng) -> Position;

    /// Offers a position to be stored. Gives one up to which the log may be trimmed, if it is to be.
    fn store(&self, position: Position, is_to_trim: bool) -> impl Future<Output = Option<Position>> + Send;

    /// What an append, and any other call, may take.
    fn timeouts(&self) -> [Duration; 2];

    /// Holds a call against its deadline.
    fn timed<T: Send>(
        &self,
        what: &str,
        limit: Duration,
        call: impl Future<Output = T> + Send,
    ) -> impl Future<Output = T> + Send;

    /// The process stands still for a while, perhaps.
    fn stand_still(&self, random: &mut fastrand::Rng) -> impl Future<Output = ()> + Send;

    /// Whether it is to end.
    fn is_over(&self) -> bool;

    fn now(&self) -> OffsetDateTime;

    /// Longer than a claim, or a read, may take.
    fn longest(&self) -> Duration {
        2 * self.timeouts().iter().sum::<Duration>()
    }
}

pub(super) struct Claimant<W> {
    pub(super) number: u32,
    pub(super) random: fastrand::Rng,
    pub(super) world: W,
    /// The number of the next record.
    pub(super) next: u32,
}

/// An append that was called, and its number in its writer's term.
type Called = (Id, Option<u64>);
/// Appends under way; each ends with whether it has failed, and how.
pub(super) type Calls = JoinSet<(Called, Option<Outcome>)>;

impl<W: World> Claimant<W> {
    pub(super) async fn claim(&mut self, wal: &Wal) -> Option<Writer> {
        let (world, limit) = (self.world.clone(), self.world.longest());
        let note = format!("process {}, claim {}", self.number, self.random.u32(..));
        let (position, since) = (world.stored(&mut self.random), world.acknowledged());
        let mut part = Part::new(&note, &position);
        let claim = if self.random.bool() {
            world.timed("claim", limit, wal.claim(position, note.clone())).await
        } else {
            let mut standby = wal.read(position).build();
            let items = self.random.u32(..100);
            read(&world, &mut self.random, &mut standby, &mut part, items).await;
            world.timed("claim_by", limit, standby.claim(note.clone())).await
        };
        let mut recovery = claim.inspect_err(|error| world.failed(error)).ok()?;
        let items = if self.random.u8(..16) == 0 { self.random.u32(..100) } else { u32::MAX };
        read(&world, &mut self.random, &mut recovery, &mut part, items).await;
        let position = recovery.position();
        let writer = recovery.into_writer().ok();
        part.offsets.end = writer.as_ref().map_or(position.offset(), |writer| writer.claim().offset);
        world.tell(Told::Position(position.to_string()));
        world.tell(Told::Read(part));
        world.tell(Told::claimed(since, writer.as_ref()?.claim(), &note));
        writer
    }

    /// Appends for a while. Gives what is under way where the process is to crash.
    pub(super) async fn write(&mut self, mut writer: Writer) -> Option<Calls> {
        let mut appends = BTreeMap::new();
        for _ in 0..self.random.u32(1..BURSTS) {
            let mut calls = Calls::new();
            for _ in 0..self.random.u32(1..=8) {
                let (id, sequence) = self.append(&writer, &mut calls);
                appends.extend(sequence.map(|sequence| (sequence, id)));
            }
            match self.random.u8(..64) {
                0 => return Some(calls),
                1..4 => self.world.stand_still(&mut self.random).await,
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
            if self.world.is_over() {
                return None;
            }
            if self.random.u8(..4) == 0 {
                sleep(Duration::from_millis(self.random.u64(..PAUSE_MS))).await;
            }
        }
        None
    }

    fn append(&mut self, writer: &Writer, calls: &mut Calls) -> Called {
        let (count, since) = (self.random.u32(1..=3), self.world.acknowledged());
        let first = Id { writer: self.number, number: self.next };
        self.next += count;
        let timestamp = self.world.now();
        let record = |number| {
            let value = Some(Id { number, ..first }.value());
            Record { key: None::<Bytes>, value, headers: Headers::new(), timestamp }
        };
        self.world.tell(Told::Sent(first, count));
        let append = writer.append((first.number..self.next).map(record));
        let called = (first, append.sequence());
        let (dropped, world) = (dropped_after(&mut self.random), self.world.clone());
        calls.spawn(async move {
            let [limit, _] = world.timeouts();
            let append = unless_dropped(Box::pin(append), dropped);
            let result = world.timed("append", limit, append).await;
            world.tell(Told::Ended(result.as_ref().map(Result::is_ok)));
            let Some(result) = result else { return (called, None) };
            match &result {
                Ok(appended) => world.tell(Told::Position(appended.position.to_string())),
                Err(error) => world.failed(error),
            }
            let result = result.as_ref().map_err(Error::outcome);
            world.tell(Told::settled(first, since, result));
            (called, result.err())
        });
        called
    }

    /// Whether the log is still this process's.
    async fn reclaim(
        &mut self,
        writer: &mut Writer,
        appends: &mut BTreeMap<u64, Id>,
        unknown: &[Called],
    ) -> bool {
        let (world, limit) = (self.world.clone(), 2 * self.world.longest());
        for _ in 0..TRIES {
            let note = format!("process {}, again {}", self.number, self.random.u32(..));
            let since = world.acknowledged();
            let reclaim =
                unless_dropped(Box::pin(writer.reclaim(note.clone())), dropped_after(&mut self.random));
            let reclaimed = match world.timed("reclaim", limit, reclaim).await {
                Some(Ok(reclaimed)) => reclaimed,
                failed => {
                    failed.and_then(Result::err).iter().for_each(|error| world.failed(error));
                    sleep(Duration::from_millis(self.random.u64(..PAUSE_MS))).await;
                    continue;
                }
            };
            if let Some((id, _)) =
                unknown.iter().find(|(_, at)| !at.is_some_and(|at| reclaimed.settled.contains_key(&at)))
            {
                world.tell(Told::Wrong(Wrong::Silent, format!("{id} is unknown after a reclaim")));
            }
            for (sequence, appended) in &reclaimed.settled {
                if let Some(id) = appends.get(sequence) {
                    world.tell(Told::settled(*id, 0, appended.as_ref().ok_or(Outcome::NotWritten)));
                }
            }
            appends.clear();
            world.tell(match &reclaimed.fenced_by {
                Some(claim) => Told::claim(claim),
                None => Told::claimed(since, writer.claim(), &note),
            });
            return reclaimed.fenced_by.is_none();
        }
        false
    }

    /// Stores where it is, and deletes what is behind all that was stored.
    async fn keep(&mut self, writer: &Writer) {
        let (world, [append, call]) = (self.world.clone(), self.world.timeouts());
        if self.random.u8(..16) == 0 {
            let since = world.acknowledged();
            match world.timed("barrier", append, writer.barrier()).await {
                Ok(position) if position.offset() <= since => {
                    let what = format!("a barrier before {position}, called at {since}");
                    world.tell(Told::Wrong(Wrong::Reordered, what));
                }
                Ok(position) => world.tell(Told::Position(position.to_string())),
                Err(error) => world.failed(&error),
            }
        }
        if self.random.u8(..4) == 0 {
            let position = writer.position();
            world.tell(Told::Position(position.to_string()));
            if let Some(position) = world.store(position, self.random.u8(..8) == 0).await {
                let trim = world.timed("trim", call, writer.trim(&position)).await;
                trim.inspect_err(|error| world.failed(error)).ok();
            }
        }
    }
}

/// Takes so many entries of a stream at most. Gives whether it has ended.
pub(super) async fn read(
    world: &impl World,
    random: &mut fastrand::Rng,
    stream: &mut (impl Stream<Item = Result<Entry, Error>> + Unpin),
    part: &mut Part,
    items: u32,
) -> bool {
    let mut errors = 0;
    for _ in 0..items {
        let patience = if items == u32::MAX { world.longest() } else { Duration::from_secs(2) };
        match timeout(patience, stream.next()).await {
            Ok(Some(Ok(entry))) => {
                errors = 0;
                world.tell(Told::Position(entry.position().to_string()));
                let offsets = entry.offsets();
                let values = entry.into_records().map_while(|read| Some(read.ok()?.record.value));
                part.entries.push((offsets, ids(values)));
            }
            Ok(Some(Err(error))) => {
                world.failed(&error);
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
                    world.tell(Told::Wrong(Wrong::Overdue, what));
                }
                break;
            }
        }
    }
    false
}
