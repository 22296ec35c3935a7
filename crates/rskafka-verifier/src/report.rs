//! What a demo has shown, in words and as lines for other programs.
//!
//! Invariant: `verified:` is printed only if every record was acknowledged and read, whole, in its place.

use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;

use crate::checker::Verdict;
use crate::digest::Digest;
use crate::findings::Kind;
use crate::progress::Counter;
use crate::tamper::Tampering;

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

/// How long produce calls took, from the call to the acknowledgement; waiting in line is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latencies {
    /// Half of the calls took at most this.
    pub p50: Duration,
    /// 99 of 100 calls took at most this.
    pub p99: Duration,
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
    /// Of all values, in the order in which they were appended.
    pub digest: Digest,
    /// What was appended.
    pub appended: Rate,
    /// What was read.
    pub read: Rate,
    /// How long the produce calls took.
    pub latencies: Latencies,
    /// The error of the first append that failed.
    pub failure: Option<String>,
    /// What was done to the reader's view, and at which offset.
    pub tampered: Option<(Tampering, i64)>,
    /// What the checker says.
    pub verdict: Verdict,
}

impl Report {
    /// Whether every record was acknowledged and read, whole, in its place, and nothing else.
    pub fn is_verified(&self) -> bool {
        self.failure.is_none() && self.verdict.is_clean() && self.verdict.verified == self.records
    }

    /// `key=value` lines for other programs: where the log is, and the digest of what was appended.
    pub fn fields(&self) -> String {
        let Self { topic, partition, digest, .. } = self;
        format!("topic={topic}\npartition={partition}\nrecords={}\ndigest={}\n", digest.records, digest.hex)
    }
}

impl Rate {
    pub(crate) fn new(counter: &Counter, elapsed: Duration) -> Self {
        Self { records: counter.records(), bytes: counter.bytes(), elapsed }
    }
}

impl Latencies {
    /// Of calls in ascending order.
    pub(crate) fn of(sorted: &[Duration]) -> Self {
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99) }
    }
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

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        write!(f, "p50 {:.1} ms, p99 {:.1} ms", ms(self.p50), ms(self.p99))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, appended, read, latencies, failure, tampered, verdict, .. } = self;
        writeln!(f, "append: {appended}; produce calls {latencies}")?;
        writeln!(f, "read:   {read}")?;
        if let Some((tampering, offset)) = tampered {
            writeln!(f, "the reader's view was tampered with at offset {offset}: {tampering}")?;
        }
        if let Some(failure) = failure {
            writeln!(f, "append failed: {failure}")?;
        }
        for finding in verdict.findings.iter() {
            writeln!(f, "{finding}")?;
        }
        if verdict.gave_up {
            writeln!(f, "there is too much wrong to look at all of it: the counts are too low")?;
        }
        if self.is_verified() {
            return writeln!(f, "verified: {records} records, 0 lost, 0 duplicated, 0 reordered");
        }
        let count = |kind| verdict.findings.count(kind);
        write!(
            f,
            "FAILED: {records} records, {} lost, {} duplicated, {} reordered, {} corrupted",
            count(Kind::Lost),
            count(Kind::Duplicated),
            count(Kind::Reordered),
            count(Kind::Corrupted)
        )?;
        for kind in [Kind::Gap, Kind::NotWritten, Kind::NotAppended] {
            if count(kind) > 0 {
                write!(f, ", {} {kind}", count(kind))?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digester;
    use crate::findings::Findings;

    fn report(findings: Findings) -> Report {
        let rate = Rate { records: 1_000, bytes: 2_000_000, elapsed: Duration::from_millis(500) };
        Report {
            topic: "wal".to_owned(),
            partition: 0,
            records: 1_000,
            digest: Digester::default().finish(),
            appended: rate,
            read: rate,
            latencies: Latencies::of(&(1..=200).map(Duration::from_millis).collect::<Vec<_>>()),
            failure: None,
            tampered: None,
            verdict: Verdict { verified: 1_000, findings, gave_up: false },
        }
    }

    #[test]
    fn a_clean_report_says_verified_and_the_rates() {
        let text = report(Findings::default()).to_string();
        assert_eq!(
            text,
            "append: 1,000 records in 0.50 s, 2,000 records/s, 4.0 MB/s; produce calls p50 100.0 ms, p99 198.0 ms\n\
             read:   1,000 records in 0.50 s, 2,000 records/s, 4.0 MB/s\n\
             verified: 1000 records, 0 lost, 0 duplicated, 0 reordered\n"
        );
    }

    #[test]
    fn anything_wrong_makes_it_failed() {
        let mut findings = Findings::default();
        findings.add(Kind::Duplicated, 7, || "record 7 is read again".to_owned());
        findings.add(Kind::Gap, 9, || "not read".to_owned());
        let unclean = report(findings);
        let short = {
            let mut report = report(Findings::default());
            report.verdict.verified = 999;
            report
        };
        let failed = Report { failure: Some("no time left".to_owned()), ..report(Findings::default()) };
        let gave_up = {
            let mut report = report(Findings::default());
            report.verdict.gave_up = true;
            report
        };
        for report in [&unclean, &short, &failed, &gave_up] {
            assert!(!report.is_verified());
            assert!(!report.to_string().contains("verified:"));
            assert!(report.to_string().lines().last().unwrap().starts_with("FAILED: 1000 records, 0 lost, "));
        }
        let text = unclean.to_string();
        assert!(text.contains("duplicated: offset 7: record 7 is read again\n"));
        assert!(text.ends_with("0 lost, 1 duplicated, 0 reordered, 0 corrupted, 1 skipped\n"));
    }

    #[test]
    fn percentiles_of_few_calls_are_calls() {
        assert_eq!(Latencies::of(&[]), Latencies::default());
        let one = Duration::from_millis(3);
        assert_eq!(Latencies::of(&[one]), Latencies { p50: one, p99: one });
    }
}
