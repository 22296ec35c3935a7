//! A batch that was read.
//!
//! Invariant: its CRC is right. Its records are decompressed at most once, when they are first asked for.

use std::sync::OnceLock;

use bytes::Bytes;

use super::encoded::{into_mut, replace_header};
use super::header::{CRC_END, HEADER_SIZE, MAGIC};
use super::{
    BatchError, BatchErrorKind, BatchHeader, Compression, Corruption, Decompressor, Flag, RecordCursor,
    Records, Unsupported, crc,
};

/// A batch that was read: whole, and its CRC is right.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(super) header: BatchHeader,
    pub(super) crc: u32,
    pub(super) magic: i8,
    pub(super) compression: Compression,
    /// The position in the set, for errors.
    pub(super) position: usize,
    /// The whole batch.
    pub(super) bytes: Bytes,
    /// The records in the form of magic 2, once they are decompressed.
    pub(super) payload: OnceLock<Bytes>,
    /// How large they may become then.
    pub(super) limit: usize,
}

impl Batch {
    pub(super) fn parse(bytes: Bytes, position: usize, limit: usize) -> Result<Self, BatchError> {
        let cut = |base_offset| {
            let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            BatchError::new(position, base_offset, Corruption::Length(length))
        };
        let Ok((_, (header, stored))) = BatchHeader::parse(&bytes) else { return Err(cut(0)) };
        let error = |kind: BatchErrorKind| Err(BatchError::new(position, header.base_offset, kind));

        let computed = crc::of(bytes.get(CRC_END..).unwrap_or_default());
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
        let payload = match compression {
            Compression::None => OnceLock::from(bytes.slice(HEADER_SIZE.min(bytes.len())..)),
            _ => OnceLock::new(),
        };
        Ok(Self { header, crc: stored, magic: MAGIC, compression, position, bytes, payload, limit })
    }

    /// The records, each a view into the batch. Those of a compressed batch are decompressed by the first
    /// call, into memory that the batch then holds.
    ///
    /// # Errors
    ///
    /// The first item is an error if the batch cannot be decompressed: this build has no such codec, the
    /// records are larger than the limit, or the stream is damaged. An item that is damaged is an error.
    /// An error is the last item.
    pub fn records(&self) -> Records<'_> {
        Records { batch: self, cursor: RecordCursor::new() }
    }

    /// Decompresses the records now, in the memory of `decompressor` and up to its limit.
    ///
    /// Without this call, [`records`](Self::records) does it in fresh memory. A batch that is not
    /// compressed, or no longer is, stays as it is.
    ///
    /// # Errors
    ///
    /// This build has no such codec, the records are larger than the limit, or the stream is damaged.
    pub fn decompress(&self, decompressor: &mut Decompressor) -> Result<(), BatchError> {
        let payload = self.decompressed(decompressor);
        payload.map(drop).map_err(|kind| BatchError::new(self.position, self.header.base_offset, kind))
    }

    /// The size of the records in bytes, without the header; `None` while they are compressed.
    pub fn decompressed_size(&self) -> Option<usize> {
        self.payload.get().map(Bytes::len)
    }

    /// A key, value or header of this batch as `Bytes` that share the batch's memory.
    ///
    /// Bytes from elsewhere are copied.
    #[inline]
    pub fn slice(&self, part: &[u8]) -> Bytes {
        if let Some(payload) = self.payload.get() {
            let start = part.as_ptr().addr().wrapping_sub(payload.as_ptr().addr());
            if let Some(end) = start.checked_add(part.len()).filter(|end| *end <= payload.len()) {
                return payload.slice(start..end);
            }
        }
        Bytes::copy_from_slice(part)
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The header. For an older format, the header that the batch would have with magic 2.
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

    /// The format: 2, or 0 or 1 for a message of a set from before Kafka 0.11.
    ///
    /// A message of those formats is given as a batch of one record, or of the records compressed in it. Fields that
    /// its format lacks are -1: producer, leader epoch and, with magic 0, the timestamps.
    pub fn magic(&self) -> i8 {
        self.magic
    }

    /// The CRC-32C; the CRC-32 in formats before magic 2.
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

    /// The number of records.
    pub fn record_count(&self) -> usize {
        usize::try_from(self.header.record_count).unwrap_or_default()
    }

    /// Whether the batch holds control records, which are not for users.
    pub fn is_control(&self) -> bool {
        self.header.attributes.has(Flag::Control)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The batch as a broker stores it: with another header and the CRC that belongs to it, in the same memory if nothing
    /// else holds that.
    ///
    /// A message of an older format, which brokers no longer store, stays as it is.
    pub fn with_header(self, header: BatchHeader) -> Bytes {
        let Self { header: before, crc, magic, bytes, payload, .. } = self;
        // It may share the memory.
        drop(payload);
        if magic != MAGIC {
            return bytes;
        }
        let mut buffer = into_mut(bytes);
        replace_header(&mut buffer, &before, crc, header);
        buffer.freeze()
    }

    /// The encoded records.
    pub(super) fn payload(&self) -> Result<&Bytes, BatchErrorKind> {
        match self.payload.get() {
            Some(payload) => Ok(payload),
            None => self.decompressed(&mut Decompressor::with_limit(self.limit)),
        }
    }

    fn decompressed(&self, decompressor: &mut Decompressor) -> Result<&Bytes, BatchErrorKind> {
        if let Some(payload) = self.payload.get() {
            return Ok(payload);
        }
        let compressed = self.bytes.get(HEADER_SIZE..).unwrap_or_default();
        let payload = decompressor.decompress(self.compression, MAGIC, compressed)?;
        Ok(self.payload.get_or_init(|| payload))
    }
}
