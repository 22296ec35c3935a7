//! A batch that is encoded: what a produce request carries.
//!
//! Invariant: bytes, header and CRC agree; records are never encoded or copied again.

use bytes::{BufMut, Bytes, BytesMut};
use derive_more::Debug;

use super::header::{HEADER_SIZE, LENGTH_END};
use super::{BatchHeader, crc};

/// An encoded batch of at least one record.
///
/// Its header can still be changed. That rewrites the 61 bytes of the header and its CRC, which for a large batch is
/// computed without reading the records. If a clone of [`bytes`](Self::bytes) exists, the batch is copied first,
/// so that bytes already sent do not change.
///
/// `Debug` shows no records, which may be confidential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordBatch {
    header: BatchHeader,
    pub(super) crc: u32,
    #[debug("{} bytes", bytes.len())]
    bytes: Bytes,
}

impl RecordBatch {
    /// A batch without records: compaction keeps the header so that the producer's sequence is not forgotten.
    /// Brokers write such batches, producers do not. It covers the offsets up to `last_offset_delta`; readers refuse
    /// the -1 of the default header.
    pub fn without_records(header: BatchHeader) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADER_SIZE);
        buffer.put_bytes(0, HEADER_SIZE);
        Self::seal(BatchHeader { record_count: 0, ..header }, buffer, crc::Known::default())
    }

    /// Writes the header in front of the records, where `buffer` has room for it. The CRC of their first bytes is `known`.
    pub(super) fn seal(header: BatchHeader, mut buffer: BytesMut, known: crc::Known) -> Self {
        let crc = known.of(&header.covered(), records(&buffer));
        write_header(&mut buffer, header, crc);
        Self { header, crc, bytes: buffer.freeze() }
    }

    /// The batch as on the wire and in the log.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The size in bytes.
    pub fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The number of records.
    pub fn record_count(&self) -> usize {
        usize::try_from(self.header.record_count).unwrap_or_default()
    }

    /// Makes the batch an idempotent producer's: its id, its epoch, the sequence number of the first record.
    pub fn set_producer(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.update_header(|header| header.set_producer(producer_id, producer_epoch, base_sequence));
    }

    /// Changes the header in any way, for brokers and tools. The caller sees to it that the header still fits the
    /// records.
    pub fn update_header(&mut self, update: impl FnOnce(&mut BatchHeader)) {
        let mut header = self.header;
        update(&mut header);
        let mut buffer = into_mut(std::mem::take(&mut self.bytes));
        self.crc = replace_header(&mut buffer, &self.header, self.crc, header);
        self.header = header;
        self.bytes = buffer.freeze();
    }
}

/// The bytes for writing: in place, or a copy if they are shared.
pub(super) fn into_mut(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()))
}

/// Writes the header `after` over `before`, whose CRC is `crc`, and gives the new CRC.
pub(super) fn replace_header(
    buffer: &mut BytesMut,
    before: &BatchHeader,
    crc: u32,
    after: BatchHeader,
) -> u32 {
    let crc = crc::replace_header(crc, &before.covered(), &after.covered(), records(buffer));
    write_header(buffer, after, crc);
    crc
}

fn write_header(buffer: &mut BytesMut, header: BatchHeader, crc: u32) {
    let length = buffer.len().saturating_sub(LENGTH_END);
    // The builder and the reader let no batch be longer than this.
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    if let Some(room) = buffer.first_chunk_mut() {
        *room = header.to_bytes(length, crc);
    }
}

fn records(buffer: &[u8]) -> &[u8] {
    buffer.get(HEADER_SIZE..).unwrap_or_default()
}
