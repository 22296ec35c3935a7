//! What is to catch a bug: a test, or a range of simulated seeds.

use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::tree::Tree;
use crate::children;
use crate::libtest::Summary;

/// A bug may make a test hang.
const LIMIT: Duration = Duration::from_secs(300);
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

const SIMULATE: [&str; 5] = ["--release", "--package", "rskafka-verifier", "--bin", "simulate"];

/// How a bug is looked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// The arguments of `cargo test`.
    Test(Vec<String>),
    /// The arguments of `simulate`.
    Sim(Vec<String>),
}

/// What a run has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Tests or seeds.
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) took: Duration,
}

impl Net {
    /// As a patch has it: no argument has blanks in it.
    pub(crate) fn parse(text: &str) -> Result<Net> {
        let mut args: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
        if args.first().is_some_and(|first| first == "sim") {
            args.remove(0);
            ensure!(args.iter().any(|arg| arg == "--seeds"), "`sim` needs `--seeds A..B`");
            return Ok(Net::Sim(args));
        }
        let package = args.iter().any(|arg| arg == "-p" || arg.starts_with("--package"));
        ensure!(package, "the test needs its package: `-p NAME`");
        Ok(Net::Test(args))
    }

    /// Compiles all that a run needs, so that a failed run is a failed test.
    pub(crate) fn build(&self, tree: &Tree) -> Result<()> {
        let mut cargo = tree.cargo();
        match self {
            Net::Test(args) => {
                let for_cargo = args.iter().take_while(|arg| *arg != "--");
                cargo.args(["test", "--no-run"]).args(for_cargo);
            }
            Net::Sim(_) => {
                cargo.arg("build").args(SIMULATE);
            }
        }
        let log = tree.log("build");
        let (status, output) = children::run_logged(&mut cargo, &log, BUILD_LIMIT)?;
        let error = output.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed");
        ensure!(status.success(), "it does not build: {error} (see {})", log.display());
        Ok(())
    }

    /// Runs what was built.
    pub(crate) fn run(&self, tree: &Tree) -> Result<Outcome> {
        let log = tree.log("run");
        let since = Instant::now();
        let (status, output) = children::run_logged(&mut self.command(tree), &log, LIMIT)?;
        let outcome = |passed, failed| Outcome { passed, failed, took: since.elapsed() };
        let outcome = match self {
            Net::Test(_) => {
                let Summary { passed, failed, .. } = Summary::of(&output);
                outcome(passed, failed)
            }
            Net::Sim(_) => {
                let (failed, of) = seeds(&output)
                    .with_context(|| format!("the simulation came to no verdict: see {}", log.display()))?;
                outcome(of - failed.min(of), failed)
            }
        };
        let is_told = status.success() == (outcome.failed == 0);
        ensure!(is_told, "it ended with {status}, but not by a test: see {}", log.display());
        Ok(outcome)
    }

    fn command(&self, tree: &Tree) -> Command {
        let mut cargo = tree.cargo();
        match self {
            Net::Test(args) => cargo.args(["test", "--quiet"]).args(args),
            Net::Sim(args) => cargo.args(["run", "--quiet"]).args(SIMULATE).arg("--").args(args),
        };
        cargo
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Net::Test(args) => f.write_str(&args.join(" ")),
            Net::Sim(args) => write!(f, "sim {}", args.join(" ")),
        }
    }
}

/// `A of B seeds failed`.
fn seeds(output: &str) -> Option<(u64, u64)> {
    let (failed, of) =
        output.lines().find_map(|line| line.strip_suffix(" seeds failed")?.split_once(" of "))?;
    Some((failed.parse().ok()?, of.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_net_reads_back_as_it_was_written() {
        for text in ["-p rskafka --test it -- a::b", "sim --profile readers --seeds 0..500"] {
            assert_eq!(Net::parse(text).unwrap().to_string(), text);
        }
        assert!(Net::parse("--test it").is_err());
        assert!(Net::parse("sim --profile readers").is_err());
    }

    #[test]
    fn the_verdict_of_a_simulation_is_read() {
        assert_eq!(seeds("profile readers\n3 of 500 seeds failed\n"), Some((3, 500)));
        assert_eq!(seeds("thread 'main' panicked\n"), None);
    }
}
