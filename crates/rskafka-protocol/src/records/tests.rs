//! Builder against reader, and the reader against damage.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

mod compressed;

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    /// Offsets without a record in front of this one.
    gap: u32,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<OwnedHeader>,
}

impl Owned {
    fn view(&self) -> NewRecord<'_, impl Iterator<Item = (&[u8], Option<&[u8]>)> + Clone> {
        NewRecord::new(self.timestamp, self.key.as_deref(), self.value.as_deref())
            .headers(self.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())))
    }
}

fn timestamps() -> impl Strategy<Value = i64> {
    prop_oneof![
        1_700_000_000_000i64..1_700_000_001_000,
        any::<i64>(),
        Just(-1),
        Just(i64::MIN),
        Just(i64::MAX)
    ]
}

fn records() -> impl Strategy<Value = Vec<Owned>> {
    // Lengths around those where a varint grows.
    let bytes = || {
        option::of(prop_oneof![
            20 => vec(any::<u8>(), 0..20),
            10 => vec(any::<u8>(), 60..70),
            1 => (8190usize..8194).prop_map(|length| vec![7; length])
        ])
    };
    // Few names, so that they repeat.
    let header = (prop_oneof![Just(b"a".to_vec()), Just(vec![]), vec(any::<u8>(), 1..3)], bytes());
    let gap = prop_oneof![4 => Just(0), 1 => 0u32..10_000];
    let record = (gap, timestamps(), bytes(), bytes(), vec(header, 0..4))
        .prop_map(|(gap, timestamp, key, value, headers)| Owned { gap, timestamp, key, value, headers });
    vec(record, 1..8)
}

fn headers() -> impl Strategy<Value = BatchHeader> {
    let producer = (any::<i64>(), any::<i16>(), any::<i32>());
    let place = (0..i64::MAX / 2, any::<i32>());
    (place, producer, any::<bool>(), any::<bool>(), option::of(timestamps())).prop_map(
        |(place, producer, transactional, control, horizon)| BatchHeader {
            base_offset: place.0,
            partition_leader_epoch: place.1,
            attributes: Attributes::default()
                .with(Flag::Transactional, transactional)
                .with(Flag::Control, control)
                .with(Flag::DeleteHorizon, horizon.is_some()),
            base_timestamp: horizon.unwrap_or(-1),
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: producer.2,
            ..BatchHeader::default()
        },
    )
}

fn build(header: BatchHeader, records: &[Owned]) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new();
    builder.set_header(header).unwrap();
    for record in records {
        builder.skip_offsets(record.gap).unwrap();
        let size = builder.size_with(&record.view());
        builder.push(record.view()).unwrap();
        assert_eq!(builder.encoded_size(), size);
    }
    assert_eq!(builder.len(), records.len());
    let size = builder.encoded_size();
    let batch = builder.build().unwrap();
    assert_eq!(batch.size_in_bytes(), size);
    batch
}

fn read_one(bytes: &Bytes) -> Batch {
    let mut read = batches(bytes);
    let batch = read.next().unwrap().unwrap();
    assert!(read.next().is_none());
    assert_eq!(read.leftover(), 0);
    batch
}

fn owned(batch: &Batch) -> Vec<Owned> {
    let mut next = batch.base_offset();
    let own = |record: Result<RecordView<'_>, BatchError>| {
        let record = record.unwrap();
        let gap = u32::try_from(record.offset - next).unwrap();
        next = record.offset + 1;
        assert_eq!(record.headers.len(), record.headers.clone().count());
        let own = |bytes: &[u8]| {
            let shared = batch.slice(bytes);
            assert!(bytes.is_empty() || shared.as_ptr() == bytes.as_ptr(), "a copy was made");
            shared.to_vec()
        };
        Owned {
            gap,
            timestamp: record.timestamp,
            key: record.key.map(own),
            value: record.value.map(own),
            headers: record.headers.map(|(key, value)| (own(key), value.map(own))).collect(),
        }
    };
    batch.records().map(own).collect()
}

