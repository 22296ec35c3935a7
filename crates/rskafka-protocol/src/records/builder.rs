//! Writes a record batch: one growing buffer, each record encoded once.
//!
//! Invariant: up to `end` the buffer holds room for the header and whole records; `crc` is that of the records up to
//! `summed`; `size_with` gives the size that `push` leads to.

use bytes::{BufMut, Bytes, BytesMut};
use derive_more::Debug;
use snafu::Snafu;

use super::header::HEADER_SIZE;
use super::new_record::{Fields, Place, Room};
use super::{BatchHeader, Compression, Flag, NewRecord, RecordBatch, Unsupported, codec, crc};

/// The record does not fit into one batch: it would have more bytes or offsets than the format can say.
#[derive(Clone, Copy, PartialEq, Eq, Snafu, Debug)]
#[snafu(display("the record does not fit into the batch"))]
#[debug("{self}")]
pub struct BatchFull;

/// A batch that cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum BuildError {
    /// It has no records.
    #[snafu(display("a batch needs at least one record"))]
    Empty,
    /// A record's headers gave something else when they were written than when they were measured.
    #[snafu(display("the headers of a record changed while it was encoded"))]
    Headers,
    /// The codec asked for cannot be used.
    #[snafu(display("unsupported: {what}"))]
    Unsupported {
        /// What is not supported.
        what: Unsupported,
    },
    /// The codec does not have the level asked for: see [`Compression::levels`].
    #[snafu(display("{compression} has no level {level}"))]
    Level {
        /// The codec.
        compression: Compression,
        /// The level asked for.
        level: i32,
    },
    /// The codec fails, or compresses the records into more bytes than a batch can have.
    #[snafu(display("the records cannot be compressed with {compression}"))]
    Compress {
        /// The codec.
        compression: Compression,
    },
}

