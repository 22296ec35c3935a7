//! From samples to verdicts.
//!
//! Invariant: time decides only where the limit is outside of the quartiles of what was measured; else the noise is
//! larger than the margin, and instructions decide.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A line that a bench target prints.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Check {
    Samples(Samples),
    Allocations(Allocations),
    Text(Text),
}

/// Pairs of a subject and its baseline, measured side by side.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Samples {
    pub(super) name: String,
    what: String,
    baseline_is: String,
    /// How many times the baseline the subject may take.
    times: f64,
    /// How many ns for each record besides; `None` for a limit on the ratio alone.
    per_record_ns: Option<f64>,
    /// In one pass.
    records: f64,
    /// Whether instructions can be counted instead: not where the kernel or other threads do the work.
    pub(super) instructions_tell: bool,
    /// The ns of one pass, of the subject and of the baseline.
    #[serde(rename = "pairs_ns")]
    pairs: Vec<(f64, f64)>,
}

/// Allocations with few records and with many.
#[derive(Debug, Deserialize)]
pub(super) struct Allocations {
    name: String,
    what: String,
    #[serde(rename = "allocations")]
    counts: (u64, u64),
}

/// A part of the page, or a drawing beside it: then the name is the file's.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Text {
    pub(super) section: String,
    pub(super) text: String,
}

impl Text {
    pub(super) fn new(section: &str, text: String) -> Self {
        Self { section: section.to_owned(), text }
    }
}

/// The quartiles of what a limit is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    lower: f64,
    median: f64,
    upper: f64,
}

impl Check {
    pub(super) fn parse(line: &str) -> Result<Self> {
        let check = serde_json::from_str(line).with_context(|| format!("not a check: {line}"))?;
        if let Self::Samples(samples) = &check {
            ensure!(samples.pairs.len() >= 21, "too few pairs");
        }
        Ok(check)
    }
}

impl Samples {
    pub(super) fn limit(&self) -> f64 {
        self.per_record_ns.unwrap_or(self.times)
    }

    /// What the limit is on: the ratio, or the ns for each record beyond the part that goes by the baseline.
    pub(super) fn figure(&self) -> Figure {
        Figure::of(self.pairs.iter().map(|&(subject, baseline)| self.figure_of(subject, baseline, 1.0)))
    }

    fn figure_of(&self, subject: f64, baseline: f64, per_ns: f64) -> f64 {
        match self.per_record_ns {
            None => subject / baseline,
            Some(_) => (subject - self.times * baseline) / self.records / per_ns,
        }
    }

    /// The same from instructions. A ns is as many of them as the subject got done in one at its fastest: other work on
    /// the machine only ever adds time.
    fn figure_by(&self, (counted, baseline): (f64, f64)) -> f64 {
        let fastest = self.pairs.iter().map(|&(subject, _)| subject).fold(f64::INFINITY, f64::min);
        self.figure_of(counted, baseline, counted / fastest)
    }

    fn say(&self, figure: f64) -> String {
        match self.per_record_ns {
            None => format!("{figure:.2} x"),
            Some(_) => format!("{figure:.1} ns"),
        }
    }
}

impl Figure {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN);
        Self { lower: at(1), median: at(2), upper: at(3) }
    }

    /// Whether the noise is larger than the distance to the limit.
    pub(super) fn is_in_doubt(&self, limit: f64) -> bool {
        self.lower <= limit && limit <= self.upper
    }
}

/// What was measured for one limit, and whether it is held.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) is_held: bool,
    /// Those of a table with the heads [`HEADS`].
    pub(super) cells: [String; 8],
}

impl Row {
    pub(super) fn of_samples(samples: &Samples, instructions: Option<(f64, f64)>) -> Self {
        let (figure, limit) = (samples.figure(), samples.limit());
        let in_doubt = figure.is_in_doubt(limit);
        let mut spread = format!("{} to {}", samples.say(figure.lower), samples.say(figure.upper));
        let (mut decisive, mut decided_by) =
            (figure.median, if in_doubt { "time, in doubt" } else { "time" });
        if let Some(instructions) = instructions {
            let counted = samples.figure_by(instructions);
            let _ = write!(spread, "; {} by instructions", samples.say(counted));
            if in_doubt {
                (decisive, decided_by) = (counted, "instructions");
            }
        }
        let median = |side: fn(&(f64, f64)) -> f64| {
            Figure::of(samples.pairs.iter().map(side)).median / samples.records
        };
        let times = if samples.times == 1.0 { String::new() } else { format!("{} x ", samples.times) };
        let (what, baseline_is) = (&samples.what, &samples.baseline_is);
        let what = match samples.per_record_ns {
            None => format!("{what} / {baseline_is}"),
            Some(_) => format!("{what}, above {times}{baseline_is}, each record"),
        };
        let share = decisive / limit;
        let [subject, baseline] = [median(|pair| pair.0), median(|pair| pair.1)].map(|ns| format!("{ns:.1}"));
        let (measured, limit) = (samples.say(figure.median), samples.say(limit));
        let (is_held, share) = (share <= 1.0, format!("{share:.2}"));
        let verdict = verdict(is_held, decided_by);
        let cells = [what, subject, baseline, measured, limit, share, spread, verdict];
        Self { name: samples.name.clone(), is_held, cells }
    }

