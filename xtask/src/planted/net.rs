//! What is to catch a bug: a test.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use derive_more::Display;

use super::tree::Tree;
use crate::children;
use crate::libtest::Summary;

/// A bug may make a test hang.
const LIMIT: Duration = Duration::from_secs(300);
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// The arguments of `cargo test`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Display)]
#[display("{}", _0.join(" "))]
pub(crate) struct Net(Vec<String>);

impl Net {
    /// As a patch has it: no argument has blanks in it.
    pub(crate) fn parse(text: &str) -> Result<Net> {
        let args: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
        let package = args.iter().any(|arg| arg == "-p" || arg.starts_with("--package"));
        ensure!(package, "the test needs its package: `-p NAME`");
        Ok(Net(args))
    }

    /// Compiles all that a run needs, so that a failed run is a failed test, and runs it; gives what ran, and how long it took.
    pub(crate) fn run(&self, tree: &Tree) -> Result<(Summary, Duration)> {
        let mut cargo = tree.cargo();
        cargo.args(["test", "--no-run"]).args(self.0.iter().take_while(|arg| *arg != "--"));
        let log = tree.log("build");
        let (status, output) = children::run_logged(&mut cargo, &log, BUILD_LIMIT)?;
        let error = output.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed");
        ensure!(status.success(), "it does not build: {error} (see {})", log.display());

        let (log, since) = (tree.log("run"), Instant::now());
        let mut cargo = tree.cargo();
        cargo.args(["test", "--quiet"]).args(&self.0);
        let (status, output) = children::run_logged(&mut cargo, &log, LIMIT)?;
        let summary = Summary::of(&output);
        let is_told = status.success() == (summary.failed == 0);
        ensure!(is_told, "it ended with {status}, but not by a test: see {}", log.display());
        Ok((summary, since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_net_reads_back_as_it_was_written() {
        let text = "-p rskafka --test it -- a::b";
        assert_eq!(Net::parse(text).unwrap().to_string(), text);
        assert!(Net::parse("--test it").is_err());
    }
}
