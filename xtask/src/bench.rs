//! `cargo xtask bench`: builds the bench targets called `limits`, holds what they measure against their limits, beside a Kafka, and
//! writes it into `docs/benchmarks.md`.
//!
//! Invariant: a crate joins by having such a target, or one called `speed` for criterion; nothing here names one. A limit that
//! nothing was measured for has not been held.

mod check;
mod criterion;
mod limits;
mod page;
mod sections;

use std::fs;

use anyhow::{Context, Result, ensure};

use self::check::{HEADS, Row, Text};
use crate::binaries::{self, Binary};
use crate::children;
use crate::env::cluster::Kafka;
use crate::env::java;
use crate::env::version::Version;
use crate::progress::Step;
use crate::workspace::{self, Package};

/// The bench targets that measure what has a limit, and those of criterion.
const LIMITS: &str = "limits";
const SPEED: &str = "speed";
const PEERS: &str = "benches/peers/Cargo.toml";

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
    let limits = built(LIMITS, &packages)?;
    let speed = if options.write_docs { built(SPEED, &packages)? } else { Vec::new() };
    let peers = build_peers();

    // After the build, which is a load of its own.
    let machine = machine()?;
    say!("{machine}");
    let version = Version::default();
    let kafka = match java::check(&version) {
        Ok(()) => Some(Kafka::temporary("bench", &version, 1)?),
        Err(reason) => {
            note!("NOTHING IS MEASURED ON A REAL BROKER: {reason:#}");
            None
        }
    };
    let folder = workspace::target_dir().join("bench");
    fs::create_dir_all(&folder)?;
    let (mut texts, mut rows) = (Vec::new(), Vec::new());
    for target in &limits {
        let mut command = target.command();
        command.env("MACHINE", &machine);
        command.envs(kafka.as_ref().map(|kafka| ("KAFKA_CONNECT", kafka.connect())));
        let measured = limits::measure(target, &mut command, options, &folder, &mut texts)?;
        ensure!(!measured.is_empty(), "{} measured nothing", target.program.display());
        rows.extend(measured);
    }
    let has_all = kafka.is_some() && peers.is_ok();
    drop(kafka);
    let table = page::table(&HEADS, rows.iter().map(|row| row.cells.to_vec()));
    say!("{}", table.trim_end());
    texts.push(Text::new("limits", table));
    for target in &speed {
        texts.extend(sections::of(&criterion::measure(target, &folder.join("criterion"))?));
    }
    if options.write_docs {
        page::write(&workspace::root().join("docs"), &texts)?;
    }
    let is_held = say_verdict(&rows);
    ensure!(is_held || !options.check, "limits are missed");
    ensure!(
        has_all || !options.check,
        "not all limits were measured: Kafka or the sides of other clients are missing"
    );
    Ok(())
}

/// Says which limits are missed; gives whether none is.
fn say_verdict(rows: &[Row]) -> bool {
    let missed: Vec<&str> = rows.iter().filter(|row| !row.is_held).map(|row| row.name.as_str()).collect();
    if missed.is_empty() {
        say!("all {} limits are held", rows.len());
    } else {
        say!("{} of {} limits are missed: {}", missed.len(), rows.len(), missed.join(", "));
    }
    missed.is_empty()
}

/// What the figures are measured on, and whether other work went on there.
fn machine() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo").context("benches need Linux")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    // Processes that ran or wanted to, in the mean of the last minute.
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).context("no load average")?;
    let values = |key: &'static str| info.lines().filter(move |line| line.starts_with(key));
    let processor = values("model name").next().and_then(|line| line.split(": ").nth(1));
    let (processor, cores) = (processor.unwrap_or(std::env::consts::ARCH), values("processor").count());
    let is_loaded = load >= 0.5 * cores as f64;
    let loaded = if is_loaded { ", so the machine was loaded by other work" } else { "" };
    Ok(format!("{cores} cores of {processor}; load average {load:.1} before the start{loaded}"))
}

/// Builds the bench targets of this name, each with the features that its own package turns on.
fn built(bench: &str, packages: &[Package]) -> Result<Vec<Binary>> {
    let mut built = Vec::new();
    for package in packages.iter().filter(|package| package.targets_of("bench").any(|name| name == bench)) {
        let name = &package.name;
        let step = Step::start(format!("building {bench} of {name}"));
        let mut cargo = workspace::cargo();
        let binaries = binaries::built(cargo.args(["bench", "--package", name, "--bench", bench]))?;
        ensure!(!binaries.is_empty(), "cargo names no binary of {bench} of {name}");
        built.extend(binaries);
        step.done();
    }
    ensure!(!built.is_empty(), "there is no bench target {bench}");
    Ok(built)
}

/// Builds the sides of other clients, a workspace of its own, next to the bench targets, which find it there.
fn build_peers() -> Result<()> {
    let step = Step::start("building the sides of other clients");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--locked", "--manifest-path", PEERS]);
    cargo.arg("--target-dir").arg(workspace::target_dir());
    let built =
        children::succeed(&mut cargo, "librdkafka does not build: it needs a C and a C++ compiler and make");
    match &built {
        Ok(()) => step.done(),
        Err(error) => note!("NOTHING IS MEASURED BESIDE OTHER CLIENTS: {error:#}"),
    }
    built
}

#[cfg(test)]
mod tests {
    use super::check::Check;
    use super::*;

    #[test]
    fn one_missed_limit_is_a_miss() {
        let row = |few: u64, many: u64| {
            let line = format!(r#"{{"name":"n","what":"w","allocations":[{few},{many}]}}"#);
            match Check::parse(&line).unwrap() {
                Check::Allocations(counts) => Row::of_counts(counts),
                _ => unreachable!("it has allocations"),
            }
        };
        assert!(say_verdict(&[row(1, 1)]));
        assert!(!say_verdict(&[row(1, 1), row(1, 2)]));
    }
}
