//! Record sets: reading costs no memory per record, and claims cost none at all.

use bytes::{BufMut, Bytes, BytesMut};
use rskafka_protocol::records::{
    BatchHeader, Compression, NewRecord, RecordBatch, RecordBatchBuilder, batches,
};

use crate::{allowed, peak};

fn builder(count: usize) -> RecordBatchBuilder {
    let mut builder = RecordBatchBuilder::new();
    for number in 0..count {
        let value = number.to_be_bytes();
        let headers = [(b"name".as_slice(), Some(value.as_slice())), (b"", None)];
        builder.push(NewRecord::new(5, None, Some(&value)).headers(headers)).expect("there is room");
    }
    builder
}

#[test]
fn records_cost_no_allocation_each() {
    const COUNT: usize = 10_000;
    for compression in Compression::ALL {
        let mut builder = builder(COUNT);
        builder.set_compression(compression);
        let set = builder.build().expect("a batch").into_bytes();
        let batch = batches(&set).next().expect("a batch").expect("a right one");
        // The one buffer of a compressed batch.
        assert_eq!(batch.records().count(), COUNT);
        let mut bytes = 0;
        let info = allocation_counter::measure(|| {
            for record in batch.records() {
                let record = record.expect("a record");
                bytes += record.value.map_or(0, <[u8]>::len);
                record.headers.for_each(|(key, value)| bytes += key.len() + value.map_or(0, <[u8]>::len));
            }
        });
        assert_eq!(bytes, COUNT * (8 + 8 + 4));
        assert_eq!(info.count_total, 0, "{compression}");
    }
}

#[test]
fn a_compressed_batch_costs_no_allocation_per_record() {
    for compression in Compression::ALL {
        let allocations = |count| {
            let mut builder = builder(count);
            builder.set_compression(compression);
            let set = builder.build().expect("a batch").into_bytes();
            let read = || batches(&set).map(|batch| batch.expect("a batch").records().count()).sum();
            let mut read_count: usize = 0;
            let info = allocation_counter::measure(|| read_count = read());
            assert_eq!(read_count, count);
            info.count_total
        };
        let (few, many) = (allocations(1_000), allocations(10_000));
        assert!(many <= few + 10, "{compression}: {few} allocations, then {many}");
    }
}

#[test]
fn owned_parts_cost_no_memory_of_their_own() {
    let set = builder(10_000).build().expect("a batch").into_bytes();
    let batch = batches(&set).next().expect("a batch").expect("a right one");
    let mut values = Vec::with_capacity(10_000);
    let taken = peak(|| {
        values.extend(
            batch.records().map(|record| record.expect("a record").value.map(|value| batch.slice(value))),
        );
    });
    assert_eq!(values.len(), 10_000);
    assert!(taken <= 100, "{taken} bytes");
}

/// A batch of these records, whose header says this many of them.
fn batch(count: i32, records: &[u8]) -> Bytes {
    let header = BatchHeader { last_offset_delta: i32::MAX - 1, ..BatchHeader::default() };
    let mut set = BytesMut::from(RecordBatch::without_records(header).into_bytes().as_ref());
    set[57..61].copy_from_slice(&count.to_be_bytes());
    set.put_slice(records);
    let length = set.len() as u32 - 12;
    set[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&set[21..]);
    set[17..21].copy_from_slice(&crc.to_be_bytes());
    set.freeze()
}

/// The memory to read a set, and how many records it gives.
fn read(set: &Bytes) -> (u64, usize) {
    let mut count = 0;
    let taken = peak(|| {
        for batch in batches(set).map_while(Result::ok) {
            let records = batch.records();
            assert!(records.size_hint().1.expect("a bound") <= set.len());
            for record in records.map_while(Result::ok) {
                count += 1 + record.headers.count();
            }
        }
    });
    (taken, count)
}

#[test]
fn counts_and_lengths_that_are_only_claimed_cost_nothing() {
    // Length, attributes, timestamp, offset, key, value, headers.
    let record = |headers: &[u8]| [&[0u8, 0, 0, 1, 1][..], headers].concat();
    let varint_max = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    let mut cases = vec![batch(i32::MAX, &[]), batch(i32::MAX, &[0; 1000]), batch(1, &varint_max)];
    let mut long = record(&varint_max);
    long.insert(0, 2 * (long.len() as u8));
    cases.push(batch(1, &long));
    cases.push(batch(i32::MAX, &[12, 0, 0, 0, 1, 1, 0].repeat(1000)));
    for set in cases {
        let (taken, _) = read(&set);
        assert!(taken <= 1024, "{taken} bytes for a set of {}", set.len());
    }
}

#[test]
fn many_small_batches_and_messages_stay_within_the_limit() {
    let empty = batch(0, &[]).repeat(1000);
    // A message of magic 0 without key and value.
    let message = [&[0; 11][..], &[14, 0xa7, 0xec, 0x68, 0x03, 0, 0], &[0xff; 8]].concat();
    for (set, records) in [(empty, 0), (message.repeat(2000), 2000)] {
        let set = Bytes::from(set);
        // All of them held at once.
        let mut held = Vec::new();
        let taken = peak(|| held.extend(batches(&set)));
        let count: usize = held.iter().map(|batch| batch.as_ref().expect("a batch").record_count()).sum();
        assert_eq!(count, records);
        assert!(taken <= allowed(set.len()), "{taken} bytes for a set of {}", set.len());
        assert!(read(&set).0 <= 4096);
    }
}
