//! A partition's log: whole batches as they were received, with offsets assigned.
//!
//! Invariant: batches stand in order and do not overlap; `start_offset` is at most `end_offset`, and a
//! batch that ends below `start_offset` is not kept.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use rskafka_protocol::records::batches;

use super::epochs::{EpochEnd, Epochs};
use super::producers::Origin;
use super::transactions::{Aborted, Transactions};

/// A batch with its place in the log.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) leader_epoch: i32,
    /// `None` without producer id.
    pub(crate) origin: Option<Origin>,
    /// The whole batch, as it is given to readers.
    pub(crate) bytes: Bytes,
}

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
}

/// What a reader asks of a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) offset: i64,
    /// Batches from here on are not given.
    pub(crate) end: i64,
    pub(crate) max_bytes: usize,
    /// A first batch that is too large comes whole and alone (KIP-74), else not at all.
    pub(crate) at_least_one: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: VecDeque<Stored>,
    epochs: Epochs,
    transactions: Transactions,
    start_offset: i64,
    end_offset: i64,
    size: usize,
}

impl Log {
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn batches(&self) -> impl DoubleEndedIterator<Item = &Stored> {
        self.batches.iter()
    }

    /// The batches from the one on that holds `offset`.
    pub(super) fn batches_from(&self, offset: i64) -> impl Iterator<Item = &Stored> {
        self.batches.range(self.position(offset)..)
    }

