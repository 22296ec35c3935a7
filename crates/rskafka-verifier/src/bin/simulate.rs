//! Simulation: `cargo run --release -p rskafka-verifier --bin simulate -- --help`.
//!
//! A program of its own, because it counts all allocations.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::too_many_lines)]

#[path = "simulate/flags.rs"]
mod flags;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rskafka_verifier::say;
use rskafka_verifier::sim::{self, Profile, Setup};

use self::flags::Flags;

/// Runs per second of a core that `--check` asks for.
const LEAST_RATE: f64 = 200.0;
/// How many failed seeds are shown.
const SHOWN: usize = 5;

fn main() -> ExitCode {
    rskafka_verifier::ended(run(Flags::parse()))
}

fn run(flags: Flags) -> Result<ExitCode> {
    let known = Profile::ALL.into_iter().find(|profile| profile.name == flags.profile);
    let profile = known.context("there is no such profile")?;
    if let Some(seed) = flags.seed {
        let mut setup = Setup { keeps_trace: flags.trace, ..Setup::of_seed(seed, &profile) };
        if !flags.only.is_empty() {
            setup.plan = setup.plan.only(&flags.only.into_iter().collect());
        }
        return one(setup, flags.shrink);
    }
    let sweep = sim::sweep(flags.seeds, &profile, measure)?;
    say!("profile {}\n{sweep}", profile.name);
    for (seed, findings) in sweep.failed.iter().take(SHOWN) {
        say!("\nseed {seed} fails:");
        findings.iter().take(10).for_each(|finding| say!("  {finding}"));
    }
    if let Some((seed, _)) = sweep.failed.first_key_value() {
        one(Setup::of_seed(*seed, &profile), flags.shrink)?;
    }
    say!("{} of {} seeds failed", sweep.failed.len(), sweep.runs);
    let missing = sweep.too_little();
    ensure!(missing.is_empty(), "too little was tried: {}", missing.join(", "));
    let rate = sweep.rate();
    ensure!(!flags.check || rate >= LEAST_RATE, "{rate:.0} runs per second of a core, not {LEAST_RATE}");
    Ok(if sweep.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one seed and shows it.
fn one(mut setup: Setup, shrinks: bool) -> Result<ExitCode> {
    if shrinks {
        setup = sim::shrink(&setup)?;
    }
    let outcome = sim::run_measured(&setup, measure)?;
    if let Some(trace) = &outcome.trace {
        say!("{}", trace.trim_end());
    }
    let Setup { seed, profile, plan, .. } = &setup;
    say!("seed {seed}, profile {}, brokers like {}:\n{plan}", profile.name, setup.broker());
    let struck: Vec<String> = outcome.struck.iter().map(|(name, times)| format!("{name} {times}")).collect();
    say!("struck: {}", struck.join(", "));
    say!("{} frames, digest {:016x}", outcome.frames, outcome.digest);
    outcome.findings.iter().for_each(|finding| say!("  {finding}"));
    if outcome.findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let numbers: Vec<String> = plan.numbers().iter().map(usize::to_string).collect();
    let (profile, only) = (profile.name, numbers.join(","));
    say!("again: cargo xtask sim --profile {profile} --seed {seed} --only {only} --trace");
    Ok(ExitCode::FAILURE)
}

fn measure(run: &mut dyn FnMut()) -> i64 {
    allocation_counter::measure(run).bytes_current
}
