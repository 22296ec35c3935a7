//! Reads how many tests ran from what libtest prints, and how many said that they did not.

use std::fmt;
use std::iter;
use std::ops::AddAssign;

/// What a test says that has no meaning for the broker at hand; libtest counts it as passed.
const SKIPPED: &str = "skipped under ";

/// The sum of all `test result:` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// Of those passed.
    pub(crate) skipped: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped += other.skipped;
    }
}

impl iter::Sum for Summary {
    fn sum<I: Iterator<Item = Summary>>(summaries: I) -> Summary {
        summaries.fold(Summary::default(), |mut sum, summary| {
            sum += summary;
            sum
        })
    }
}

impl Summary {
    /// Of that many that passed.
    pub(crate) fn passed(passed: u64) -> Summary {
        Summary { passed, ..Summary::default() }
    }

    /// How many passed that did not say that they were skipped.
    pub(crate) fn ran(&self) -> u64 {
        self.passed.saturating_sub(self.skipped)
    }

    /// Adds up one line per test binary:
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
    pub(crate) fn of(output: &str) -> Summary {
        let mut summary = Summary::default();
        let results = output.lines().filter_map(|line| line.trim_start().strip_prefix("test result: "));
        for count in
            results.filter_map(|line| line.split_once(". ")).flat_map(|(_, counts)| counts.split("; "))
        {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => summary.passed += number,
                "failed" => summary.failed += number,
                "ignored" => summary.ignored += number,
                _ => {}
            }
        }
        summary.skipped = output.lines().filter(|line| line.starts_with(SKIPPED)).count() as u64;
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.ran(), self.failed)?;
        match self.skipped + self.ignored {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_binaries_are_added() {
        let output = "\
running 2 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s

test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s
";
        assert_eq!(Summary::of(output), Summary { passed: 5, failed: 4, ignored: 1, skipped: 0 });
    }

    #[test]
    fn tests_that_say_they_were_skipped_are_counted() {
        let output = "\
test a ... skipped under
skipped under event-hubs: there is no such API
ok
test b ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let expected = Summary { passed: 2, skipped: 1, ..Summary::default() };
        assert_eq!(Summary::of(output), expected);
    }

    #[test]
    fn a_sum_says_how_many_ran() {
        let summary = Summary { passed: 5, failed: 1, ignored: 2, skipped: 1 };
        assert_eq!(summary.to_string(), "4 passed, 1 failed, 3 skipped");
        assert_eq!(Summary::passed(3).to_string(), "3 passed, 0 failed");
    }

    #[test]
    fn what_a_test_prints_is_no_result() {
        assert_eq!(Summary::of("I saw 3 passed; 4 failed\ntest result: none\n"), Summary::default());
    }
}
