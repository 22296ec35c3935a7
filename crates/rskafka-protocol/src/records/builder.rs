//! Writes a record batch: one growing buffer, each record encoded once.
//!
//! Invariant: the buffer always holds room for the header and whole records; what `size_with` says is
//! what `push` makes of it.

use bytes::{BufMut, Bytes, BytesMut};
use snafu::Snafu;

use super::header::HEADER_SIZE;
use super::{BatchHeader, Compression, HeadersView, RecordBatch, RecordView, Unsupported, codec};
use crate::wire::varint::{put_varint, put_varlong, varint_size, varlong_size};

/// A record to be written.
#[derive(Debug, Clone)]
pub struct NewRecord<'a, H = HeadersView<'a>> {
    /// The record's time, in ms since the epoch.
    pub timestamp: i64,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers in order: an iterator of key and value. It is cloned to be run twice, once for the
    /// size and once for the bytes, and must give the same both times.
    pub headers: H,
}

impl<'a> NewRecord<'a> {
    /// A record without headers.
    pub fn new(timestamp: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { timestamp, key, value, headers: HeadersView::default() }
    }
}

impl<'a, H> NewRecord<'a, H> {
    /// The same record with other headers.
    pub fn headers<I>(self, headers: I) -> NewRecord<'a, I::IntoIter>
    where
        I: IntoIterator<Item = (&'a [u8], Option<&'a [u8]>), IntoIter: Clone>,
    {
        let Self { timestamp, key, value, .. } = self;
        NewRecord { timestamp, key, value, headers: headers.into_iter() }
    }
}

impl<'a> From<RecordView<'a>> for NewRecord<'a> {
    fn from(record: RecordView<'a>) -> Self {
        let RecordView { timestamp, key, value, headers, .. } = record;
        Self { timestamp, key, value, headers }
    }
}

/// The record does not fit into one batch: it would have more bytes or offsets than the format can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Snafu)]
#[snafu(display("the record does not fit into the batch"))]
pub struct BatchFull;

