//! What the checker has found: counted by kind, the first few of each kept.
//!
//! Invariant: counts are exact; what is kept of each kind are those with the lowest offsets.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// How many of each kind are kept.
const KEPT: usize = 5;

/// What can be wrong with a log, or with the way it is read; in the order in which findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A record was acknowledged, but is not read.
    Lost,
    /// A record is read more than once.
    Duplicated,
    /// A record is read before one that was appended earlier, or elsewhere than acknowledged.
    Reordered,
    /// What is read is not what was appended.
    Corrupted,
    /// The reader went over offsets that nobody acknowledged.
    Gap,
    /// A record is read that was reported as not written.
    NotWritten,
    /// A record is read that nobody appended.
    NotAppended,
}

/// One thing that is wrong, or a run of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// Where.
    pub offsets: Range<i64>,
    /// What happened there.
    pub what: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<Kind, u64>,
}

impl Findings {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many records (of gaps: offsets) are concerned.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// The first of a kind, by offset.
    pub fn first(&self, kind: Kind) -> Option<&Finding> {
        self.kept.iter().find(|finding| finding.kind == kind)
    }

    /// The first few of each kind, by kind and offset.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.kept.iter()
    }

    pub(crate) fn add(&mut self, kind: Kind, offset: i64, what: impl FnOnce() -> String) {
        self.add_run(kind, offset..offset + 1, what);
    }

    pub(crate) fn add_run(&mut self, kind: Kind, offsets: Range<i64>, what: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += (offsets.end - offsets.start).cast_unsigned();
        let order = (kind, offsets.start);
        let at = self.kept.partition_point(|kept| (kept.kind, kept.offsets.start) <= order);
        let end = self.kept.partition_point(|kept| kept.kind <= kind);
        let first = self.kept.partition_point(|kept| kept.kind < kind);
        if at - first >= KEPT {
            return;
        }
        self.kept.insert(at, Finding { kind, offsets, what: what() });
        if end + 1 - first > KEPT {
            self.kept.remove(end);
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Corrupted => "corrupted",
            Self::Gap => "skipped",
            Self::NotWritten => "read though not written",
            Self::NotAppended => "never appended",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, offsets, what } = self;
        match offsets.end - offsets.start {
            1 => write!(f, "{kind}: offset {}: {what}", offsets.start),
            _ => write!(f, "{kind}: offsets {} to {}: {what}", offsets.start, offsets.end - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_of_each_kind_kept() {
        let mut findings = Findings::default();
        for offset in (0..100).rev() {
            findings.add(Kind::Reordered, offset, || "r".to_owned());
            findings.add_run(Kind::Lost, 10 * offset..10 * offset + 10, || "l".to_owned());
        }
        assert_eq!(findings.count(Kind::Reordered), 100);
        assert_eq!(findings.count(Kind::Lost), 1_000);
        assert_eq!(findings.count(Kind::Gap), 0);
        let kept: Vec<(Kind, i64)> = findings.iter().map(|kept| (kept.kind, kept.offsets.start)).collect();
        let lost = (0..5).map(|n| (Kind::Lost, 10 * n));
        assert_eq!(kept, lost.chain((0..5).map(|n| (Kind::Reordered, n))).collect::<Vec<_>>());
        assert_eq!(findings.first(Kind::Lost).unwrap().to_string(), "lost: offsets 0 to 9: l");
        assert_eq!(findings.first(Kind::Gap), None);
    }
}
