//! Reads a set of batches, as a fetch answers it or a produce carries it.
//!
//! Invariant: a batch is given only whole and with its CRC verified; nothing is skipped; only the tail
//! of a set may be cut off.

use std::iter::FusedIterator;

use bytes::Bytes;
use nom::number::complete::{be_i8, be_i32, be_i64};

use super::encoded::{into_mut, replace_header};
use super::header::{CRC_END, HEADER_SIZE, LENGTH_END, MAGIC};
use super::{
    BatchError, BatchErrorKind, BatchHeader, Compression, Corruption, Records, TimestampType, Unsupported,
};
use crate::error::Parsed;

/// The batches of a records field.
///
/// A batch that is cut off ends the iteration without an error: a broker sends as many bytes as were
/// asked for. [`Batches::leftover`] then gives the length of what is there of it. An error ends the
/// iteration too, as the bytes behind a damaged batch are in doubt.
pub fn batches(records: &Bytes) -> Batches {
    Batches { set: records.clone(), position: 0, failed: false }
}

/// An iterator over the batches of a set: see [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    set: Bytes,
    position: usize,
    failed: bool,
}

impl Batches {
    /// The number of bytes not given out. At the end of an iteration without error that is the length
    /// of the batch that was cut off; 0 if there is none.
    pub fn leftover(&self) -> usize {
        self.set.len().saturating_sub(self.position)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = self.set.get(self.position..).unwrap_or_default();
        let item = match frame(rest) {
            Framing::Cut => return None,
            Framing::Whole(size) => {
                let bytes = self.set.slice(self.position..self.position.saturating_add(size));
                Batch::parse(bytes, self.position)
            }
            Framing::Broken(kind) => {
                let base_offset = be_i64::<_, ()>(rest).map_or(0, |(_, offset)| offset);
                Err(BatchError::new(self.position, base_offset, kind))
            }
        };
        match &item {
            Ok(batch) => self.position = self.position.saturating_add(batch.size_in_bytes()),
            Err(_) => self.failed = true,
        }
        Some(item)
    }
}

impl FusedIterator for Batches {}

/// What stands at the front of the bytes left.
enum Framing {
    /// A part of a batch, or nothing.
    Cut,
    /// A batch of this many bytes.
    Whole(usize),
    /// No batch, or not one of this format.
    Broken(BatchErrorKind),
}

/// The least length of a batch of any format: a message of magic 0.
const MIN_LENGTH: i32 = 14;
/// The least length of a batch of this format.
const MIN_LENGTH_V2: usize = HEADER_SIZE - LENGTH_END;

fn frame(rest: &[u8]) -> Framing {
    let (length, magic) = match length_and_magic(rest) {
        (Some(length), _) if length < MIN_LENGTH => {
            return Framing::Broken(Corruption::Length(length).into());
        }
        (Some(length), Some(magic)) => (length, magic),
        _ => return Framing::Cut,
    };
    if magic != MAGIC {
        return Framing::Broken(Unsupported::Magic(magic).into());
    }
    let size = match usize::try_from(length) {
        Ok(size) if size >= MIN_LENGTH_V2 => size.saturating_add(LENGTH_END),
        _ => return Framing::Broken(Corruption::Length(length).into()),
    };
    if size > rest.len() { Framing::Cut } else { Framing::Whole(size) }
}

/// The batch length and the magic byte, as far as the bytes go.
fn length_and_magic(rest: &[u8]) -> (Option<i32>, Option<i8>) {
    let length = |rest| -> Parsed<'_, i32> {
        let (rest, _base_offset) = be_i64(rest)?;
        be_i32(rest)
    };
    let Ok((rest, length)) = length(rest) else {
        return (None, None);
    };
    let magic = |rest| -> Parsed<'_, i8> {
        // The leader's epoch, or the CRC of older formats.
        let (rest, _) = be_i32(rest)?;
        be_i8(rest)
    };
    (Some(length), magic(rest).ok().map(|(_, magic)| magic))
}

/// A batch that was read: whole, and its CRC is right.
#[derive(Debug, Clone)]
pub struct Batch {
    header: BatchHeader,
    crc: u32,
    compression: Compression,
    /// The position in the set, for errors.
    position: usize,
    /// The whole batch.
    bytes: Bytes,
    /// The encoded records.
    payload: Bytes,
}

