//! The 61 bytes in front of a batch's records.
//!
//! Invariant: `parse` and `to_bytes` list the fields in the same order.

use bytes::BufMut;
use nom::Parser;
use nom::number::complete::{be_i16, be_i32, be_i64, be_u32};

use super::Attributes;
use crate::error::Parsed;

/// The length of a batch's header.
pub(super) const HEADER_SIZE: usize = 61;
/// What the batch length does not count: base offset and the length itself.
pub(super) const LENGTH_END: usize = 12;
/// Where the bytes begin that the CRC covers.
pub(super) const CRC_END: usize = 21;
/// The header's part that the CRC covers.
const COVERED_SIZE: usize = HEADER_SIZE - CRC_END;
/// The magic byte of this format.
pub(super) const MAGIC: i8 = 2;

/// The fields of a batch's header, less length, magic and CRC, which follow from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset that the records' offsets are relative to. Outside of the CRC: the broker sets it.
    pub base_offset: i64,
    /// The epoch of the leader that appended the batch; -1 before. Outside of the CRC.
    pub partition_leader_epoch: i32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// The last offset, relative to the base offset. Compaction leaves it when it drops that record.
    pub last_offset_delta: i32,
    /// The time that the records' timestamps are relative to, in ms since the epoch, or the delete horizon.
    pub base_timestamp: i64,
    /// The largest timestamp of the records, or the log append time.
    pub max_timestamp: i64,
    /// The producer's id; -1 without idempotence.
    pub producer_id: i64,
    /// The producer's epoch; -1 without idempotence.
    pub producer_epoch: i16,
    /// The sequence number of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// The number of records.
    pub record_count: i32,
}

impl Default for BatchHeader {
    fn default() -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: Attributes::default(),
            last_offset_delta: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        }
    }
}

impl BatchHeader {
    /// Reads a header, with the CRC.
    pub(super) fn parse(input: &[u8]) -> Parsed<'_, (Self, u32)> {
        let (rest, (base_offset, _length, partition_leader_epoch, _magic)) =
            (be_i64, be_i32, be_i32, nom::number::complete::be_i8).parse(input)?;
        let (rest, crc) = be_u32(rest)?;
        let (rest, (attributes, last_offset_delta, base_timestamp, max_timestamp)) =
            (be_i16, be_i32, be_i64, be_i64).parse(rest)?;
        let (rest, (producer_id, producer_epoch, base_sequence, record_count)) =
            (be_i64, be_i16, be_i32, be_i32).parse(rest)?;
        let header = Self {
            base_offset,
            partition_leader_epoch,
            attributes: Attributes(attributes),
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count,
        };
        Ok((rest, (header, crc)))
    }

    /// Writes the header; `length` is the batch length, `crc` the CRC of `covered` and the records.
    pub(super) fn to_bytes(self, length: i32, crc: u32) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let mut room = bytes.as_mut_slice();
        room.put_i64(self.base_offset);
        room.put_i32(length);
        room.put_i32(self.partition_leader_epoch);
        room.put_i8(MAGIC);
        room.put_u32(crc);
        room.put_slice(&self.covered());
        bytes
    }

    /// The bytes from the CRC's end on.
    pub(super) fn covered(&self) -> [u8; COVERED_SIZE] {
        let mut bytes = [0; COVERED_SIZE];
        let mut room = bytes.as_mut_slice();
        room.put_i16(self.attributes.0);
        room.put_i32(self.last_offset_delta);
        room.put_i64(self.base_timestamp);
        room.put_i64(self.max_timestamp);
        room.put_i64(self.producer_id);
        room.put_i16(self.producer_epoch);
        room.put_i32(self.base_sequence);
        room.put_i32(self.record_count);
        bytes
    }

    /// Makes the batch an idempotent producer's, or nobody's if all are -1.
    pub fn set_producer(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.producer_id = producer_id;
        self.producer_epoch = producer_epoch;
        self.base_sequence = base_sequence;
    }

    /// The sequence number of the last record; -1 without idempotence. It wraps from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }
}
