//! Reads an exclusive log by the rule.
//!
//! Invariant: nothing is given out behind a batch that the rule cannot judge.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use rskafka_protocol::ApiKey;
use rskafka_protocol::records::{Flag, RecordView};

use super::fence::{Damage, Dead, Fence, HEADER, Kind, Mark, Reading, Stamp, Verdict};
use super::ledger::Ledger;
use super::{Log, Position, Recovery};
use crate::consumer::{self, BatchStream, IsolationLevel, Ranges, ReadBuilder, Replay, StartAt};
use crate::error::{Case, Error, ErrorKind, Result};
use crate::fetch::FetchedBatch;
use crate::record::RecordAndOffset;

/// Above this much, a recovery reads over several connections. Of less, a stream's read-ahead already has a part.
const FAR: u64 = 16 * 1024 * 1024;

/// An append that counts.
#[derive(Clone, derive_more::Debug)]
#[debug("Entry {{ term: {}, sequence: {}, offsets: {:?} }}", stamp.term, stamp.sequence, self.offsets())]
pub struct Entry {
    batch: FetchedBatch,
    stamp: Stamp,
    position: Position,
}

impl Entry {
    /// The offsets of its records.
    pub fn offsets(&self) -> Range<i64> {
        self.batch.header().base_offset..self.batch.next_offset()
    }

    /// Where to go on after it: store it with a snapshot that has everything up to and including this entry.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The term of its writer.
    pub fn term(&self) -> u64 {
        self.stamp.term
    }

    pub(super) fn is_of(&self, term: u64, writer: u64) -> bool {
        (self.stamp.term, self.stamp.writer) == (term, writer)
    }

    /// Its number in the term, from 1.
    pub fn sequence(&self) -> u64 {
        self.stamp.sequence
    }

    /// Whether it is a [`barrier`](super::Writer::barrier), which has no records.
    pub fn is_barrier(&self) -> bool {
        self.stamp.kind == Kind::Barrier
    }

    /// The batch as it is in the log, with the header of the exclusive log.
    pub fn batch(&self) -> &FetchedBatch {
        &self.batch
    }

    /// The records, borrowed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] as the last item, if a record cannot be read.
    pub fn records(&self) -> impl Iterator<Item = Result<RecordView<'_>>> {
        let mut is_first = true;
        let records = self.batch.records().take(if self.is_barrier() { 0 } else { usize::MAX });
        records.map(move |record| {
            let mut record = record?;
            if std::mem::take(&mut is_first) {
                record.headers.next();
            }
            Ok(record)
        })
    }

    /// The records, each sharing the memory of the batch.
    ///
    /// # Errors
    ///
    /// Those of [`records`](Self::records).
    #[inline]
    pub fn into_records(self) -> impl Iterator<Item = Result<RecordAndOffset>> {
        let most = if self.is_barrier() { 0 } else { usize::MAX };
        let mut records = self.batch.into_records();
        // Not by a `map` over all of them, which would move each once more.
        let mut first = records.next();
        first.iter_mut().flatten().for_each(|first| _ = first.record.headers.0.remove(0));
        first.into_iter().chain(records).take(most)
    }
}

/// A claim that counts: the start of a term.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Its term, from 1.
    pub term: u64,
    /// Drawn at random for this claim.
    pub writer: u64,
    /// Where it lies.
    pub offset: i64,
    /// What its writer said of itself.
    pub note: Bytes,
}

impl Claim {
    pub(super) fn of(stamp: Stamp, batch: &FetchedBatch) -> Self {
        let first = batch.records().next();
        let note = first.and_then(|record| Some(Bytes::copy_from_slice(record.ok()?.value?)));
        let offset = batch.header().base_offset;
        Self { term: stamp.term, writer: stamp.writer, offset, note: note.unwrap_or_default() }
    }
}

/// What a log has, in its order.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "most items are entries")]
pub enum Item {
    /// An append that counts.
    Entry(Entry),
    /// A claim that counts.
    Claim(Claim),
    /// A batch of these offsets that does not count.
    PassedOver {
        /// Its offsets.
        offsets: Range<i64>,
        /// Why not; `None` for a batch without the header of an exclusive log, or of a transaction.
        dead: Option<Dead>,
    },
}

