//! What a broker checks of a batch before it appends it, and what it writes into it.
//!
//! Invariant: all work that grows with the batch is done in [`Received::parse`], which needs no lock.

use bytes::Bytes;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::records::{
    Batch, BatchErrorKind, BatchHeader, Compression, Corruption, Flag, RecordBatchBuilder, Unsupported,
    batches,
};

use super::TopicSettings;
use super::log::Stored;
use super::producers::Origin;
use crate::profile::Quirks;

/// Zstandard came with this version of Produce (KIP-110).
const ZSTD_FROM_PRODUCE: i16 = 7;

/// Where the byte stands that tells the format, in all formats.
const MAGIC_AT: usize = 16;

/// Why a batch is not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// Why, where Kafka says so.
    pub(crate) message: Option<String>,
    /// The records at fault: place in the batch, and why.
    pub(crate) records: Vec<(i32, String)>,
    /// Whether Kafka's `LogValidator` is what refuses it: only then does the answer say where the log
    /// starts.
    pub(crate) by_validator: bool,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), by_validator: false }
    }
}

impl Refusal {
    pub(crate) fn by_validator(code: ErrorCode) -> Self {
        Self { by_validator: true, ..Self::from(code) }
    }

    fn of_records(code: ErrorCode, records: Vec<(i32, String)>) -> Self {
        let message = Some("One or more records have been rejected".to_owned());
        Self { message, records, ..Self::by_validator(code) }
    }
}

/// The one batch of a produce request: there, alone and of magic 2.
#[derive(Debug)]
pub(crate) struct Received {
    size: usize,
    base_offset: i64,
    checked: Result<Checked, Refusal>,
}

/// A batch whose header and records agree.
#[derive(Debug)]
pub(crate) struct Checked {
    batch: Batch,
    /// The smallest and the largest timestamp; `None` if the records cannot be read here.
    timestamps: Option<(i64, i64)>,
    has_keys: bool,
}

impl Received {
    /// Checks the records field of a produce request.
    ///
    /// # Errors
    ///
    /// The request as such is wrong (Kafka class `ProduceRequest`), before anyone asks who leads the
    /// partition.
    pub(crate) fn parse(records: Option<Bytes>, api_version: i16) -> Result<Self, Refusal> {
        let records = records.unwrap_or_default();
        let mut set = batches(&records);
        let is_legacy = matches!(records.get(MAGIC_AT), Some(0 | 1));
        let is_legacy_error = |kind: &BatchErrorKind| {
            is_legacy && !matches!(kind, BatchErrorKind::Corrupt(Corruption::Length(_)))
        };
        let batch = match set.next() {
            None => return Err(ErrorCode::INVALID_RECORD.into()),
            // Beyond their length, the formats before magic 2 are not even looked at.
            Some(Ok(_)) if is_legacy => return Err(ErrorCode::INVALID_RECORD.into()),
            Some(Err(error)) if is_legacy_error(&error.kind) => {
                return Err(ErrorCode::INVALID_RECORD.into());
            }
            Some(Ok(batch)) => batch,
            Some(Err(error)) => {
                let refused = Err(refusal_of(error.kind, api_version)?);
                return Ok(Self { size: records.len(), base_offset: error.base_offset, checked: refused });
            }
        };
        if set.next().is_some() {
            return Err(ErrorCode::INVALID_RECORD.into());
        }
        if batch.compression() == Compression::Zstd && api_version < ZSTD_FROM_PRODUCE {
            return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.into());
        }
        let (size, base_offset) = (batch.size_in_bytes(), batch.base_offset());
        Ok(Self { size, base_offset, checked: Checked::check(batch) })
    }

    /// How the records are compressed, as far as they can be read.
    pub(crate) fn compression(&self) -> Compression {
        self.checked.as_ref().map_or(Compression::None, |checked| checked.batch.compression())
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.checked.as_ref().is_ok_and(|checked| checked.batch.header().attributes.has(Flag::Transactional))
    }

    /// Checks the batch against its topic's configs, in Kafka's order: base offset, size, CRC, records.
    pub(crate) fn check_topic(
        self,
        settings: &TopicSettings,
        quirks: &Quirks,
        now_ms: i64,
    ) -> Result<Checked, Refusal> {
        if self.base_offset != 0 {
            return Err(Refusal::by_validator(ErrorCode::INVALID_RECORD));
        }
        if self.size > settings.max_message_bytes {
            return Err(ErrorCode::MESSAGE_TOO_LARGE.into());
        }
        let checked = self.checked?;
        checked.check_topic(settings, quirks, now_ms)?;
        Ok(checked)
    }
}

