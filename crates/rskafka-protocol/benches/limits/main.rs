//! The speed and memory that the record batches are to reach, measured for `cargo xtask bench`.
//!
//! Invariant: both sides of a check see the same bytes, use their buffers again, and are measured in the
//! same run.

#[path = "../data/mod.rs"]
mod data;
mod harness;

use std::hint::black_box;

use bytes::BytesMut;

use crate::data::{Values, collect, iterate, memory_of};
use crate::harness::{Allocations, Check, Clock, Limit, run};

fn main() {
    let (small, large) = (Values::of_one_mib(100), Values::of_one_mib(1024));
    run(
        vec![
            build("build-1KiB", "build a 1 MiB batch of 1 KiB records", Limit::Times(1.3), &large),
            build("build-100B", "build a 1 MiB batch of 100 B records", Limit::PerRecord(1.0, 25.0), &small),
            borrowed("borrowed-1KiB", "iterate 1 KiB records, borrowed", &large),
            borrowed("borrowed-100B", "iterate 100 B records, borrowed", &small),
            owned("owned-1KiB", "collect 1 KiB records, owned", &large),
            owned("owned-100B", "collect 100 B records, owned", &small),
        ],
        vec![build_allocations(), borrowed_allocations()],
    );
}

fn build(name: &'static str, what: &'static str, limit: Limit, values: &Values) -> Check {
    let batch = values.set();
    let (mut copy, bytes) = (batch.to_vec(), batch.len());
    let (values, count) = (values.clone(), values.count());
    let mut buffer = BytesMut::with_capacity(bytes);
    Check {
        name,
        what,
        baseline_is: "memcpy and CRC-32C of its bytes",
        limit,
        clock: Clock::Cpu,
        renew: None,
        records: count,
        bytes,
        subject: Box::new(move || {
            let batch = black_box(&values).build(std::mem::take(&mut buffer));
            black_box(batch.bytes());
            buffer = memory_of(batch);
        }),
        baseline: Box::new(move || {
            copy.copy_from_slice(black_box(&batch));
            black_box(crc32c::crc32c(black_box(&copy)));
        }),
    }
}

fn borrowed(name: &'static str, what: &'static str, values: &Values) -> Check {
    let set = values.set();
    let again = set.clone();
    Check {
        name,
        what,
        baseline_is: "CRC-32C of its bytes",
        limit: Limit::PerRecord(1.2, 15.0),
        clock: Clock::Cpu,
        renew: None,
        records: values.count(),
        bytes: set.len(),
        subject: Box::new(move || iterate(black_box(&set))),
        baseline: Box::new(move || {
            black_box(crc32c::crc32c(black_box(&again)));
        }),
    }
}

fn owned(name: &'static str, what: &'static str, values: &Values) -> Check {
    let set = values.set();
    let again = set.clone();
    let mut collected = Vec::with_capacity(values.count());
    Check {
        name,
        what,
        baseline_is: "the same, borrowed",
        limit: Limit::PerRecord(1.0, 40.0),
        clock: Clock::Cpu,
        renew: None,
        records: values.count(),
        bytes: set.len(),
        subject: Box::new(move || {
            collect(black_box(&set), &mut collected);
            black_box(&collected);
            collected.clear();
        }),
        baseline: Box::new(move || iterate(black_box(&again))),
    }
}

/// Allocations of a batch of `count` records, built in memory that is used again.
fn build_allocations() -> Allocations {
    let built = |count| {
        let values = Values::new(count, 100);
        let mut buffer = memory_of(values.build(BytesMut::new()));
        move || buffer = memory_of(values.build(std::mem::take(&mut buffer)))
    };
    Allocations {
        name: "build-allocations",
        what: "allocations while a batch is built in memory that is used again",
        few_records: Box::new(built(100)),
        many_records: Box::new(built(1000)),
    }
}

fn borrowed_allocations() -> Allocations {
    let iterated = |count| {
        let set = Values::new(count, 100).set();
        move || iterate(&set)
    };
    Allocations {
        name: "borrowed-allocations",
        what: "allocations while records are iterated, borrowed",
        few_records: Box::new(iterated(100)),
        many_records: Box::new(iterated(1000)),
    }
}