/// How many batches a reader has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Passed {
    /// Claims that count.
    pub claims: u64,
    /// Entries that count.
    pub entries: u64,
    /// Batches of writers that were overtaken, and copies.
    pub dead: u64,
    /// Batches that no writer of the exclusive log has appended.
    pub foreign: u64,
}

/// Where a reader of an exclusive log begins: see [`Wal::read`](super::Wal::read).
#[derive(Debug, Clone)]
pub struct Start {
    pub(super) log: Arc<Log>,
    pub(super) position: Position,
}

impl ReadBuilder<Start> {
    pub(super) fn exclusive(log: &Arc<Log>, position: Position) -> Self {
        Self::with(log.partition.clone(), Start { log: log.clone(), position })
    }

    options! {
        /// Ends before the first batch that begins at or behind this offset. Without this, the reader waits at the log's end
        /// for what is appended.
        pub fn until(offset: i64) => until = offset;
    }

    /// The reader. It reads all batches, whatever the isolation says: those of transactions are never entries.
    pub fn build(self) -> Reader {
        Reader { items: self.build_items() }
    }

    /// A stream of all that the log has: entries, claims, and what was passed over, with the reason.
    pub fn build_items(self) -> Items {
        let Self { partition, what: Start { log, position }, options, connections, until } = self;
        let (position, error) = match position.within(&partition) {
            Ok(position) => (position, None),
            Err(error) => (position, Some(partition.located(error, ApiKey::FETCH))),
        };
        let what = StartAt::Position(position.log);
        let stream = ReadBuilder { partition, what, options, connections, until }.every_batch();
        let batches = stream.isolation(IsolationLevel::ReadUncommitted).build_batches();
        let is_bounded = until < i64::MAX;
        let (read, reading, passed) = (position.log, position.reading(), Passed::default());
        let (replay, ledger, has_ended) = (None, None, false);
        Items { batches, replay, log, read, is_bounded, reading, ledger, passed, has_ended, error }
    }
}

/// A stream of all that an exclusive log has: see [`ReadBuilder::build_items`].
///
/// # Errors
///
/// Those of [`Reader`].
#[must_use = "streams do nothing unless polled"]
#[derive(derive_more::Debug)]
#[debug("Items {{ position: {} }}", self.position())]
pub struct Items {
    batches: BatchStream,
    /// Reads in its place, up to where the log ended.
    replay: Option<Replay>,
    pub(super) log: Arc<Log>,
    /// After the last batch read, with its leader epoch.
    pub(super) read: consumer::Position,
    is_bounded: bool,
    reading: Reading,
    /// While a claim is under way, its ledger has the state of the reading.
    pub(super) ledger: Option<Ledger>,
    passed: Passed,
    has_ended: bool,
    error: Option<Error>,
}

impl Items {
    /// Where to go on after what was given out.
    pub fn position(&self) -> Position {
        let reading = self.reading();
        // What an acknowledgement has settled was not read: its leader epoch is not known.
        let leader_epoch = self.read.leader_epoch.filter(|_| self.read.offset == reading.next_offset);
        Position::new(consumer::Position { leader_epoch, ..self.read }, reading)
    }

    /// Asks the broker again where the log ends, without waiting for records.
    pub(super) fn ask_for_the_end(&mut self) {
        self.batches.begin_again(self.position().log);
    }

    /// How many batches were passed.
    pub fn passed(&self) -> Passed {
        self.passed
    }

    /// Whether everything was given out that could be read at the last answer.
    pub fn is_caught_up(&self) -> bool {
        self.lag() == Some(0)
    }

    /// The same, and that answer was asked for after all that a replay has read.
    pub(super) fn is_at_the_end(&self) -> bool {
        self.replay.is_none() && self.is_caught_up()
    }

    /// What is wrong with it as the start of a claim.
    pub(super) fn check(&self) -> Result<()> {
        let bounded = || Error::invalid("a reader that ends cannot claim the log");
        let refused = self.error.clone().or_else(|| self.is_bounded.then(bounded));
        refused.map_or(Ok(()), Err)
    }

