//! Time: twice the input takes about twice the time.
//!
//! Invariant: a test fails only on a difference that noise does not make: the best of several runs by the
//! time that the thread itself ran, on inputs that take milliseconds, against five times the time where
//! quadratic code would take sixteen.

use std::time::Duration;

use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};
use rskafka_protocol::Message;
use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::records::{
    BatchHeader, Compression, Decompressor, NewRecord, RecordBatch, RecordBatchBuilder, batches,
};

use crate::craft::{Large, Layout, put_unsigned};

/// How much more input, and how much more time that may take.
const GROWTH: (usize, u32) = (4, 5);
/// Below this, time says nothing.
const SLACK: Duration = Duration::from_millis(20);

fn best(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let since = thread_time();
        run();
        thread_time() - since
    };
    (0..3).map(time).min().unwrap_or_default()
}

/// What other threads and processes take meanwhile is not in it.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the kernel counts the thread's time").into()
}

/// `run` is given inputs that `make` makes of a size.
fn grows_with_its_input<T>(what: &str, size: usize, make: impl Fn(usize) -> T, run: impl Fn(&T)) {
    let (small, large) = (make(size), make(size * GROWTH.0));
    let allowed = |small: Duration| small * GROWTH.1 + SLACK;
    // Once more where it fails, as the machine may be busy with other things.
    for _ in 0..3 {
        if best(|| run(&large)) <= allowed(best(|| run(&small))) {
            return;
        }
    }
    let (small, large) = (best(|| run(&small)), best(|| run(&large)));
    assert!(large <= allowed(small), "{what}: {small:?}, and {large:?} for {} times the input", GROWTH.0);
}

struct Arrays;

impl Visitor for Arrays {
    fn visit<M: Message>(&mut self, _: &'static str) {
        let version = M::VERSIONS.max;
        let layout = Layout { version, is_flexible: M::is_flexible(version) };
        for path in layout.arrays(M::SCHEMA) {
            let what = format!("{} {version}, array {path:?}", M::NAME);
            let make = |size| Bytes::from(layout.write(M::SCHEMA, &path, &Large::Nested(size)));
            grows_with_its_input(&what, 16 * 1024, make, |body| drop(M::decode(version, body)));
        }
        if layout.is_flexible {
            let make = |size: usize| {
                let mut tags = Vec::new();
                put_unsigned(size as u64 / 2, &mut tags);
                tags.extend([100, 0].repeat(size / 2));
                Bytes::from(layout.write_tags(M::SCHEMA, &tags))
            };
            let what = format!("{} {version}, tags", M::NAME);
            grows_with_its_input(&what, 16 * 1024, make, |body| drop(M::decode(version, body)));
        }
    }
}

#[test]
fn messages_take_time_by_their_size() {
    visit_all(&mut Arrays);
}

/// Reads all of a set that is wrong at its end.
fn read(set: &Bytes) {
    for batch in batches(set).map_while(Result::ok) {
        for record in batch.records().map_while(Result::ok) {
            record.headers.for_each(drop);
        }
    }
}

#[test]
fn record_sets_take_time_by_their_size() {
    let records = |size: usize| {
        let mut builder = RecordBatchBuilder::new();
        for _ in 0..size / 7 {
            builder.push(NewRecord::new(5, None, None)).expect("there is room");
        }
        builder.build().expect("a batch").into_bytes()
    };
    grows_with_its_input("records", 64 * 1024, records, read);
    let headers = |size: usize| {
        let mut builder = RecordBatchBuilder::new();
        let headers = std::iter::repeat_n((b"".as_slice(), None), size / 2);
        builder.push(NewRecord::new(5, None, None).headers(headers)).expect("there is room");
        builder.build().expect("a batch").into_bytes()
    };
    grows_with_its_input("headers", 64 * 1024, headers, read);
    let empty = |size: usize| {
        let batch = RecordBatch::without_records(BatchHeader { last_offset_delta: 0, ..Default::default() });
        Bytes::from(batch.bytes().repeat(size / 61))
    };
    grows_with_its_input("batches without records", 256 * 1024, empty, read);
    let message = [&[0; 11][..], &[14, 0xa7, 0xec, 0x68, 0x03, 0, 0], &[0xff; 8]].concat();
    let messages = |size: usize| Bytes::from(message.repeat(size / message.len()));
    grows_with_its_input("messages of magic 0", 64 * 1024, messages, read);
}

/// Streams of nothing, one after the other.
#[test]
fn streams_take_time_by_their_size() {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0".as_slice();
    let snappy = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0".as_slice();
    let lz4 = b"\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0".as_slice();
    let zstd = b"\x28\xb5\x2f\xfd\x20\0\x01\0\0".as_slice();
    let lz4_block = b"\0\0\0\x80".as_slice();
    let cases = [
        (Compression::Gzip, b"".as_slice(), gzip, b"".as_slice()),
        (Compression::Snappy, b"", snappy, b""),
        (Compression::Lz4, b"", lz4, b""),
        (Compression::Lz4, b"\x04\x22\x4d\x18\x60\x70\x73", lz4_block, b"\0\0\0\0"),
        (Compression::Zstd, b"", zstd, b""),
    ];
    for (compression, start, part, end) in cases {
        let make = |size: usize| [start, &part.repeat(size / part.len()), end].concat();
        let decompress = |stream: &Vec<u8>| {
            let set = crate::bombs::batch_of(compression, stream);
            let batch = batches(&set).next().expect("a batch").expect("a right header");
            batch.decompress(&mut Decompressor::default()).expect("a stream of nothing");
            assert_eq!(batch.decompressed_size(), Some(0));
        };
        grows_with_its_input(&format!("{compression} {part:?}"), 64 * 1024, make, decompress);
    }
}
