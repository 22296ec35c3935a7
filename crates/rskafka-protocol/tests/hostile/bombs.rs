//! Decompression bombs: they end in an error at the limit, and hold no more than it on the way.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use rskafka_protocol::records::{
    Attributes, BatchErrorKind, BatchHeader, Compression, Decompressor, NewRecord, RecordBatch,
    RecordBatchBuilder, batches,
};

use crate::peak;

const LIMIT: usize = 1024 * 1024;
/// What a codec takes besides, at most.
const CODEC: u64 = 256 * 1024;

/// What decompressing up to a limit may take: with this allocator, growing holds old and new memory.
pub(crate) fn decompressing(limit: usize) -> u64 {
    (limit + limit / 2) as u64 + CODEC
}

fn codecs() -> impl Iterator<Item = Compression> {
    Compression::ALL.into_iter().filter(|codec| *codec != Compression::None)
}

/// A batch of one record of so many zeroes.
fn bomb(compression: Compression, size: usize) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new();
    builder.set_compression(compression);
    builder.push(NewRecord::new(5, None, Some(&vec![0; size]))).expect("there is room");
    builder.build().expect("a batch")
}

/// A batch that claims one record, with this stream.
pub(crate) fn batch_of(compression: Compression, stream: &[u8]) -> Bytes {
    let attributes = Attributes::default().with_compression(compression);
    let header = BatchHeader { attributes, last_offset_delta: 0, ..BatchHeader::default() };
    let mut set = BytesMut::from(RecordBatch::without_records(header).into_bytes().as_ref());
    set[57..61].copy_from_slice(&1u32.to_be_bytes());
    set.extend_from_slice(stream);
    let length = set.len() as u32 - 12;
    set[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&set[21..]);
    set[17..21].copy_from_slice(&crc.to_be_bytes());
    set.freeze()
}

/// Why a set's only batch is refused, and the memory that this takes.
fn refused(set: &Bytes) -> (BatchErrorKind, u64) {
    let batch = batches(set).next().expect("a batch").expect("a right header");
    let mut kind = None;
    let taken = peak(|| {
        let error = batch.decompress(&mut Decompressor::with_limit(LIMIT)).expect_err("it is refused");
        kind = Some(error.kind);
    });
    (kind.expect("an error"), taken)
}

#[test]
fn bombs_end_at_the_limit() {
    for compression in codecs() {
        let bomb = bomb(compression, 32 * LIMIT);
        let (kind, taken) = refused(bomb.bytes());
        assert_eq!(kind, BatchErrorKind::TooLarge(LIMIT), "{compression}");
        assert!(taken <= decompressing(LIMIT), "{compression}: {taken} bytes");
    }
}

#[test]
fn bombs_of_many_streams_end_at_the_limit() {
    for compression in codecs() {
        // Each part alone is below the limit.
        let part = bomb(compression, LIMIT / 4);
        let set = batch_of(compression, &part.bytes()[61..].repeat(128));
        let (kind, taken) = refused(&set);
        assert_eq!(kind, BatchErrorKind::TooLarge(LIMIT), "{compression}");
        assert!(taken <= decompressing(LIMIT), "{compression}: {taken} bytes");
    }
}

#[test]
fn what_is_below_the_limit_takes_no_more_than_it_is() {
    for compression in codecs() {
        let set = bomb(compression, LIMIT / 4).into_bytes();
        let batch = batches(&set).next().expect("a batch").expect("a right header");
        let taken = peak(|| {
            assert_eq!(batch.records().map(|record| record.expect("a record").offset).sum::<i64>(), 0);
        });
        assert!(taken <= decompressing(LIMIT / 2), "{compression}: {taken} bytes");
    }
}

#[test]
fn claims_of_streams_take_no_memory() {
    const HUGE: [u8; 8] = [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0];
    let snappy_block = [&HUGE[..4], &[7, 0]].concat();
    // The content's size is 2^31 - 1, and a block of up to 4 MiB has one byte.
    let descriptor = [&[0x68, 0x70], &HUGE[..]].concat();
    let checksum = (twox_hash::XxHash32::oneshot(0, &descriptor) >> 8) as u8;
    let lz4 = [b"\x04\x22\x4d\x18", &descriptor[..], &[checksum, 1, 0, 0, 0, 0]].concat();
    let cases: [(Compression, Vec<u8>); 5] = [
        (Compression::Snappy, snappy_block.clone()),
        (Compression::Snappy, [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06"[..], &snappy_block].concat()),
        (Compression::Lz4, lz4),
        // A single segment of 2^31 - 1 bytes; and a window of 128 MiB, with nothing in it.
        (Compression::Zstd, [b"\x28\xb5\x2f\xfd\xe0", &HUGE[..], &[1, 0, 0]].concat()),
        (Compression::Zstd, b"\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00".to_vec()),
    ];
    for (compression, stream) in cases {
        let set = batch_of(compression, &stream);
        let batch = batches(&set).next().expect("a batch").expect("a right header");
        let taken = peak(|| assert!(batch.records().next().expect("an item").is_err()));
        // zstd is given the room that it asks for, but only up to the limit.
        let limit = if compression == Compression::Zstd { Decompressor::DEFAULT_LIMIT as u64 } else { 0 };
        assert!(taken <= limit + CODEC, "{compression}: {taken} bytes for {} of input", stream.len());
    }
}

/// A message of magic 0 with this value, compressed or not.
fn message(attributes: u8, value: &[u8]) -> Vec<u8> {
    let covered = [&[0, attributes][..], &[0xff; 4], &(value.len() as u32).to_be_bytes(), value].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&covered);
    let length = (covered.len() as u32 + 4).to_be_bytes();
    [&[0; 8][..], &length, &crc.sum().to_be_bytes(), &covered].concat()
}

/// The set compressed into one message.
fn wrapper(set: &[u8]) -> Bytes {
    const GZIP: u8 = 1;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(set).and_then(|()| encoder.try_finish()).expect("memory takes all");
    message(GZIP, encoder.get_ref()).into()
}

#[test]
fn compressed_messages_take_no_more_than_their_copy_besides() {
    for size in [0, 10, 1000, LIMIT / 2] {
        // The offsets of a set have to grow.
        let one = message(0, &vec![0; size]);
        let mut set = one.repeat(LIMIT / one.len());
        for (index, message) in set.chunks_mut(one.len()).enumerate() {
            message[..8].copy_from_slice(&(index as u64).to_be_bytes());
        }
        let count = set.len() / one.len();
        let set = wrapper(&set);
        let mut read = None;
        let taken = peak(|| read = batches(&set).with_decompression_limit(LIMIT).next());
        let batch = read.expect("a batch").expect("a right one");
        assert_eq!(batch.record_count(), count);
        assert!(taken <= decompressing(LIMIT) + LIMIT as u64, "{taken} bytes for messages of {size}");
    }
    let bomb = wrapper(&message(0, &vec![0; 32 * LIMIT]));
    let mut error = None;
    let taken = peak(|| error = batches(&bomb).with_decompression_limit(LIMIT).next());
    let error = error.expect("a batch").expect_err("it is refused");
    assert_eq!(error.kind, BatchErrorKind::TooLarge(LIMIT));
    assert!(taken <= decompressing(LIMIT), "{taken} bytes");
}
