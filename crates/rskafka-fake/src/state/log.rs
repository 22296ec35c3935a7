//! A partition's log: whole batches as they were received, with offsets assigned.
//!
//! Invariant: batches stand in order and do not overlap; `start_offset` is at most `end_offset`, and a
//! batch that ends below `start_offset` is not kept.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use rskafka_protocol::records::batches;

/// A batch with its place in the log.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) leader_epoch: i32,
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

#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: VecDeque<Stored>,
    /// Leader epochs and the offset at which each began, ascending; the first covers `start_offset`
    /// (Kafka class `LeaderEpochFileCache`).
    epochs: VecDeque<(i32, i64)>,
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

    /// What readers may read up to.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn batches(&self) -> impl DoubleEndedIterator<Item = &Stored> {
        self.batches.iter()
    }

    /// A leader begins to append under an epoch. An epoch without records leaves no trace.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        while self.epochs.back().is_some_and(|&(_, begin)| begin >= self.end_offset) {
            self.epochs.pop_back();
        }
        self.epochs.push_back((epoch, self.end_offset));
    }

    /// The epoch of the first offset.
    pub(crate) fn start_epoch(&self) -> i32 {
        self.epochs.front().map_or(-1, |&(epoch, _)| epoch)
    }

    fn move_start(&mut self, offset: i64) {
        self.start_offset = self.start_offset.max(offset);
        while self.epochs.get(1).is_some_and(|&(_, begin)| begin <= self.start_offset) {
            self.epochs.pop_front();
        }
    }

    /// Appends a batch whose base offset is the end of this log.
    pub(crate) fn append(&mut self, batch: Stored) {
        debug_assert_eq!(batch.base_offset, self.end_offset, "offsets are given without gaps");
        self.end_offset = batch.last_offset + 1;
        self.size += batch.bytes.len();
        self.batches.push_back(batch);
    }

    /// Drops the oldest batches until at most `bytes` are kept. The last batch always is.
    pub(crate) fn retain_bytes(&mut self, bytes: usize) {
        while self.size > bytes && self.batches.len() > 1 {
            if let Some(batch) = self.batches.pop_front() {
                self.size -= batch.bytes.len();
                self.move_start(batch.last_offset + 1);
            }
        }
    }

    /// Drops what is below `offset`, which becomes the log's start if it is above it.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.move_start(offset.min(self.end_offset));
        while let Some(batch) = self.batches.front().filter(|batch| batch.last_offset < self.start_offset) {
            self.size -= batch.bytes.len();
            self.batches.pop_front();
        }
    }

    /// The index of the batch that holds `offset`, or of the first after it.
    fn position(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last_offset < offset)
    }

    /// How many bytes [`Log::read`] would give.
    pub(crate) fn readable(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> usize {
        let mut batches = self.batches.range(self.position(offset)..);
        let Some(first) = batches.next() else {
            return 0;
        };
        let mut bytes = first.bytes.len();
        if bytes > max_bytes {
            return if at_least_one { bytes } else { 0 };
        }
        while let Some(batch) = batches.next().filter(|_| bytes < max_bytes) {
            bytes += batch.bytes.len();
        }
        bytes.min(max_bytes)
    }

    /// Reads from the batch that holds `offset`, at most `max_bytes`; like Kafka, a last batch is cut
    /// off in its middle if it is too large.
    ///
    /// A first batch that is too large comes whole and alone if `at_least_one` (KIP-74), else not at all.
    /// Nothing is copied if what is given is of one batch.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> Bytes {
        let mut missing = self.readable(offset, max_bytes, at_least_one);
        let mut batches = self.batches.range(self.position(offset)..).map(|batch| &batch.bytes);
        match batches.clone().next() {
            Some(first) if missing == first.len() => return first.clone(),
            Some(_) if missing > 0 => {}
            _ => return Bytes::new(),
        }
        let mut bytes = BytesMut::with_capacity(missing);
        while let Some(batch) = batches.next().filter(|_| missing > 0) {
            let part = &batch[..batch.len().min(missing)];
            bytes.put_slice(part);
            missing -= part.len();
        }
        bytes.freeze()
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
mod tests {
    use super::*;

    /// Batches of two records and the given sizes; each byte is the batch's number.
    fn log(sizes: &[usize]) -> Log {
        let mut log = Log::default();
        for (number, &size) in sizes.iter().enumerate() {
            let base_offset = log.end_offset();
            log.append(Stored {
                base_offset,
                last_offset: base_offset + 1,
                max_timestamp: 0,
                leader_epoch: 0,
                bytes: Bytes::from(vec![number as u8; size]),
            });
        }
        log
    }

    #[test]
    fn a_read_begins_with_the_batch_that_holds_the_offset() {
        let log = log(&[10, 20, 30]);
        for (offset, first, length) in [(0, 0, 60), (1, 0, 60), (2, 1, 50), (3, 1, 50), (5, 2, 30)] {
            let bytes = log.read(offset, 1000, true);
            assert_eq!((bytes[0], bytes.len()), (first, length), "offset {offset}");
        }
        assert!(log.read(6, 1000, true).is_empty());
    }

    #[test]
    fn a_first_batch_that_is_too_large_comes_whole_and_alone_or_not_at_all() {
        let log = log(&[10, 20]);
        assert_eq!(log.read(0, 5, true).len(), 10);
        assert_eq!(log.read(0, 5, false).len(), 0);
        assert_eq!(log.read(0, 10, false).len(), 10);
    }

    #[test]
    fn the_last_batch_is_cut_off_at_the_limit() {
        let log = log(&[10, 20, 30]);
        let bytes = log.read(0, 12, true);
        assert_eq!(bytes, [&[0; 10][..], &[1; 2]].concat());
        assert_eq!(log.read(0, 30, true).len(), 30);
    }

    #[test]
    fn a_read_within_one_batch_copies_nothing() {
        let log = log(&[10, 20]);
        assert_eq!(log.read(2, 1000, true).as_ptr(), log.batches[1].bytes.as_ptr());
    }

    #[test]
    fn retention_drops_the_oldest_batches_and_moves_the_start() {
        let mut log = log(&[10, 20, 30]);
        log.retain_bytes(50);
        assert_eq!((log.start_offset(), log.readable(0, 1000, true)), (2, 50));
        log.retain_bytes(0);
        assert_eq!((log.start_offset(), log.end_offset(), log.readable(0, 1000, true)), (4, 6, 30));
    }

    #[test]
    fn deletion_within_a_batch_keeps_that_batch() {
        let mut log = log(&[10, 20]);
        log.delete_before(3);
        assert_eq!((log.start_offset(), log.readable(0, 1000, true)), (3, 20));
        log.delete_before(1);
        assert_eq!(log.start_offset(), 3, "the start never goes back");
        log.delete_before(100);
        assert_eq!((log.start_offset(), log.readable(0, 1000, true)), (4, 0));
    }

    #[test]
    fn the_epoch_of_the_start_follows_the_start_and_skips_epochs_without_records() {
        let mut log = Log::default();
        assert_eq!(log.start_epoch(), -1);
        for epoch in [0, 1] {
            log.begin_epoch(epoch);
        }
        assert_eq!(log.start_epoch(), 1);
        let append = |log: &mut Log| {
            let base_offset = log.end_offset();
            let bytes = Bytes::from_static(b"batch");
            log.append(Stored {
                base_offset,
                last_offset: base_offset,
                max_timestamp: 0,
                leader_epoch: 0,
                bytes,
            });
        };
        append(&mut log);
        log.begin_epoch(2);
        log.begin_epoch(3);
        append(&mut log);
        assert_eq!(log.start_epoch(), 1);
        log.delete_before(1);
        assert_eq!(log.start_epoch(), 3);
        log.delete_before(2);
        assert_eq!(log.start_epoch(), 3);
    }
}