    /// How many offsets there are between the position and the high watermark that the last answer gave. `None` before the
    /// first answer.
    pub fn lag(&self) -> Option<i64> {
        let (_, high_watermark) = self.batches.ahead.ends?;
        Some(high_watermark.saturating_sub(self.reading().next_offset).max(0))
    }

    /// About how many bytes that is, if what is left is like what was read.
    fn bytes_behind(&self) -> u64 {
        let ((bytes, offsets), lag) = (self.batches.ahead.read, self.lag().unwrap_or(0));
        lag.unsigned_abs().saturating_mul(bytes) / offsets.max(1)
    }

    pub(super) fn reading(&self) -> Reading {
        self.ledger.as_ref().map_or(self.reading, Ledger::reading)
    }

    /// Ends the claim under way.
    pub(super) fn take_ledger(&mut self) -> Option<Ledger> {
        self.reading = self.reading();
        self.ledger.take()
    }

    /// The next batch, not judged.
    pub(super) fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<FetchedBatch>>> {
        let passed = self.reading().next_offset;
        while let Some(replay) = &mut self.replay {
            match ready!(replay.poll_batch(cx)) {
                Some(Ok(batch)) if batch.next_offset() <= passed => {}
                Some(batch) => return Poll::Ready(Some(batch)),
                None => {
                    self.replay = None;
                    self.ask_for_the_end();
                }
            }
        }
        // Entries are whole, also where the reading is to end within one.
        let whole = |batch| FetchedBatch { asked: (0, i64::MAX), ..batch };
        Pin::new(&mut self.batches).poll_next(cx).map_ok(whole)
    }

    /// Reads up to the log's end over several connections, if that is far.
    pub(super) fn hasten(&mut self) {
        let Some((_, end)) = self.batches.ahead.ends else { return };
        if self.replay.is_some() || self.bytes_behind() < FAR {
            return;
        }
        let position = self.position().log;
        let ranges = Ranges::from(position.offset()..end);
        let replay = ReadBuilder::replay(self.log.partition.clone(), ranges).every_batch().build();
        self.replay = Some(replay.behind(position, &self.batches));
    }

    fn judge(&mut self, batch: FetchedBatch) -> Result<Option<Item>> {
        let offsets = (batch.header().base_offset, batch.next_offset());
        let judged = mark(&batch).and_then(|mark| {
            let verdict = match &mut self.ledger {
                Some(ledger) => ledger.read(offsets, mark)?,
                None => self.reading.pass(offsets, mark)?,
            };
            Ok((verdict, mark))
        });
        let (verdict, mark) = judged.map_err(|damage| {
            self.has_ended = true;
            self.damaged(damage, offsets.0)
        })?;
        (self.read.offset, self.read.leader_epoch) = (offsets.1, batch.leader_epoch());
        #[cfg(feature = "metrics")]
        self.log.metrics.read(verdict, self.reading().fence.term, self.bytes_behind());
        let Passed { claims, entries, dead, foreign } = &mut self.passed;
        match (verdict, mark) {
            (Verdict::Entry, Mark::Stamp(stamp @ Stamp { term, writer, sequence, .. })) => {
                *entries += 1;
                let fence = Fence { term, writer, next_sequence: sequence + 1 };
                // Not that of the ledger, which may know of the claim behind it.
                let position = Position::new(self.read, Reading { fence, next_offset: offsets.1 });
                Ok(Some(Item::Entry(Entry { batch, stamp, position })))
            }
            (Verdict::Claim, Mark::Stamp(stamp)) => {
                *claims += 1;
                Ok(Some(Item::Claim(Claim::of(stamp, &batch))))
            }
            (Verdict::Control, _) => Ok(None),
            (verdict, _) => {
                let why = if let Verdict::Dead(why) = verdict { Some(why) } else { None };
                *(if why.is_some() { dead } else { foreign }) += 1;
                Ok(Some(Item::PassedOver { offsets: offsets.0..offsets.1, dead: why }))
            }
        }
    }

