//! What a test has found and done.
//!
//! Invariant: what is not checked is counted under the rule that leaves it out; a failure is kept until
//! the end, so that one run shows all of them.

use std::collections::BTreeMap;
use std::io::Write;

/// Counts, and the failures so far.
#[derive(Default)]
pub(crate) struct Tally {
    name: &'static str,
    counts: Vec<(&'static str, usize)>,
    left_out: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    /// `counts` are the things that may not be zero in the end.
    pub(crate) fn new(name: &'static str, counts: &[&'static str]) -> Self {
        Self { name, counts: counts.iter().map(|count| (*count, 0)).collect(), ..Self::default() }
    }

    pub(crate) fn count(&mut self, what: &str) {
        let (_, count) =
            self.counts.iter_mut().find(|(name, _)| *name == what).expect("a count that was named");
        *count += 1;
    }

    pub(crate) fn leave_out(&mut self, rule: impl Into<String>) {
        *self.left_out.entry(rule.into()).or_default() += 1;
    }

    pub(crate) fn check(&mut self, what: &str, id: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.count(what),
            Err(failure) => self.failures.push(format!("{id}: {what}: {failure}")),
        }
    }

    pub(crate) fn fail(&mut self, failure: String) {
        self.failures.push(failure);
    }

    /// Prints the counts, and fails if there were failures or if a count is zero.
    pub(crate) fn end(self) {
        let mut report = format!("golden {}:", self.name);
        for (what, count) in &self.counts {
            report.push_str(&format!(" {count} {what},"));
        }
        report.push_str(&format!(" {} left out by rule", self.left_out.values().sum::<usize>()));
        for (rule, count) in &self.left_out {
            report.push_str(&format!("\n  left out: {count} {rule}"));
        }
        // The test harness keeps back what is printed by macro.
        writeln!(std::io::stdout(), "{report}").expect("standard output takes the report");

        let shown: Vec<&str> = self.failures.iter().take(10).map(String::as_str).collect();
        assert!(
            self.failures.is_empty(),
            "{} failures, among them:\n{}",
            self.failures.len(),
            shown.join("\n")
        );
        for (what, count) in &self.counts {
            assert!(*count > 0, "{}: no vector was {what}", self.name);
        }
    }
}

/// `Ok` if both are the same, else what differs.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, golden: T) -> Result<(), String> {
    if ours == golden {
        return Ok(());
    }
    Err(format!("{what} is\n  {ours:?}\nbut should be\n  {golden:?}"))
}