impl Checked {
    /// Checks that the header and the records agree.
    fn check(batch: Batch) -> Result<Self, Refusal> {
        let invalid = Err(Refusal::by_validator(ErrorCode::INVALID_RECORD));
        let offsets = batch.next_offset() - batch.base_offset();
        let is_consistent = usize::try_from(offsets) == Ok(batch.record_count());
        let lacks_sequence = batch.header().producer_id >= 0 && batch.header().base_sequence < 0;
        if batch.record_count() == 0 || !is_consistent || lacks_sequence || batch.is_control() {
            return invalid;
        }
        let is_compressed = batch.compression() != Compression::None;
        let mut checked = Self { timestamps: None, has_keys: true, batch };
        let (mut earliest, mut latest) = (i64::MAX, i64::MIN);
        for record in checked.batch.records() {
            let record = match record.map_err(|error| error.kind) {
                Ok(record) => record,
                // Kafka counts uncompressed records, but does not compare their offsets.
                Err(BatchErrorKind::Corrupt(Corruption::RecordOffset { .. })) if !is_compressed => {
                    return Ok(checked);
                }
                Err(BatchErrorKind::Corrupt(Corruption::Stream(_))) => {
                    return Err(Refusal::by_validator(ErrorCode::UNKNOWN_SERVER_ERROR));
                }
                Err(BatchErrorKind::Corrupt(_)) => return invalid,
                // Records that this build cannot read, or that are too large, are accepted unread.
                Err(_) => return Ok(checked),
            };
            earliest = earliest.min(record.timestamp);
            latest = latest.max(record.timestamp);
            checked.has_keys &= record.key.is_some();
        }
        checked.timestamps = Some((earliest, latest));
        let is_own = !checked.batch.header().attributes.has(Flag::LogAppendTime);
        if is_own && checked.batch.header().max_timestamp != latest {
            checked.batch = encoded_again(&checked.batch).unwrap_or(checked.batch);
        }
        Ok(checked)
    }

