//! Which offsets a replay reads, and in which pieces. Plain.
//!
//! Invariant: the pieces are in order and have every offset that is wanted once.

use std::collections::VecDeque;
use std::ops::Range;

/// Ranges of offsets, in order, that do not overlap. Each includes its start and not its end. Made from one range or a list.
#[derive(Debug, Clone, PartialEq, Eq, derive_more::From)]
#[from(Vec<Range<i64>>)]
pub struct Ranges(VecDeque<Range<i64>>);

impl From<Range<i64>> for Ranges {
    fn from(range: Range<i64>) -> Self {
        Self(VecDeque::from([range]))
    }
}

impl Ranges {
    /// What is wrong with them.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let mut end = 0;
        for range in &self.0 {
            if range.start < 0 || range.start > range.end {
                return Err("a range begins below 0 or ends before it begins");
            }
            if range.start < end {
                return Err("ranges overlap or are not in order");
            }
            end = range.end;
        }
        Ok(())
    }

    /// How many offsets are left.
    pub(super) fn remaining(&self) -> u64 {
        self.0.iter().fold(0, |sum, range| sum.saturating_add(range.end.abs_diff(range.start)))
    }

    /// Takes out the next piece, of about `most` offsets. It goes on over gaps of up to `cheap_gap` offsets, as if they
    /// were wanted.
    pub(super) fn take(&mut self, most: i64, cheap_gap: i64) -> Option<Range<i64>> {
        while self.0.front().is_some_and(Range::is_empty) {
            self.0.pop_front();
        }
        let start = self.0.front()?.start;
        let limit = start.saturating_add(most.max(1));
        let mut end = start;
        while let Some(range) = self.0.front_mut() {
            if end > start && (range.start >= limit || range.start - end > cheap_gap) {
                break;
            }
            if range.end > limit {
                range.start = limit;
                return Some(start..limit);
            }
            end = range.end;
            self.0.pop_front();
        }
        Some(start..end)
    }

    /// Gives back what `take` took last, from `start` on.
    pub(super) fn give_back(&mut self, rest: Range<i64>) {
        self.0.push_front(rest);
    }

    /// Forgets what lies before an offset.
    #[inline]
    pub(super) fn skip_to(&mut self, offset: i64) {
        while self.0.front().is_some_and(|range| range.end <= offset) {
            self.0.pop_front();
        }
        if let Some(range) = self.0.front_mut() {
            range.start = range.start.max(offset);
        }
    }

    /// Whether an offset is wanted. Forgets it, and what lies before it.
    #[inline]
    pub(super) fn pass(&mut self, offset: i64) -> bool {
        let is_wanted =
            self.0.iter().find(|range| range.end > offset).is_some_and(|range| range.start <= offset);
        self.skip_to(offset.saturating_add(1));
        is_wanted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Ranges> {
        prop::collection::vec((0..6i64, 0..40i64), 0..12).prop_map(|parts| {
            let mut end = 0;
            let range = |(gap, length)| {
                let start = end + gap;
                end = start + length;
                start..end
            };
            Ranges(parts.into_iter().map(range).collect())
        })
    }

    proptest! {
        #[test]
        fn pieces_have_every_wanted_offset_once_and_in_order(
            ranges in ranges(), most in 1..30i64, cheap_gap in 0..6i64,
        ) {
            prop_assert_eq!(ranges.check(), Ok(()));
            let wanted: Vec<i64> = ranges.0.iter().cloned().flatten().collect();
            prop_assert_eq!(ranges.remaining(), wanted.len() as u64);
            let (mut left, mut filter, mut read) = (ranges.clone(), ranges.clone(), Vec::new());
            let (mut end, mut dropped) = (0, 0);
            while let Some(piece) = left.take(most, cheap_gap) {
                prop_assert!(piece.start >= end && piece.end - piece.start <= most && !piece.is_empty());
                end = piece.end;
                for offset in piece {
                    if filter.pass(offset) { read.push(offset) } else { dropped += 1 }
                }
            }
            prop_assert_eq!(read, wanted);
            prop_assert_eq!(filter.remaining(), 0);
            prop_assert!(cheap_gap > 0 || dropped == 0);
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, clippy::reversed_empty_ranges, reason = "wrong lists")]
    fn ranges_that_make_no_sense_are_told() {
        for ranges in [vec![-1..2], vec![3..2], vec![0..5, 4..6], vec![5..6, 0..1]] {
            assert!(Ranges::from(ranges).check().is_err());
        }
        assert!(Ranges::from(vec![0..5, 5..5, 5..6]).check().is_ok());
    }
}
