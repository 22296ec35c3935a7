//! Many seeds on all cores, and what they have shown; a failing seed with fewer faults.
//!
//! Invariant: a seed's outcome does not depend on the seeds beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use super::plan::{NAMES, Plan};
use super::profile::Profile;
use super::rules::{Finding, Wrong};
use super::run::{Outcome, Setup, run};

/// A kind of fault that strikes more rarely is not tried enough: so often in so many seeds.
const LEAST_STRUCK: (u64, u64) = (100, 2_000);
/// How many failed seeds are told of.
const KEPT: usize = 5;

/// What seeds have shown.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How many ran.
    pub runs: u64,
    /// Produce calls, of all runs and of the run with the fewest.
    pub appends: (u64, u64),
    /// Faults that struck while a request was in flight, of all runs and of the run with the fewest.
    pub faults: (u64, u64),
    /// Frames of all runs.
    pub frames: u64,
    /// Faults that struck, by name.
    pub struck: BTreeMap<&'static str, u64>,
    /// Copies of records of writers that send again, and the seeds in which there were any.
    pub resent: (u64, Vec<u64>),
    /// How many seeds failed, and the lowest few of them.
    pub failed: (u64, Vec<Failed>),
    /// How long it took, and how long the cores worked at it.
    pub took: (Duration, Duration),
}

/// A seed that failed.
#[derive(Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub findings: Vec<Finding>,
}

/// Runs every seed.
///
/// `measure` runs a closure and gives by how many bytes the memory in use has grown; without one, memory
/// is not held against anything.
///
/// # Errors
///
/// A run could not begin.
pub fn sweep(seeds: Range<u64>, profile: &Profile, measure: Measure) -> Result<Sweep> {
    let (since, worked) = (Instant::now(), cpu_time());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new(Sweep::default());
    let work = || -> Result<()> {
        // What a thread allocates once and for all.
        run(&setup(seeds.start, profile))?;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            let outcome = run_measured(&setup(seed, profile), measure)?;
            all.lock().unwrap_or_else(PoisonError::into_inner).add(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect::<Result<Vec<()>>>()
    })?;
    let mut sweep = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    sweep.took = (since.elapsed(), cpu_time() - worked);
    Ok(sweep)
}

/// How long the cores have worked for this process.
fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let duration = |time: TimeVal| Duration::from_micros(time.num_microseconds().cast_unsigned());
    duration(usage.user_time()) + duration(usage.system_time())
}

/// Runs a closure and gives by how many bytes the memory in use has grown since.
pub type Measure = fn(&mut dyn FnMut()) -> i64;

/// Runs a setup, and finds memory that is left behind.
///
/// # Errors
///
/// The run could not begin.
pub fn run_measured(setup: &Setup, measure: Measure) -> Result<Outcome> {
    let mut result = None;
    let grown = measure(&mut || {
        // What it gives is not left behind.
        result = None;
        let outcome = run(setup);
        result = Some(outcome);
    });
    let mut outcome = match result {
        Some(outcome) => outcome?,
        None => anyhow::bail!("nothing ran"),
    };
    let given = given_bytes(&outcome);
    if grown > given {
        let what = format!("{} bytes are left when all is closed", grown - given);
        outcome.findings.push(Finding { wrong: Wrong::Leaked, what });
    }
    Ok(outcome)
}

/// An upper bound of the memory of an outcome.
fn given_bytes(outcome: &Outcome) -> i64 {
    let findings: usize = outcome.findings.iter().map(|finding| finding.what.capacity() + 64).sum();
    let trace = outcome.trace.as_ref().map_or(0, String::capacity);
    // A map of this size has a few nodes.
    (findings + trace + 4_096) as i64
}

fn setup(seed: u64, profile: &Profile) -> Setup {
    let plan = Plan::of_seed(seed, profile);
    Setup { seed, profile: profile.clone(), plan, bug: None, keeps_trace: false }
}

/// Leaves out faults, as long as the same thing goes wrong without them.
///
/// # Errors
///
/// A run could not begin.
pub fn shrink(setup: &Setup) -> Result<Setup> {
    let wrongs = |setup: &Setup| -> Result<BTreeSet<Wrong>> {
        Ok(run(setup)?.findings.into_iter().map(|finding| finding.wrong).collect())
    };
    let mut best = setup.clone();
    let wanted = wrongs(&best)?;
    let mut size = best.plan.numbers().len().div_ceil(2);
    while size > 0 {
        let mut is_smaller = false;
        let numbers: Vec<usize> = best.plan.numbers().into_iter().collect();
        for part in numbers.chunks(size) {
            let mut fewer = best.plan.numbers();
            part.iter().for_each(|number| {
                fewer.remove(number);
            });
            let candidate = Setup { plan: best.plan.only(&fewer), ..best.clone() };
            if !wanted.is_disjoint(&wrongs(&candidate)?) {
                best = candidate;
                is_smaller = true;
            }
        }
        if !is_smaller {
            size /= 2;
        }
    }
    Ok(best)
}

impl Sweep {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        let Outcome { findings, struck, appends, frames, resent, .. } = outcome;
        let faults = struck.values().sum();
        let least = |(all, least): (u64, u64), new: u64, runs| {
            (all + new, if runs == 0 { new } else { least.min(new) })
        };
        self.appends = least(self.appends, appends, self.runs);
        self.faults = least(self.faults, faults, self.runs);
        self.runs += 1;
        self.frames += frames;
        for (name, times) in struck {
            *self.struck.entry(name).or_default() += times;
        }
        if resent > 0 {
            self.resent.0 += resent;
            self.resent.1.push(seed);
            self.resent.1.sort_unstable();
        }
        if !findings.is_empty() {
            self.failed.0 += 1;
            self.failed.1.push(Failed { seed, findings });
            self.failed.1.sort_by_key(|failed| failed.seed);
            self.failed.1.truncate(KEPT);
        }
    }

    /// The kinds of faults that struck too rarely, if there were enough seeds to tell.
    pub fn too_rare(&self) -> Vec<&'static str> {
        let (least, seeds) = LEAST_STRUCK;
        let is_rare = |name: &&&str| self.struck.get(*name).copied().unwrap_or(0) * seeds < least * self.runs;
        if self.runs < seeds { Vec::new() } else { NAMES.iter().filter(is_rare).copied().collect() }
    }

    /// Runs per second of a core's work, so that others on the machine do not count.
    pub fn rate(&self) -> f64 {
        self.runs as f64 / self.took.1.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>26}  struck in flight", "fault")?;
        for name in NAMES {
            writeln!(f, "{name:>26}  {:>16}", self.struck.get(name).copied().unwrap_or(0))?;
        }
        let Self { runs, appends, faults, frames, resent, took: (took, worked), .. } = self;
        writeln!(
            f,
            "{runs} runs: {} appends (at least {} each), {} faults (at least {} each), {frames} frames",
            appends.0, appends.1, faults.0, faults.1
        )?;
        if resent.0 > 0 {
            let some: Vec<String> = resent.1.iter().take(10).map(u64::to_string).collect();
            let (copies, seeds) = (resent.0, resent.1.len());
            writeln!(f, "{copies} copies of what was sent again, in {seeds} seeds: {} ...", some.join(", "))?;
        }
        let (took, worked) = (took.as_secs_f64(), worked.as_secs_f64());
        writeln!(f, "{took:.1} s, {worked:.1} s of cores: {:.0} runs per second of a core", self.rate())
    }
}
