//! How far both sides are: bars on a terminal, a line now and then elsewhere.
//!
//! Invariant: it only looks at counters; nothing waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use tokio_util::task::AbortOnDropHandle;

use crate::note;
use crate::sim::live::Stage;

const REDRAW: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(1);

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

/// The display; it goes away when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    display: MultiProgress,
    bars: [ProgressBar; 2],
    _task: AbortOnDropHandle<()>,
}

impl Progress {
    /// Shows how far both sides are on their way to `records`.
    pub(crate) fn start(records: u64, stage: &Arc<Stage>) -> Self {
        let display = MultiProgress::new();
        let bars = ["append", "read"].map(|name| {
            let bar = ProgressBar::new(records).with_prefix(name);
            display.add(bar.with_style(style()))
        });
        let task = tokio::spawn(show(display.clone(), bars.clone(), stage.clone()));
        Self { display, bars, _task: AbortOnDropHandle::new(task) }
    }

    /// Shows a line above the bars.
    pub(crate) fn tell(&self, line: &str) {
        self.display.suspend(|| note!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
    }
}

async fn show(display: MultiProgress, bars: [ProgressBar; 2], stage: Arc<Stage>) {
    let since = Instant::now();
    loop {
        tokio::time::sleep(if display.is_hidden() { LINE } else { REDRAW }).await;
        for (bar, counter) in bars.iter().zip([&stage.appended, &stage.read]) {
            // A side that is done keeps its last rate.
            if Some(bar.position()) != bar.length() {
                bar.set_position(counter.records());
                let rate = counter.bytes() as f64 / 1e6 / since.elapsed().as_secs_f64();
                bar.set_message(format!("{rate:.1} MB/s"));
            }
        }
        if display.is_hidden() {
            note!("{}", bars.each_ref().map(line).join(", "));
        }
    }
}

fn line(bar: &ProgressBar) -> String {
    let (done, all) = (HumanCount(bar.position()), HumanCount(bar.length().unwrap_or_default()));
    format!("{} {done} of {all} ({})", bar.prefix(), bar.message())
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{prefix:>6} {bar:40} {human_pos:>11} of {human_len} {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}
