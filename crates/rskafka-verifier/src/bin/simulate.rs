//! Simulation: `cargo run --release -p rskafka-verifier --bin simulate -- --help`.
//!
//! A program of its own, because it counts all allocations.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use rskafka_verifier::sim::{self, Profile, Setup};

/// The command line.
mod flags {
    #![allow(unreachable_pub, missing_docs, reason = "the code comes from the macro")]
    use rskafka_verifier::sim::Profile;

    xflags::xflags! {
        /// Runs the client against a fake cluster in virtual time, under random faults.
        cmd simulate {
            /// A..B: runs these seeds on all cores; 0..2000 if not given.
            optional --seeds seeds: String
            /// Runs one seed, and shows its plan.
            optional --seed seed: u64
            /// Shows every frame of the one seed.
            optional --trace
            /// readers (the default), writers, resenders or truncators.
            optional --profile profile: Profile
            /// Looks for fewer faults with which the seed, or the first that fails, fails too.
            optional --shrink
            /// Fails if a core makes fewer than 200 runs in a second.
            optional --check
            /// N[,N]: only these faults of the one seed's plan.
            optional --only numbers: String
        }
    }
}

/// Runs per second of a core that `--check` asks for.
const LEAST_RATE: f64 = 200.0;

fn main() -> ExitCode {
    match run(flags::Simulate::from_env_or_exit()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: flags::Simulate) -> Result<bool> {
    let profile = flags.profile.unwrap_or_else(Profile::readers);
    if let Some(seed) = flags.seed {
        let mut setup = Setup { keeps_trace: flags.trace, ..Setup::of_seed(seed, &profile) };
        if let Some(numbers) = flags.only {
            let numbers: Result<BTreeSet<usize>, _> = numbers.split(',').map(str::parse).collect();
            setup.plan = setup.plan.only(&numbers.context("--only takes numbers of faults, e.g. 2,7")?);
        }
        return one(setup, flags.shrink);
    }
    let seeds = flags.seeds.as_deref().unwrap_or("0..2000");
    let (from, to) = seeds.split_once("..").context("--seeds takes A..B")?;
    let seeds = from.parse().context("--seeds takes A..B")?..to.parse().context("--seeds takes A..B")?;
    let sweep = sim::sweep(seeds, &profile, measure)?;
    println!("profile {}\n{sweep}", profile.name);
    let (failed, some) = &sweep.failed;
    for failed in some {
        println!("\nseed {} fails:", failed.seed);
        failed.findings.iter().take(10).for_each(|finding| println!("  {finding}"));
    }
    if let Some(first) = some.first() {
        one(Setup::of_seed(first.seed, &profile), flags.shrink)?;
    }
    println!("{failed} of {} seeds failed", sweep.runs);
    let missing = sweep.too_little();
    ensure!(missing.is_empty(), "too little was tried: {}", missing.join(", "));
    let rate = sweep.rate();
    ensure!(!flags.check || rate >= LEAST_RATE, "{rate:.0} runs per second of a core, not {LEAST_RATE}");
    Ok(*failed == 0)
}

/// Runs one seed and shows it; gives whether it is clean.
fn one(mut setup: Setup, shrinks: bool) -> Result<bool> {
    if shrinks {
        setup = sim::shrink(&setup)?;
    }
    let outcome = sim::run_measured(&setup, measure)?;
    if let Some(trace) = &outcome.trace {
        print!("{trace}");
    }
    let Setup { seed, profile, plan, .. } = &setup;
    println!("seed {seed}, profile {}, brokers like {}:\n{plan}", profile.name, setup.broker());
    let struck: Vec<String> = outcome.struck.iter().map(|(name, times)| format!("{name} {times}")).collect();
    println!("struck: {}", struck.join(", "));
    println!("{} frames, digest {:016x}", outcome.frames, outcome.digest);
    outcome.findings.iter().for_each(|finding| println!("  {finding}"));
    if !outcome.findings.is_empty() {
        let numbers: Vec<String> = setup.plan.numbers().iter().map(usize::to_string).collect();
        println!(
            "again: cargo xtask sim --profile {} --seed {} --only {} --trace",
            setup.profile.name,
            setup.seed,
            numbers.join(",")
        );
    }
    Ok(outcome.findings.is_empty())
}

fn measure(run: &mut dyn FnMut()) -> i64 {
    allocation_counter::measure(run).bytes_current
}
