//! Record batches of a thousand records: built, sent, and read; beside them what the memory allows.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput};
use rskafka_protocol::encode_request;
use rskafka_protocol::records::batches;

use crate::data::{Values, collect, iterate, memory_of};
use crate::messages::produce_request;

const RECORDS: usize = 1000;
const SIZES: [(&str, usize); 3] = [("100 B", 100), ("1 KiB", 1024), ("10 KiB", 10 * 1024)];

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("records");
    for (name, size) in SIZES {
        let values = Values::new(RECORDS, size);
        let set = values.set();
        group.throughput(Throughput::Bytes(set.len() as u64));

        let mut copy = set.to_vec();
        group.bench_function(BenchmarkId::new("memcpy + CRC-32C", name), |b| {
            b.iter(|| {
                copy.copy_from_slice(black_box(&set));
                crc32c::crc32c(black_box(&copy))
            });
        });
        let mut buffer = BytesMut::with_capacity(set.len());
        group.bench_function(BenchmarkId::new("build", name), |b| {
            b.iter(|| {
                let batch = black_box(&values).build(std::mem::take(&mut buffer));
                black_box(batch.bytes());
                buffer = memory_of(batch);
            });
        });
        let mut batch = values.build(BytesMut::new());
        group.bench_function(BenchmarkId::new("encode into a request", name), |b| {
            let mut sequence = 0;
            b.iter(|| {
                // As for an idempotent append: the batch is built, then gets its place in the sequence.
                sequence = (sequence + 1) % 1000;
                batch.set_producer(4000, 0, sequence);
                let request = produce_request(batch.bytes().clone());
                encode_request(black_box(&request), 13, 1, Some("bench")).expect("a request")
            });
        });
        group.bench_function(BenchmarkId::new("verify", name), |b| {
            b.iter(|| batches(black_box(&set)).count());
        });
        group.bench_function(BenchmarkId::new("iterate, borrowed", name), |b| {
            b.iter(|| iterate(black_box(&set)));
        });
        let mut collected = Vec::with_capacity(RECORDS);
        group.bench_function(BenchmarkId::new("collect, owned", name), |b| {
            b.iter(|| {
                collect(black_box(&set), &mut collected);
                black_box(&collected);
                collected.clear();
            });
        });
    }
}
