//! How far both sides are: a line now and then.
//!
//! Invariant: it only looks at counters; nothing waits for it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::note;
use crate::sim::live::Stage;

/// What one side has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    pub(crate) fn add(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Shows how much was done, and the rates since the line before.
pub(crate) async fn show(stage: &Stage, every: Duration) -> Infallible {
    let (since, mut before) = (Instant::now(), [0; 2]);
    loop {
        tokio::time::sleep(every).await;
        let done = [&stage.appended, &stage.read].map(Counter::records);
        let [append, read] = [0, 1].map(|side| (done[side] - before[side]) / every.as_secs());
        let ([appended, given], at) = (done, since.elapsed().as_secs_f64());
        note!("{at:>6.1} s  {appended} records appended, {append}/s; {given} read, {read}/s");
        before = done;
    }
}
