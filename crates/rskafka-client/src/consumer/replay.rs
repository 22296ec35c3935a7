//! Reads ranges of a log over several connections, in order.
//!
//! Invariant: records are given out in the order of their offsets. Where two pieces were read under different leaders, the
//! second is read again, after the log was compared with what was read before it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rskafka_protocol::ApiKey;

use super::builder::{ReadBuilder, ReadOptions};
use super::{BatchStream, Ranges, RecordStream, StartAt};
use crate::error::{Error, Result};
use crate::fetch::{FetchLane, FetchedBatch, Position, ReadUnder};
use crate::partition::Partition;
use crate::record::RecordAndOffset;

/// A gap between ranges is read, and its records dropped, if it has about as many bytes at most: to skip it costs a fetch.
const CHEAP_GAP: usize = 128 * 1024;

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayProgress {
    /// How many of the wanted offsets were passed, with or without a record.
    pub offsets_read: u64,
    /// How many there are in all.
    pub offsets_total: u64,
    /// How many bytes of batches were fetched, as they are in the log.
    pub bytes_read: u64,
}

/// A stream of the records of one or more ranges, in order: see [`PartitionClient::replay`](crate::PartitionClient::replay).
///
/// Each connection reads a piece of the log, and the records are given out in order. It ends after the last wanted offset,
/// also if that has no record. It moves only while it is polled.
///
/// # Errors
///
/// Those of [`RecordStream`](super::RecordStream). An error comes after all records before it, and the replay continues where
/// it failed when it is polled again.
///
/// A truncation of the log meanwhile is found where a connection continues what another has read, with two exceptions. In a
/// compacted topic, the leader epoch is not always known of offsets whose records are gone. And between two ranges nothing tells
/// of it if the end of the first one was deleted before the second one is read.
#[must_use = "streams do nothing unless polled"]
#[derive(derive_more::Debug)]
#[debug("Replay {{ wanted: {wanted:?} }}")]
pub struct Replay {
    partition: Arc<Partition>,
    options: ReadOptions,
    /// What no piece has yet.
    left: Ranges,
    /// What was not given out yet.
    wanted: Ranges,
    total: u64,
    /// The connections that no piece uses.
    lanes: Vec<Arc<FetchLane>>,
    pieces: VecDeque<Piece>,
    /// What pieces that have ended have read: bytes, and offsets.
    read: (u64, u64),
    /// Where the piece before the first one has ended, and under which leader, until both are compared.
    before: Option<(Position, Option<ReadUnder>)>,
    error: Option<Error>,
}

/// A part of the log that one connection reads.
struct Piece {
    start: i64,
    stream: RecordStream,
}

impl Replay {
    pub(super) fn new(builder: ReadBuilder<Ranges>) -> Self {
        let lanes = (0..builder.connections).map(|_| builder.lane(builder.connections)).collect();
        let ReadBuilder { partition, what: ranges, connections, mut options, .. } = builder;
        options.read_ahead_bytes = (options.read_ahead_bytes / connections).max(1);
        let error = ranges.check().err().map(|what| partition.located(Error::invalid(what), ApiKey::FETCH));
        let (total, wanted, left) = (ranges.remaining(), ranges.clone(), ranges);
        let (pieces, read, before) = (VecDeque::new(), (0, 0), None);
        Self { partition, options, left, wanted, total, lanes, pieces, read, before, error }
    }

    /// How far it is.
    pub fn progress(&self) -> ReplayProgress {
        let (bytes_read, _) = self.all_read();
        let offsets_read = self.total - self.wanted.remaining();
        ReplayProgress { offsets_read, offsets_total: self.total, bytes_read }
    }

    fn all_read(&self) -> (u64, u64) {
        let read = self.pieces.iter().map(|piece| piece.stream.batches.ahead.read);
        read.fold(self.read, |sum, (bytes, offsets)| (sum.0 + bytes, sum.1 + offsets))
    }

    /// How many offsets are about so many bytes; `None` before the first answer.
    fn offsets_of(&self, bytes: usize) -> Option<i64> {
        let (read, offsets) = self.all_read();
        let offsets = (bytes as u64).saturating_mul(offsets).checked_div(read)?;
        Some(i64::try_from(offsets).unwrap_or(i64::MAX).max(1))
    }

    /// Begins where a stream is, which has read up to a position.
    pub(crate) fn behind(mut self, position: Position, stream: &BatchStream) -> Self {
        self.before = Some((position, stream.ahead.read_under));
        self
    }

