//! The leader epochs of a log, and where each began (Kafka class `LeaderEpochFileCache`).
//!
//! Invariant: epochs and offsets ascend; the first entry covers the log's start.

use std::collections::VecDeque;

/// Where an epoch ended: the offset after its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    pub(crate) epoch: i32,
    pub(crate) end_offset: i64,
}

/// What stands for no epoch.
const UNDEFINED: i32 = -1;

#[derive(Debug, Clone, Default)]
pub(super) struct Epochs {
    entries: VecDeque<(i32, i64)>,
}

impl Epochs {
    /// An epoch begins at `offset`, the log's end. An epoch that has no records leaves no trace.
    pub(super) fn begin(&mut self, epoch: i32, offset: i64) {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        while self.entries.back().is_some_and(|&(_, begin)| begin >= offset) {
            self.entries.pop_back();
        }
        self.entries.push_back((epoch, offset));
    }

    pub(super) fn first(&self) -> Option<i32> {
        self.entries.front().map(|&(epoch, _)| epoch)
    }

    pub(super) fn latest(&self) -> Option<i32> {
        self.entries.back().map(|&(epoch, _)| epoch)
    }

    /// Where the latest epoch began.
    pub(super) fn latest_begin(&self) -> Option<i64> {
        self.entries.back().map(|&(_, begin)| begin)
    }

    /// The log now begins at `offset`.
    pub(super) fn move_start(&mut self, offset: i64) {
        while self.entries.get(1).is_some_and(|&(_, begin)| begin <= offset) {
            self.entries.pop_front();
        }
    }

    /// The log now ends at `offset`.
    pub(super) fn truncate(&mut self, offset: i64) {
        while self.entries.back().is_some_and(|&(_, begin)| begin >= offset) {
            self.entries.pop_back();
        }
    }

    /// Where an epoch ended, or the largest one below it; `None` if the log cannot tell.
    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> Option<EpochEnd> {
        if epoch == UNDEFINED {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        let (_, end_offset) = *self.entries.iter().find(|(known, _)| *known > epoch)?;
        let floor = self.entries.iter().rev().find(|(known, _)| *known <= epoch);
        Some(EpochEnd { epoch: floor.map_or(epoch, |&(floor, _)| floor), end_offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for &(epoch, offset) in entries {
            epochs.begin(epoch, offset);
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins_and_the_latest_at_the_logs_end() {
        let epochs = epochs(&[(2, 0), (4, 10), (5, 10), (7, 20)]);
        let end = |epoch| epochs.end_of(epoch, 30).map(|end| (end.epoch, end.end_offset));
        assert_eq!(end(-1), None);
        assert_eq!(end(1), Some((1, 0)), "smaller than any: where the first begins");
        assert_eq!(end(2), Some((2, 10)));
        assert_eq!(end(3), Some((2, 10)));
        assert_eq!(end(4), Some((2, 10)), "an epoch without records leaves no trace");
        assert_eq!(end(5), Some((5, 20)));
        assert_eq!(end(6), Some((5, 20)));
        assert_eq!(end(7), Some((7, 30)));
        assert_eq!(end(8), None);
    }

    #[test]
    fn epochs_follow_the_ends_of_the_log() {
        let mut epochs = epochs(&[(0, 0), (1, 10), (2, 20)]);
        epochs.move_start(15);
        assert_eq!(epochs.first(), Some(1));
        epochs.truncate(20);
        assert_eq!((epochs.latest(), epochs.latest_begin()), (Some(1), Some(10)));
        epochs.begin(1, 20);
        assert_eq!(epochs.latest_begin(), Some(10), "an epoch begins once");
    }
}
