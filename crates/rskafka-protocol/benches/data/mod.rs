//! What is measured with, the same bytes at every run, and how records are read.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use rskafka_protocol::records::{NewRecord, RecordBatch, RecordBatchBuilder, batches};

/// The time of the first record, in ms since the epoch; each has a millisecond more than the one before.
const TIMESTAMP: i64 = 1_700_000_000_000;

/// How much of a value is its record's key.
const KEY_SIZE: usize = 8;

/// Values of records, one behind the other in memory.
#[derive(Clone)]
pub(crate) struct Values {
    bytes: Bytes,
    size: usize,
}

impl Values {
    /// `count` values of `size` bytes: lines of a log, which compress to about a third.
    pub(crate) fn new(count: usize, size: usize) -> Self {
        let mut text = String::with_capacity(count * size + 200);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            // xorshift64
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        while text.len() < count * size {
            let level = ["INFO", "WARN", "DEBUG", "ERROR"][random(4) as usize];
            let host = random(50);
            let path = ["write", "query", "compact", "health"][random(4) as usize];
            let (trace, took, bytes) = (random(u64::MAX), random(1_000_000), random(100_000));
            text.push_str(&format!(
                "level={level} host=db-{host:03} path=/api/v2/{path} trace_id={trace:016x} took_us={took} bytes={bytes} "
            ));
        }
        text.truncate(count * size);
        Self { bytes: text.into(), size }
    }

    /// As many values of `size` bytes as make a batch of at most 1 MiB.
    pub(crate) fn of_one_mib(size: usize) -> Self {
        let mut builder = RecordBatchBuilder::new();
        let value = vec![b'v'; size];
        let mut count = 0;
        while builder.size_with(&record(count, &value)) <= 1 << 20 {
            builder.push(record(count, &value)).expect("1 MiB fits into a batch");
            count += 1;
        }
        Self::new(count, size)
    }

    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// The records that hold the values.
    pub(crate) fn records(&self) -> impl Iterator<Item = NewRecord<'_>> {
        self.bytes.chunks_exact(self.size).enumerate().map(|(index, value)| record(index, value))
    }

    /// A builder of the batch of these records, in the memory of `buffer`.
    pub(crate) fn builder(&self, buffer: BytesMut) -> RecordBatchBuilder {
        let mut builder = RecordBatchBuilder::with_buffer(buffer);
        for record in self.records() {
            builder.push(record).expect("the records fit into a batch");
        }
        builder
    }

    /// The batch of these records, in the memory of `buffer`.
    pub(crate) fn build(&self, buffer: BytesMut) -> RecordBatch {
        self.builder(buffer).build().expect("there are records")
    }

    /// The bytes of the batch of these records.
    pub(crate) fn set(&self) -> Bytes {
        self.build(BytesMut::new()).into_bytes()
    }
}

/// A record with a key and without headers.
fn record(index: usize, value: &[u8]) -> NewRecord<'_> {
    NewRecord::new(TIMESTAMP + index as i64, value.get(..KEY_SIZE), Some(value))
}

/// The memory of a batch that nobody else holds, to be used again.
pub(crate) fn memory_of(batch: RecordBatch) -> BytesMut {
    batch.into_bytes().try_into_mut().expect("nobody else holds the batch")
}

/// An owned record, its parts shared with the batch.
pub(crate) struct Owned {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Reads a set, and has each record whole in memory.
pub(crate) fn iterate(set: &Bytes) {
    for batch in batches(set) {
        for record in batch.expect("a batch").records() {
            black_box(&record.expect("a record"));
        }
    }
}

/// Reads a set into owned records.
pub(crate) fn collect(set: &Bytes, collected: &mut Vec<Owned>) {
    for batch in batches(set) {
        let batch = batch.expect("a batch");
        collected.extend(batch.records().map(|record| {
            let record = record.expect("a record");
            let header = |(key, value): (&[u8], Option<&[u8]>)| {
                (batch.slice(key), value.map(|value| batch.slice(value)))
            };
            Owned {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(|key| batch.slice(key)),
                value: record.value.map(|value| batch.slice(value)),
                headers: record.headers.map(header).collect(),
            }
        }));
    }
}
