//! Message sets, made here, against the reader; golden holds those that Java made.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::codec;
use super::super::{
    BatchError, BatchErrorKind, BatchHeader, Compression, Corruption, Flag, Unsupported, batches,
};
use crate::DecodeErrorKind;

const LOG_APPEND_TIME: i64 = 77;

/// Offset, timestamp, key and value.
type Owned = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn message(magic: i8, attributes: i8, record: &Owned) -> BytesMut {
    let (offset, timestamp, key, value) = record;
    let mut covered = vec![magic as u8, attributes as u8];
    if magic == 1 {
        covered.put_i64(*timestamp);
    }
    for bytes in [key, value] {
        covered.put_i32(bytes.as_ref().map_or(-1, |bytes| bytes.len() as i32));
        covered.extend(bytes.iter().flatten());
    }
    let mut message = BytesMut::new();
    message.put_i64(*offset);
    message.put_i32(covered.len() as i32 + 4);
    message.put_u32(crc32fast::hash(&covered));
    message.put_slice(&covered);
    message
}

/// Compresses messages into one, which has the last one's offset.
fn wrapper(magic: i8, codec: Compression, inner: &[Owned], attributes: i8, set: &[u8]) -> BytesMut {
    let mut value = BytesMut::new();
    (codec::of(codec).unwrap().compress)(set, None, &mut value).unwrap();
    let last = inner.last().map_or(0, |record| record.0);
    // A broker that stamps the wrapper leaves what is in it.
    let latest = inner.iter().map(|record| record.1).max().unwrap_or(-1);
    let time = if attributes == 0 { latest } else { LOG_APPEND_TIME };
    message(magic, attributes | codec.codec() as i8, &(last, time, None, Some(value.to_vec())))
}

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let bytes = || option::of(vec(any::<u8>(), 0..40));
    let record = (0i64..1000, prop_oneof![0i64..1000, any::<i64>()], bytes(), bytes());
    (0i64..1 << 40, vec(record, 1..6)).prop_map(|(base, records)| {
        let mut next = base;
        let place = |(gap, timestamp, key, value)| {
            next += gap + 1;
            (next, timestamp, key, value)
        };
        records.into_iter().map(place).collect()
    })
}

fn codecs() -> Vec<Compression> {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4];
    codecs.into_iter().filter(|codec| codec.is_supported()).collect()
}

/// A set of one wrapper, or of messages that stand alone.
fn encode(magic: i8, codec: Compression, records: &[Owned], log_append_time: bool) -> Bytes {
    let attributes = if log_append_time && magic == 1 { 1 << 3 } else { 0 };
    if codec == Compression::None {
        return records.iter().flat_map(|record| message(magic, attributes, record)).collect();
    }
    let base = if magic == 1 { records[0].0 } else { 0 };
    let relative = |record: &Owned| (record.0 - base, record.1, record.2.clone(), record.3.clone());
    let set: Vec<u8> = records.iter().flat_map(|record| message(magic, 0, &relative(record))).collect();
    wrapper(magic, codec, records, attributes, &set).freeze()
}

fn decode(set: &Bytes) -> Result<Vec<Owned>, BatchError> {
    let mut read = Vec::new();
    for batch in batches(set) {
        let batch = batch?;
        let before = read.len();
        for record in batch.records() {
            let record = record?;
            assert_eq!(record.headers.len(), 0);
            let own = |bytes: Option<&[u8]>| bytes.map(|bytes| batch.slice(bytes).to_vec());
            read.push((record.offset, record.timestamp, own(record.key), own(record.value)));
        }
        assert_eq!(batch.record_count(), read.len() - before);
        assert_eq!(batch.base_offset(), read[before].0);
        assert_eq!(batch.last_offset(), read.last().unwrap().0);
        let moved = BatchHeader { base_offset: 9, ..*batch.header() };
        assert_eq!(batch.clone().with_header(moved), batch.bytes());
    }
    Ok(read)
}

fn kind_of(set: &[u8]) -> BatchErrorKind {
    decode(&Bytes::copy_from_slice(set)).unwrap_err().kind
}

