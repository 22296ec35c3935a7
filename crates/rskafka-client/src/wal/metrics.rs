//! What the readers and writers of an exclusive log in this process count for the `metrics` crate.

use metrics::{Counter, Gauge, counter, gauge};

use super::fence::Verdict;

/// The metrics of one log. They say what was read last, and count the same batch for each reader.
#[derive(Debug)]
pub(super) struct Metrics {
    term: Gauge,
    bytes_behind: Gauge,
    appended: Counter,
    claims: Counter,
    entries: Counter,
    dead: Counter,
    foreign: Counter,
}

impl Metrics {
    pub(super) fn new(topic: &str, partition: i32) -> Self {
        let labels = &[("topic", topic.to_owned()), ("partition", partition.to_string())];
        Self {
            term: gauge!("rskafka_wal_term", labels),
            bytes_behind: gauge!("rskafka_wal_bytes_behind", labels),
            appended: counter!("rskafka_wal_appended", labels),
            claims: counter!("rskafka_wal_claims", labels),
            entries: counter!("rskafka_wal_entries", labels),
            dead: counter!("rskafka_wal_dead", labels),
            foreign: counter!("rskafka_wal_foreign", labels),
        }
    }

    /// An append of this process counts.
    pub(super) fn appended(&self) {
        self.appended.increment(1);
    }

    /// A batch was read, in this term. About so many bytes are left.
    pub(super) fn read(&self, verdict: Verdict, term: u64, bytes_behind: u64) {
        let counter = match verdict {
            Verdict::Claim => &self.claims,
            Verdict::Entry => &self.entries,
            Verdict::Dead(_) => &self.dead,
            Verdict::Foreign => &self.foreign,
            Verdict::Control => return,
        };
        counter.increment(1);
        self.term.set(term as f64);
        self.bytes_behind.set(bytes_behind as f64);
    }

    /// A claim of this process counts, as its acknowledgement tells.
    pub(super) fn claimed(&self, term: u64) {
        self.read(Verdict::Claim, term, 0);
    }
}
