//! Each codec that this build has, on a thousand records of 1 KiB that compress as logs do.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput};
use rskafka_protocol::records::{Compression, Decompressor, RecordBatchBuilder, batches};

use crate::data::Values;

pub(crate) fn benches(c: &mut Criterion) {
    let values = Values::new(1000, 1024);
    let size = values.set().len();
    let supported = Compression::ALL.into_iter().filter(|compression| compression.is_supported());
    let codecs: Vec<_> = supported.filter(|compression| *compression != Compression::None).collect();

    // Throughput is of the bytes that are not compressed, in both directions.
    let mut group = c.benchmark_group("compress");
    group.throughput(Throughput::Bytes(size as u64));
    for codec in &codecs {
        group.bench_function(codec.name(), |b| {
            let build = |builder: RecordBatchBuilder| builder.build().expect("the codec is supported");
            b.iter_batched(|| builder(&values, *codec), build, BatchSize::PerIteration);
        });
    }
    group.finish();

    let mut group = c.benchmark_group("decompress");
    group.throughput(Throughput::Bytes(size as u64));
    for codec in &codecs {
        let set = builder(&values, *codec).build().expect("the codec is supported").into_bytes();
        eprintln!("{codec}: {size} bytes become {}", set.len());
        let mut decompressor = Decompressor::default();
        group.bench_function(codec.name(), |b| {
            b.iter(|| {
                for batch in batches(black_box(&set)) {
                    let batch = batch.expect("a batch");
                    batch.decompress(&mut decompressor).expect("what was compressed");
                    batch.records().for_each(|record| {
                        black_box(&record.expect("a record"));
                    });
                }
            });
        });
    }
}

fn builder(values: &Values, codec: Compression) -> RecordBatchBuilder {
    let mut builder = values.builder(BytesMut::new());
    builder.set_compression(codec);
    builder
}
