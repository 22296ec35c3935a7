//! Record sets: read as views and as owned bytes, and written again.
//!
//! Invariant: all of a set is batches, an error or a leftover, in order; a batch that was read is the
//! same once its records are written and read again.

use bytes::Bytes;
use rskafka_protocol::records::{
    Batch, BatchHeader, ControlRecord, NewRecord, RecordBatch, RecordBatchBuilder, RecordView, batches,
};

use crate::memory;

/// Checks a set as it is, and with CRCs that are right, as no change to a batch is seen behind a wrong one.
pub fn check(data: &[u8]) {
    read(&Bytes::copy_from_slice(data));
    let mut repaired = data.to_vec();
    repair_crcs(&mut repaired);
    if repaired != data {
        read(&repaired.into());
    }
}

const HEADER_SIZE: usize = 61;
const LENGTH_END: usize = 12;
const CRC: std::ops::Range<usize> = 17..21;

fn repair_crcs(mut set: &mut [u8]) {
    while let Some(header) = set.first_chunk::<HEADER_SIZE>() {
        let [.., a, b, c, d] = header[..LENGTH_END] else { return };
        let size = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or_default() + LENGTH_END;
        if header[CRC.start - 1] != 2 || size < HEADER_SIZE {
            return;
        }
        let Some((batch, rest)) = set.split_at_mut_checked(size) else { return };
        let crc = crc32c::crc32c(&batch[CRC.end..]);
        batch[CRC].copy_from_slice(&crc.to_be_bytes());
        set = rest;
    }
}

fn read(set: &Bytes) {
    let mut left = batches(set);
    let mut position = 0;
    while let Some(batch) = memory::bounded(set.len(), || left.next()) {
        match batch {
            Ok(batch) => {
                assert_eq!(batch.position(), position);
                assert_eq!(batch.bytes(), &set[position..position + batch.size_in_bytes()]);
                position += batch.size_in_bytes();
                check_batch(&batch);
            }
            Err(error) => {
                assert_eq!(error.position(), position);
                assert!(!error.to_string().is_empty());
                assert!(left.next().is_none(), "an error is the last");
            }
        }
    }
    assert_eq!(left.leftover(), set.len() - position);
}

fn check_batch(batch: &Batch) {
    let read =
        memory::bounded(batch.size_in_bytes(), || batch.records().map(|record| record.map(drop)).last());
    if let Some(Err(error)) = read {
        assert_eq!((error.position(), error.base_offset()), (batch.position(), batch.base_offset()));
        assert!(!error.to_string().is_empty());
        return;
    }
    let records: Vec<_> = batch.records().map(|record| record.expect("it was read before")).collect();
    assert_eq!(records.len(), batch.record_count());
    for record in &records {
        assert!((batch.base_offset()..=batch.last_offset()).contains(&record.offset));
        check_owned(batch, record);
        if batch.is_control() {
            let _ = ControlRecord::parse(record);
        }
    }
    check_written(batch, &records);
    check_patched(batch);
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
    assert_eq!(again.header(), &BatchHeader { base_timestamp, max_timestamp, ..*batch.header() });
    assert_eq!(write(&again, &read), written);
}

fn write(batch: &Batch, records: &[RecordView<'_>]) -> RecordBatch {
    if records.is_empty() {
        return RecordBatch::without_records(*batch.header());
    }
    let mut builder = RecordBatchBuilder::new();
    builder.set_header(*batch.header()).expect("there are no records yet");
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

/// A header that is changed in place leaves the records and gives the right CRC.
fn check_patched(batch: &Batch) {
    let moved = only(&batch.with_offsets(5, 7));
    assert_eq!((moved.base_offset(), moved.partition_leader_epoch()), (5, 7));
    assert_eq!(moved.crc(), batch.crc());

    let stamped = only(&batch.with_log_append_time(0, 1, 1234));
    assert!(stamped.records().all(|record| record.is_ok_and(|record| record.timestamp == 1234)));
}

fn only(bytes: &Bytes) -> Batch {
    let mut batches = batches(bytes);
    let batch = batches.next().expect("a batch").expect("a batch that is right");
    assert_eq!((batch.size_in_bytes(), batches.leftover()), (bytes.len(), 0));
    batch
}

fn assert_same(ours: &[RecordView<'_>], theirs: &[RecordView<'_>]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!((ours.offset, ours.timestamp), (theirs.offset, theirs.timestamp));
        assert_eq!((ours.key, ours.value), (theirs.key, theirs.value));
        assert!(ours.headers.clone().eq(theirs.headers.clone()), "the headers are others");
    }
}
