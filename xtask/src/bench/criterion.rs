//! Runs the benches called `speed` and reads what criterion left of them.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::progress::Step;
use crate::{children, workspace};

/// One of criterion's benches.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub(super) group: String,
    pub(super) function: String,
    /// The parameter, if it has one.
    pub(super) value: String,
    /// The median of one iteration.
    pub(super) ns: f64,
    /// What one iteration works on.
    pub(super) bytes: Option<f64>,
}

/// Runs them all; gives them in the order in which they ran.
pub(super) fn run() -> Result<Vec<Bench>> {
    let home = workspace::target_dir().join("bench/criterion");
    if home.exists() {
        // Results of benches that are gone would be read too.
        fs::remove_dir_all(&home)?;
    }
    let step = Step::start("criterion's benches");
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--package", "rskafka-benches", "--bench", "speed", "--", "--noplot"]);
    // All that is printed is in the results too.
    children::succeed(
        cargo.env("CRITERION_HOME", &home).stdout(Stdio::null()),
        "criterion's benches failed",
    )?;
    step.done();
    let mut results = workspace::files_below(&home)?;
    results.retain(|file| file.ends_with("new/estimates.json"));
    results.sort_by_cached_key(|file| file.metadata().and_then(|file| file.modified()).ok());
    ensure!(!results.is_empty(), "criterion left nothing in {}", home.display());
    results.iter().filter_map(|file| file.parent()).map(read).collect()
}

fn read(folder: &Path) -> Result<Bench> {
    let json = |name: &str| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(folder.join(name))?)?) };
    let (bench, estimates) = (json("benchmark.json")?, json("estimates.json")?);
    let text = |key: &str| bench[key].as_str().unwrap_or_default().to_owned();
    Ok(Bench {
        group: text("group_id"),
        function: text("function_id"),
        value: text("value_str"),
        ns: estimates["median"]["point_estimate"].as_f64().context("no median")?,
        bytes: bench["throughput"]["Bytes"].as_f64(),
    })
}