/// Reads all of a set: the number of records, or the error.
fn read_all(set: &Bytes) -> Result<usize, BatchError> {
    let mut count = 0;
    for batch in batches(set) {
        let batch = batch?;
        for record in batch.records() {
            let record = record?;
            assert_eq!(record.headers.len(), record.headers.count());
            count += 1;
        }
    }
    Ok(count)
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(header in headers(), records in records()) {
        let batch = build(header, &records);
        let read = read_one(batch.bytes());
        prop_assert_eq!(Some(read.header().max_timestamp), records.iter().map(|record| record.timestamp).max());
        prop_assert_eq!(owned(&read), records);
        prop_assert_eq!(read.header(), batch.header());
        prop_assert_eq!(read.crc(), batch.crc);
        let header = BatchHeader {
            last_offset_delta: read.header().last_offset_delta,
            base_timestamp: read.header().base_timestamp,
            max_timestamp: read.header().max_timestamp,
            record_count: read.header().record_count,
            ..header
        };
        prop_assert_eq!(read.header(), &header);
    }

    #[test]
    fn a_batch_made_of_views_in_used_memory_is_the_same_batch(records in records(), used in 0usize..20_000) {
        let batch = build(BatchHeader::default(), &records);
        let read = read_one(batch.bytes());
        // Room for the batch and no more, or bytes of an older one.
        let mut buffer = BytesMut::with_capacity(batch.size_in_bytes());
        buffer.resize(used, 0xa5);
        let memory = buffer.as_ptr();
        let mut builder = RecordBatchBuilder::with_buffer(buffer);
        for (record, gap) in read.records().zip(records.iter().map(|record| record.gap)) {
            builder.skip_offsets(gap).unwrap();
            builder.push(NewRecord::from(record.unwrap())).unwrap();
        }
        let built = builder.build().unwrap();
        prop_assert_eq!(built.bytes().as_ptr(), memory);
        prop_assert_eq!(built, batch);
    }

    #[test]
    fn a_header_set_late_gives_the_bytes_of_one_set_early(
        header in headers(),
        records in records(),
        large: bool,
        shared: bool,
    ) {
        let mut records = records;
        // Large enough for the CRC to be had by arithmetic.
        records[0].value = large.then(|| vec![7; 20_000]).or(records[0].value.take());
        let no_horizon = header.attributes.with(Flag::DeleteHorizon, false);
        let early = build(BatchHeader { attributes: no_horizon, ..header }, &records);
        let mut late = build(BatchHeader::default(), &records);
        let sent = shared.then(|| late.clone());
        let before = late.bytes().to_vec();
        late.set_producer(header.producer_id, header.producer_epoch, header.base_sequence);
        late.update_header(|late| late.attributes = late.attributes.with(Flag::Transactional, header.attributes.has(Flag::Transactional)));
        late.update_header(|late| {
            late.attributes = late.attributes.with(Flag::Control, header.attributes.has(Flag::Control));
            late.base_offset = header.base_offset;
            late.partition_leader_epoch = header.partition_leader_epoch;
        });
        prop_assert_eq!(&late, &early);
        if let Some(sent) = sent {
            prop_assert_eq!(sent.bytes(), &before);
        }
        let produced = build(BatchHeader { base_offset: 0, partition_leader_epoch: -1, ..*early.header() }, &records);
        let stored = read_one(produced.bytes()).with_header(*early.header());
        prop_assert_eq!(&stored, early.bytes());
    }

    #[test]
    fn log_append_time_is_the_time_of_every_record(records in records(), timestamp in timestamps()) {
        let produced = build(BatchHeader::default(), &records);
        let produced = read_one(produced.bytes());
        let attributes = Attributes::default().with(Flag::LogAppendTime, true);
        let (base_offset, partition_leader_epoch, max_timestamp) = (77, 3, timestamp);
        let header = *produced.header();
        let header = BatchHeader { attributes, base_offset, partition_leader_epoch, max_timestamp, ..header };
        let stored = produced.with_header(header);
        let batch = read_one(&stored);
        prop_assert_eq!((batch.base_offset(), batch.header().partition_leader_epoch), (77, 3));
        prop_assert!(batch.header().attributes.has(Flag::LogAppendTime));
        prop_assert_eq!(batch.header().max_timestamp, timestamp);
        prop_assert!(batch.records().all(|record| record.unwrap().timestamp == timestamp));
        prop_assert_eq!(batch.record_count(), records.len());
    }

    #[test]
    fn sets_are_read_in_order_and_their_tail_may_be_cut(
        sets in vec(records(), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let built: Vec<_> = sets.iter().map(|records| build(BatchHeader::default(), records)).collect();
        let set: Vec<u8> = built.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
        let set = Bytes::from(set);
        let all: Vec<_> = batches(&set).map(|batch| owned(&batch.unwrap())).collect();
        prop_assert_eq!(&all, &sets);

        let end = cut.index(set.len());
        let mut read = batches(&set.slice(..end));
        let mut whole = 0;
        for (batch, built) in read.by_ref().zip(&built) {
            let batch = batch.unwrap();
            prop_assert_eq!(batch.position(), whole);
            prop_assert_eq!(batch.bytes(), built.bytes());
            whole += batch.size_in_bytes();
        }
        prop_assert!(read.next().is_none());
        prop_assert_eq!(read.leftover(), end - whole);
    }

    #[test]
    fn any_flipped_bit_that_the_crc_covers_is_found(records in records(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let batch = build(BatchHeader::default(), &records);
        let mut bytes = batch.bytes().to_vec();
        let at = header::CRC_END + at.index(bytes.len() - header::CRC_END);
        bytes[at] ^= 1u8 << bit;
        let error = batches(&bytes.into()).next().unwrap().unwrap_err();
        prop_assert!(matches!(error.kind, BatchErrorKind::Corrupt(Corruption::Crc { .. })), "{}", error);
    }

    #[test]
    fn the_crc_of_a_large_batch_is_right_whenever_its_codec_is_set(
        sizes in vec(prop_oneof![0usize..300, 20_000usize..30_000], 1..100),
        codec_at in option::of(0usize..100),
    ) {
        let mut builder = RecordBatchBuilder::new();
        for (at, &size) in sizes.iter().enumerate() {
            if codec_at.is_some_and(|codec_at| at >= codec_at) {
                // And taken back: the records stay uncompressed.
                builder.set_compression(Compression::Lz4);
                builder.set_compression(Compression::None);
            }
            builder.push(NewRecord::new(0, None, Some(&vec![at as u8; size]))).unwrap();
        }
        let batch = builder.build().unwrap();
        prop_assert_eq!(batch.crc, crc32c::crc32c(&batch.bytes()[header::CRC_END..]));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read_all(&bytes.into());
    }

    #[test]
    fn any_payload_with_a_right_crc_is_read_without_panic(
        payload in vec(any::<u8>(), 0..100),
        attributes in any::<i16>(),
        count in prop_oneof![0..4, any::<i32>()],
        last_offset_delta in prop_oneof![0..4, any::<i32>()],
        base_offset in prop_oneof![Just(0), any::<i64>()],
    ) {
        let header = BatchHeader {
            base_offset,
            attributes: Attributes(attributes),
            last_offset_delta,
            record_count: count,
            ..BatchHeader::default()
        };
        let _ = read_all(&sealed(header, &payload));
    }

    #[test]
    fn any_change_to_a_payload_is_read_without_panic(
        records in records(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let batch = build(BatchHeader::default(), &records);
        let mut payload = batch.bytes()[header::HEADER_SIZE..].to_vec();
        let at = at.index(payload.len());
        payload[at] = byte;
        let _ = read_all(&sealed(*batch.header(), &payload));
    }
}

/// A batch of any payload whose length and CRC are right.
fn sealed(header: BatchHeader, payload: &[u8]) -> Bytes {
    let mut buffer = BytesMut::zeroed(header::HEADER_SIZE);
    buffer.extend_from_slice(payload);
    RecordBatch::seal(header, buffer, crc::Known::default()).into_bytes()
}

fn error_of(set: &Bytes) -> BatchErrorKind {
    read_all(set).unwrap_err().kind
}

fn one_record(records: &[Owned]) -> (BatchHeader, Vec<u8>) {
    let batch = build(BatchHeader::default(), records);
    (*batch.header(), batch.bytes()[header::HEADER_SIZE..].to_vec())
}

fn plain() -> Owned {
    Owned { gap: 0, timestamp: 5, key: None, value: Some(b"v".to_vec()), headers: vec![] }
}

#[test]
fn an_empty_batch_is_not_built() {
    assert_eq!(RecordBatchBuilder::new().build().unwrap_err(), BuildError::Empty);
}

type Header = (&'static [u8], Option<&'static [u8]>);

/// Headers of which a clone gives others.
struct Changing {
    headers: VecDeque<Header>,
    of_clones: VecDeque<Header>,
}

impl Clone for Changing {
    fn clone(&self) -> Self {
        Self { headers: self.of_clones.clone(), of_clones: self.of_clones.clone() }
    }
}

impl Iterator for Changing {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        self.headers.pop_front()
    }
}

#[test]
fn headers_that_change_while_they_are_encoded_make_no_batch() {
    let (long, short): (Header, Header) = ((b"key", Some(b"value")), (b"k", None));
    let as_many_bytes: [&[Header]; 2] =
        [&[(b"key", Some(b"val"))], &[(b"", Some(b"v")), (b"", Some(b"wxy"))]];
    for [measured, written] in
        [[&[short][..], &[long]], [&[long], &[short]], [&[long], &[]], [&[], &[short]], as_many_bytes]
    {
        let headers = Changing { headers: written.to_vec().into(), of_clones: measured.to_vec().into() };
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(0, None, None).headers(headers)).unwrap();
        assert_eq!(builder.build().unwrap_err(), BuildError::Headers);
    }
}

#[test]
fn a_codec_that_kafka_does_not_have_is_an_error_of_its_own() {
    let (header, payload) = one_record(&[plain()]);
    let set = sealed(BatchHeader { attributes: Attributes(6), ..header }, &payload);
    assert_eq!(error_of(&set), BatchErrorKind::Unsupported(Unsupported::Codec(6)));
}

#[test]
fn offsets_beyond_the_format_are_refused_and_leave_the_builder_as_it_was() {
    let mut builder = RecordBatchBuilder::new();
    builder.skip_offsets(1 << 31).unwrap();
    assert_eq!(builder.push(NewRecord::new(0, None, None)), Err(BatchFull));
    assert_eq!((builder.len(), builder.encoded_size()), (0, header::HEADER_SIZE));
    assert_eq!(builder.skip_offsets(1), Err(BatchFull));
}

#[test]
fn a_batch_without_records_keeps_its_offsets_and_its_sequence() {
    let header = BatchHeader {
        base_offset: 10,
        last_offset_delta: 4,
        base_sequence: i32::MAX - 1,
        ..BatchHeader::default()
    };
    let batch = RecordBatch::without_records(header);
    let read = read_one(batch.bytes());
    assert_eq!((read.record_count(), read.next_offset(), read.header().last_sequence()), (0, 15, 2));
    assert_eq!(read.records().count(), 0);
}

#[test]
fn record_counts_and_offsets_must_fit_the_records() {
    let (header, payload) = one_record(&[plain(), plain()]);
    let corrupt = |header| match error_of(&sealed(header, &payload)) {
        BatchErrorKind::Corrupt(corruption) => corruption,
        other => panic!("{other}"),
    };
    let truncated = crate::DecodeErrorKind::Truncated;
    assert_eq!(
        corrupt(BatchHeader { record_count: 3, ..header }),
        Corruption::Record { index: 2, kind: truncated }
    );
    assert_eq!(
        corrupt(BatchHeader { record_count: 1, ..header }),
        Corruption::TrailingBytes(payload.len() / 2)
    );
    assert_eq!(corrupt(BatchHeader { record_count: -1, ..header }), Corruption::RecordCount(-1));
    let last_offset_delta = 0;
    assert_eq!(
        corrupt(BatchHeader { last_offset_delta, ..header }),
        Corruption::RecordOffset { index: 1, offset_delta: 1 }
    );
    for header in [
        BatchHeader { last_offset_delta: -1, ..header },
        BatchHeader { base_offset: -1, ..header },
        BatchHeader { base_offset: i64::MAX - 1, ..header },
    ] {
        let last_offset_delta = header.last_offset_delta;
        assert_eq!(corrupt(header), Corruption::Offsets { last_offset_delta });
    }
}

#[test]
fn offsets_that_repeat_and_lengths_below_null_are_refused() {
    let (header, payload) = one_record(&[plain(), plain()]);
    let changed = |at: usize, byte| {
        let mut payload = payload.clone();
        payload[at] = byte;
        error_of(&sealed(header, &payload))
    };
    // A record is its length, attributes, timestamp and offset, then key, value and headers.
    let second = payload.len() / 2;
    let repeated = Corruption::RecordOffset { index: 1, offset_delta: 0 };
    assert_eq!(changed(second + 3, 0), repeated.into());
    let invalid = crate::DecodeErrorKind::InvalidLength(-2);
    assert_eq!(changed(second + 4, 3), Corruption::Record { index: 1, kind: invalid }.into());
    assert_eq!(changed(5, 3), Corruption::Record { index: 0, kind: invalid }.into());
}

#[test]
fn a_length_that_no_batch_of_its_format_has_is_no_cut_off_tail() {
    for (magic, least) in [(0u8, 14i32), (1, 22), (2, 49)] {
        // Base offset, length, leader epoch or CRC, magic.
        let cut = |length: i32| Bytes::from([&[0; 8][..], &length.to_be_bytes(), &[0; 4], &[magic]].concat());
        assert_eq!(read_all(&cut(least)), Ok(0));
        assert_eq!(error_of(&cut(least - 1)), Corruption::Length(least - 1).into());
    }
}

#[test]
fn an_error_names_the_batch_and_ends_the_iteration() {
    let good = build(BatchHeader { base_offset: 7, ..BatchHeader::default() }, &[plain()]);
    let (header, mut payload) = one_record(&[plain()]);
    payload[1] = 0xff; // the record's attributes: no meaning, so no error
    payload[0] = 2; // the record's length
    let bad = sealed(BatchHeader { base_offset: 8, ..header }, &payload);
    let set = Bytes::from([good.bytes().as_ref(), &bad, good.bytes()].concat());
    let error = read_all(&set).unwrap_err();
    assert_eq!((error.position, error.base_offset), (good.size_in_bytes(), 8));
    assert_eq!(
        error.to_string(),
        "record batch with base offset 8 (byte 69 of the set): corrupt: record 0: the bytes end before the field does"
    );

    let mut damaged = set.to_vec();
    damaged[good.size_in_bytes() + 30] ^= 1;
    let mut read = batches(&damaged.into());
    assert!(read.next().unwrap().is_ok());
    assert!(matches!(read.next().unwrap().unwrap_err().kind, BatchErrorKind::Corrupt(_)));
    assert!(read.next().is_none());
}

#[test]
fn a_record_is_shown_as_text() {
    let headers = vec![(b"h".to_vec(), None), (vec![], Some(vec![0xff, b'"']))];
    let batch = build(BatchHeader::default(), &[Owned { headers, ..plain() }]);
    let batch = read_one(batch.bytes());
    let record = batch.records().next().unwrap().unwrap();
    assert_eq!(
        format!("{record:?}"),
        r#"RecordView { offset: 0, timestamp: 5, key: None, value: Some(b"v"), headers: [(b"h", None), (b"", Some(b"\xff\""))] }"#
    );
}

#[test]
fn neither_a_batch_nor_its_builder_shows_records() {
    let mut builder = RecordBatchBuilder::new();
    builder.push(NewRecord::new(0, Some(b"secret"), Some(b"secret"))).unwrap();
    let shown = format!("{builder:?} {builder:#?}");
    let batch = builder.build().unwrap();
    let shown = format!("{shown} {batch:?} {batch:#?}");
    assert!(!shown.contains("secret") && shown.contains("record_count: 1"), "{shown}");
}