/// A batch that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum BuildError {
    /// It has no records.
    #[snafu(display("a batch needs at least one record"))]
    Empty,
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
#[derive(Debug)]
pub struct RecordBatchBuilder {
    /// Room for the header, then the records so far.
    buffer: BytesMut,
    /// The header so far.
    header: BatchHeader,
    /// The compression level; `None` for the codec's own.
    level: Option<i32>,
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
        Self::with_buffer(BytesMut::with_capacity(bytes.max(HEADER_SIZE)))
    }

    /// An empty batch that is written into the memory of `buffer`, whose bytes are dropped.
    ///
    /// A buffer that is reused is already known to the operating system: large batches are then
    /// written without page faults.
    pub fn with_buffer(mut buffer: BytesMut) -> Self {
        buffer.clear();
        buffer.put_bytes(0, HEADER_SIZE);
        Self { buffer, header: BatchHeader::default(), level: None }
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
    }

    /// Sets how hard the codec tries: one of [`Compression::levels`], or `None` for its default. Codecs
    /// without levels take no notice.
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
    pub fn push<'a, H>(&mut self, record: NewRecord<'a, H>) -> Result<(), BatchFull>
    where
        H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    {
        let fields = Fields::of(&record);
        self.put_fields(&fields)?;
        for (key, value) in record.headers {
            put_nullable(&mut self.buffer, Some(key));
            put_nullable(&mut self.buffer, value);
        }
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
        self.buffer.len()
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
    /// There are no records, or the codec is not supported, does not have the level, or fails.
    pub fn build(self) -> Result<RecordBatch, BuildError> {
        if self.is_empty() {
            return Err(BuildError::Empty);
        }
        match self.header.attributes.compression() {
            Ok(Compression::None) => Ok(RecordBatch::seal(self.header, self.buffer)),
            Ok(compression) => self.compress(compression),
            Err(codec) => Err(BuildError::Unsupported { what: Unsupported::Codec(codec) }),
        }
    }

    /// The header so far, and the records.
    pub(super) fn into_parts(mut self) -> (BatchHeader, Bytes) {
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
        Ok(RecordBatch::seal(self.header, buffer))
    }

    /// Where and how `fields` would stand as the next record.
    #[inline]
    fn place(&self, fields: &Fields<'_>) -> Place {
        let offset_delta = self.header.last_offset_delta.wrapping_add(1);
        let timestamp_delta = fields.timestamp.wrapping_sub(self.base_timestamp(fields.timestamp));
        let body = (ATTRIBUTES_SIZE + varlong_size(timestamp_delta) + varint_size(offset_delta))
            .saturating_add(nullable_size(fields.key))
            .saturating_add(nullable_size(fields.value))
            .saturating_add(size_of_length(fields.header_count))
            .saturating_add(fields.headers_size);
        Place { offset_delta, timestamp_delta, body, size: size_of_length(body).saturating_add(body) }
    }

    /// What the timestamps are relative to, if a record of time `timestamp` comes next.
    #[inline]
    fn base_timestamp(&self, timestamp: i64) -> i64 {
        if self.is_empty() && !self.header.attributes.has_delete_horizon() {
            return timestamp;
        }
        self.header.base_timestamp
    }

    /// Appends a record up to its headers and counts it in.
    #[inline]
    fn put_fields(&mut self, fields: &Fields<'_>) -> Result<(), BatchFull> {
        let place = self.place(fields);
        let fits = self.encoded_size().saturating_add(place.size) <= MAX_BATCH_SIZE;
        let (Some(record_count), 0.., true) =
            (self.header.record_count.checked_add(1), place.offset_delta, fits)
        else {
            return Err(BatchFull);
        };
        let max_timestamp = if self.is_empty() { i64::MIN } else { self.header.max_timestamp };
        self.header.base_timestamp = self.base_timestamp(fields.timestamp);
        self.header.max_timestamp = max_timestamp.max(fields.timestamp);
        self.header.last_offset_delta = place.offset_delta;
        self.header.record_count = record_count;

        let out = &mut self.buffer;
        out.reserve(place.size);
        put_length(out, place.body);
        out.put_u8(0);
        put_varlong(out, place.timestamp_delta);
        put_varint(out, place.offset_delta);
        put_nullable(out, fields.key);
        put_nullable(out, fields.value);
        put_length(out, fields.header_count);
        Ok(())
    }
}

/// The attributes of a record, of which none has a meaning yet.
const ATTRIBUTES_SIZE: usize = 1;

/// What an `int32` can count. Every length within the batch is smaller.
const MAX_BATCH_SIZE: usize = 0x7fff_ffff;

/// A record's fields, with the headers measured.
struct Fields<'a> {
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: usize,
    headers_size: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    fn of<H>(record: &NewRecord<'a, H>) -> Self
    where
        H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    {
        let (mut header_count, mut headers_size) = (0, 0usize);
        for (key, value) in record.headers.clone() {
            header_count += 1;
            headers_size =
                headers_size.saturating_add(nullable_size(Some(key))).saturating_add(nullable_size(value));
        }
        let NewRecord { timestamp, key, value, .. } = *record;
        Self { timestamp, key, value, header_count, headers_size }
    }
}

/// How a record stands in its batch.
struct Place {
    offset_delta: i32,
    timestamp_delta: i64,
    /// The bytes that the record's length counts.
    body: usize,
    /// The length included.
    size: usize,
}

/// The size of bytes with their length in front.
#[inline]
fn nullable_size(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => size_of_length(bytes.len()).saturating_add(bytes.len()),
        None => varint_size(-1),
    }
}

/// Appends bytes with their length in front. The length of null is -1.
#[inline]
fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_length(out, bytes.len());
            out.put_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

// Lengths are below 2^31, where the zigzag of 32 and of 64 bits is the same. Larger ones are measured
// too, and then refused.

#[inline]
fn size_of_length(length: usize) -> usize {
    varlong_size(as_i64(length))
}

#[inline]
fn put_length(out: &mut BytesMut, length: usize) {
    put_varlong(out, as_i64(length));
}

/// No length in memory is beyond `isize::MAX`.
#[inline]
fn as_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
