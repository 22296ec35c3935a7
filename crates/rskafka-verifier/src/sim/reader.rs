//! Readers: one that follows the log while it grows, and one that reads it whole in the end.
//!
//! Invariant: a reader goes on where the last record ended; it jumps only where the client says that
//! offsets are gone, and not beyond where the log begins.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rskafka::client::error::ErrorKind;
use rskafka::client::{OffsetAt, PartitionClient};
use rskafka::record::RecordAndOffset;
use tokio::sync::watch;

use super::drop::{Dropped, dropped_after};
use super::plan::FETCH_DROPPED;
use super::rules::Wrong;
use super::run::{Stage, TIMEOUT};
use super::value::Value;

const WHOLE: i32 = 1 << 20;
/// A pause after an error, so that virtual time goes on.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Reader {
    pub(super) name: String,
    pub(super) log: PartitionClient,
    pub(super) partition: usize,
    pub(super) random: fastrand::Rng,
    pub(super) stage: Arc<Stage>,
    /// Nothing more is written, and nothing more goes wrong.
    pub(super) is_all_written: watch::Receiver<bool>,
}

impl Reader {
    pub(super) async fn run(mut self) {
        let mut next = 0;
        loop {
            let is_last = *self.is_all_written.borrow();
            let max_bytes = [1, 500, 5_000, WHOLE][self.random.usize(..4)];
            let min_bytes = if self.random.bool() { 1 } else { max_bytes.min(2_000) };
            let wait_ms = self.random.i32(0..500);
            let limit = TIMEOUT + Duration::from_millis(wait_ms as u64);
            let fetch = Box::pin(self.log.fetch_records(next, min_bytes..max_bytes.max(min_bytes), wait_ms));
            let fetch = Dropped::new(fetch, dropped_after(&mut self.random));
            let fetched = self.stage.timed(self.partition, "fetch_records", limit, fetch).await;
            match fetched {
                None => self.stage.struck(FETCH_DROPPED, 1),
                Some(Ok((records, _))) => {
                    if is_last && records.is_empty() && self.is_at_end(next).await {
                        return;
                    }
                    next = self.take(next, &records);
                }
                Some(Err(error)) => match error.kind() {
                    ErrorKind::OffsetOutOfRange { log_start, .. } if *log_start > next => next = *log_start,
                    // Nothing that is planned damages a batch, or makes the arguments wrong.
                    ErrorKind::CorruptBatch { .. } | ErrorKind::InvalidArgument(_) => {
                        let what = format!("{} at offset {next}: {error:?}", self.name);
                        return self.stage.rules(self.partition, |rules| rules.add(Wrong::Corrupted, what));
                    }
                    _ => {
                        self.stage.network.note(|| format!("{} at offset {next}: {error:?}", self.name));
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    fn take(&self, next: i64, records: &[RecordAndOffset]) -> i64 {
        take(&self.stage, self.partition, &self.name, next, records)
    }

    async fn is_at_end(&self, next: i64) -> bool {
        let call = self.log.get_offset(OffsetAt::Latest);
        let end = self.stage.timed(self.partition, "get_offset", TIMEOUT, call).await;
        end.is_ok_and(|end| next >= end.offset)
    }
}

/// Reads a log that nobody writes to any more, on a cluster in which nothing goes wrong.
pub(super) async fn read_whole(log: &PartitionClient, partition: usize, stage: &Stage) -> Result<()> {
    let end = log.get_offset(OffsetAt::Latest).await?.offset;
    let mut next = log.get_offset(OffsetAt::Earliest).await?.offset;
    while next < end {
        let call = log.fetch_records(next, 1..WHOLE, 500);
        let (records, _) = stage.timed(partition, "the last fetch_records", TIMEOUT, call).await?;
        next = take(stage, partition, "the last reader", next, &records);
    }
    Ok(())
}

/// Tells the rules what a reader was given; gives what comes next.
fn take(stage: &Stage, partition: usize, name: &str, mut next: i64, records: &[RecordAndOffset]) -> i64 {
    stage.rules(partition, |rules| {
        for RecordAndOffset { offset, record } in records {
            rules.read(name, next, *offset, Value::of(record.value.as_ref()));
            next = offset + 1;
        }
    });
    next
}
