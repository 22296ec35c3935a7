//! What a run has shown, as lines.
//!
//! Invariant: `verified:` is printed only if something was acknowledged and no rule was broken.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::plan::Fault;
use crate::report::counted;
use crate::sim::{Claims, LiveOutcome};

/// How many things that are wrong are shown.
const SHOWN: usize = 20;

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When, from the start of the run.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// Which broker, partition or config, and for how long.
    pub whom: String,
    /// The longest time that a writer got no acknowledgement: for a broker that was taken away, one of the writers of the partitions
    /// that it led. `None` if it got none any more; then the run has ended.
    pub pause: Option<Duration>,
    /// How long a bare probe, which asks who leads and appends there, got none.
    pub probe: Option<Duration>,
    /// How long until all replicas were in sync again.
    pub in_sync: Duration,
}

/// What a run has shown.
#[derive(Debug, Clone)]
pub struct Report {
    /// The faults.
    pub events: Vec<Event>,
    /// What became of the records, and what is wrong.
    pub outcome: LiveOutcome,
    /// What became of claims, if an exclusive log was written.
    pub claims: Option<Claims>,
}

impl Report {
    /// Whether all that was acknowledged, and nothing that was not written, is there once, in its order; and whether an exclusive log
    /// was taken from somebody.
    pub fn is_verified(&self) -> bool {
        let is_stuck = self.events.iter().any(|event| event.pause.is_none());
        let is_contested = self.claims.is_none_or(|claims| claims.claims > 1);
        self.outcome.wrong.is_empty() && self.outcome.acknowledged > 0 && !is_stuck && is_contested
    }

    /// How the writers came through faults of this name.
    fn survived(&self, name: &str) -> String {
        let events = || self.events.iter().filter(|event| event.fault.name() == name);
        let probe = |event: &Event| event.probe.unwrap_or_default();
        let pause = |event: &Event| event.pause.unwrap_or_default();
        let longest = events().map(|event| (pause(event), probe(event))).max();
        let more = events().map(|event| pause(event).saturating_sub(probe(event))).max().unwrap_or_default();
        let (pause, beside) = longest.unwrap_or_default();
        let (count, pauses) = (events().count(), format!("{pause:.2?}, where the probe waited {beside:.2?}"));
        format!(
            "{name}s survived: {count}; the longest pause of a writer {pauses}; at most {more:.2?} more than a probe"
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, fault, whom, pause, probe, in_sync } = self;
        let (at, name) = (at.as_secs_f64(), fault.name());
        let pause = pause.map_or("stuck".to_owned(), |pause| format!("paused {pause:.2?}"));
        write!(f, "{at:>6.1} s  {name} {whom}: writers {pause}")?;
        probe.map_or(Ok(()), |probe| write!(f, ", probe {probe:.2?}"))?;
        write!(f, ", in sync after {in_sync:.2?}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LiveOutcome { sent, acknowledged, unknown, not_written, read, findings, wrong } = &self.outcome;
        writeln!(
            f,
            "{sent} records sent, {unknown} of them unknown, {not_written} not written; {read} read"
        )?;
        writeln!(f, "{}\n{}", self.survived("kill"), self.survived("freeze"))?;
        let mut faults = BTreeMap::<_, usize>::new();
        self.events.iter().for_each(|event| *faults.entry(event.fault.name()).or_default() += 1);
        writeln!(f, "faults: {faults:?}")?;
        self.claims.iter().try_for_each(|claims| writeln!(f, "{claims}"))?;
        findings.iter().take(SHOWN).try_for_each(|finding| writeln!(f, "{finding}"))?;
        let verdict = if self.is_verified() { "verified" } else { "FAILED" };
        let wrong = counted(wrong, &["lost", "duplicated", "reordered", "wrong outcomes"]);
        write!(f, "{verdict}: {acknowledged} acknowledged{wrong}")?;
        match &self.claims {
            Some(Claims { claims, dead, .. }) => writeln!(f, "; {claims} claims, {dead} dead batches"),
            None => writeln!(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Finding, Wrong};

    fn report() -> Report {
        let second = Duration::from_secs(1);
        let event = |at: u32, fault, pause: u32, probe: Option<u32>| Event {
            at: second * at,
            fault,
            whom: "broker 2, leader of [0, 3]".to_owned(),
            pause: Some(second * pause / 10),
            probe: probe.map(|probe| second * probe / 10),
            in_sync: second * 5,
        };
        let events = vec![
            event(1, Fault::Kill(second), 34, Some(31)),
            event(12, Fault::Kill(second), 36, Some(35)),
            event(20, Fault::Cut, 1, None),
            event(24, Fault::Freeze(second * 2), 21, Some(20)),
        ];
        let counts = LiveOutcome {
            sent: 10,
            acknowledged: 8,
            unknown: 1,
            not_written: 1,
            read: 9,
            ..Default::default()
        };
        Report { events, outcome: counts, claims: None }
    }

    #[test]
    fn a_clean_run_says_verified_and_what_was_survived() {
        assert_eq!(
            report().to_string(),
            "10 records sent, 1 of them unknown, 1 not written; 9 read\n\
             kills survived: 2; the longest pause of a writer 3.60s, where the probe waited 3.50s; at most 300.00ms more than a probe\n\
             freezes survived: 1; the longest pause of a writer 2.10s, where the probe waited 2.00s; at most 100.00ms more than a probe\n\
             faults: {\"cut\": 1, \"freeze\": 1, \"kill\": 2}\n\
             verified: 8 acknowledged, 0 lost, 0 duplicated, 0 reordered, 0 wrong outcomes\n"
        );
        assert_eq!(
            report().events[0].to_string(),
            "   1.0 s  kill broker 2, leader of [0, 3]: writers paused 3.40s, probe 3.10s, in sync after 5.00s"
        );
    }

    #[test]
    fn a_broken_rule_and_a_run_without_acknowledgements_fail() {
        let mut wrong = report();
        wrong.outcome.wrong = [(Wrong::NotWritten, 2), (Wrong::Skipped, 1)].into();
        let what = "offset 3 has record 1 of writer 0".to_owned();
        wrong.outcome.findings = vec![Finding { wrong: Wrong::NotWritten, what }];
        let text = wrong.to_string();
        let end = "NotWritten: offset 3 has record 1 of writer 0\n\
                   FAILED: 8 acknowledged, 0 lost, 0 duplicated, 0 reordered, 1 given out of turn, 2 wrong outcomes\n";
        assert!(text.ends_with(end), "{text}");
        let mut stuck = report();
        stuck.events[1].pause = None;
        assert!(!stuck.is_verified() && stuck.events[1].to_string().contains(": writers stuck, probe"));
        let mut none = report();
        none.outcome.acknowledged = 0;
        assert!(!none.is_verified() && none.to_string().contains("\nFAILED: 0 acknowledged, 0 lost"));
    }
}
