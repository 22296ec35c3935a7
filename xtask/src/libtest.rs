//! Reads how many tests ran from what libtest prints, and how many said that they did not.

use derive_more::{Add, Display, Sum};

/// What a test says that has no meaning for the broker at hand; libtest counts it as passed.
const SKIPPED: &str = "skipped under ";

/// The sum of all `test result:` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Add, Sum, Display)]
#[display("{passed} passed, {failed} failed{}", if *skipped > 0 { format!(", {skipped} skipped") } else { String::new() })]
pub(crate) struct Summary {
    /// Without those that said that they were skipped.
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Ignored by libtest, or skipped by their own word.
    pub(crate) skipped: u64,
}

impl Summary {
    /// Of that many that passed.
    pub(crate) fn passed(passed: u64) -> Summary {
        Summary { passed, ..Summary::default() }
    }

    /// Adds up one line per test binary:
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
    pub(crate) fn of(output: &str) -> Summary {
        let results = output.lines().filter_map(|line| line.trim_start().strip_prefix("test result: "));
        let counts: Vec<&str> = results.flat_map(|line| line.split(". ").skip(1)).collect();
        let counts = || counts.iter().flat_map(|counts| counts.split("; "));
        let sum = |what: &str| -> u64 {
            counts().filter_map(|count| count.strip_suffix(what)?.parse::<u64>().ok()).sum()
        };
        let skipped = output.lines().filter(|line| line.starts_with(SKIPPED)).count() as u64;
        Summary {
            passed: sum(" passed").saturating_sub(skipped),
            failed: sum(" failed"),
            skipped: sum(" ignored") + skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_binaries_are_added() {
        let output = [
            "running 2 tests",
            "test a ... ok",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "",
            "test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
        ];
        assert_eq!(Summary::of(&output.join("\n")), Summary { passed: 5, failed: 4, skipped: 1 });
    }

    #[test]
    fn tests_that_say_they_were_skipped_are_counted() {
        let output = [
            "test a ... skipped under",
            "skipped under event-hubs: there is no such API",
            "ok",
            "test b ... ok",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ];
        assert_eq!(Summary::of(&output.join("\n")), Summary { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_sum_says_how_many_ran() {
        let summaries =
            [Summary { passed: 4, failed: 1, skipped: 1 }, Summary { skipped: 2, ..Summary::default() }];
        let sum: Summary = summaries.into_iter().sum();
        assert_eq!(sum.to_string(), "4 passed, 1 failed, 3 skipped");
        assert_eq!(Summary::passed(3).to_string(), "3 passed, 0 failed");
    }

    #[test]
    fn what_a_test_prints_is_no_result() {
        assert_eq!(Summary::of("I saw 3 passed; 4 failed\ntest result: none\n"), Summary::default());
    }
}
