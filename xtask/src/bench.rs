//! `cargo xtask bench`: builds the bench targets called `limits`, and has `benches/judge` hold what they measure against their
//! limits, beside a Kafka.
//!
//! Invariant: a crate joins by having such a target, or one called `speed` for criterion; nothing here names one.

mod machine;

use std::process::Command;

use anyhow::{Result, ensure};

use self::machine::Machine;
use crate::binaries::{self, Binary};
use crate::children;
use crate::env::cluster::Kafka;
use crate::env::java;
use crate::env::version::Version;
use crate::progress::Step;
use crate::workspace::{self, Package, Programs};

/// The bench targets that measure what has a limit, and those of criterion.
const LIMITS: &str = "limits";
const SPEED: &str = "speed";
const JUDGE: &str = "rskafka-benches-judge";
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
    let limits = built(LIMITS, &packages)?;
    let speed = if options.write_docs { built(SPEED, &packages)? } else { Vec::new() };
    let rdkafka = build_rdkafka();
    let mut judge = judge(&options, LIMITS, &limits)?;

    // After the build, which is a load of its own.
    let machine = Machine::now()?.to_string();
    say!("{machine}");
    judge.args(["--machine", &machine]);
    let version = Version::default();
    let kafka = match java::check(&version) {
        Ok(()) => Some(Kafka::temporary("bench", &version, 1)?),
        Err(reason) => {
            note!("NOTHING IS MEASURED ON A REAL BROKER: {reason:#}");
            None
        }
    };
    judge.envs(kafka.as_ref().map(|kafka| ("KAFKA_CONNECT", kafka.connect())));
    let judged = children::succeed(&mut judge, "the limits are not held");
    let has_all = kafka.is_some() && rdkafka.is_ok();
    drop(kafka);
    if !speed.is_empty() {
        children::succeed(&mut self::judge(&options, SPEED, &speed)?, "criterion's benches failed")?;
    }
    judged?;
    ensure!(has_all || !options.check, "not all limits were measured: Kafka or librdkafka's side is missing");
    Ok(())
}

/// The program that runs these targets, and judges what they measure.
fn judge(options: &Options, kind: &str, targets: &[Binary]) -> Result<Command> {
    let mut judge = Programs::JUDGE.built(JUDGE)?;
    judge.arg("--folder").arg(workspace::target_dir().join("bench"));
    targets.iter().for_each(|target| {
        judge.arg(format!("--{kind}")).arg(&target.program);
    });
    judge.args(options.check.then_some("--check")).args(options.instructions.then_some("--instructions"));
    if options.write_docs {
        judge.arg("--docs").arg(workspace::root().join("docs"));
    }
    Ok(judge)
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
    Ok(built)
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
