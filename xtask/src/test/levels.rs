//! The levels of a test run: a line for each as it ends, and a table of all.
//!
//! Invariant: a level in which no test ran has failed.

use std::fmt::Write as _;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::beside::{self, Job};
use crate::children;
use crate::libtest::Summary;

/// What has run so far.
#[derive(Default)]
pub(crate) struct Levels {
    rows: Vec<Row>,
}

struct Row {
    level: String,
    /// One that came to no result counts as a failed test.
    summary: Summary,
    failure: Option<String>,
    took: Duration,
}

/// A level that is to run, with its name.
pub(crate) type Level<'a> = (String, Job<'a, Result<Summary>>);

impl Levels {
    /// Runs one level, even if an earlier one failed, so that the table shows all failures.
    pub(crate) fn run(&mut self, level: &str, run: impl FnOnce() -> Result<Summary> + Send) {
        self.run_beside(vec![(level.to_owned(), Box::new(run))]);
    }

    /// Runs levels side by side.
    pub(crate) fn run_beside(&mut self, levels: Vec<Level<'_>>) {
        let verbose = !children::keeps_output();
        let job = |(level, run)| -> Job<'_, Row> {
            Box::new(move || {
                if verbose {
                    say!("\n== {level}");
                }
                Row::of(level, run)
            })
        };
        self.rows.extend(beside::run(levels.into_iter().map(job).collect(), at_once()));
    }

    /// All that ran, with a total, and how long it took: less than the sum, because some ran side by side.
    pub(crate) fn table(&self, took: Duration) -> String {
        let width = self.rows.iter().map(|row| row.level.len()).max().unwrap_or_default();
        let mut table = format!("{:<width$}  {:>7}  {:>7}\n", "level", "tests", "seconds");
        self.rows.iter().for_each(|row| table += &line(row, width));
        let _ =
            writeln!(table, "{:<width$}  {:>7}  {:>7.1}", "total", self.total().passed, took.as_secs_f64());
        table
    }

    /// The sum of all levels.
    pub(crate) fn total(&self) -> Summary {
        self.rows.iter().map(|row| row.summary).sum()
    }

    /// What failed, and why.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = |row: &Row| row.failure.as_ref().map(|failure| format!("{} ({failure})", row.level));
        self.rows.iter().filter_map(failed).collect()
    }
}

impl Row {
    fn of(level: String, run: impl FnOnce() -> Result<Summary>) -> Row {
        let since = Instant::now();
        let failed_at_all = Summary { failed: 1, ..Summary::default() };
        let (summary, failure) = match run() {
            Ok(Summary { passed: 0, failed: 0, .. }) => (failed_at_all, Some("no test ran".to_owned())),
            Ok(summary @ Summary { failed: 0, .. }) => (summary, None),
            Ok(summary @ Summary { passed, failed, .. }) => {
                (summary, Some(format!("{failed} of {} failed", passed + failed)))
            }
            Err(error) => (failed_at_all, Some(format!("{error:#}"))),
        };
        let row = Row { level, summary, failure, took: since.elapsed() };
        say!("{}", line(&row, 0).trim_end());
        if let Some(failure) = &row.failure {
            note!("{}: {failure}", row.level);
        }
        row
    }
}

/// How many processes of tests run side by side: more than there are processors, and tests that hold a time limit would be late.
/// One where their output is shown as it comes.
pub(crate) fn at_once() -> usize {
    if children::keeps_output() { thread::available_parallelism().map_or(1, NonZero::get) } else { 1 }
}

fn line(row: &Row, width: usize) -> String {
    let tests = if row.failure.is_none() { row.summary.passed.to_string() } else { "FAILED".to_owned() };
    format!("{:<width$}  {tests:>7}  {:>7.1}\n", row.level, row.took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_without_tests_has_failed() {
        let mut levels = Levels::default();
        levels.run("some", || Ok(Summary::passed(3)));
        levels.run("none", || Ok(Summary::default()));
        levels.run("skipped", || Ok(Summary { skipped: 1, ..Summary::default() }));
        assert_eq!(levels.failed(), ["none (no test ran)", "skipped (no test ran)"]);
        // However busy the machine is.
        levels.rows.iter_mut().for_each(|row| row.took = Duration::ZERO);
        let expected = [
            "level      tests  seconds",
            "some           3      0.0",
            "none      FAILED      0.0",
            "skipped   FAILED      0.0",
            "total          3      0.0",
        ];
        assert_eq!(levels.table(Duration::ZERO).lines().collect::<Vec<_>>(), expected);
        assert_eq!(levels.total().to_string(), "3 passed, 2 failed");
    }

    #[test]
    fn a_level_with_a_failed_test_has_failed_and_all_its_tests_count() {
        let mut levels = Levels::default();
        levels.run("some", || Ok(Summary { passed: 4, failed: 2, ..Summary::default() }));
        assert_eq!(levels.failed(), ["some (2 of 6 failed)"]);
        assert_eq!(levels.total().to_string(), "4 passed, 2 failed");
    }
}
