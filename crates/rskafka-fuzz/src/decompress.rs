//! The codecs: damaged streams, bombs, and what is compressed here.
//!
//! Invariant: the limit does not change the output of a stream, except that a larger stream is an error; memory stays in
//! proportion to the limit.

use bytes::Bytes;
use rskafka_protocol::records::{
    Attributes, Batch, BatchErrorKind, BatchHeader, Compression, Decompressor, NewRecord, RecordBatch,
    RecordBatchBuilder, batches,
};

use crate::memory;
use crate::repair::with_payload;

/// The largest that a batch may become.
pub const LIMIT: usize = 128 * 1024;
/// What it may take to get there: the output, once more while it grows, and what the codec needs.
pub const MEMORY: usize = 2 * LIMIT + 512 * 1024;

/// Checks a stream. The first byte names the codec, or says that the rest should be compressed first.
pub fn check(data: &[u8]) {
    let Some((mode, bytes)) = data.split_first() else { return };
    let compression = Compression::ALL[1 + usize::from(mode % 4)];
    if mode & 0x80 == 0 {
        check_stream(compression, bytes);
    } else {
        check_compressed(compression, bytes);
    }
}

/// A stream in the form of [`check`].
pub fn seed(attributes: Attributes, stream: &[u8]) -> Option<Vec<u8>> {
    let compression = attributes.compression().ok()?;
    let codec = Compression::ALL.iter().position(|codec| *codec == compression)?.checked_sub(1)?;
    Some([&[codec as u8], stream].concat())
}

fn check_stream(compression: Compression, stream: &[u8]) {
    let attributes = Attributes::default().with_compression(compression);
    let header = BatchHeader { attributes, last_offset_delta: 0, ..BatchHeader::default() };
    let batch = Bytes::from(with_payload(RecordBatch::without_records(header).bytes(), stream));

    let mut decompressor = Decompressor::with_limit(LIMIT);
    let first = decompressed(&batch, &mut decompressor);
    let again = decompressed(&batch, &mut decompressor);
    assert_eq!(first, again, "memory that is used again makes a difference");
    if let Ok(size) = first {
        assert!(size <= LIMIT, "{size} bytes are beyond the limit");
        assert_eq!(decompressed(&batch, &mut Decompressor::with_limit(size)), Ok(size));
        if let Some(less) = size.checked_sub(1) {
            let refused = decompressed(&batch, &mut Decompressor::with_limit(less));
            assert_eq!(refused, Err(BatchErrorKind::TooLarge(less)));
        }
    }
}

/// The size of a batch's records.
fn decompressed(batch: &Bytes, decompressor: &mut Decompressor) -> Result<usize, BatchErrorKind> {
    let batch = only(batch);
    memory::at_most(MEMORY, || batch.decompress(decompressor)).map_err(|error| error.kind)?;
    Ok(batch.decompressed_size().expect("it is decompressed"))
}

fn check_compressed(compression: Compression, value: &[u8]) {
    let mut builder = RecordBatchBuilder::new();
    builder.set_compression(compression);
    builder.push(NewRecord::new(0, None, Some(value))).expect("a small record");
    let batch = only(builder.build().expect("every codec is there").bytes());
    let mut records = batch.records();
    let record = records.next().expect("a record").expect("it was just compressed");
    assert_eq!((record.key, record.value), (None, Some(value)));
    assert!(records.next().is_none());
}

/// The one batch of a set.
pub fn only(bytes: &Bytes) -> Batch {
    let mut batches = batches(bytes).with_decompression_limit(LIMIT);
    let batch = batches.next().expect("a batch").expect("a batch that is right");
    assert_eq!((batch.size_in_bytes(), batches.leftover()), (bytes.len(), 0));
    batch
}
