//! Record sets: read as views and as owned bytes, and written again.
//!
//! Invariant: all of a set is batches, an error or a leftover, in order; a batch that was read is the
//! same once its records are written and read again.

use bytes::Bytes;
use rskafka_protocol::records::{
    Batch, BatchHeader, Compression, Flag, NewRecord, RecordBatch, RecordBatchBuilder, RecordView, batches,
};

use crate::decompress::{LIMIT, MEMORY, only};
use crate::memory;
use crate::repair::repaired;

/// Checks a set as it is, and [`repaired`]: no change to a record is seen behind a wrong CRC or length.
pub fn check(data: &[u8]) {
    read(&Bytes::copy_from_slice(data));
    let repaired = repaired(data);
    if repaired != data {
        read(&repaired.into());
    }
    check_described(data);
}

/// Takes the bytes as a description of records, writes these and reads them again: a changed byte is then
/// a record of another length, as it hardly ever is on the wire.
fn check_described(mut description: &[u8]) {
    const PAYLOAD: [u8; 255] = [b'x'; 255];
    const MOST: usize = 8;
    let mut next = || {
        let (byte, rest) = description.split_first()?;
        description = rest;
        Some(*byte)
    };
    let mut builder = RecordBatchBuilder::new();
    let mut described = Vec::new();
    while described.len() < MOST
        && let (Some(flags), Some(distance)) = (next(), next())
    {
        let mut part = |present| if present { PAYLOAD.get(..usize::from(next()?)) } else { None };
        let (key, value) = (part(flags & 1 != 0), part(flags & 2 != 0));
        let header = |index| (part(true).unwrap_or_default(), part(index % 2 == 0));
        let headers: Vec<_> = (0..flags >> 2 & 3).map(header).collect();
        let timestamp = i64::from(distance) << (8 * (flags >> 4 & 7));

        builder.skip_offsets(u32::from(distance)).expect("a few offsets");
        let record = NewRecord::new(timestamp, key, value).headers(headers.iter().copied());
        builder.push(record).expect("a small record");
        described.push((timestamp, key, value, headers));
    }
    let Ok(batch) = builder.build() else { return };
    read(batch.bytes());
    let batch = only(batch.bytes());
    let read = batch.records().map(|record| {
        let RecordView { timestamp, key, value, headers, .. } = record.expect("it was just written");
        (timestamp, key, value, headers.collect::<Vec<_>>())
    });
    assert!(read.eq(described), "what is read is not what was written");
}

/// Reads all of a set, and checks what it gives.
pub fn read(set: &Bytes) {
    let mut left = batches(set).with_decompression_limit(LIMIT);
    let mut position = 0;
    // A compressed message of an older format is decompressed and copied at once.
    while let Some(batch) = memory::at_most(32 * set.len() + 2 * MEMORY, || left.next()) {
        match batch {
            Ok(batch) => {
                assert_eq!(batch.position(), position);
                assert_eq!(batch.bytes(), &set[position..position + batch.size_in_bytes()]);
                position += batch.size_in_bytes();
                check_batch(&batch);
            }
            Err(error) => {
                assert_eq!(error.position, position);
                assert!(!error.to_string().is_empty());
                assert!(left.next().is_none(), "an error is the last");
            }
        }
    }
    assert_eq!(left.leftover(), set.len() - position);
}

fn check_batch(batch: &Batch) {
    let records = || batch.records().map(|record| record.map(drop)).last();
    let read = match batch.compression() {
        Compression::None => memory::bounded(batch.size_in_bytes(), records),
        _ => memory::at_most(MEMORY, records),
    };
    if let Some(Err(error)) = read {
        assert_eq!((error.position, error.base_offset), (batch.position(), batch.base_offset()));
        assert!(!error.to_string().is_empty());
        return;
    }
    let records: Vec<_> = batch.records().map(|record| record.expect("it was read before")).collect();
    assert_eq!(records.len(), batch.record_count());
    for record in &records {
        assert!((batch.base_offset()..=batch.last_offset()).contains(&record.offset));
        check_owned(batch, record);
    }
    check_written(batch, &records);
    if batch.magic() == 2 {
        check_patched(batch);
    }
}

fn check_owned(batch: &Batch, record: &RecordView<'_>) {
    assert_eq!(record.headers.clone().count(), record.headers.len());
    let headers = record.headers.clone().flat_map(|(key, value)| [Some(key), value]);
    for part in headers.chain([record.key, record.value]).flatten() {
        let owned = batch.slice(part);
        assert_eq!(owned, part);
        assert!(part.is_empty() || owned.as_ptr() == part.as_ptr(), "an owned part is a copy");
    }
}

/// The records come back from a batch that the builder wrote, and there is one way to write them.
fn check_written(batch: &Batch, records: &[RecordView<'_>]) {
    let written = write(batch, records);
    let again = only(written.bytes());
    let read: Vec<_> = again.records().map(|record| record.expect("it was just written")).collect();
    assert_same(&read, records);
    // Times are relative to the first record's when written here.
    let BatchHeader { base_timestamp, max_timestamp, .. } = *again.header();
    assert_eq!(again.header(), &BatchHeader { base_timestamp, max_timestamp, ..uncompressed(batch) });
    assert_eq!(write(&again, &read), written);
}

fn write(batch: &Batch, records: &[RecordView<'_>]) -> RecordBatch {
    if records.is_empty() {
        return RecordBatch::without_records(uncompressed(batch));
    }
    let mut builder = RecordBatchBuilder::new();
    builder.set_header(uncompressed(batch)).expect("there are no records yet");
    let mut next = batch.base_offset();
    let skip = |builder: &mut RecordBatchBuilder, from: i64, to: i64| {
        let count = u32::try_from(to - from).expect("offsets grow");
        builder.skip_offsets(count).expect("the offsets were in one batch before");
    };
    for record in records {
        skip(&mut builder, next, record.offset);
        let new = NewRecord::from(record.clone());
        let size = builder.size_with(&new);
        builder.push(new).expect("the record was in one batch before");
        assert_eq!(builder.encoded_size(), size, "the size is not what was said");
        next = record.offset + 1;
    }
    skip(&mut builder, next, batch.next_offset());
    builder.build().expect("there are records, and no codec")
}

/// The target `decompress` is for the codecs.
fn uncompressed(batch: &Batch) -> BatchHeader {
    let attributes = batch.header().attributes.with_compression(Compression::None);
    BatchHeader { attributes, ..*batch.header() }
}

/// A header that is changed in place leaves the records and gives the right CRC.
fn check_patched(batch: &Batch) {
    let header = BatchHeader { base_offset: 5, partition_leader_epoch: 7, ..*batch.header() };
    let moved = only(&batch.clone().with_header(header));
    assert_eq!((moved.base_offset(), moved.header().partition_leader_epoch), (5, 7));
    assert_eq!(moved.crc(), batch.crc());

    let attributes = batch.header().attributes.with(Flag::LogAppendTime, true);
    let header = BatchHeader { attributes, max_timestamp: 1234, ..*batch.header() };
    let stamped = only(&batch.clone().with_header(header));
    assert!(stamped.records().all(|record| record.is_ok_and(|record| record.timestamp == 1234)));
}

fn assert_same(ours: &[RecordView<'_>], theirs: &[RecordView<'_>]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!((ours.offset, ours.timestamp), (theirs.offset, theirs.timestamp));
        assert_eq!((ours.key, ours.value), (theirs.key, theirs.value));
        assert!(ours.headers.clone().eq(theirs.headers.clone()), "the headers are others");
    }
}
