//! Readers: one that follows the log while it grows, and one that reads it whole in the end.
//!
//! Invariant: a reader goes on where the last record ended; it jumps only where the client says that
//! offsets are gone, and not beyond where the log begins.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rskafka::client::error::{Error, ErrorKind};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::record::RecordAndOffset;
use tokio::sync::watch;

use super::drop::{Dropped, dropped_after};
use super::kind::FETCH_DROPPED;
use super::mistake::Mistake;
use super::rules::{Place, Wrong};
use super::run::{Stage, TIMEOUT, partition_client};
use super::value::Value;

const WHOLE: i32 = 1 << 20;
/// The longest pause after an error, so that virtual time goes on.
const PAUSE_MS: u64 = 1_000;
/// The longest pause of a reader that falls behind.
const LAG_MS: u64 = 300;

pub(super) struct Reader {
    pub(super) name: String,
    pub(super) client: Client,
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
            let place = self.stage.place(self.partition, next);
            let fetch = Box::pin(self.log.fetch_records(next, min_bytes..max_bytes.max(min_bytes), wait_ms));
            let fetch = Dropped::new(fetch, dropped_after(&mut self.random));
            let fetched = self.stage.timed(self.partition, "fetch_records", limit, fetch).await;
            match fetched {
                None => self.stage.dropped(FETCH_DROPPED),
                Some(Ok((records, _))) => {
                    if is_last && records.is_empty() && self.is_at_end(next).await {
                        return;
                    }
                    next = take(&self.stage, self.partition, &self.name, place, &records);
                    if self.random.u8(..4) == 0 {
                        tokio::time::sleep(Duration::from_millis(self.random.u64(..LAG_MS))).await;
                    }
                }
                Some(Err(error)) => match self.after(&error, place).await {
                    Some(place) => next = place,
                    None => return,
                },
            }
        }
    }

    /// Where to go on after an error; `None` if there is no way.
    async fn after(&mut self, error: &Error, place: Place) -> Option<i64> {
        let next = place.next;
        self.stage.network.note(|| format!("{} at offset {next}: {error:?}", self.name));
        self.stage.check_open(self.partition, error);
        let begins = self.stage.network.log_start(self.partition);
        let has_lost = self.stage.place(self.partition, next).cuts > 0;
        let wrong = match error.kind() {
            ErrorKind::OffsetOutOfRange { log_start, .. } if *log_start > next && *log_start <= begins => {
                return Some(*log_start);
            }
            ErrorKind::OffsetOutOfRange { log_end, .. } if *log_end < next && has_lost => {
                return Some(*log_end);
            }
            // It asked before the log was cut, or the log was cut or grew between two questions.
            ErrorKind::OffsetOutOfRange { .. } if has_lost => None,
            ErrorKind::OffsetOutOfRange { log_start, log_end, .. }
                if *log_start > next || *log_end < next =>
            {
                Some(Wrong::Skipped)
            }
            ErrorKind::TopicRecreated if has_lost => {
                self.log = partition_client(&self.client, &self.stage, self.partition).await;
                return Some(0);
            }
            // Nothing that is planned damages a batch, or makes the arguments wrong.
            ErrorKind::CorruptBatch { .. } | ErrorKind::InvalidArgument(_) => Some(Wrong::Corrupted),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let what = format!("{} at offset {next}: {error:?}", self.name);
            self.stage.rules(self.partition, |rules| rules.add(wrong, what));
            return None;
        }
        tokio::time::sleep(Duration::from_millis(self.random.u64(1..PAUSE_MS))).await;
        Some(next)
    }

    async fn is_at_end(&self, next: i64) -> bool {
        let call = self.log.get_offset(OffsetAt::Latest);
        let end = self.stage.timed(self.partition, "get_offset", TIMEOUT, call).await;
        if let Err(error) = &end {
            self.stage.network.note(|| format!("{} asks for the end: {error:?}", self.name));
        }
        end.is_ok_and(|end| next >= end.offset)
    }
}

/// Reads a log that nobody writes to any more, on a cluster in which nothing goes wrong.
pub(super) async fn read_whole(log: &PartitionClient, partition: usize, stage: &Stage) -> Result<()> {
    let end = log.get_offset(OffsetAt::Latest).await?.offset;
    let mut next = log.get_offset(OffsetAt::Earliest).await?.offset;
    while next < end {
        let place = stage.place(partition, next);
        let call = log.fetch_records(next, 1..WHOLE, 500);
        let (records, _) = stage.timed(partition, "the last fetch_records", TIMEOUT, call).await?;
        next = take(stage, partition, "the last reader", place, &records);
    }
    Ok(())
}

/// Tells the rules what a reader was given; gives what comes next.
fn take(stage: &Stage, partition: usize, name: &str, mut place: Place, records: &[RecordAndOffset]) -> i64 {
    let mistaken = &stage.mistaken;
    stage.rules(partition, |rules| {
        for (index, RecordAndOffset { offset, record, .. }) in records.iter().enumerate() {
            if mistaken.makes(Mistake::LeavesOut) {
                continue;
            }
            let mixed_up = records.get(index + 1).filter(|_| mistaken.makes(Mistake::MixesUp));
            let value = mixed_up.map_or(&record.value, |other| &other.record.value);
            rules.read(name, place, *offset, Value::of(value.as_ref()));
            place.next = offset + 1;
            if mistaken.makes(Mistake::GivesTwice) {
                rules.read(name, place, *offset, Value::of(value.as_ref()));
            }
        }
    });
    place.next
}