    /// A leader begins to append under an epoch.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        self.epochs.begin(epoch, self.end_offset);
    }

    /// The epoch of the first offset; -1 if there never was any.
    pub(crate) fn start_epoch(&self) -> i32 {
        self.epochs.first().unwrap_or(-1)
    }

    /// Where the latest epoch began.
    pub(crate) fn latest_epoch_begin(&self) -> i64 {
        self.epochs.latest_begin().unwrap_or(0)
    }

    /// Where an epoch ended, or the largest one below it; `None` if the log cannot tell.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<EpochEnd> {
        self.epochs.end_of(epoch, self.end_offset)
    }

    /// The offset before which every transaction is decided.
    pub(crate) fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.transactions.last_stable_offset(high_watermark)
    }

    /// The aborted transactions with records in a range, in the order of their end.
    pub(crate) fn aborted(&self, start: i64, end: i64) -> impl Iterator<Item = Aborted> {
        self.transactions.aborted(start, end)
    }

    fn move_start(&mut self, offset: i64) {
        self.start_offset = self.start_offset.max(offset);
        self.epochs.move_start(self.start_offset);
        self.transactions.move_start(self.start_offset);
    }

    /// Appends a batch at the end of this log, or behind it: a follower finds gaps where its leader's log was compacted.
    pub(crate) fn append(&mut self, batch: Stored) {
        debug_assert!(batch.base_offset >= self.end_offset, "a batch stands where the log has another one");
        self.epochs.begin(batch.leader_epoch, batch.base_offset);
        if let Some(origin) = &batch.origin {
            self.transactions.appended(origin, batch.base_offset, batch.last_offset);
        }
        self.end_offset = batch.last_offset + 1;
        self.size += batch.bytes.len();
        self.batches.push_back(batch);
    }

    /// Drops the oldest batches below `end` until at most `bytes` are kept. The last batch always is.
    pub(crate) fn retain_bytes(&mut self, bytes: usize, end: i64) {
        let is_below = |batch: &Stored| batch.last_offset < end;
        while self.size > bytes && self.batches.len() > 1 && self.batches.front().is_some_and(is_below) {
            self.drop_first();
        }
    }

    /// Drops the oldest batches below `end` whose records are all older. Without a time none is.
    pub(crate) fn retain_since(&mut self, timestamp: i64, end: i64) {
        let is_old =
            |batch: &Stored| (0..timestamp).contains(&batch.max_timestamp) && batch.last_offset < end;
        while self.batches.front().is_some_and(is_old) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.size -= batch.bytes.len();
            self.move_start(batch.last_offset + 1);
        }
    }

    /// Drops what is below `offset`, which becomes the log's start if it is above it.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.move_start(offset.min(self.end_offset));
        while self.batches.front().is_some_and(|batch| batch.last_offset < self.start_offset) {
            self.drop_first();
        }
    }

    /// Drops the batches with records at or above `offset`.
    pub(crate) fn truncate(&mut self, offset: i64) {
        while let Some(batch) = self.batches.back().filter(|batch| batch.last_offset >= offset) {
            self.size -= batch.bytes.len();
            self.end_offset = batch.base_offset;
            self.batches.pop_back();
        }
        if offset < self.start_offset {
            // No record is left: the log starts again at `offset`.
            (self.start_offset, self.end_offset) = (offset, offset);
        }
        // Compaction may have left no batch between the last one and `offset`.
        self.end_offset = self.end_offset.min(offset).max(self.start_offset);
        self.epochs.truncate(self.end_offset);
        self.transactions = Transactions::default();
        for batch in &self.batches {
            if let Some(origin) = &batch.origin {
                self.transactions.appended(origin, batch.base_offset, batch.last_offset);
            }
        }
    }

    /// Replaces each batch by what `change` makes of it, or drops it; the offsets stay.
    pub(super) fn rewrite(&mut self, change: impl Fn(&Stored) -> Option<Bytes>) {
        self.batches.retain_mut(|batch| match change(batch) {
            Some(bytes) => {
                batch.bytes = bytes;
                true
            }
            None => false,
        });
        self.size = self.batches.iter().map(|batch| batch.bytes.len()).sum();
    }

    /// Drops everything and begins at `offset`.
    pub(super) fn restart_at(&mut self, offset: i64) {
        *self = Self { start_offset: offset, end_offset: offset, ..Self::default() };
    }

    /// The offset up to which this log and its leader's are the same. Beyond it they never agree again.
    pub(super) fn common_end(&self, leader: &Log) -> i64 {
        // The leader's log may begin within a batch.
        let first = leader.batches.front().map_or(leader.start_offset, |batch| batch.base_offset);
        let is_same = |batch: &&Stored| {
            let theirs = leader.batches_from(batch.base_offset).next();
            batch.last_offset < first
                || theirs.is_some_and(|theirs| {
                    theirs.base_offset == batch.base_offset && theirs.leader_epoch == batch.leader_epoch
                })
        };
        let last = self.batches.iter().rev().find(is_same);
        let from = last.map_or(self.start_offset, |batch| batch.last_offset + 1);
        let next =
            |log: &Log| log.batches_from(from).next().map_or(log.end_offset, |batch| batch.base_offset);
        next(self).min(next(leader))
    }

    /// The index of the batch that holds `offset`, or of the first after it.
    fn position(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last_offset < offset)
    }

    /// How many bytes [`Log::read`] would give.
    pub(crate) fn readable(&self, span: Span) -> usize {
        let mut batches = self.span(span);
        let Some(first) = batches.next() else {
            return 0;
        };
        let mut bytes = first.bytes.len();
        if bytes > span.max_bytes {
            return if span.at_least_one { bytes } else { 0 };
        }
        while let Some(batch) = batches.next().filter(|_| bytes < span.max_bytes) {
            bytes += batch.bytes.len();
        }
        bytes.min(span.max_bytes)
    }

    fn span(&self, Span { offset, end, .. }: Span) -> impl Iterator<Item = &Stored> {
        self.batches_from(offset).take_while(move |batch| batch.last_offset < end)
    }

    /// Reads from the batch that holds the offset; like Kafka, a last batch is cut off in its middle if it
    /// is too large. Gives the bytes, and the offset after the last batch.
    ///
    /// Copies nothing if the result lies within one batch.
    pub(crate) fn read(&self, span: Span) -> (Bytes, i64) {
        let mut missing = self.readable(span);
        let mut next_offset = span.offset;
        if missing == 0 {
            return (Bytes::new(), next_offset);
        }
        let mut batches = self.span(span);
        let mut bytes = BytesMut::new();
        while let Some(batch) = batches.next().filter(|_| missing > 0) {
            next_offset = batch.last_offset + 1;
            if bytes.is_empty() && missing == batch.bytes.len() {
                return (batch.bytes.clone(), next_offset);
            }
            bytes.reserve(missing);
            let part = &batch.bytes[..batch.bytes.len().min(missing)];
            bytes.put_slice(part);
            missing -= part.len();
        }
        (bytes.freeze(), next_offset)
    }

    /// The first record at or after the log's start whose timestamp is not below `timestamp`.
    pub(crate) fn find_timestamp(&self, timestamp: i64) -> Option<Found> {
        let mut late_enough = self.batches.iter().filter(|batch| batch.max_timestamp >= timestamp);
        late_enough.find_map(|batch| self.find_in(batch, |time| time >= timestamp))
    }

    /// The first record with the largest timestamp of all.
    pub(crate) fn find_max_timestamp(&self) -> Option<Found> {
        let latest = self.batches.iter().map(|batch| batch.max_timestamp).max()?;
        let mut of_that_time = self.batches.iter().filter(|batch| batch.max_timestamp == latest);
        of_that_time.find_map(|batch| self.find_in(batch, |time| time >= latest))
    }

    fn find_in(&self, batch: &Stored, is_wanted: impl Fn(i64) -> bool) -> Option<Found> {
        let found = |timestamp, offset| Found { timestamp, offset, leader_epoch: batch.leader_epoch };
        let view = batches(&batch.bytes).next()?.ok()?;
        for record in view.records() {
            match record {
                Ok(record) if record.offset < self.start_offset || !is_wanted(record.timestamp) => {}
                Ok(record) => return Some(found(record.timestamp, record.offset)),
                // Compressed in a way that this build cannot read: the batch answers for its records.
                Err(_) => return Some(found(batch.max_timestamp, batch.base_offset.max(self.start_offset))),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
