//! `cargo xtask sim`: the verifier's simulation, built for release, or for more speed if that is checked.

use std::ffi::OsStr;

use anyhow::{Context, Result, ensure};

pub(crate) use self::flags::Flags;
use crate::children;
use crate::libtest::Summary;
use crate::workspace::Programs;

/// What every `cargo xtask test` runs, each profile with its seeds.
const TESTED: [(&str, u64); 6] = [
    ("readers", 2_000),
    ("writers", 500),
    ("resenders", 500),
    ("truncators", 500),
    ("followers", 500),
    ("claimants", 200),
];

const PROGRAM: &str = "simulate";

#[path = "../../crates/rskafka-verifier/src/bin/simulate/flags.rs"]
mod flags;

/// The command. Its arguments go to the program as they are.
pub(crate) fn command(flags: &Flags) -> Result<()> {
    let programs = if flags.check { Programs::FAST } else { Programs::RELEASE };
    run(&programs, std::env::args().skip_while(|arg| arg != "sim").skip(1)).map(drop)
}

/// The seeds that every test run tries; adds how many there were.
pub(crate) fn short(mut summary: Summary) -> Result<Summary> {
    for (profile, seeds) in TESTED {
        let seeds = format!("0..{seeds}");
        let output = run(&Programs::CHECKED, ["--profile", profile, "--seeds", &seeds, "--shrink"])?;
        summary.passed += count(&output).context("the simulation ended without a line `N runs: ...`")?;
    }
    Ok(summary)
}

fn run(programs: &Programs, args: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<String> {
    let (status, output) = children::run_shown(programs.built(PROGRAM)?.args(args))?;
    ensure!(status.success(), "the simulation failed ({status})");
    Ok(output)
}

fn count(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.split_once(" runs: ")?.0.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_runs_is_read_from_the_output() {
        assert_eq!(
            count("profile readers\n2000 runs: 600000 appends\n0 of 2000 seeds failed\n"),
            Some(2_000)
        );
        assert_eq!(count("error: no\n"), None);
    }
}