proptest! {
    #[test]
    fn messages_are_read_whether_compressed_or_not(
        magic in 0i8..=1,
        codec in prop::sample::select(codecs()),
        records in records(),
        log_append_time: bool,
    ) {
        let set = encode(magic, codec, &records, log_append_time);
        let mut expected = records.clone();
        for record in &mut expected {
            match magic {
                0 => record.1 = -1,
                _ if log_append_time && codec != Compression::None => record.1 = LOG_APPEND_TIME,
                _ => {}
            }
        }
        prop_assert_eq!(decode(&set).unwrap(), expected);
        let first = batches(&set).next().unwrap().unwrap();
        prop_assert_eq!((first.magic(), first.compression()), (magic, codec));
        let is_log_append_time = first.header().attributes.has(Flag::LogAppendTime);
        prop_assert_eq!(is_log_append_time, log_append_time && magic == 1);
        prop_assert_eq!((first.header().producer_id, first.header().partition_leader_epoch), (-1, -1));
    }

    #[test]
    fn any_change_to_a_message_is_found_or_leaves_it_readable(
        magic in 0i8..=1,
        codec in prop::sample::select(codecs()),
        records in records(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        is_repaired: bool,
    ) {
        let mut set = encode(magic, codec, &records[..1], false).to_vec();
        let at = at.index(set.len());
        let is_covered = at >= 16 && set[at] != byte;
        set[at] = byte;
        if is_repaired {
            let crc = crc32fast::hash(&set[16..]);
            set[12..16].copy_from_slice(&crc.to_be_bytes());
        }
        let outcome = decode(&set.into());
        prop_assert!(is_repaired || !is_covered || outcome.is_err());
    }
}

#[test]
fn a_wrapper_is_refused_whose_messages_do_not_belong_into_it() {
    let record = |offset| (offset, 5, None, Some(b"v".to_vec()));
    for codec in codecs().into_iter().filter(|codec| *codec != Compression::None) {
        let wrapped = |magic, set: &[u8]| wrapper(magic, codec, &[record(7)], 0, set);
        let refused = BatchErrorKind::Corrupt(Corruption::Wrapper);
        assert_eq!(kind_of(&wrapped(1, &[])), refused, "none");
        assert_eq!(kind_of(&wrapped(1, &message(0, 0, &record(0)))), refused, "another format");
        assert_eq!(kind_of(&wrapped(1, &message(1, 0, &record(8)))), refused, "beyond the offset");
        assert_eq!(kind_of(&wrapped(1, &wrapped(1, &message(1, 0, &record(0))))), refused, "a wrapper");
        let null = message(1, codec.codec() as i8, &(0, 0, None, None));
        assert_eq!(kind_of(&null), refused, "null");
        let twice = [message(1, 0, &record(3)), message(1, 0, &record(3))].concat();
        let repeated = Corruption::MessageOffset { index: 1, offset: 7 };
        assert_eq!(kind_of(&wrapped(1, &twice)), repeated.into());
    }
    let negative = Corruption::MessageOffset { index: 0, offset: -1 };
    assert_eq!(kind_of(&message(0, 0, &record(-1))), negative.into());
    let zstd = Unsupported::Compression(Compression::Zstd);
    assert_eq!(kind_of(&message(1, 4, &record(0))), zstd.into());
    assert_eq!(kind_of(&message(1, 5, &record(0))), Unsupported::Codec(5).into());
}

#[test]
fn a_wrapper_without_an_offset_counts_from_zero() {
    for codec in codecs().into_iter().filter(|codec| *codec != Compression::None) {
        let set: Vec<u8> = (0..3).flat_map(|n| message(1, 0, &(n, 5, None, None))).collect();
        let read = decode(&wrapper(1, codec, &[], 0, &set).freeze()).unwrap();
        assert_eq!(read.iter().map(|record| record.0).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

#[test]
fn messages_of_magic_0_have_their_own_offsets_whatever_the_wrapper_says() {
    for codec in codecs().into_iter().filter(|codec| *codec != Compression::None) {
        let set: Vec<u8> = (3..5).flat_map(|n| message(0, 0, &(n, -1, None, None))).collect();
        let read = decode(&wrapper(0, codec, &[(100, -1, None, None)], 0, &set).freeze()).unwrap();
        assert_eq!(read.iter().map(|record| record.0).collect::<Vec<_>>(), [3, 4]);
    }
}

#[test]
fn bytes_behind_a_message_in_its_own_length_are_refused() {
    for magic in 0..=1 {
        let mut longer = message(magic, 0, &(0, 5, None, None));
        longer.put_u8(0);
        let length = longer.len() as i32 - 12;
        longer[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32fast::hash(&longer[16..]);
        longer[12..16].copy_from_slice(&crc.to_be_bytes());
        let kind = DecodeErrorKind::TrailingBytes(1);
        assert_eq!(kind_of(&longer), Corruption::Record { index: 0, kind }.into());
    }
}

#[test]
fn a_wrapper_is_held_to_the_limit() {
    for codec in codecs().into_iter().filter(|codec| *codec != Compression::None) {
        let record = (0, 5, None, Some(vec![7; 10_000]));
        let set = encode(1, codec, &[record], false);
        let error = batches(&set).with_decompression_limit(9_999).next().unwrap().unwrap_err();
        assert_eq!(error.kind, BatchErrorKind::TooLarge(9_999));
    }
}
