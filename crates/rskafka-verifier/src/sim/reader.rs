//! Readers: one that follows the log while it grows, and one that reads it whole in the end.
//!
//! Invariant: a reader continues after its last record. It skips offsets only if the client says that they are gone, and
//! never beyond the start of the log.

mod following;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rskafka::client::error::{Error, ErrorKind};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::ApiKey;
use rskafka::record::RecordAndOffset;
use tokio::sync::watch;
use tokio::time::Instant;

use super::drop::{dropped_after, unless_dropped};
use super::kind::FETCH_DROPPED;
use super::mistake::Mistake;
use super::rules::{Answered, Place, Wrong};
use super::run::{Stage, partition_client};
use super::truth::{extent, has_records, last_end};
use super::value::Value;
use super::wire::LONGEST_WAIT;

const WHOLE: i32 = 1 << 20;
/// The version of Metadata from which on clients rely on leaders' epochs.
const EPOCHS_FROM: i16 = 9;
/// One fetch in this many follows a call of `get_offset`.
const ASKS_ONE_IN: u8 = 10;
/// Most timestamps asked for are at most this far from now.
const NEAR_MS: u64 = 50;
/// How long the last reader may take for a call: its wait, and what it takes to connect.
const LAST_LIMIT: Duration = Duration::from_millis(750);
/// The longest pause after an error; without pauses virtual time would stand still.
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
    /// Writers have ended, and faults are over.
    pub(super) is_all_written: watch::Receiver<bool>,
}

impl Reader {
    pub(super) async fn run(mut self) {
        let mut next = 0;
        loop {
            let is_last = *self.is_all_written.borrow();
            let max_bytes = [1, 500, 5_000, WHOLE][self.random.usize(..4)];
            let min_bytes = if self.random.bool() { 1 } else { max_bytes.min(2_000) };
            let wait_ms = self.random.i32(0..LONGEST_WAIT.as_millis() as i32);
            if self.random.u8(..ASKS_ONE_IN) == 0 {
                self.ask(self.stage.place(self.partition, next)).await;
            }
            let limit = self.stage.options.api_timeout + Duration::from_millis(wait_ms as u64);
            let place = self.stage.place(self.partition, next);
            let since = Instant::now();
            let fetch = Box::pin(self.log.fetch_records(next, min_bytes..max_bytes.max(min_bytes), wait_ms));
            let fetch = unless_dropped(fetch, dropped_after(&mut self.random));
            let fetched = self.stage.book.timed(self.partition, "fetch_records", limit, fetch).await;
            match fetched {
                None => *self.stage.outcome().dropped.entry(FETCH_DROPPED).or_default() += 1,
                Some(Ok((mut records, _))) => {
                    if self.stage.mistaken.makes(Mistake::Withholds) {
                        records.clear();
                    }
                    if records.is_empty() {
                        self.check_none(place);
                        if is_last && self.is_at_end(next).await {
                            return;
                        }
                    }
                    next = take(&self.stage, self.partition, &self.name, place, false, &records);
                    if self.random.u8(..4) == 0 {
                        tokio::time::sleep(Duration::from_millis(self.random.u64(..LAG_MS))).await;
                    }
                }
                Some(Err(error)) => {
                    self.stage.check_attempts(self.partition, &error, since.elapsed(), 0);
                    match self.after(&error, place).await {
                        Some(place) => next = place,
                        None => return,
                    }
                }
            }
        }
    }

    /// Where to continue after an error; `None` if the reader cannot.
    async fn after(&mut self, error: &Error, place: Place) -> Option<i64> {
        let next = place.next;
        self.stage.network.note(|| format!("{} at offset {next}: {error:?}", self.name));
        self.stage.check_open(self.partition, error);
        // A leader that has just taken over may not have deleted as much as the one before it.
        let begins = *extent(&self.stage, self.partition).0.end();
        let has_lost = self.stage.place(self.partition, next).cuts > 0;
        let wrong = match error.kind() {
            ErrorKind::OffsetOutOfRange { log_start, .. } if *log_start > next && *log_start <= begins => {
                return Some(*log_start);
            }
            ErrorKind::OffsetOutOfRange { log_end, .. } if *log_end < next && has_lost => {
                return Some(*log_end);
            }
            // It asked before the log was cut, or the log was cut or grew between two questions.
            ErrorKind::OffsetOutOfRange { .. } => (!has_lost).then_some(Wrong::Skipped),
            ErrorKind::TopicRecreated | ErrorKind::OtherTopic if has_lost => {
                self.log = partition_client(&self.client, &self.stage, self.partition).await;
                return Some(0);
            }
            ErrorKind::TopicRecreated | ErrorKind::OtherTopic => Some(Wrong::Unfounded),
            // No planned fault damages a batch, and the arguments are valid.
            ErrorKind::CorruptBatch { .. } | ErrorKind::InvalidArgument(_) => Some(Wrong::Corrupted),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let what = format!("{} at offset {next}: {error:?}", self.name);
            self.stage.book.rules(self.partition).add(wrong, what);
            return None;
        }
        tokio::time::sleep(Duration::from_millis(self.random.u64(1..PAUSE_MS))).await;
        Some(next)
    }

    /// Checks an empty answer against what was acknowledged before the fetch.
    fn check_none(&self, place: Place) {
        let Self { stage, partition, name, .. } = self;
        let acknowledged = place.next..place.acknowledged;
        if has_records(stage, *partition, acknowledged, |_| false) && self.must_have_given(place) {
            let what = format!("{name} was given nothing: {place:?}");
            stage.book.rules(*partition).add(Wrong::Withheld, what);
        }
    }

