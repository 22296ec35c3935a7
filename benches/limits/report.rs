//! What was measured, as people read it.

use crate::cases::{Case, Measure, Side};
use crate::sides::Measured;

#[derive(Default)]
pub(crate) struct Report {
    cases: Vec<(Case, Vec<Measured>)>,
}

impl Report {
    /// Says on standard error what a case has shown.
    pub(crate) fn add(&mut self, case: Case, measured: Vec<Measured>) {
        eprintln!("{}: {}, {}", case.name, case.what, case.on.name());
        let records = case.records_of_sample();
        let raw = measured.iter().find(|measured| measured.side == Side::Raw);
        let raw = raw.map(|raw| raw.median(Measure::Cpu));
        for side in &measured {
            let cpu = side.median(Measure::Cpu);
            let ratio = raw.map_or(String::new(), |raw| format!("{:.2} x", cpu / raw));
            let rate = records / side.median(Measure::Wall) * 1e9;
            let (name, cpu) = (side.side.name(), cpu / records);
            let latency = match [Measure::P50, Measure::P99].map(|of| side.median(of) / 1e3) {
                [0.0, 0.0] => String::new(),
                [p50, p99] => format!("p50 {p50:>7.1} us, p99 {p99:>7.1} us"),
            };
            eprintln!("  {name:<14} {cpu:>8.1} ns CPU {ratio:>7}  {rate:>9.0} records/s  {latency}");
        }
        self.cases.push((case, measured));
    }
}

impl Measured {
    /// Of all samples, in ns.
    pub(crate) fn median(&self, measure: Measure) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(|sample| measure.of(sample)).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    }
}
