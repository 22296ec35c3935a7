//! What was measured, as people read it: on standard error as it goes, and for `docs/benchmarks.md`.

use std::fmt::Write as _;

use crate::cases::{Case, Measure, Side};
use crate::drawing::{self, STYLES};
use crate::recovery::Recovery;
use crate::side::Call;
use crate::sides::Measured;

#[derive(Default)]
pub(crate) struct Report {
    cases: Vec<Measurement>,
}

pub(crate) struct Measurement {
    pub(crate) case: Case,
    sides: Vec<Measured>,
}

impl Report {
    /// Says what a case has shown.
    pub(crate) fn add(&mut self, case: Case, sides: Vec<Measured>) {
        let measurement = Measurement { case, sides };
        eprint!("{}", measurement.text());
        self.cases.push(measurement);
    }

    /// For the page: what a batch costs, with a column for each side, and what single records cost, with a row for each.
    pub(crate) fn tables(&self) -> String {
        let (single, batches): (Vec<_>, Vec<_>) =
            self.cases.iter().partition(|measurement| measurement.case.call == Call::Append);
        let mut sides: Vec<Side> = Vec::new();
        for side in batches.iter().flat_map(|measurement| &measurement.case.sides) {
            if !sides.contains(side) {
                sides.push(*side);
            }
        }
        let names: String = sides.iter().map(|side| format!(" {} |", side.name())).collect();
        let lines = "--:|".repeat(sides.len());
        let mut text = String::new();
        for (what, cell) in [
            ("CPU per record, and by the raw client's", Measurement::cpu as fn(&_, _) -> Option<String>),
            ("records/s", Measurement::rate),
        ] {
            let _ = writeln!(text, "| {what} |{names}\n|---|{lines}");
            for measurement in &batches {
                let cells = sides.iter().map(|side| measurement.cell(*side, cell));
                let _ = writeln!(text, "| {} |{}", measurement.case.name, cells.collect::<String>());
            }
            text += "\n";
        }
        text += "| one record at a time | side | CPU per record | records/s | p50 | p99 |\n|---|---|--:|--:|--:|--:|\n";
        for measurement in single {
            for side in &measurement.sides {
                let cells: [fn(&Measurement, Side) -> Option<String>; 4] = [
                    Measurement::cpu,
                    Measurement::rate,
                    |of, side| of.latency(side, Measure::P50),
                    |of, side| of.latency(side, Measure::P99),
                ];
                let cells: String = cells.iter().map(|cell| measurement.cell(side.side, *cell)).collect();
                let _ = writeln!(text, "| {} | {} |{cells}", measurement.case.name, side.side.name());
            }
        }
        text
    }

    /// The drawings, each with the name of its file. `machine` is what all was measured on, and when.
    pub(crate) fn drawings(
        &self,
        recovery: Option<&Recovery>,
        machine: &str,
    ) -> impl Iterator<Item = (&'static str, String)> {
        STYLES.iter().map(move |style| {
            (style.file, drawing::svg(style, &self.cases, recovery, machine).expect("it is drawn in memory"))
        })
    }
}

impl Measurement {
    /// The median of a side's samples, in ns; of CPU and time, for each record. Latency is that of calls with one record.
    pub(crate) fn median(&self, side: Side, measure: Measure) -> Option<f64> {
        let is_of_all = measure.is_of_all();
        let has_it =
            |measured: &&Measured| measured.side == side && (is_of_all || self.case.call == Call::Append);
        let side = self.sides.iter().find(has_it)?;
        let mut values: Vec<f64> = side.samples.iter().map(|sample| measure.of(sample)).collect();
        values.sort_unstable_by(f64::total_cmp);
        let median = *values.get(values.len() / 2)?;
        Some(if is_of_all { median / self.case.records_of_sample() } else { median })
    }

    fn text(&self) -> String {
        let Case { name, what, on, .. } = &self.case;
        let mut text = format!("{name}: {what}, {}\n", on.name());
        for Measured { side, .. } in &self.sides {
            let (cpu, rate) = (self.cpu(*side), self.rate(*side));
            let _ = write!(text, "  {:<26}", side.name());
            let _ = write!(text, "{:>20} CPU{:>12}/s", cpu.unwrap_or_default(), rate.unwrap_or_default());
            for measure in [Measure::P50, Measure::P99] {
                if let Some(latency) = self.latency(*side, measure) {
                    let _ = write!(text, "  {} {latency:>9}", measure.name());
                }
            }
            text += "\n";
        }
        text
    }

    fn cell(&self, side: Side, cell: fn(&Self, Side) -> Option<String>) -> String {
        format!(" {} |", cell(self, side).unwrap_or_default())
    }

    fn cpu(&self, side: Side) -> Option<String> {
        let cpu = self.median(side, Measure::Cpu)?;
        let raw = self.median(Side::Raw, Measure::Cpu).filter(|_| side != Side::Raw);
        Some(time(cpu) + &raw.map_or(String::new(), |raw| format!(", {:.2} ×", cpu / raw)))
    }

    fn rate(&self, side: Side) -> Option<String> {
        self.median(side, Measure::Wall).map(rate)
    }

    fn latency(&self, side: Side, measure: Measure) -> Option<String> {
        self.median(side, measure).map(time)
    }
}

pub(crate) fn time(ns: f64) -> String {
    match ns {
        ..1e4 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.1} µs", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}

/// How many records a second has, by what one takes.
pub(crate) fn rate(ns: f64) -> String {
    match 1e9 / ns {
        rate @ 1e6.. => format!("{:.2} M", rate / 1e6),
        rate @ 1e4.. => format!("{:.0} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}
