//! What a broker checks of a batch before it appends it, and what it writes into it.
//!
//! Invariant: all that costs time by the batch's size happens in [`Checked::parse`], which needs no state
//! and so no lock.

use bytes::Bytes;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::records::{Batch, BatchErrorKind, Compression, Corruption, Unsupported, batches};

use super::TopicSettings;
use super::log::Stored;

/// Zstandard came with this version of Produce (KIP-110).
const ZSTD_FROM_PRODUCE: i16 = 7;

/// Why a batch is not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
    /// The records at fault: place in the batch, and why.
    pub(crate) records: Vec<(i32, String)>,
    /// Whether the request as such is refused, before anyone asks who leads the partition.
    pub(crate) before_leader: bool,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), before_leader: false }
    }
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::from(code) }
    }

    /// The one batch of a request has to be there, be alone and be of magic 2.
    fn of_request(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { before_leader: true, ..Self::new(code, message) }
    }
}

/// A batch that is right in itself.
#[derive(Debug)]
pub(crate) struct Checked {
    batch: Batch,
    /// The smallest and the largest timestamp; `None` if the records cannot be read here.
    timestamps: Option<(i64, i64)>,
    has_keys: bool,
}

impl Checked {
    /// Checks the records field of a produce request as Kafka does (`ProduceRequest`, `LogValidator`).
    pub(crate) fn parse(records: Option<Bytes>, api_version: i16) -> Result<Self, Refusal> {
        let records = records.unwrap_or_default();
        let mut set = batches(&records);
        let Some(batch) = set.next() else {
            let why = format!(
                "Produce requests with version {api_version} must have at least one record batch per partition"
            );
            return Err(Refusal::of_request(ErrorCode::INVALID_RECORD, why));
        };
        let batch = batch.map_err(|error| refusal_of(*error.kind()))?;
        if set.next().is_some() {
            let why = format!(
                "Produce requests with version {api_version} are only allowed to contain exactly one record batch per partition"
            );
            return Err(Refusal::of_request(ErrorCode::INVALID_RECORD, why));
        }
        if batch.compression() == Compression::Zstd && api_version < ZSTD_FROM_PRODUCE {
            let why = format!(
                "Produce requests with version {api_version} are not allowed to use ZStandard compression"
            );
            return Err(Refusal::of_request(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, why));
        }
        Self::check(batch)
    }

    /// Checks that the header and the records agree.
    fn check(batch: Batch) -> Result<Self, Refusal> {
        let invalid = |why: &str| Err(Refusal::new(ErrorCode::INVALID_RECORD, why));
        if batch.base_offset() != 0 {
            return invalid("The baseOffset of the record batch in the append to the partition should be 0");
        }
        if batch.is_control() {
            return invalid("Clients are not allowed to write control records");
        }
        if batch.record_count() == 0 {
            return invalid("The record batch has no records");
        }
        let offsets = batch.next_offset() - batch.base_offset();
        if usize::try_from(offsets) != Ok(batch.record_count()) {
            return invalid("Inconsistent batch offset range: it does not match the number of records");
        }
        let mut checked = Self { timestamps: None, has_keys: true, batch };
        let (mut earliest, mut latest) = (i64::MAX, i64::MIN);
        for record in checked.batch.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) if !error.is_corrupt() => return Ok(checked),
                Err(error) => return invalid(&error.to_string()),
            };
            earliest = earliest.min(record.timestamp);
            latest = latest.max(record.timestamp);
            checked.has_keys &= record.key.is_some();
        }
        checked.timestamps = Some((earliest, latest));
        Ok(checked)
    }

    pub(crate) fn size(&self) -> usize {
        self.batch.size_in_bytes()
    }

    /// Checks the batch against its topic's configs.
    pub(crate) fn check_topic(&self, settings: &TopicSettings, now_ms: i64) -> Result<(), Refusal> {
        if settings.compacted && !self.has_keys {
            let why = "Compacted topic cannot accept message without key";
            let mut refusal =
                Refusal::new(ErrorCode::INVALID_RECORD, "One or more records have been rejected");
            refusal.records = self.places(|record| record.key.is_none(), why);
            return Err(refusal);
        }
        if settings.log_append_time {
            return Ok(());
        }
        let earliest_allowed = now_ms.saturating_sub(settings.timestamp_before_max_ms);
        let latest_allowed = now_ms.saturating_add(settings.timestamp_after_max_ms);
        let (earliest, latest) =
            self.timestamps.unwrap_or((self.batch.max_timestamp(), self.batch.max_timestamp()));
        // Without a timestamp (-1) there is nothing to compare.
        if (earliest >= 0 && earliest < earliest_allowed) || latest > latest_allowed {
            let why = format!("Timestamp is out of range [{earliest_allowed}, {latest_allowed}]");
            let is_out = |time: i64| (time >= 0 && time < earliest_allowed) || time > latest_allowed;
            let mut refusal = Refusal::new(
                ErrorCode::INVALID_TIMESTAMP,
                "One or more records have been rejected due to invalid timestamp",
            );
            refusal.records = self.places(|record| is_out(record.timestamp), &why);
            return Err(refusal);
        }
        Ok(())
    }

    fn places(
        &self,
        is_wrong: impl Fn(&rskafka_protocol::records::RecordView<'_>) -> bool,
        why: &str,
    ) -> Vec<(i32, String)> {
        let records = self.batch.records().map_while(Result::ok);
        (0..).zip(records).filter(|(_, record)| is_wrong(record)).map(|(n, _)| (n, why.to_owned())).collect()
    }

    /// Writes the place in the log, and the log append time if the topic has it.
    pub(crate) fn store(self, base_offset: i64, leader_epoch: i32, log_append_time: Option<i64>) -> Stored {
        let last_offset = base_offset + self.batch.last_offset();
        let (max_timestamp, bytes) = match log_append_time {
            Some(time) => (time, self.batch.with_log_append_time(base_offset, leader_epoch, time)),
            None => (self.batch.max_timestamp(), with_offsets(self.batch, base_offset, leader_epoch)),
        };
        Stored { base_offset, last_offset, max_timestamp, leader_epoch, bytes }
    }
}

/// The batch at its place in the log; in the memory in which it was received, if nothing else holds that.
fn with_offsets(batch: Batch, base_offset: i64, leader_epoch: i32) -> Bytes {
    let bytes = batch.bytes().clone();
    drop(batch);
    match bytes.try_into_mut() {
        Ok(mut bytes) => {
            // Base offset (8), batch length (4), leader epoch (4): the first fields of a batch.
            bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
            bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
            bytes.freeze()
        }
        Err(shared) => match batches(&shared).next() {
            Some(Ok(batch)) => batch.with_offsets(base_offset, leader_epoch),
            _ => shared,
        },
    }
}

fn refusal_of(kind: BatchErrorKind) -> Refusal {
    match kind {
        BatchErrorKind::Unsupported(Unsupported::Magic(magic)) => Refusal::of_request(
            ErrorCode::INVALID_RECORD,
            format!(
                "Produce requests are only allowed to contain record batches with magic version 2, not {magic}"
            ),
        ),
        BatchErrorKind::Corrupt(Corruption::Crc { .. } | Corruption::Length(_)) => {
            Refusal::new(ErrorCode::CORRUPT_MESSAGE, kind.to_string())
        }
        _ => Refusal::new(ErrorCode::INVALID_RECORD, kind.to_string()),
    }
}
