//! The rules for ListOffsets: the ends of the log, and offsets by time.
//!
//! An answer by time is compared with the log at the end of the run, so that records which are read later count: no record of
//! that time or later may lie before it. An answer during which the log lost its end is not checked.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use rskafka::client::{FoundOffset, OffsetAt};
use time::OffsetDateTime;

use super::{LONGEST_GAP, Place, Rules, Wrong};

/// A question that was answered.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Answered {
    pub(in crate::sim) at: OffsetAt,
    pub(in crate::sim) found: FoundOffset,
    /// What was known before the question.
    pub(in crate::sim) place: Place,
    /// Where the log may have begun meanwhile: from the first offset before the question to that after it.
    pub(in crate::sim) starts: RangeInclusive<i64>,
    /// The log's end after the question.
    pub(in crate::sim) end: i64,
}

/// The times of a log's records, and the answers to compare with them.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    times: Vec<Option<OffsetDateTime>>,
    /// Offsets whose record is no longer found by its time.
    compacted: BTreeSet<i64>,
    answers: Vec<(String, Answered)>,
}

impl Rules {
    /// A record of this time was read.
    pub(in crate::sim) fn dated(&mut self, place: Place, offset: i64, time: OffsetDateTime) {
        let most = self.offsets.times.len() + LONGEST_GAP;
        let index = usize::try_from(offset).ok().filter(|index| *index < most);
        let Some(index) = index.filter(|_| !self.is_cut_since(place, offset)) else {
            return;
        };
        let times = &mut self.offsets.times;
        times.resize(times.len().max(index + 1), None);
        if let Some(known) = times[index].replace(time).filter(|known| *known != time) {
            self.add(Wrong::TwoValues, format!("offset {offset} was read with the times {known} and {time}"));
        }
    }

    /// Compaction has removed a record: a search by time must not find it, and a client may take a lost one for such.
    pub(in crate::sim) fn compacted(&mut self, offset: i64) {
        self.writers.values_mut().for_each(|writer| writer.losses.is_lost = None);
        self.offsets.compacted.insert(offset);
    }

    /// A question for an offset was answered.
    pub(in crate::sim) fn answered(&mut self, reader: &str, answered: Answered) {
        let Answered { at, found: FoundOffset { offset, timestamp, .. }, place, starts, end } = &answered;
        if self.cuts() != place.cuts {
            return;
        }
        let is_right = match (at, timestamp) {
            (OffsetAt::Earliest, _) => starts.contains(offset),
            (OffsetAt::Timestamp(wanted), Some(time)) => time >= wanted && offset < end,
            _ => (place.acknowledged..=*end).contains(offset),
        };
        if !is_right {
            self.add(Wrong::WrongOffset, format!("{reader} was told {answered:?}"));
        }
        self.offsets.answers.push((reader.to_owned(), answered));
    }

    /// Compares what was answered so far with what was read so far.
    pub(super) fn check_answers(&mut self) {
        let Offsets { times, compacted, answers } = &mut self.offsets;
        let time_at = |offset: i64| times.get(usize::try_from(offset).ok()?).copied().flatten();
        for (reader, answered) in answers.drain(..) {
            let Answered { at: OffsetAt::Timestamp(wanted), found, starts, .. } = &answered else { continue };
            let is_late = |offset: &i64| time_at(*offset).is_some_and(|time| time >= *wanted);
            let mut before = (*starts.end()..found.offset).filter(|offset| !compacted.contains(offset));
            let is_other = |time: &OffsetDateTime| found.timestamp.is_some_and(|named| named != *time);
            let wrong = match (before.find(is_late), time_at(found.offset).filter(is_other)) {
                (Some(offset), _) => format!("offset {offset} is not before that time"),
                (None, Some(time)) => format!("the record there has the time {time}"),
                (None, None) => continue,
            };
            let what = format!("{reader} was told {answered:?}: {wrong}");
            self.findings.add(Wrong::WrongOffset, what);
        }
    }

    /// The log has lost all that was at or above an offset.
    pub(super) fn cut_offsets(&mut self, at: i64) {
        self.check_answers();
        self.offsets.times.truncate(usize::try_from(at).unwrap_or(0));
        self.offsets.compacted.split_off(&at);
    }
}