    fn check_topic(&self, settings: &TopicSettings, quirks: &Quirks, now_ms: i64) -> Result<(), Refusal> {
        if settings.compacted && !self.has_keys && quirks.compaction_needs_keys {
            let why = "Compacted topic cannot accept message without key";
            let records = self.places(|record| record.key.is_none(), why);
            return Err(Refusal::of_records(ErrorCode::INVALID_RECORD, records));
        }
        if settings.log_append_time {
            return Ok(());
        }
        if self.batch.header().attributes.has(Flag::LogAppendTime) && !quirks.takes_log_append_time {
            let why = "Invalid timestamp type: producers must not set LogAppendTime";
            let records = self.places(|_| true, why);
            return Err(Refusal::of_records(ErrorCode::INVALID_TIMESTAMP, records));
        }
        let earliest_allowed = now_ms.saturating_sub(settings.timestamp_before_max_ms);
        let latest_allowed = now_ms.saturating_add(settings.timestamp_after_max_ms);
        let (earliest, latest) =
            self.timestamps.unwrap_or((self.batch.header().max_timestamp, self.batch.header().max_timestamp));
        // Without a timestamp (-1) there is nothing to compare.
        if (earliest >= 0 && earliest < earliest_allowed) || latest > latest_allowed {
            let why = format!("Timestamp is out of range [{earliest_allowed}, {latest_allowed}]");
            let is_out = |time: i64| (time >= 0 && time < earliest_allowed) || time > latest_allowed;
            let records = self.places(|record| is_out(record.timestamp), &why);
            return Err(Refusal::of_records(ErrorCode::INVALID_TIMESTAMP, records));
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

    /// Who wrote it, if it says so.
    pub(crate) fn origin(&self) -> Option<Origin> {
        Origin::of(self.batch.header())
    }

    /// Writes the place in the log, and the log append time if the topic has it.
    pub(crate) fn store(self, base_offset: i64, leader_epoch: i32, log_append_time: Option<i64>) -> Stored {
        let last_offset = base_offset + self.batch.last_offset();
        let origin = self.origin();
        let mut header =
            BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..*self.batch.header() };
        if let Some(time) = log_append_time {
            header.attributes = header.attributes.with(Flag::LogAppendTime, true);
            header.max_timestamp = time;
        }
        let (max_timestamp, bytes) = (header.max_timestamp, self.batch.with_header(header));
        Stored { base_offset, last_offset, max_timestamp, leader_epoch, origin, bytes }
    }
}

/// The batch with a header that states its records' times: where a producer's does not, Kafka corrects it.
fn encoded_again(batch: &Batch) -> Option<Batch> {
    let mut builder = RecordBatchBuilder::with_capacity(batch.size_in_bytes());
    builder.set_header(*batch.header()).ok()?;
    for record in batch.records() {
        builder.push(record.ok()?.into()).ok()?;
    }
    batches(builder.build().ok()?.bytes()).next()?.ok()
}

/// What a batch that cannot be read is refused with: the request as such (`Err`), or the batch.
fn refusal_of(kind: BatchErrorKind, api_version: i16) -> Result<Refusal, Refusal> {
    match kind {
        // Bytes that are no batch are found while the request is parsed.
        BatchErrorKind::Unsupported(Unsupported::Magic(_))
        | BatchErrorKind::Corrupt(Corruption::Length(_)) => {
            Err(Refusal { message: Some(kind.to_string()), ..ErrorCode::CORRUPT_MESSAGE.into() })
        }
        BatchErrorKind::Unsupported(Unsupported::Codec(_)) if api_version < ZSTD_FROM_PRODUCE => {
            Err(ErrorCode::UNKNOWN_SERVER_ERROR.into())
        }
        BatchErrorKind::Unsupported(Unsupported::Codec(_)) => {
            Ok(Refusal::by_validator(ErrorCode::UNKNOWN_SERVER_ERROR))
        }
        BatchErrorKind::Corrupt(Corruption::Crc { .. }) => Ok(ErrorCode::CORRUPT_MESSAGE.into()),
        _ => Ok(Refusal::by_validator(ErrorCode::INVALID_RECORD)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rskafka_protocol::records::NewRecord;

    use super::*;
    use crate::profile::Profile;

    fn batch() -> Bytes {
        let mut builder = RecordBatchBuilder::new();
        for _ in 0..3 {
            builder.push(NewRecord::new(1000, None, Some(&[b'x'; 100]))).unwrap();
        }
        builder.build().unwrap().into_bytes()
    }

    fn stored(records: Bytes, log_append_time: Option<i64>) -> Stored {
        let settings = TopicSettings::of(&BTreeMap::new(), &Default::default(), Profile::Kafka4_4);
        let received = Received::parse(Some(records), 9).unwrap();
        received.check_topic(&settings, Profile::Kafka4_4.quirks(), 1000).unwrap().store(
            70,
            5,
            log_append_time,
        )
    }

    #[test]
    fn a_batch_is_stored_in_the_memory_in_which_it_came() {
        let mut frame = b"what stands before the records".to_vec();
        let start = frame.len();
        frame.extend_from_slice(&batch());
        let records = Bytes::from(frame).slice(start..);
        let place = records.as_ptr();
        let stored = stored(records, None);
        assert_eq!(stored.bytes.as_ptr(), place);
        let batch = batches(&stored.bytes).next().unwrap().unwrap();
        assert_eq!((batch.base_offset(), batch.header().partition_leader_epoch), (70, 5));
        assert_eq!((stored.base_offset, stored.last_offset, stored.max_timestamp), (70, 72, 1000));
    }

    #[test]
    fn memory_that_others_hold_is_left_as_it_is() {
        let (records, before) = (batch(), batch());
        let stored = stored(records.clone(), None);
        assert_eq!(records, before);
        assert_eq!(batches(&stored.bytes).next().unwrap().unwrap().last_offset(), 72);
    }

    #[test]
    fn a_max_timestamp_that_no_record_has_is_corrected() {
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(1000, None, None)).unwrap();
        let mut batch = builder.build().unwrap();
        batch.update_header(|header| header.max_timestamp = 900);
        let stored = stored(batch.into_bytes(), None);
        assert_eq!(stored.max_timestamp, 1000);
        assert_eq!(batches(&stored.bytes).next().unwrap().unwrap().header().max_timestamp, 1000);
    }
}
