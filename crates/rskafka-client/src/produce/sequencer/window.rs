//! The appends that are not settled, and those between them, in the order of the calls.
//!
//! Invariant: the numbers are contiguous, and the first append is unsettled or outstanding.

use std::collections::VecDeque;

use super::super::fate::Fate;
use crate::error::Outcome;

/// An append.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) record_count: i32,
    /// Of its first record, since it was first sent in this epoch.
    pub(super) base_sequence: Option<i32>,
    /// An attempt to send it has not ended.
    pub(super) is_outstanding: bool,
    pub(super) fate: Fate,
    pub(super) progress: Progress,
    /// The append that failed before it, while this one was outstanding: it is not sent again.
    pub(super) stopped_behind: Option<u64>,
}

impl Entry {
    /// Whether an attempt that has ended may have written it.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.fate.outcome() == Outcome::Unknown
    }
}

/// How far an append has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Progress {
    #[default]
    Unsettled,
    Written {
        base_offset: i64,
    },
    Failed,
}

/// Why an append cannot be where it was acknowledged while the log keeps all that was acknowledged, and its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// It is where an append before it was: that is gone.
    Lost { first_lost: i64 },
    /// It is behind an append that comes after it: the broker had forgotten the producer, or that append is gone.
    Overtaken,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    /// The number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// The offset behind the last append that was written and has left the window.
    end_of_written: i64,
}

impl Window {
    /// Frees the memory of appends that have left.
    pub(super) fn free(&mut self) {
        self.entries.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an attempt has not ended.
    pub(super) fn has_outstanding(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_outstanding)
    }

    /// Adds an append, and gives its number.
    pub(super) fn push(&mut self, record_count: i32) -> u64 {
        self.entries.push_back(Entry { record_count, ..Entry::default() });
        self.first + self.entries.len() as u64 - 1
    }

    /// An append that is not settled.
    pub(super) fn unsettled_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.get_mut(number).filter(|entry| entry.progress == Progress::Unsettled)
    }

    /// The appends from `number` on that are not settled.
    pub(super) fn unsettled_from(&self, number: u64) -> impl Iterator<Item = (u64, &Entry)> {
        self.numbered().filter(move |(at, entry)| *at >= number && entry.progress == Progress::Unsettled)
    }

    /// The first append from `number` on that is not settled and is as described.
    pub(super) fn find_unsettled(&self, number: u64, is_wanted: impl Fn(&Entry) -> bool) -> Option<u64> {
        self.unsettled_from(number).find(|(_, entry)| is_wanted(entry)).map(|(number, _)| number)
    }

    pub(super) fn oldest_unsettled(&self) -> Option<u64> {
        self.find_unsettled(0, |_| true)
    }

    /// The last unsettled append that may be written by an attempt that has ended.
    pub(super) fn last_in_doubt(&self) -> Option<u64> {
        self.unsettled_from(0).filter(|(_, entry)| entry.is_in_doubt()).last().map(|(number, _)| number)
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// The appends behind `number` that are not settled.
    pub(super) fn unsettled_after_mut(&mut self, number: u64) -> impl Iterator<Item = &mut Entry> {
        let numbered = (self.first..).zip(&mut self.entries);
        let behind = numbered.filter(move |(at, _)| *at > number).map(|(_, entry)| entry);
        behind.filter(|entry| entry.progress == Progress::Unsettled)
    }

    pub(super) fn set_outstanding(&mut self, number: u64, is_outstanding: bool) {
        if let Some(entry) = self.get_mut(number) {
            entry.is_outstanding = is_outstanding;
        }
    }

    /// Why the append with this number cannot be at `base_offset`, if so.
    pub(super) fn contradiction(&self, number: u64, base_offset: i64) -> Option<Contradiction> {
        let written = |(at, entry): (u64, &Entry)| match entry.progress {
            Progress::Written { base_offset } => Some((at, base_offset, i64::from(entry.record_count))),
            _ => None,
        };
        let before = self.numbered().filter_map(written).take_while(|(at, ..)| *at < number).last();
        let end_of_those_before =
            before.map_or(self.end_of_written, |(_, base, count)| base.saturating_add(count));
        if base_offset < end_of_those_before {
            return Some(Contradiction::Lost { first_lost: base_offset });
        }
        let count = self.numbered().find(|(at, _)| *at == number).map_or(0, |(_, entry)| entry.record_count);
        let (_, next, _) = self.numbered().filter_map(written).find(|(at, ..)| *at > number)?;
        (base_offset.saturating_add(i64::from(count)) > next).then_some(Contradiction::Overtaken)
    }

    /// Whether no append behind this one is written.
    pub(super) fn is_last_written(&self, number: u64) -> bool {
        !self.numbered().any(|(at, entry)| at > number && matches!(entry.progress, Progress::Written { .. }))
    }

    /// Removes appends from the front that are settled and have no attempt outstanding.
    pub(super) fn trim(&mut self) {
        while let Some(entry) = self.entries.front() {
            match entry.progress {
                _ if entry.is_outstanding => return,
                Progress::Unsettled => return,
                Progress::Written { base_offset } => {
                    self.end_of_written = base_offset.saturating_add(i64::from(entry.record_count));
                }
                Progress::Failed => {}
            }
            self.entries.pop_front();
            self.first += 1;
        }
    }

    fn numbered(&self) -> impl Iterator<Item = (u64, &Entry)> {
        (self.first..).zip(&self.entries)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        let index = number.checked_sub(self.first)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let index = number.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }
}
