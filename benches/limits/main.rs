//! What appends and fetches cost from end to end beside a raw client, measured for `cargo xtask bench`.
//!
//! Invariant: the broker is another process, and one side works at a time, so that the processor time of this process is that
//! side's. Both send and read the same records in batches of the same size, in the same run.

mod broker;
mod calls;
mod raw;
mod sides;

use std::time::Duration;

use rskafka::time::OffsetDateTime;
use serde_json::json;

use crate::broker::Broker;
use crate::sides::Sides;

const TOPIC: &str = "bench";
/// The partition that is written to, and the one that has one batch to be read.
const WRITTEN: i32 = 0;
const READ: i32 = 1;
/// The time of the first record, in ms since the epoch; each has a millisecond more than the one before.
const TIMESTAMP: u64 = 1_700_000_000_000;
const KEY: [u8; 8] = *b"01234567";
const BATCH_BYTES: usize = 1 << 20;

/// Time and value of each record of a batch; all have the same key.
type Payloads = Vec<(OffsetDateTime, Vec<u8>)>;

/// Where a Kafka of one broker is, which `cargo xtask bench` starts where there is Java.
const KAFKA: &str = "KAFKA_CONNECT";

/// What is done by both sides.
#[derive(Clone, Copy)]
enum Call {
    Produce,
    Fetch,
}

/// A limit on what a call with a batch may cost.
struct Limit {
    name: &'static str,
    what: &'static str,
    call: Call,
    /// Of a value, in bytes.
    size: usize,
    /// How many times the raw client's processor time.
    times: f64,
}

const LIMITS: [Limit; 5] = [
    Limit {
        name: "produce-100B",
        what: "produce 1 MiB of 100 B records",
        call: Call::Produce,
        size: 100,
        times: 1.7,
    },
    Limit {
        name: "produce-1KiB",
        what: "produce 1 MiB of 1 KiB records",
        call: Call::Produce,
        size: 1024,
        times: 1.25,
    },
    Limit {
        name: "produce-10KiB",
        what: "produce 1 MiB of 10 KiB records",
        call: Call::Produce,
        size: 10_240,
        times: 1.1,
    },
    Limit {
        name: "fetch-1KiB",
        what: "fetch 1 MiB of 1 KiB records, owned",
        call: Call::Fetch,
        size: 1024,
        times: 1.4,
    },
    Limit {
        name: "fetch-10KiB",
        what: "fetch 1 MiB of 10 KiB records, owned",
        call: Call::Fetch,
        size: 10_240,
        times: 1.2,
    },
];

/// `[FILTER]` measures only what has it in its name.
fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let filter = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "",
        [broker::SERVE] => return broker::serve(),
        [calls::APPEND, address, count] => return calls::append(address, count.parse().expect("a number")),
        [filter] => filter,
        _ => panic!("not known: {args:?}"),
    };
    let fake = Broker::start();
    batches(&fake.address, "", filter, 101);
    if calls::NAME.contains(filter) {
        calls::count(&fake.address);
    }
    match std::env::var(KAFKA) {
        Ok(address) => {
            // Few, as Kafka keeps all of it on its disk.
            batches(&address, "kafka-", filter, 31);
            single(&address, filter);
        }
        Err(_) => eprintln!("no {KAFKA}: nothing is measured on a real broker"),
    }
}

/// Prints a line for each limit on calls with a batch.
fn batches(address: &str, prefix: &str, filter: &str, pairs: usize) {
    for limit in LIMITS {
        let name = format!("{prefix}{}", limit.name);
        if name.contains(filter) {
            let broker = if prefix.is_empty() { "a broker that answers at once" } else { "Kafka" };
            let mut sides = Sides::open(address, &batch(limit.size));
            let pairs = sides.pairs(pairs, 16, limit.call);
            row(
                &name,
                &format!("CPU to {}, {broker}", limit.what),
                sides.records(),
                (limit.times, None),
                &pairs,
            );
        }
    }
}

/// Prints a line for each limit on records that are appended one at a time.
fn single(address: &str, filter: &str) {
    let (cpu, p50) = ("kafka-one-100B", "kafka-one-100B-p50");
    if p50.contains(filter) {
        let mut sides = Sides::open(address, &payloads(1, 100));
        let pairs = sides.pairs(51, 400, Call::Produce);
        row(cpu, "CPU of one 100 B record at a time, Kafka", 1, (1.35, None), &pairs);
        let pairs = sides.medians(51, 400);
        row(p50, "one 100 B record at a time, p50, Kafka", 1, (1.0, Some(8_000.0)), &pairs);
    }
}

/// As many values of this size as a MiB holds with what a record has besides.
fn batch(size: usize) -> Payloads {
    payloads(BATCH_BYTES / (size + 24), size)
}

fn payloads(count: usize, size: usize) -> Payloads {
    let time = |index| OffsetDateTime::UNIX_EPOCH + Duration::from_millis(TIMESTAMP + index as u64);
    (0..count).map(|index| (time(index), vec![7; size])).collect()
}

/// A line for `cargo xtask bench`: times the baseline, and ns beyond it if there is a second limit.
fn row(name: &str, what: &str, records: usize, (times, beyond): (f64, Option<f64>), pairs: &[(f64, f64)]) {
    let line = json!({
        "name": name,
        "what": what,
        "baseline_is": "a raw client's with the same records",
        "times": times,
        "per_record_ns": beyond,
        "instructions_tell": false,
        "records": records,
        "bytes": 0,
        "pairs_ns": pairs,
    });
    println!("{line}");
}
