//! The reading side: tails the log while it grows, and some time beyond its end.
//!
//! Invariant: where the log ends is what it is told after the last append, never a watermark.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rskafka::client::PartitionClient;
use tokio::sync::{mpsc, watch};

use crate::checker::Event;
use crate::progress::Counter;
use crate::tamper::Tamper;
use crate::workload::size_of_read;

const MAX_BYTES: i32 = 1 << 20;
/// Also how long it watches, at the end, for records that should not be there.
const MAX_WAIT_MS: i32 = 300;
/// How long records that are in the log may take to come, and how long others may go on coming.
const PATIENCE: Duration = Duration::from_secs(15);

/// Reads from the log's beginning.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) partition: PartitionClient,
    pub(crate) tamper: Option<Tamper>,
    pub(crate) events: mpsc::Sender<Event>,
    /// The log's end, once nothing more is appended.
    pub(crate) log_end: watch::Receiver<Option<i64>>,
    pub(crate) read: Arc<Counter>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Tailed {
    /// From the start to the last record.
    pub(crate) elapsed: Duration,
    /// Where the view was tampered with.
    pub(crate) tampered_at: Option<i64>,
}

impl Tail {
    pub(crate) async fn run(mut self) -> Result<Tailed> {
        let since = Instant::now();
        let mut last_record = since;
        let mut ended: Option<Instant> = None;
        let mut offset = 0;
        loop {
            // Looked at before the fetch, so that its whole wait lies after the last append.
            let log_end = *self.log_end.borrow();
            let fetched = self.partition.fetch_records(offset, 1..MAX_BYTES, MAX_WAIT_MS).await;
            let (mut records, _) = fetched.with_context(|| format!("reading from offset {offset} on"))?;
            let is_silent = records.is_empty();
            if let Some(last) = records.last() {
                offset = last.offset + 1;
                last_record = Instant::now();
                self.read.add(records.len(), records.iter().map(|read| size_of_read(&read.record)).sum());
                if let Some(tamper) = &mut self.tamper {
                    tamper.tamper(&mut records);
                }
                // Without a checker the whole demo is at its end.
                let _ = self.events.send(Event::Read(records)).await;
            }
            let Some(log_end) = log_end else {
                continue;
            };
            let ended = *ended.get_or_insert_with(Instant::now);
            let waits_since = if offset < log_end { ended.max(last_record) } else { ended };
            // What is still missing after that is for the checker to say.
            if (offset >= log_end && is_silent) || waits_since.elapsed() > PATIENCE {
                break;
            }
        }
        let tampered_at = self.tamper.and_then(|tamper| tamper.done_at());
        Ok(Tailed { elapsed: last_record - since, tampered_at })
    }
}