impl Batch {
    fn parse(bytes: Bytes, position: usize) -> Result<Self, BatchError> {
        let cut = |base_offset| {
            let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            BatchError::new(position, base_offset, Corruption::Length(length))
        };
        let Ok((_, (header, stored))) = BatchHeader::parse(&bytes) else {
            return Err(cut(0));
        };
        let error = |kind: BatchErrorKind| Err(BatchError::new(position, header.base_offset, kind));

        let computed = crc32c::crc32c(bytes.get(CRC_END..).unwrap_or_default());
        if computed != stored {
            return error(Corruption::Crc { stored, computed }.into());
        }
        let BatchHeader { base_offset, last_offset_delta, record_count, .. } = header;
        let next_offset = base_offset.checked_add(i64::from(last_offset_delta) + 1);
        if base_offset < 0 || last_offset_delta < 0 || next_offset.is_none() {
            return error(Corruption::Offsets { last_offset_delta }.into());
        }
        if record_count < 0 {
            return error(Corruption::RecordCount(record_count).into());
        }
        let compression = match header.attributes.compression() {
            Ok(compression) => compression,
            Err(codec) => return error(Unsupported::Codec(codec).into()),
        };
        let payload = bytes.slice(HEADER_SIZE.min(bytes.len())..);
        Ok(Self { header, crc: stored, compression, position, bytes, payload })
    }

    /// The records, each a view into the batch.
    ///
    /// # Errors
    ///
    /// The first item is an error if the batch's compression is not supported by this build; an item
    /// that is damaged is an error and the last.
    pub fn records(&self) -> Records<'_> {
        Records::new(self)
    }

    /// A key, value or header of this batch as `Bytes` that share the batch's memory.
    ///
    /// What is not part of the batch is copied.
    pub fn slice(&self, part: &[u8]) -> Bytes {
        let start = (part.as_ptr() as usize).wrapping_sub(self.payload.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.payload.len() => self.payload.slice(start..end),
            _ => Bytes::copy_from_slice(part),
        }
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The size in bytes, header included.
    pub fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Where the batch begins in its set, in bytes.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The CRC-32C.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The offset of the first record, unless compaction removed that one.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The last offset that the batch covers, with or without a record.
    pub fn last_offset(&self) -> i64 {
        self.header.base_offset.saturating_add(i64::from(self.header.last_offset_delta))
    }

    /// The offset to read on from after this batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The epoch of the leader that appended the batch; -1 if none did.
    pub fn partition_leader_epoch(&self) -> i32 {
        self.header.partition_leader_epoch
    }

    /// The time that the records' are relative to, in ms since the epoch, or the delete horizon.
    pub fn base_timestamp(&self) -> i64 {
        self.header.base_timestamp
    }

    /// The largest timestamp, or the log append time, in ms since the epoch.
    pub fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        self.header.attributes.timestamp_type()
    }

    /// The time from which tombstones may be removed, in ms since the epoch (KIP-534).
    pub fn delete_horizon(&self) -> Option<i64> {
        self.header.attributes.has_delete_horizon().then_some(self.header.base_timestamp)
    }

    /// The producer's id; -1 without idempotence.
    pub fn producer_id(&self) -> i64 {
        self.header.producer_id
    }

    /// The producer's epoch; -1 without idempotence.
    pub fn producer_epoch(&self) -> i16 {
        self.header.producer_epoch
    }

    /// The sequence number of the first record; -1 without idempotence.
    pub fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    /// The sequence number of the last record; -1 without idempotence.
    pub fn last_sequence(&self) -> i32 {
        self.header.last_sequence()
    }

    /// The number of records.
    pub fn record_count(&self) -> usize {
        usize::try_from(self.header.record_count).unwrap_or_default()
    }

    /// Whether the batch holds control records, which are not for users.
    pub fn is_control(&self) -> bool {
        self.header.attributes.is_control()
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.header.attributes.is_transactional()
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The batch as a broker stores it: at its place in the log, by a leader of this epoch.
    ///
    /// Both are outside of the CRC, so that nothing else changes.
    pub fn with_offsets(&self, base_offset: i64, partition_leader_epoch: i32) -> Bytes {
        self.with_header(BatchHeader { base_offset, partition_leader_epoch, ..self.header })
    }

    /// The same for a topic of log append time: every record gets the time `timestamp`, in ms since the
    /// epoch.
    pub fn with_log_append_time(
        &self,
        base_offset: i64,
        partition_leader_epoch: i32,
        timestamp: i64,
    ) -> Bytes {
        self.with_header(BatchHeader {
            base_offset,
            partition_leader_epoch,
            attributes: self.header.attributes.with_timestamp_type(TimestampType::LogAppendTime),
            max_timestamp: timestamp,
            ..self.header
        })
    }

    /// A copy of the batch with another header and the CRC that belongs to it.
    fn with_header(&self, header: BatchHeader) -> Bytes {
        let mut buffer = into_mut(self.bytes.clone());
        replace_header(&mut buffer, &self.header, self.crc, header);
        buffer.freeze()
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }
}
