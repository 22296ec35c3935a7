//! The rules for a reader that continues by positions: it is told of a truncation below it, before it is given anything that
//! was written after it; and of none that there was not.

use super::{Rules, Wrong};
use crate::sim::value::Id;

/// What a reader has read without a break.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Trail {
    /// Nothing before this offset shows that the log was cut: it began here, or cannot know that the topic is another one.
    pub(in crate::sim) from: i64,
    /// Behind the last record that it was given.
    pub(in crate::sim) next: i64,
    /// How many cuts are known to have removed nothing of it.
    pub(in crate::sim) cuts: usize,
    /// How many cuts were looked at.
    seen: usize,
    /// The first cut, counted from 1, that removed what it was given: it is to be told.
    owed: Option<usize>,
}

impl Rules {
    /// A reader begins at an offset.
    pub(in crate::sim) fn trail(&self, next: i64) -> Trail {
        Trail { from: next, next, cuts: self.cuts(), seen: self.cuts(), owed: None }
    }

    /// Brokers cannot tell readers of the last cut.
    pub(in crate::sim) fn cut_is_silent(&mut self) {
        self.silent_cuts.insert(self.cuts());
    }

    /// A transaction has begun, or is decided: whether it is committed.
    pub(in crate::sim) fn decided(&mut self, writer: u32, is_committed: Option<bool>) {
        self.transactions.insert(writer, is_committed);
    }

    /// Whether the transaction of a writer was aborted.
    pub(in crate::sim) fn is_aborted(&self, writer: u32) -> bool {
        self.transactions.get(&writer) == Some(&Some(false))
    }

    /// A reader of a trail, perhaps one of committed records alone, is about to be given a record. Call `owe` before.
    pub(in crate::sim) fn follows(&mut self, reader: &str, trail: &mut Trail, id: Id, is_committed: bool) {
        if is_committed && self.transactions.get(&id.writer).is_some_and(|state| *state != Some(true)) {
            self.add(Wrong::Undecided, format!("{reader} was given {id}"));
        }
        let sent = self.writers.get(&id.writer).and_then(|writer| writer.records.get(id.number as usize));
        let sent_after = sent.map_or(0, |sent| sent.cuts.into());
        if let Some(number) = trail.owed.take_if(|number| *number <= sent_after) {
            let at = self.cuts[number - 1];
            let what = format!("{reader} was given {id} and not told of the cut at {at} before: {trail:?}");
            self.add(Wrong::Silent, what);
        }
        // What has read of two topics of one name may read of the first one again.
        if trail.owed.is_none() && !self.is_silent_since(*trail) {
            trail.cuts = trail.cuts.max(sent_after);
        }
    }

    /// Looks for cuts since the last record. Call it before the trail moves on.
    pub(in crate::sim) fn owe(&self, trail: &mut Trail, log_start: impl FnOnce() -> i64) {
        for (number, cut) in (1..).zip(&self.cuts).skip(trail.seen) {
            if self.silent_cuts.contains(&number) {
                // What it has read, and may still be given, says nothing of this log.
                (trail.from, trail.owed) = (i64::MAX, None);
            } else if trail.next > trail.from.max(*cut) {
                trail.owed.get_or_insert(number);
            }
        }
        trail.seen = self.cuts();
        // Brokers forget the epochs before the log's start, and cannot tell who stands there that it was cut further down.
        trail.owed = trail.owed.filter(|_| trail.next > log_start());
    }

    fn is_silent_since(&self, trail: Trail) -> bool {
        self.silent_cuts.range(trail.cuts + 1..).next().is_some()
    }

    /// A reader was told that the log is another one from an offset on, or from an earlier one if `log_start` is behind it.
    pub(in crate::sim) fn told_of_truncation(
        &mut self,
        reader: &str,
        trail: Trail,
        divergence: i64,
        log_start: i64,
    ) {
        let is_behind = |cut: &i64| divergence > log_start.max(*cut);
        if !self.is_silent_since(trail) && self.cuts[trail.cuts..].iter().all(is_behind) {
            let cuts = &self.cuts;
            let what = format!("{reader} was told of a truncation at {divergence}: {trail:?}, cuts {cuts:?}");
            self.add(Wrong::Unfounded, what);
        }
    }
}
