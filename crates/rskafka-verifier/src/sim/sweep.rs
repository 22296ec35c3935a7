//! Many seeds on all cores, and what they have shown; a failing seed with fewer faults.
//!
//! Invariant: a seed's outcome does not depend on the seeds beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use nix::time::{ClockId, clock_gettime};

use super::profile::Profile;
use super::rules::{Finding, Wrong};
use super::run::{Outcome, Setup, run};
use super::value::NOISE;

/// Each kind of fault must strike this often in this many seeds, else it was not tried enough.
const LEAST_STRUCK: (u64, u64) = (100, 2_000);
/// With fewer seeds, rare faults are not counted against the sweep.
const SEEDS_TO_TELL: u64 = 500;
/// The least appends and faults of each run.
const LEAST_APPENDS: u64 = 300;
const LEAST_FAULTS: u64 = 10;
/// In percent of all produce calls; the others fail because of the faults.
const LEAST_ACKNOWLEDGED: u64 = 85;

/// What seeds have shown.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How many ran.
    pub runs: u64,
    /// The kinds of faults that should strike.
    kinds: BTreeSet<String>,
    /// Produce calls, of all runs and of the run with the fewest.
    pub appends: (u64, u64),
    /// Produce calls that succeeded, of all runs and of the run with the fewest.
    pub acknowledged: (u64, u64),
    /// Faults that struck while a request was in flight, of all runs and of the run with the fewest.
    pub faults: (u64, u64),
    /// The seed of that run.
    fewest_faults: u64,
    /// Frames of all runs.
    pub frames: u64,
    /// Faults that struck, by name.
    pub struck: BTreeMap<String, u64>,
    /// Futures that were dropped, by call.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Copies of records of writers that send again, and the seeds in which there were any.
    pub resent: (u64, u64),
    /// The seeds that failed, each with what was wrong.
    pub failed: BTreeMap<u64, Vec<Finding>>,
    /// How long it took, and how long the cores worked at it.
    pub took: (Duration, Duration),
}

/// Runs every seed.
///
/// # Errors
///
/// A run could not begin.
pub fn sweep(seeds: Range<u64>, profile: &Profile, measure: Measure) -> Result<Sweep> {
    let (since, worked) = (Instant::now(), cpu_time());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new(Sweep { kinds: profile.kinds(), ..Sweep::default() });
    let work = || -> Result<()> {
        // Allocates what each thread keeps, so that it is not taken for a leak.
        run(&Setup::of_seed(seeds.start, profile))?;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            let outcome = run_measured(&Setup::of_seed(seed, profile), measure)?;
            all.lock().unwrap_or_else(PoisonError::into_inner).add(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    let mut sweep = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    sweep.took = (since.elapsed(), cpu_time() - worked);
    Ok(sweep)
}

/// How long the cores have worked for this process.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Runs a closure and gives by how many bytes the memory in use has grown since.
pub type Measure = fn(&mut dyn FnMut()) -> i64;

/// Runs a setup, and finds memory that is left behind.
///
/// # Errors
///
/// The run could not begin.
pub fn run_measured(setup: &Setup, measure: Measure) -> Result<Outcome> {
    // Made now, so that its memory is not taken for a leak.
    LazyLock::force(&NOISE);
    let mut result = Err(anyhow!("nothing ran"));
    let grown = measure(&mut || result = run(setup));
    let mut outcome = result?;
    // An upper bound of the memory of the outcome itself: a map of this size has a few nodes.
    let findings: usize = outcome.findings.iter().map(|finding| finding.what.capacity() + 64).sum();
    let given = (findings + outcome.trace.as_ref().map_or(0, String::capacity) + 4_096) as i64;
    if grown > given {
        let what = format!("{} bytes are left when all is closed", grown - given);
        outcome.findings.push(Finding { wrong: Wrong::Leaked, what });
    }
    Ok(outcome)
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
            fewer.retain(|number| !part.contains(number));
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
        let Outcome { findings, struck, dropped, appends, acknowledged, frames, resent, .. } = outcome;
        let faults = struck.values().sum();
        let least = |(all, least): (u64, u64), new: u64, runs| {
            (all + new, if runs == 0 { new } else { least.min(new) })
        };
        self.appends = least(self.appends, appends, self.runs);
        if self.runs == 0 || faults < self.faults.1 {
            self.fewest_faults = seed;
        }
        self.acknowledged = least(self.acknowledged, acknowledged, self.runs);
        self.faults = least(self.faults, faults, self.runs);
        self.runs += 1;
        self.frames += frames;
        for (name, times) in struck {
            *self.struck.entry(name).or_default() += times;
        }
        for (name, times) in dropped {
            *self.dropped.entry(name).or_default() += times;
        }
        self.resent = (self.resent.0 + resent, self.resent.1 + u64::from(resent > 0));
        if !findings.is_empty() {
            self.failed.insert(seed, findings);
        }
    }

    /// What the runs had too little of to have tried anything.
    pub fn too_little(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let (least, seeds) = LEAST_STRUCK;
        let struck = |name: &str| self.struck.get(name).copied().unwrap_or(0);
        let rare = self.kinds.iter().filter(|name| struck(name) * seeds < least * self.runs);
        if self.runs >= SEEDS_TO_TELL {
            missing.extend(rare.map(|name| format!("{name:?} struck {} times", struck(name))));
        }
        let (_, appends) = self.appends;
        if appends < LEAST_APPENDS {
            missing.push(format!("a run with {appends} appends"));
        }
        let (acknowledged, _) = self.acknowledged;
        if acknowledged * 100 < LEAST_ACKNOWLEDGED * self.appends.0 {
            missing.push(format!("{acknowledged} of {} appends were acknowledged", self.appends.0));
        }
        let (_, faults) = self.faults;
        if faults < LEAST_FAULTS {
            missing.push(format!("seed {} had {faults} faults", self.fewest_faults));
        }
        missing
    }

    /// Runs per second of a core's work, so that others on the machine do not count.
    pub fn rate(&self) -> f64 {
        self.runs as f64 / self.took.1.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>26}  struck in flight", "fault")?;
        for name in &self.kinds {
            writeln!(f, "{name:>26}  {:>16}", self.struck.get(name).copied().unwrap_or(0))?;
        }
        for (name, times) in &self.dropped {
            writeln!(f, "{name:>26}  {times:>16}")?;
        }
        let Self { runs, appends, acknowledged, faults, frames, resent, took: (took, worked), .. } = self;
        writeln!(
            f,
            "{runs} runs: {} appends (at least {} each), {} of them acknowledged (at least {} each), \
             {} faults (at least {} each), {frames} frames",
            appends.0, appends.1, acknowledged.0, acknowledged.1, faults.0, faults.1
        )?;
        writeln!(f, "{} copies of what was sent again, in {} seeds", resent.0, resent.1)?;
        let (took, worked) = (took.as_secs_f64(), worked.as_secs_f64());
        writeln!(f, "{took:.1} s, {worked:.1} s of cores: {:.0} runs per second of a core", self.rate())
    }
}