    pub(super) fn damaged(&self, damage: Damage, offset: i64) -> Error {
        let error = match damage {
            Damage::Straddles => Error::truncated(offset),
            damage => Error::new(Case::LogDamaged, ErrorKind::LogDamaged { offset, what: damage.what() }),
        };
        self.log.partition.located(error, ApiKey::FETCH)
    }
}

impl Stamp {
    /// What a batch says of itself, whether it counts or not; `None` if no writer of an exclusive log has appended it.
    pub fn of(batch: &FetchedBatch) -> Option<Self> {
        match mark(batch) {
            Ok(Mark::Stamp(stamp)) => Some(stamp),
            _ => None,
        }
    }
}

/// What a batch says of itself.
pub(super) fn mark(batch: &FetchedBatch) -> Result<Mark, Damage> {
    let header = batch.header();
    if header.attributes.has(Flag::Control) {
        return Ok(Mark::Control);
    }
    if header.attributes.has(Flag::Transactional) || batch.magic() < 2 {
        return Ok(Mark::Foreign);
    }
    if i64::from(header.record_count) != batch.next_offset() - header.base_offset {
        return Err(Damage::Hole);
    }
    let Some(Ok(first)) = batch.batch.records().next() else { return Err(Damage::Header) };
    let mut headers = first.headers;
    match headers.next() {
        Some((HEADER, value)) => Ok(Mark::Stamp(Stamp::from_bytes(value.unwrap_or_default())?)),
        _ if headers.any(|(key, _)| key == HEADER) => Err(Damage::Header),
        _ => Ok(Mark::Foreign),
    }
}

impl Stream for Items {
    type Item = Result<Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(error) = self.error.take() {
            self.has_ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            if self.has_ended {
                return Poll::Ready(None);
            }
            let Some(batch) = ready!(self.poll_batch(cx)) else { return Poll::Ready(None) };
            if let Some(item) = batch.and_then(|batch| self.judge(batch)).transpose() {
                return Poll::Ready(Some(item));
            }
        }
    }
}

/// A stream of the entries of an exclusive log that count, from all its writers: see [`Wal::read`](super::Wal::read).
///
/// # Errors
///
/// Those of [`RecordStream`](consumer::RecordStream), after which it goes on in the same way. It ends after
/// [`ErrorKind::LogTruncated`] where a batch reaches over its position, and after [`ErrorKind::LogDamaged`].
#[must_use = "streams do nothing unless polled"]
#[derive(Debug)]
pub struct Reader {
    pub(super) items: Items,
}

impl Reader {
    /// Where to go on after the entries that were given out.
    pub fn position(&self) -> Position {
        self.items.position()
    }

    /// Whether all entries were given out that could be read at the last answer.
    pub fn is_caught_up(&self) -> bool {
        self.items.is_caught_up()
    }

    /// How many offsets there are between the position and the high watermark that the last answer gave. `None` before the
    /// first answer.
    pub fn lag(&self) -> Option<i64> {
        self.items.lag()
    }

    /// How many batches were passed.
    pub fn passed(&self) -> Passed {
        self.items.passed()
    }

    /// Claims the log for a standby that has followed it, and need not read it again: see [`Wal::claim`](super::Wal::claim). If
    /// this fails, or its future is dropped, go on with another reader from the same position: nothing was appended.
    ///
    /// # Errors
    ///
    /// Those of [`Wal::claim`](super::Wal::claim). [`ErrorKind::InvalidArgument`] if the reader was to end before an offset.
    pub async fn claim(self, note: impl Into<Bytes>) -> Result<Recovery> {
        Recovery::begin(self.items, note.into()).await
    }
}

impl Stream for Reader {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        poll_entry(|cx| Pin::new(&mut self.items).poll_next(cx), cx)
    }
}

/// The next entry with records, of what has other items too.
pub(super) fn poll_entry(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Item>>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Entry>>> {
    loop {
        match ready!(poll(cx)) {
            Some(Ok(Item::Entry(entry))) if !entry.is_barrier() => return Poll::Ready(Some(Ok(entry))),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}