    /// Whether what the log had at a place has to be given.
    fn must_have_given(&self, place: Place) -> bool {
        let Self { stage, partition, .. } = self;
        // A replica that has fallen behind still answers what it has, unless the client tells it the epoch of a later leader.
        let tells_epochs = stage.speaks(ApiKey::METADATA, EPOCHS_FROM);
        let lags = !tells_epochs && stage.is_short_of_replicas(*partition);
        !lags && stage.book.rules(*partition).cuts() == place.cuts
    }

    /// Asks for an offset, and checks the answer against the log.
    async fn ask(&mut self, place: Place) {
        let Self { stage, partition, name, log, random, .. } = self;
        let now = super::EPOCH + Duration::from_millis(stage.network.elapsed().as_millis() as u64);
        let past = Duration::from_millis(random.u64(..=stage.network.elapsed().as_millis() as u64));
        let near = Duration::from_millis(random.u64(..NEAR_MS));
        let at = match random.u8(..6) {
            0 => OffsetAt::Earliest,
            1 => OffsetAt::Latest,
            2 => OffsetAt::Timestamp(now - past),
            3 => OffsetAt::Timestamp(now - near),
            _ => OffsetAt::Timestamp(now + near),
        };
        let (first, since) = (*extent(stage, *partition).0.start(), Instant::now());
        let limit = stage.options.api_timeout;
        let mut found = match stage.book.timed(*partition, "get_offset", limit, log.get_offset(at)).await {
            Ok(found) => found,
            Err(error) => {
                stage.network.note(|| format!("{name} asks for {at:?}: {error:?}"));
                stage.check_attempts(*partition, &error, since.elapsed(), 0);
                return stage.check_open(*partition, &error);
            }
        };
        found.offset += i64::from(stage.mistaken.makes(Mistake::NamesLaterOffset));
        let (starts, end) = extent(stage, *partition);
        let answered = Answered { at, found, place, starts: first..=*starts.end(), end };
        stage.book.rules(*partition).answered(name, answered);
    }

    async fn is_at_end(&self, next: i64) -> bool {
        let Self { stage, partition, name, log, .. } = self;
        let call = log.get_offset(OffsetAt::Latest);
        let end = stage.book.timed(*partition, "get_offset", stage.options.api_timeout, call).await;
        if let Err(error) = &end {
            stage.network.note(|| format!("{name} asks for the end: {error:?}"));
        }
        end.is_ok_and(|end| !has_records(stage, *partition, next..end.offset, |_| false))
    }
}

/// Reads a complete log on a cluster without faults, where no call may take longer than its wait.
pub(super) async fn read_whole(log: &PartitionClient, partition: usize, stage: &Stage) -> Result<()> {
    let end = last_end(stage, partition, log.get_offset(OffsetAt::Latest).await?.offset);
    let mut next = log.get_offset(OffsetAt::Earliest).await?.offset;
    let mut behind = next;
    while next < end {
        let place = stage.place(partition, behind);
        let call = log.fetch(next).max_wait(LONGEST_WAIT).into_future();
        let fetched = stage.book.timed(partition, "the last fetch", LAST_LIMIT, call).await?;
        if fetched.next_offset() <= next {
            let what = format!("the last reader got no further than {next}, and the end is {end}");
            stage.book.rules(partition).add(Wrong::Withheld, what);
            break;
        }
        next = fetched.next_offset();
        let records: Vec<_> = fetched.into_records().collect::<Result<_, Error>>()?;
        behind = take(stage, partition, "the last reader", place, false, &records);
    }
    // More than there is: it waits as long as it may, also where the log ends in offsets without records.
    let call = log.fetch_records(behind, WHOLE - 1..WHOLE, LONGEST_WAIT.as_millis() as i32);
    stage.book.timed(partition, "the last fetch_records", LAST_LIMIT, call).await?;
    Ok(())
}

/// Tells the rules what a reader was given, perhaps one of committed records alone; gives what comes next.
fn take(
    stage: &Stage,
    partition: usize,
    name: &str,
    mut place: Place,
    is_committed: bool,
    records: &[RecordAndOffset],
) -> i64 {
    let mistaken = &stage.mistaken;
    let mut rules = stage.book.rules(partition);
    for (index, RecordAndOffset { offset, record, .. }) in records.iter().enumerate() {
        if mistaken.makes(Mistake::LeavesOut) {
            continue;
        }
        // It may skip offsets without records, and those that were cut off, of which nothing is known.
        let is_left_out = |writer| is_committed && rules.is_aborted(writer);
        let is_over = |skipped| {
            rules.is_cut_since(place, offset - 1) || !has_records(stage, partition, skipped, is_left_out)
        };
        if *offset > place.next && is_over(place.next..*offset) {
            place.next = *offset;
        }
        let mixed_up = records.get(index + 1).filter(|_| mistaken.makes(Mistake::MixesUp));
        let value = mixed_up.map_or(&record.value, |other| &other.record.value);
        rules.read(name, place, *offset, Value::of(value.as_ref()));
        rules.dated(place, *offset, record.timestamp);
        place.next = offset + 1;
        if mistaken.makes(Mistake::GivesTwice) {
            rules.read(name, place, *offset, Value::of(value.as_ref()));
        }
    }
    place.next
}