    /// Of a count that must not grow with the records.
    pub(super) fn of_counts(Allocations { name, what, counts: (few, many) }: Allocations) -> Self {
        let none = String::new;
        let (is_held, measured, limit) = (many <= few, many.to_string(), few.to_string());
        let cells = [what, none(), none(), measured, limit, none(), none(), verdict(is_held, "count")];
        Self { name, is_held, cells }
    }
}

fn verdict(is_held: bool, decided_by: &str) -> String {
    format!("{} ({decided_by})", if is_held { "held" } else { "MISSED" })
}

/// What stands above the cells of a [`Row`].
pub(super) const HEADS: [&str; 8] =
    ["what", "ns/record", "baseline", "measured", "limit", "of the limit", "quartiles", "verdict"];

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(limit: &str, pairs: &[(f64, f64)]) -> Samples {
        let pairs: Vec<_> = pairs.iter().cycle().take(40).collect();
        let line = format!(
            r#"{{"name":"n","what":"w","baseline_is":"b",{limit},"instructions_tell":true,"records":10,"pairs_ns":{}}}"#,
            serde_json::to_string(&pairs).unwrap()
        );
        match Check::parse(&line).unwrap() {
            Check::Samples(samples) => samples,
            _ => unreachable!("it has pairs"),
        }
    }

    fn verdict(samples: &Samples, instructions: Option<(f64, f64)>) -> (bool, &'static str) {
        let row = Row::of_samples(samples, instructions);
        let deciders = ["time", "time, in doubt", "instructions"];
        let decider = deciders.into_iter().find(|decider| row.cells[7].ends_with(&format!(" ({decider})")));
        (row.is_held, decider.unwrap())
    }

    #[test]
    fn a_ratio_is_held_up_to_its_limit() {
        let limit = r#""times":1.3,"per_record_ns":null"#;
        assert_eq!(verdict(&samples(limit, &[(120.0, 100.0)]), None), (true, "time"));
        assert_eq!(verdict(&samples(limit, &[(140.0, 100.0)]), None), (false, "time"));
    }

    #[test]
    fn a_limit_for_each_record_is_on_what_goes_beyond_the_baseline() {
        let limit = r#""times":1.2,"per_record_ns":15"#;
        // 120 ns go by the baseline; 140 and 160 are left for 10 records.
        assert_eq!(verdict(&samples(limit, &[(260.0, 100.0)]), None), (true, "time"));
        assert_eq!(verdict(&samples(limit, &[(280.0, 100.0)]), None), (false, "time"));
    }

    #[test]
    fn instructions_decide_where_the_noise_is_larger_than_the_margin() {
        let noisy =
            samples(r#""times":1.3,"per_record_ns":null"#, &[(100.0, 100.0), (125.0, 100.0), (200.0, 100.0)]);
        assert_eq!(verdict(&noisy, None), (true, "time, in doubt"));
        let instructions = |subject| Some((subject, 1000.0));
        assert_eq!(verdict(&noisy, instructions(1200.0)), (true, "instructions"));
        assert_eq!(verdict(&noisy, instructions(1400.0)), (false, "instructions"));
        let clear = samples(r#""times":1.3,"per_record_ns":null"#, &[(120.0, 100.0)]);
        assert_eq!(verdict(&clear, instructions(1400.0)), (true, "time"));
    }

    #[test]
    fn instructions_are_ns_at_the_fastest_rate_of_the_subject() {
        let limit = r#""times":1.0,"per_record_ns":15"#;
        let noisy = samples(limit, &[(200.0, 100.0), (250.0, 100.0), (300.0, 100.0)]);
        // 10 instructions in a ns: 1,000 more than the baseline's are 10 ns for each of 10 records.
        let figure = noisy.figure_by((2000.0, 1000.0));
        assert!((figure - 10.0).abs() < 1e-9, "{figure}");
    }

    #[test]
    fn an_allocation_for_each_record_is_found() {
        let held =
            |counts| Row::of_counts(Allocations { name: String::new(), what: String::new(), counts }).is_held;
        assert!(held((1, 1)));
        assert!(!held((1, 1000)));
    }

    #[test]
    fn too_few_pairs_are_no_measurement() {
        let line = r#"{"name":"n","what":"w","baseline_is":"b","times":1,"records":1,"instructions_tell":true,"pairs_ns":[[1,1]]}"#;
        assert_eq!(Check::parse(line).unwrap_err().to_string(), "too few pairs");
    }
}