    /// The next batch, whole. Where pieces meet within a batch, it comes twice.
    pub(crate) fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<FetchedBatch>>> {
        loop {
            self.drive(cx);
            if !self.joins(cx) {
                return Poll::Pending;
            }
            let Some(first) = self.pieces.front_mut() else { return Poll::Ready(None) };
            let Some(batch) = std::task::ready!(Pin::new(&mut first.stream.batches).poll_next(cx)) else {
                self.advance();
                continue;
            };
            return Poll::Ready(Some(batch.map(|batch| FetchedBatch { asked: (0, i64::MAX), ..batch })));
        }
    }

    /// Has each connection read a piece, and moves them all.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.pieces.iter_mut().for_each(|piece| piece.stream.batches.fill(cx));
        // Less than a connection may hold, so that it has read a whole piece before its turn comes.
        match self.offsets_of(self.options.read_ahead_bytes / 4 * 3) {
            Some(most) => {
                self.cut_first(most);
                let cheap_gap = self.offsets_of(CHEAP_GAP).unwrap_or_default();
                while self.begin(most, cheap_gap, cx) {}
            }
            // The first answer shows how large a piece may be.
            None if self.pieces.is_empty() => {
                self.begin(i64::MAX, 0, cx);
            }
            None => {}
        }
    }

    /// Has a free connection read the next piece.
    fn begin(&mut self, most: i64, cheap_gap: i64, cx: &mut Context<'_>) -> bool {
        if self.lanes.is_empty() {
            return false;
        }
        let (Some(range), Some(lane)) = (self.left.take(most, cheap_gap), self.lanes.pop()) else {
            return false;
        };
        let start = StartAt::Offset(range.start);
        let mut batches = BatchStream::new(self.partition.clone(), lane, start, self.options.clone());
        batches.ahead.until = range.end;
        batches.fill(cx);
        self.pieces.push_back(Piece { start: range.start, stream: RecordStream::new(batches) });
        true
    }

    /// Makes the first piece, which has a whole range, as large as the others.
    fn cut_first(&mut self, most: i64) {
        let [Piece { stream, .. }] = self.pieces.make_contiguous() else { return };
        let ahead = &mut stream.batches.ahead;
        let Some(next) = ahead.next else { return };
        let (cut, until) = (next.offset().saturating_add(most), ahead.until);
        if cut < until {
            ahead.until = cut;
            self.left.give_back(cut..until);
        }
    }

    /// Ends the first piece, and has the next one continue it.
    fn advance(&mut self) {
        let Some(Piece { stream: RecordStream { batches: ended, .. }, .. }) = self.pieces.pop_front() else {
            return;
        };
        self.wanted.skip_to(ended.ahead.until);
        self.read = (self.read.0 + ended.ahead.read.0, self.read.1 + ended.ahead.read.1);
        if !ended.ahead.is_done() {
            // It cannot be read on, and nothing is given out behind a gap.
            self.pieces.clear();
            self.left = Ranges::from(Vec::new());
        }
        self.before = ended.position().map(|position| (position, ended.ahead.read_under));
        self.lanes.push(ended.lane);
    }

    /// Makes sure that the first piece continues what was read before it. Returns whether that is known.
    fn joins(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(before), Some(first)) = (&self.before, self.pieces.front_mut()) else { return true };
        let batches = &mut first.stream.batches;
        if batches.ahead.begun_under.is_none() {
            return batches.ahead.error.is_some() || batches.ahead.has_ended;
        }
        if !batches.ahead.continues(before) {
            // The piece before may have ended within a batch that reaches into this one, or before a gap.
            batches.follows = Some(before.0);
            batches.restart(Position::of(&self.partition, first.start));
            batches.fill(cx);
        }
        self.before = None;
        true
    }
}

impl Stream for Replay {
    type Item = Result<RecordAndOffset>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(error) = this.error.take() {
            this.left = Ranges::from(Vec::new());
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let record = match this.pieces.front_mut().and_then(|piece| piece.stream.next_record()) {
                Some(record) => Some(record),
                None => {
                    this.drive(cx);
                    if !this.joins(cx) {
                        return Poll::Pending;
                    }
                    let Some(first) = this.pieces.front_mut() else { return Poll::Ready(None) };
                    std::task::ready!(Pin::new(&mut first.stream).poll_next(cx))
                }
            };
            match record {
                Some(Ok(record)) if !this.wanted.pass(record.offset) => {}
                Some(record) => return Poll::Ready(Some(record)),
                None => this.advance(),
            }
        }
    }
}
