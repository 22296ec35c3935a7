//! Measures pairs, counts allocations, and prints one line of JSON for each check.
//!
//! What is printed is samples and limits. Medians, quartiles and verdicts are the affair of `cargo xtask
//! bench`, which is the same for every crate with a bench target called `limits`.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde_json::json;

/// How many pairs are measured.
const PAIRS: usize = 101;

/// How long a side is repeated for one sample.
const SAMPLE: Duration = Duration::from_millis(4);

/// What a check's subject may take.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "each crate's limits use what they need")]
pub(crate) enum Limit {
    /// This many times the baseline.
    Times(f64),
    /// This many times the baseline, and this many ns for each record.
    PerRecord(f64, f64),
}

/// What a sample tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each crate's limits use what they need")]
pub(crate) enum Clock {
    /// The mean time of a pass in its thread. What other threads and processes take is not in it.
    Cpu,
    /// The mean time of a pass in its thread, where most of it are system calls to a peer in this process. The
    /// kernel does parts of one end's work in the other end's time, by chance; so what a subject's process
    /// takes more than its baseline's is the subject's, whichever thread took it. Instructions say nothing.
    CpuOfBothEnds,
    /// The median time of so many passes from start to end, waits included.
    P50(u32),
}

/// A subject and what it is compared with. Each call is one pass.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) baseline_is: &'static str,
    pub(crate) limit: Limit,
    pub(crate) clock: Clock,
    /// Makes what the passes use anew before each pair, where chance is in what they use.
    pub(crate) renew: Option<Box<dyn FnMut()>>,
    /// In one pass.
    pub(crate) records: usize,
    /// In one pass.
    pub(crate) bytes: usize,
    pub(crate) subject: Box<dyn FnMut()>,
    pub(crate) baseline: Box<dyn FnMut()>,
}

/// The same with few records and with many: the difference in allocations must be none.
pub(crate) struct Allocations {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) few_records: Box<dyn FnMut()>,
    pub(crate) many_records: Box<dyn FnMut()>,
}

/// Measures everything; with `--passes NAME subject|baseline COUNT`, runs that side so many times, for a
/// tool that counts instructions.
pub(crate) fn run(checks: Vec<Check>, allocations: Vec<Allocations>) {
    // `cargo bench` adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => {
            checks.into_iter().for_each(measure);
            allocations.into_iter().for_each(count);
        }
        ["--passes", name, side, count] => {
            let check = checks.into_iter().find(|check| check.name == *name).expect("a check of that name");
            check.renew.into_iter().for_each(|mut renew| renew());
            let mut pass = if *side == "subject" { check.subject } else { check.baseline };
            (0..count.parse().expect("a number of passes")).for_each(|_| pass());
        }
        _ => panic!("not known: {args:?}"),
    }
}

fn measure(check: Check) {
    let Check { name, what, baseline_is, limit, clock, renew, records, bytes, subject, baseline } = check;
    let (mut subject, mut baseline) = (subject, baseline);
    let mut renew: Box<dyn FnMut()> = renew.unwrap_or_else(|| Box::new(|| {}));
    let passes = |pass: &mut dyn FnMut()| match clock {
        Clock::P50(passes) => passes,
        Clock::Cpu | Clock::CpuOfBothEnds => passes(pass),
    };
    let sample = |pass: &mut dyn FnMut(), passes| match clock {
        Clock::P50(_) => Sample { own: p50(pass, passes), whole: 0.0 },
        Clock::Cpu | Clock::CpuOfBothEnds => mean(pass, passes),
    };
    renew();
    let (subject_passes, baseline_passes) = (passes(&mut subject), passes(&mut baseline));
    let pairs: Vec<(f64, f64)> = (0..PAIRS)
        .map(|pair| {
            renew();
            // Neither side is always the first.
            let (subject, baseline) = if pair % 2 == 0 {
                let subject = sample(&mut subject, subject_passes);
                (subject, sample(&mut baseline, baseline_passes))
            } else {
                let baseline = sample(&mut baseline, baseline_passes);
                (sample(&mut subject, subject_passes), baseline)
            };
            match clock {
                Clock::CpuOfBothEnds => (baseline.own + subject.whole - baseline.whole, baseline.own),
                Clock::Cpu | Clock::P50(_) => (subject.own, baseline.own),
            }
        })
        .collect();
    let (times, per_record_ns) = match limit {
        Limit::Times(times) => (times, None),
        Limit::PerRecord(times, ns) => (times, Some(ns)),
    };
    let line = json!({
        "name": name,
        "what": what,
        "baseline_is": baseline_is,
        "times": times,
        "per_record_ns": per_record_ns,
        "instructions_tell": clock == Clock::Cpu,
        "records": records,
        "bytes": bytes,
        "pairs_ns": pairs,
    });
    println!("{line}");
}

/// The time of a pass in ns.
struct Sample {
    /// In its thread.
    own: f64,
    /// In the whole process.
    whole: f64,
}

/// How often a pass is repeated for one sample, found while it is warmed up.
fn passes(pass: &mut dyn FnMut()) -> u32 {
    let mut passes = 1;
    loop {
        if mean(pass, passes).own * f64::from(passes) >= SAMPLE.as_secs_f64() * 1e9 {
            return passes;
        }
        passes = passes.saturating_mul(2);
    }
}

/// The mean time of a pass.
fn mean(pass: &mut dyn FnMut(), passes: u32) -> Sample {
    let (own, whole) = (time(ClockId::CLOCK_THREAD_CPUTIME_ID), time(ClockId::CLOCK_PROCESS_CPUTIME_ID));
    (0..passes).for_each(|_| pass());
    let each = |clock, since: Duration| (time(clock) - since).as_secs_f64() * 1e9 / f64::from(passes);
    let own = each(ClockId::CLOCK_THREAD_CPUTIME_ID, own);
    Sample { own, whole: each(ClockId::CLOCK_PROCESS_CPUTIME_ID, whole) }
}

/// The median time of a pass in ns, from its start to its end.
fn p50(pass: &mut dyn FnMut(), passes: u32) -> f64 {
    let mut times: Vec<Duration> = (0..passes)
        .map(|_| {
            let since = Instant::now();
            pass();
            since.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e9
}

/// How long the thread or the process ran. What others take meanwhile is not in it.
fn time(clock: ClockId) -> Duration {
    clock_gettime(clock).expect("the kernel counts this time").into()
}

fn count(allocations: Allocations) {
    let Allocations { name, what, mut few_records, mut many_records } = allocations;
    let allocations_of = |pass: &mut dyn FnMut()| {
        // What is allocated once only is no allocation per record.
        pass();
        allocation_counter::measure(pass).count_total
    };
    let (few, many) = (allocations_of(&mut few_records), allocations_of(&mut many_records));
    println!("{}", json!({ "name": name, "what": what, "allocations": [few, many] }));
}
