//! `cargo xtask bench`: holds what the bench targets called `limits` measure against their limits.
//!
//! Invariant: a limit that nothing was measured for has not been held. A crate joins by having a bench target
//! `limits` that prints the same lines of JSON; nothing here names one.

mod callgrind;
mod check;
mod criterion;
mod docs;
mod machine;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::check::{Allocations, Check, Row, Samples, Text};
use self::machine::Machine;
use crate::env::cluster::Kafka;
use crate::env::java;
use crate::env::version::Version;
use crate::progress::Step;
use crate::{children, workspace};

/// The name of a bench target that measures for this command.
const TARGET: &str = "limits";
const RDKAFKA: &str = "benches/rdkafka/Cargo.toml";

/// What to do beside measuring.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Fails where a limit is missed.
    #[arg(long)]
    check: bool,
    /// Counts instructions (by valgrind) for every limit, not only where time cannot tell.
    #[arg(long)]
    instructions: bool,
    /// Runs criterion's benches too, and writes docs/benchmarks.md.
    #[arg(long)]
    write_docs: bool,
}

/// The command.
pub(crate) fn command(options: Options) -> Result<()> {
    let packages = workspace::packages()?;
    let has_target = |package: &&workspace::Package| package.targets_of("bench").any(|name| name == TARGET);
    let binaries: Vec<PathBuf> = packages
        .iter()
        .filter(has_target)
        .map(|package| build(&package.name, TARGET))
        .collect::<Result<_>>()?;
    let rdkafka = build_rdkafka();

    // After the build, which is a load of its own.
    let machine = Machine::now()?;
    say!("{machine}");
    let version = Version::default();
    let kafka = match java::check(&version) {
        Ok(()) => Some(Kafka::temporary("bench", &version, 1)?),
        Err(reason) => {
            note!("NOTHING IS MEASURED ON A REAL BROKER: {reason:#}");
            None
        }
    };
    let (mut rows, mut texts) = (Vec::new(), Vec::new());
    for binary in &binaries {
        rows.extend(measure(binary, kafka.as_ref(), options.instructions, &mut texts)?);
    }
    ensure!(!rows.is_empty(), "nothing was measured");
    let has_all = kafka.is_some() && rdkafka.is_ok();
    drop(kafka);
    say!("{}", check::table(&rows).trim_end());

    if options.write_docs {
        let benches = criterion::run()?;
        docs::write(&machine, &rows, &benches, &texts)?;
    }
    let missed: Vec<&str> = rows.iter().filter(|row| !row.is_held).map(|row| row.name.as_str()).collect();
    if missed.is_empty() {
        say!("all {} limits are held", rows.len());
    } else {
        say!("{} of {} limits are missed: {}", missed.len(), rows.len(), missed.join(", "));
    }
    if options.check {
        ensure!(missed.is_empty(), "limits are missed");
        ensure!(has_all, "not all limits were measured: Kafka or librdkafka's side is missing");
    }
    Ok(())
}

/// Builds a bench target; gives its binary.
fn build(package: &str, bench: &str) -> Result<PathBuf> {
    let step = Step::start(format!("building {bench} of {package}"));
    let mut cargo = workspace::cargo();
    cargo
        .args(["bench", "--package", package, "--bench", bench, "--no-run"])
        .arg("--message-format=json-render-diagnostics");
    let (status, output) = children::run_captured(&mut cargo)?;
    ensure!(status.success(), "{bench} of {package} does not build ({status})");
    step.done();
    executable(&output, bench).with_context(|| format!("cargo names no binary of {bench}"))
}

/// Builds librdkafka's side, a workspace of its own, next to the bench targets, which find it there.
fn build_rdkafka() -> Result<()> {
    let step = Step::start("building librdkafka's side");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--locked", "--manifest-path", RDKAFKA]);
    cargo.arg("--target-dir").arg(workspace::target_dir());
    let built =
        children::succeed(&mut cargo, "librdkafka does not build: it needs a C and a C++ compiler and make");
    match &built {
        Ok(()) => step.done(),
        Err(error) => note!("NOTHING IS MEASURED BESIDE LIBRDKAFKA: {error:#}"),
    }
    built
}

/// Finds the binary in what cargo says of its artifacts.
fn executable(output: &str, bench: &str) -> Option<PathBuf> {
    let artifacts = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut binaries = artifacts
        .filter(|artifact| artifact["target"]["name"] == bench && artifact["executable"].is_string());
    Some(binaries.next()?["executable"].as_str()?.into())
}

/// Runs one target; gives a row for each of its checks, and adds what it has for the page.
fn measure(
    binary: &Path,
    kafka: Option<&Kafka>,
    instructions: bool,
    texts: &mut Vec<Text>,
) -> Result<Vec<Row>> {
    let step = Step::start(format!("measuring with {}", binary.display()));
    let mut bench = std::process::Command::new(binary);
    bench.envs(kafka.map(|kafka| ("KAFKA_CONNECT", kafka.connect())));
    let (status, output) = children::run_captured(&mut bench)?;
    ensure!(status.success(), "{} failed ({status})", binary.display());
    step.done();
    let mut rows = Vec::new();
    for line in output.lines() {
        match Check::parse(line)? {
            Check::Samples(samples) => rows.push(row_of(samples, binary, instructions)?),
            Check::Allocations(Allocations { name, what, counts }) => {
                rows.push(Row::of_counts(name, what, counts));
            }
            Check::Text(text) => texts.push(text),
        }
    }
    ensure!(!rows.is_empty(), "{} measured nothing", binary.display());
    Ok(rows)
}

fn row_of(samples: Samples, binary: &Path, instructions: bool) -> Result<Row> {
    let is_wanted = instructions || samples.figure().is_in_doubt(samples.limit());
    if !is_wanted || !samples.instructions_tell {
        return Ok(Row::of_samples(&samples, None));
    }
    if !callgrind::is_there() {
        say!("{}: time cannot tell, and there is no valgrind to count instructions", samples.name);
        return Ok(Row::of_samples(&samples, None));
    }
    let step = Step::start(format!("counting instructions of {}", samples.name));
    let counted = callgrind::count(binary, &samples.name)?;
    step.done();
    Ok(Row::of_samples(&samples, Some(counted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_the_artifacts() {
        let output = r#"
{"reason":"compiler-artifact","target":{"name":"crc32c"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"limits"},"executable":"/target/limits-1"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(output, "limits"), Some("/target/limits-1".into()));
        assert_eq!(executable(output, "speed"), None);
    }
}
