//! `cargo xtask sim`: the verifier's simulation, built for release.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::children::{self, COMMAND_GRACE, Owned};
use crate::libtest::Summary;
use crate::test::counted;
use crate::workspace::{self, CHECKED, RELEASE};

/// What every `cargo xtask test` runs, each profile with its seeds.
const TESTED: [(&str, u64); 4] =
    [("readers", 2_000), ("writers", 500), ("resenders", 500), ("truncators", 500)];

const PACKAGE: &str = "rskafka-verifier";
/// The tests of the simulation itself.
pub(crate) const TARGET: &str = "sim";

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Those of the program `simulate`, such as `--seed 7 --trace`; `-- --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// The command.
pub(crate) fn command(Flags { args }: &Flags) -> Result<()> {
    run(RELEASE, args).map(drop)
}

/// Begins to build what `short` runs, while tests that wait leave a processor free. `short` says what goes wrong with it.
pub(crate) fn build_ahead() -> Result<Owned> {
    let mut cargo = workspace::cargo();
    cargo.arg("build").args(CHECKED).args(["--quiet", "--package", PACKAGE, "--bins", "--test", TARGET]);
    Owned::spawn(cargo.stdout(Stdio::null()).stderr(Stdio::null()), COMMAND_GRACE)
}

/// The seeds that every test run tries; gives how many there were.
pub(crate) fn short() -> Result<Summary> {
    // Its own tests run hundreds of seeds, too.
    let mut tests = workspace::cargo();
    tests.arg("test").args(CHECKED).args(["--package", PACKAGE, "--test", TARGET]);
    let mut summary = counted(&mut tests)?;
    for (profile, seeds) in TESTED {
        let seeds = format!("0..{seeds}");
        let args = ["--profile", profile, "--seeds", &seeds, "--shrink"].map(str::to_owned);
        let output = run(CHECKED, &args)?;
        summary.passed += count(&output).context("the simulation ended without a line `N runs: ...`")?;
    }
    Ok(summary)
}

fn run(profile: &[&str], args: &[String]) -> Result<String> {
    let package = ["--quiet", "--package", PACKAGE, "--bin", "simulate"];
    let (status, output) =
        children::run_shown(workspace::cargo().arg("run").args(profile).args(package).arg("--").args(args))?;
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
