//! The levels of a test run: a line for each as it ends, and a table of all.
//!
//! Invariant: a level in which no test ran has failed.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use crate::libtest::Summary;
use crate::progress::Step;

/// What has run so far.
#[derive(Default)]
pub(crate) struct Levels {
    rows: Vec<Row>,
    verbose: bool,
}

struct Row {
    level: String,
    /// One that came to no result counts as a failed test.
    summary: Summary,
    failure: Option<String>,
    took: Duration,
}

impl Levels {
    /// None yet; `verbose` if the output of each is shown as it comes.
    pub(crate) fn new(verbose: bool) -> Levels {
        Levels { rows: Vec::new(), verbose }
    }

    /// Runs one level, even if an earlier one failed, so that the table shows all failures.
    pub(crate) fn run(&mut self, level: &str, run: impl FnOnce() -> Result<Summary>) {
        let since = Instant::now();
        let step = if self.verbose {
            say!("\n== {level}");
            None
        } else {
            Some(Step::quiet(level))
        };
        let outcome = run().and_then(|summary| match summary.ran() + summary.failed {
            0 => Err(Error::msg("no test ran")),
            _ => Ok(summary),
        });
        drop(step);
        let (summary, failure) = match outcome {
            Ok(summary @ Summary { passed, failed: 1.., .. }) => {
                (summary, Some(format!("{} of {} failed", summary.failed, passed + summary.failed)))
            }
            Ok(summary) => (summary, None),
            Err(error) => (Summary { failed: 1, ..Summary::default() }, Some(format!("{error:#}"))),
        };
        let row = Row { level: level.to_owned(), summary, failure, took: since.elapsed() };
        say!("{}", line(&row, 0).trim_end());
        if let Some(failure) = &row.failure {
            note!("{level}: {failure}");
        }
        self.rows.push(row);
    }

    /// All that ran, with a total.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.level.len()).max().unwrap_or_default();
        let mut table = format!("{:<width$}  {:>7}  {:>7}\n", "level", "tests", "seconds");
        self.rows.iter().for_each(|row| table += &line(row, width));
        let took: Duration = self.rows.iter().map(|row| row.took).sum();
        let _ =
            writeln!(table, "{:<width$}  {:>7}  {:>7.1}", "total", self.total().ran(), took.as_secs_f64());
        table
    }

    /// The sum of all levels.
    pub(crate) fn total(&self) -> Summary {
        let mut total = Summary::default();
        self.rows.iter().for_each(|row| total += row.summary);
        total
    }

    /// What failed, and why.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = |row: &Row| row.failure.as_ref().map(|failure| format!("{} ({failure})", row.level));
        self.rows.iter().filter_map(failed).collect()
    }
}

fn line(row: &Row, width: usize) -> String {
    let tests = if row.failure.is_none() { row.summary.ran().to_string() } else { "FAILED".to_owned() };
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
        levels.run("skipped", || Ok(Summary { passed: 1, skipped: 1, ..Summary::default() }));
        assert_eq!(levels.failed(), ["none (no test ran)", "skipped (no test ran)"]);
        let expected = "\
level      tests  seconds
some           3      0.0
none      FAILED      0.0
skipped   FAILED      0.0
total          3      0.0
";
        assert_eq!(levels.table(), expected);
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