impl std::fmt::Debug for BuildError {
    /// The message: what `unwrap` and `main` show.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Encodes records into one batch.
///
/// ```
/// use rskafka_protocol::records::{NewRecord, RecordBatchBuilder, batches};
///
/// let mut builder = RecordBatchBuilder::with_capacity(1024);
/// let record = NewRecord::new(1_700_000_000_000, Some(b"key"), Some(b"value"))
///     .headers([(b"trace".as_slice(), None)]);
/// builder.push(record)?;
/// let batch = builder.build()?;
///
/// let batch = batches(batch.bytes()).next().expect("one batch")?;
/// let record = batch.records().next().expect("one record")?;
/// assert_eq!((record.offset, record.key), (0, Some(b"key".as_slice())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `Debug` shows no records, which may be confidential.
#[derive(Clone, Debug)]
pub struct RecordBatchBuilder {
    /// Empty before the first record. Then it has room for the header, the records so far, and spare bytes that the next
    /// records overwrite, which is much faster than appending.
    #[debug(skip)]
    buffer: BytesMut,
    /// Where the records so far end.
    end: usize,
    /// Where the records end whose CRC is known.
    summed: usize,
    /// At which size the next ones are to be summed up.
    sum_at: usize,
    /// The CRC of the records up to `summed`.
    crc: u32,
    /// The header so far.
    header: BatchHeader,
    /// The compression level; `None` for the codec's own.
    level: Option<i32>,
    /// Whether a record's headers were not those that had been measured.
    is_torn: bool,
}

impl Default for RecordBatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl RecordBatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::with_buffer(BytesMut::new())
    }

    /// An empty batch with room for `bytes` bytes, the header included.
    pub fn with_capacity(bytes: usize) -> Self {
        Self::with_buffer(BytesMut::with_capacity(bytes))
    }

    /// An empty batch that is written into the memory of `buffer`, over its bytes.
    ///
    /// Reusing a buffer saves the page faults of fresh memory, which show with large batches.
    pub fn with_buffer(buffer: BytesMut) -> Self {
        Self {
            buffer,
            end: HEADER_SIZE,
            summed: HEADER_SIZE,
            sum_at: HEADER_SIZE + SUMMED_AT_ONCE,
            crc: 0,
            header: BatchHeader::default(),
            level: None,
            is_torn: false,
        }
    }

    /// Takes over what a header says, for brokers and tools.
    ///
    /// What follows from the records is left: count, offsets and timestamps. Only a delete horizon is
    /// kept as base timestamp.
    ///
    /// # Errors
    ///
    /// There are records already.
    pub fn set_header(&mut self, header: BatchHeader) -> Result<(), BatchFull> {
        if !self.is_empty() {
            return Err(BatchFull);
        }
        self.header = BatchHeader { last_offset_delta: -1, record_count: 0, ..header };
        Ok(())
    }

    /// Sets how the records are compressed when the batch is built.
    pub fn set_compression(&mut self, compression: Compression) {
        self.header.attributes = self.header.attributes.with_compression(compression);
        if compression != Compression::None {
            // The CRC is that of the compressed records.
            self.sum_at = usize::MAX;
        }
    }

    /// Sets how hard the codec tries: one of [`Compression::levels`], or `None` for its default. Codecs
    /// without levels ignore it.
    pub fn set_compression_level(&mut self, level: Option<i32>) {
        self.level = level;
    }

    /// Sets what makes the batch idempotent. It can also be set later: [`RecordBatch::set_producer`].
    pub fn set_producer(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.header.set_producer(producer_id, producer_epoch, base_sequence);
    }

    /// Adds a record at the next offset.
    ///
    /// Timestamps may be in any order. Their distances are taken modulo 2^64, as all readers do.
    ///
    /// # Errors
    ///
    /// The batch would grow beyond what the format can say; it is left as it was.
    #[inline(always)]
    pub fn push<'a, H>(&mut self, record: NewRecord<'a, H>) -> Result<(), BatchFull>
    where
        H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    {
        if self.end >= self.sum_at {
            self.sum_up();
        }
        let fields = Fields::of(&record);
        let mut room = self.put_fields(&fields)?;
        let mut header_count = 0;
        for (key, value) in record.headers {
            header_count += 1;
            room.put_header(key, value);
        }
        let is_as_measured = room.is_filled() && fields.has_headers(header_count);
        self.is_torn |= !is_as_measured;
        Ok(())
    }

    /// Leaves `count` offsets without a record, as compaction does.
    ///
    /// # Errors
    ///
    /// The batch would have more offsets than the format can say; it is left as it was.
    pub fn skip_offsets(&mut self, count: u32) -> Result<(), BatchFull> {
        let last = self.header.last_offset_delta.checked_add_unsigned(count).ok_or(BatchFull)?;
        self.header.last_offset_delta = last;
        Ok(())
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        usize::try_from(self.header.record_count).unwrap_or_default()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// The size of the batch so far in bytes, header included and before compression.
    pub fn encoded_size(&self) -> usize {
        self.end
    }

    /// What [`encoded_size`](Self::encoded_size) would be after a push of `record`.
    pub fn size_with<'a, H>(&self, record: &NewRecord<'a, H>) -> usize
    where
        H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    {
        self.encoded_size().saturating_add(self.place(&Fields::of(record)).size)
    }

    /// Ends the batch, and compresses the records if they are to be.
    ///
    /// # Errors
    ///
    /// There are no records, a record's headers changed while it was pushed, or the codec is not supported,
    /// does not have the level, or fails.
    pub fn build(mut self) -> Result<RecordBatch, BuildError> {
        self.buffer.truncate(self.end);
        if self.is_torn {
            return Err(BuildError::Headers);
        }
        if self.is_empty() {
            return Err(BuildError::Empty);
        }
        match self.header.attributes.compression() {
            Ok(Compression::None) => {
                let known = crc::Known { crc: self.crc, bytes: self.summed.saturating_sub(HEADER_SIZE) };
                Ok(RecordBatch::seal(self.header, self.buffer, known))
            }
            Ok(compression) => self.compress(compression),
            Err(codec) => Err(BuildError::Unsupported { what: Unsupported::Codec(codec) }),
        }
    }

    /// The header so far, and the records.
    pub(super) fn into_parts(mut self) -> (BatchHeader, Bytes) {
        self.buffer.truncate(self.end);
        (self.header, self.buffer.split_off(HEADER_SIZE.min(self.buffer.len())).freeze())
    }

    fn compress(self, compression: Compression) -> Result<RecordBatch, BuildError> {
        let unsupported = BuildError::Unsupported { what: Unsupported::Compression(compression) };
        let codec = codec::of(compression).ok_or(unsupported)?;
        let level = match (compression.levels(), self.level) {
            (Some(levels), Some(level)) if !levels.contains(&level) => {
                return Err(BuildError::Level { compression, level });
            }
            (Some(_), level) => level,
            (None, _) => None,
        };
        let records = self.buffer.get(HEADER_SIZE..).unwrap_or_default();
        let mut buffer = BytesMut::with_capacity(HEADER_SIZE.saturating_add(records.len() / 2));
        buffer.put_bytes(0, HEADER_SIZE);
        let compressed = (codec.compress)(records, level, &mut buffer);
        if compressed.is_err() || buffer.len() > MAX_BATCH_SIZE {
            return Err(BuildError::Compress { compression });
        }
        Ok(RecordBatch::seal(self.header, buffer, crc::Known::default()))
    }

    /// The layout of `fields` as the next record.
    #[inline]
    fn place(&self, fields: &Fields<'_>) -> Place {
        let base_timestamp = self.base_timestamp(fields.timestamp);
        fields.place(fields.timestamp.wrapping_sub(base_timestamp), self.next_offset_delta())
    }

    #[inline]
    fn next_offset_delta(&self) -> i32 {
        self.header.last_offset_delta.wrapping_add(1)
    }

    /// What the timestamps are relative to, if a record of time `timestamp` comes next.
    #[inline]
    fn base_timestamp(&self, timestamp: i64) -> i64 {
        if self.is_empty() && !self.header.attributes.has(Flag::DeleteHorizon) {
            return timestamp;
        }
        self.header.base_timestamp
    }

    /// Appends a record up to its headers and counts it in; gives the room for those.
    #[inline(always)]
    fn put_fields(&mut self, fields: &Fields<'_>) -> Result<Room<'_>, BatchFull> {
        let place = self.place(fields);
        let (start, end) = (self.end, self.end.saturating_add(place.size));
        let offset_delta = self.next_offset_delta();
        if offset_delta < 0 || end > MAX_BATCH_SIZE {
            return Err(BatchFull);
        }
        if end > self.buffer.len() {
            self.grow(end);
        }
        let max_timestamp = if self.is_empty() { i64::MIN } else { self.header.max_timestamp };
        self.end = end;
        self.header.base_timestamp = self.base_timestamp(fields.timestamp);
        self.header.max_timestamp = max_timestamp.max(fields.timestamp);
        self.header.last_offset_delta = offset_delta;
        // Cannot overflow, as a record has more than one byte.
        self.header.record_count = self.header.record_count.wrapping_add(1);
        let Some(room) = self.buffer.get_mut(start..end) else { return Err(BatchFull) };
        Ok(fields.write(&place, room))
    }

    /// Adds the records that have come since the last time to the CRC, while the processor still has them in its cache.
    #[cold]
    fn sum_up(&mut self) {
        self.crc = crc::append(self.crc, self.buffer.get(self.summed..self.end).unwrap_or_default());
        self.summed = self.end;
        self.sum_at = self.end.saturating_add(SUMMED_AT_ONCE);
    }

    /// Makes the bytes up to `end` part of the buffer.
    #[cold]
    fn grow(&mut self, end: usize) {
        self.buffer.reserve(end.saturating_sub(self.buffer.len()));
        self.buffer.resize(self.buffer.capacity().min(end.saturating_add(CLEARED)), 0);
    }
}

/// What an `int32` can count. Every length within the batch is smaller.
const MAX_BATCH_SIZE: usize = 0x7fff_ffff;

/// How many bytes of records are summed up at once: they fit into the fastest cache.
const SUMMED_AT_ONCE: usize = 24 * 1024;

/// How much memory is cleared ahead of the records: so little that it is still in the cache when they
/// are written over it.
const CLEARED: usize = 4096;
