//! What a demo has shown, in words and as lines for other programs.
//!
//! Invariant: `verified:` is printed only if every record was acknowledged and read, whole, in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;

use crate::chaos;
use crate::progress::Counter;
use crate::sim::{Finding, Wrong};

/// What findings are counted as.
const COUNTED: [(&str, &[Wrong]); 8] = [
    ("lost", &[Wrong::Lost]),
    ("duplicated", &[Wrong::Duplicated]),
    ("reordered", &[Wrong::Reordered, Wrong::Misplaced]),
    ("corrupted", &[Wrong::Corrupted, Wrong::TwoValues]),
    ("given out of turn", &[Wrong::Skipped]),
    ("wrong outcomes", &[Wrong::NotWritten]),
    ("never appended", &[Wrong::NeverSent]),
    ("overdue", &[Wrong::Overdue]),
];

/// How much one side did, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Records.
    pub records: u64,
    /// Bytes of their keys, values and headers.
    pub bytes: u64,
    /// From the start to the last record.
    pub elapsed: Duration,
}

/// What a demo has shown.
#[derive(Debug, Clone)]
pub struct Report {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// How many records were to be appended.
    pub records: u64,
    /// SHA-256, in hexadecimal digits, of all values in the order in which they were appended, each followed by a line
    /// feed: that of a console consumer's output.
    pub digest: String,
    /// What was acknowledged.
    pub appended: Rate,
    /// What was read.
    pub read: Rate,
    /// What 50 and 99 of 100 produce calls took at most, from the call to the acknowledgement; waiting in line is part of it.
    pub latencies: [Duration; 2],
    /// How many faults struck while records were appended.
    pub faults: usize,
    /// The error of the first append that failed.
    pub failure: Option<String>,
    /// The first things of each kind that are wrong.
    pub findings: Vec<Finding>,
    /// How much of each kind is wrong.
    pub counts: BTreeMap<Wrong, u64>,
    /// What came of the exclusive log.
    pub exclusive: Option<chaos::Report>,
}

impl Report {
    /// Whether every record was acknowledged and read, whole, in its place, and nothing else; also in the exclusive log.
    pub fn is_verified(&self) -> bool {
        self.exclusive.as_ref().is_none_or(chaos::Report::is_verified) && self.is_log_verified()
    }

    fn is_log_verified(&self) -> bool {
        self.failure.is_none() && self.counts.is_empty() && self.appended.records == self.records
    }

    /// `key=value` lines for other programs: where the log is, and the digest of what was appended.
    pub fn fields(&self) -> String {
        let Self { topic, partition, records, digest, .. } = self;
        format!("topic={topic}\npartition={partition}\nrecords={records}\ndigest={digest}\n")
    }
}

impl Rate {
    pub(crate) fn new(counter: &Counter, elapsed: Duration) -> Self {
        Self { records: counter.records(), bytes: counter.bytes(), elapsed }
    }
}

/// How much of each kind is wrong, as a list that continues a line: those of these names also if there is nothing.
pub(crate) fn counted(counts: &BTreeMap<Wrong, u64>, always: &[&str]) -> String {
    let count = |kinds: &[Wrong]| kinds.iter().filter_map(|kind| counts.get(kind)).sum::<u64>();
    let counted = COUNTED.iter().map(|(name, kinds)| (name, count(kinds)));
    let counted = counted.filter(|(name, count)| *count > 0 || always.contains(name));
    counted.map(|(name, count)| format!(", {count} {name}")).collect()
}

/// What 50 and 99 of 100 calls took at most, of calls in ascending order.
pub(crate) fn percentiles(sorted: &[Duration]) -> [Duration; 2] {
    [50, 99].map(|percent| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        write!(
            f,
            "{} records in {seconds:.2} s, {} records/s, {:.1} MB/s",
            HumanCount(self.records),
            HumanCount((self.records as f64 / seconds) as u64),
            self.bytes as f64 / 1e6 / seconds
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, appended, read, latencies, faults, failure, findings, counts, .. } = self;
        let [p50, p99] = latencies.map(|latency| latency.as_secs_f64() * 1e3);
        writeln!(f, "append: {appended}; produce calls p50 {p50:.1} ms, p99 {p99:.1} ms")?;
        writeln!(f, "read:   {read}")?;
        if *faults > 0 {
            writeln!(f, "faults: {faults} struck while records were appended")?;
        }
        if let Some(failure) = failure {
            writeln!(f, "append failed: {failure}")?;
        }
        for finding in findings {
            writeln!(f, "{finding}")?;
        }
        if self.is_log_verified() {
            writeln!(f, "verified: {records} records, 0 lost, 0 duplicated, 0 reordered")?;
        } else {
            let wrong = counted(counts, &["lost", "duplicated", "reordered", "corrupted"]);
            writeln!(f, "FAILED: {records} records{wrong}")?;
        }
        self.exclusive.iter().try_for_each(|report| write!(f, "exclusive log: {report}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let rate = Rate { records: 1_000, bytes: 2_000_000, elapsed: Duration::from_millis(500) };
        Report {
            topic: "wal".to_owned(),
            partition: 0,
            records: 1_000,
            digest: String::new(),
            appended: rate,
            read: rate,
            latencies: percentiles(&(1..=200).map(Duration::from_millis).collect::<Vec<_>>()),
            faults: 3,
            failure: None,
            findings: Vec::new(),
            counts: BTreeMap::new(),
            exclusive: None,
        }
    }

    #[test]
    fn a_clean_report_says_verified_and_the_rates() {
        assert_eq!(
            report().to_string(),
            "append: 1,000 records in 0.50 s, 2,000 records/s, 4.0 MB/s; produce calls p50 100.0 ms, p99 198.0 ms\n\
             read:   1,000 records in 0.50 s, 2,000 records/s, 4.0 MB/s\n\
             faults: 3 struck while records were appended\n\
             verified: 1000 records, 0 lost, 0 duplicated, 0 reordered\n"
        );
    }

    #[test]
    fn anything_wrong_makes_it_failed() {
        let what = "offsets 7 and 8 both have record 7".to_owned();
        let unclean = Report {
            findings: vec![Finding { wrong: Wrong::Duplicated, what }],
            counts: [(Wrong::Duplicated, 1), (Wrong::Skipped, 1), (Wrong::Misplaced, 3)].into(),
            ..report()
        };
        let short = Report { appended: Rate { records: 999, ..report().appended }, ..report() };
        let failed = Report { failure: Some("no time left".to_owned()), ..report() };
        for report in [&unclean, &short, &failed] {
            assert!(!report.is_verified());
            assert!(!report.to_string().contains("verified:"));
            assert!(report.to_string().lines().last().unwrap().starts_with("FAILED: 1000 records, 0 lost, "));
        }
        let text = unclean.to_string();
        assert!(text.contains("Duplicated: offsets 7 and 8 both have record 7\n"));
        assert!(text.ends_with("0 lost, 1 duplicated, 3 reordered, 0 corrupted, 1 given out of turn\n"));
    }

    #[test]
    fn percentiles_of_few_calls_are_calls() {
        assert_eq!(percentiles(&[]), [Duration::ZERO; 2]);
        let one = Duration::from_millis(3);
        assert_eq!(percentiles(&[one]), [one; 2]);
    }
}
