//! One side of a comparison: a process that makes calls when it is told to, and says what they took.
//!
//! Those of other clients, programs of their own, have this file too.

use std::fmt::Write as _;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

pub(crate) const TOPIC: &str = "bench";
/// The partition that is written to, and one that has [`BATCHES`].
pub(crate) const WRITTEN: i32 = 0;
pub(crate) const READ_ON: i32 = 2;
/// Fewer than the fake cluster keeps.
pub(crate) const BATCHES: u32 = 12;
pub(crate) const KEY: [u8; 8] = *b"01234567";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Appends batches.
    Produce,
    /// Reads a batch and looks at each of its records.
    Fetch,
    /// Appends one record at a time.
    Append,
}

/// What a side works on. It comes as JSON in the last argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) call: Call,
    /// In a batch.
    pub(crate) records: usize,
    /// Of a value, in bytes.
    pub(crate) size: usize,
    pub(crate) is_lz4: bool,
    /// How many batches.
    pub(crate) in_flight: usize,
    /// How many partitions are written to, in turn.
    pub(crate) partitions: i32,
    /// How many tasks append one record at a time.
    pub(crate) callers: usize,
    /// The time of a batch's first record, in ms since the epoch; each has a millisecond more than the one before. Behind one of
    /// long ago the client has only one in flight.
    pub(crate) timestamp: i64,
    /// The broker.
    pub(crate) address: String,
    /// What connections are made to instead, if it is not empty.
    pub(crate) through: String,
}

/// What calls took, in ns.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Processor time of all threads of the process, in user mode and in the kernel.
    pub(crate) cpu: f64,
    /// From start to end.
    pub(crate) wall: f64,
    /// Of single calls from start to end; zero for batches.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// How often the kernel gave fresh memory (minor page faults).
    pub(crate) faults: f64,
}

impl Work {
    /// The values of a batch, which lz4 makes half as large.
    pub(crate) fn values(&self) -> Vec<Vec<u8>> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut value = || {
            let mut text = String::with_capacity(self.size + 100);
            while text.len() < self.size {
                let (id, user, took) = (random(1 << 40), random(1 << 20), random(3000));
                let path = ["/orders", "/orders/items", "/users/me", "/health"][random(4) as usize];
                let _ = writeln!(
                    text,
                    "INFO request={id:010x} user={user:05x} GET {path} status=200 took={took}us"
                );
            }
            text.truncate(self.size);
            text.into_bytes()
        };
        (0..self.records).map(|_| value()).collect()
    }
}

/// Has `side` make as many calls as each line of standard input says, and prints what they took. It gives the times of single
/// calls, where they are measured.
pub(crate) fn serve(mut side: impl FnMut(u32) -> Vec<Duration>) {
    for line in io::stdin().lock().lines() {
        let calls = line.ok().and_then(|line| line.parse().ok()).expect("a number of calls");
        let (since, cpu, faults) = (Instant::now(), processor_time(), page_faults());
        let mut times = side(calls);
        let (cpu, wall, faults) = (processor_time() - cpu, since.elapsed(), page_faults() - faults);
        times.sort_unstable();
        let at = |percent: usize| ns(times.get(times.len() * percent / 100).copied().unwrap_or_default());
        let sample = Sample { cpu: ns(cpu), wall: ns(wall), p50: at(50), p99: at(99), faults };
        println!("{}", serde_json::to_string(&sample).expect("it is JSON"));
    }
}

fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

pub(crate) fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("the kernel counts this time").into()
}

fn page_faults() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts them");
    usage.minor_page_faults() as f64
}

/// The times of a task's single calls: of each if nothing else runs, else of some, as a look at the clock has its price.
pub(crate) struct Times {
    every: usize,
    calls: usize,
    taken: Vec<Duration>,
}

impl Times {
    pub(crate) fn new(callers: usize) -> Self {
        Self { every: if callers == 1 { 1 } else { 16 }, calls: 0, taken: Vec::new() }
    }

    pub(crate) fn begin(&mut self) -> Option<Instant> {
        self.calls += 1;
        self.calls.is_multiple_of(self.every).then(Instant::now)
    }

    pub(crate) fn end(&mut self, since: Option<Instant>) {
        self.taken.extend(since.map(|since| since.elapsed()));
    }

    pub(crate) fn taken(self) -> Vec<Duration> {
        self.taken
    }
}
