//! `cargo xtask test`: every level of tests, with how many ran and how long they took.
//!
//! Invariant: a run without a real broker says so, and fails if one was asked for.

mod beside;
mod levels;

use std::ffi::OsString;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;
use std::{iter, thread};

use anyhow::{Result, anyhow, bail, ensure};

use self::beside::Job;
use self::levels::{Level, Levels, at_once};
use crate::binaries::{self, Binary};
use crate::env::cluster::Kafka;
use crate::env::version::Version;
use crate::env::{facts, java};
use crate::foreign::{self, Found};
use crate::libtest::Summary;
use crate::workspace::{self, CHECKED, Package, Programs};
use crate::{children, demo, sim};

/// Test targets with a level of their own, wherever they are.
const GOLDEN: &str = "golden";
const BEHAVIOUR: &str = "it";
/// The same, of the fake itself.
const FAKE: &str = "fake";
const BROKER: &str = "broker";
const FUZZ: &str = "corpora";
/// The tests of the simulation itself.
const SIM: &str = "sim";
const WITH_LEVEL: [&str; 7] = [GOLDEN, BEHAVIOUR, FAKE, BROKER, FUZZ, foreign::TARGET, SIM];
/// What is built without optimisation, besides the unit tests.
const PLAIN_TESTS: [&str; 6] = ["--test", GOLDEN, "--test", FAKE, "--test", foreign::TARGET];
/// What is built as `CHECKED`.
const CHECKED_TESTS: [&str; 6] = ["--test", FUZZ, "--test", BEHAVIOUR, "--test", SIM];
/// A test that runs cargo on this workspace.
const BUILDING: &str = "pages";

/// The brokers that the fake can be, as its `Profile` names them, and the variable that has its tests choose one.
const PROFILES: [&str; 5] = ["kafka-2.8", "kafka-3.9", "kafka-4.4", "redpanda", "event-hubs"];
const PROFILE: &str = "RSKAFKA_FAKE_PROFILE";

/// Those of the broker tests that hold the cluster to the rules of the simulation.
const RULES: &str = "rules::";

/// The test that sends the same requests to the fake and to a broker.
const SAME_ANSWERS: &str = "the_fake_answers_what_kafka_answers";

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// auto (with a real Kafka where Java and Maven are found), fake (without) or kafka (must be).
    #[arg(long, default_value = "auto", value_parser = ["auto", "fake", "kafka"])]
    env: String,
    /// Release of Apache Kafka, the newest 4.x if not given.
    #[arg(long)]
    version: Option<Version>,
    /// Shows all output as it comes, not only that of what fails.
    #[arg(long)]
    verbose: bool,
}

/// The command.
pub(crate) fn command(flags: &Flags) -> Result<()> {
    let is_useless = flags.env == "fake" && flags.version.is_some();
    ensure!(
        !is_useless,
        "--version is the release of a real Kafka, and --env fake starts none: leave one out"
    );
    let version = flags.version.clone().unwrap_or_default();
    let kafka = if flags.env == "fake" { Err(anyhow!("--env fake")) } else { java::check(&version) };
    let mut warnings = match &kafka {
        Ok(()) => Vec::new(),
        Err(reason) if flags.env == "kafka" => bail!("{reason:#}"),
        Err(reason) => vec![format!("NO REAL BROKER IS CHECKED: {reason:#}")],
    };
    warnings.iter().for_each(|warning| note!("{warning}"));

    let packages = workspace::packages()?;
    if !flags.verbose {
        children::keep_output();
    }
    let (mut levels, since) = (Levels::default(), Instant::now());
    // What they fetch takes long, and nearly no processor.
    let programs = thread::spawn(foreign::programs);
    let built = unit(&mut levels, &unit_args(&packages));
    let (found, missing) = searched(programs.join());
    missing.iter().for_each(|warning| note!("{warning}"));
    warnings.extend(missing);
    let mut beside: Vec<Level<'_>> = foreign_clients(&built, found).into_iter().collect();
    beside.push(("docs".to_owned(), Box::new(|| counted(&mut tests(&[], &["--doc"])))));
    beside.push(("golden".to_owned(), Box::new(|| built.run(GOLDEN, &["--nocapture"], &[]))));
    beside.push(("fuzz, seeds and mutations".to_owned(), Box::new(|| built.run(FUZZ, &[], &[]))));
    levels.run_beside(beside);
    // On their own, because they hold time limits, and those above never wait.
    let built = &built;
    let behaviour = |profile| -> Level<'_> {
        (format!("behaviour, {profile}"), Box::new(move || behaviour(built, profile)))
    };
    levels.run_beside(PROFILES.map(behaviour).into());
    levels.run("simulation", || {
        // Its own tests run hundreds of seeds, too.
        built.run(SIM, &[], &[]).and_then(sim::short)
    });
    levels.run("demo, embedded", || demo::embedded(&Programs::CHECKED, None).map(|()| Summary::passed(1)));
    if kafka.is_ok() {
        on_kafka(&mut levels, &version);
    }

    say!("\n{}", levels.table(since.elapsed()).trim_end());
    warnings.iter().for_each(|warning| say!("{warning}"));
    let failed = levels.failed();
    failed.iter().for_each(|failed| note!("failed: {failed}"));
    say!("{}", levels.total());
    ensure!(failed.is_empty(), "not all tests passed");
    Ok(())
}

/// The test binaries, or why they are not there.
#[derive(Default)]
struct Built {
    plain: Vec<Binary>,
    checked: OnceLock<Result<Vec<Binary>>>,
}

impl Built {
    /// Runs those of a target, with these variables.
    fn run(&self, target: &str, args: &[&str], told: &[(&str, OsString)]) -> Result<Summary> {
        let checked = match self.checked.get() {
            Some(Ok(checked)) => checked.as_slice(),
            Some(Err(error)) => bail!("{error:#}"),
            None => &[],
        };
        let binaries = self.plain.iter().chain(checked).filter(|binary| binary.target == target);
        binaries.map(|binary| counted(alone(binary.command().args(args)).envs(told.iter().cloned()))).sum()
    }
}

/// The unit tests, and all that is built: what is optimised while the others run.
fn unit(levels: &mut Levels, args: &[&str]) -> Built {
    let mut built = Built::default();
    levels.run("unit, property", || {
        built.plain = binaries::built(tests(&[], &PLAIN_TESTS).args(args))?;
        let is_unit = |binary: &&Binary| !WITH_LEVEL.contains(&binary.target.as_str());
        // Cargo builds one thing at a time in a folder, so these two do not run side by side.
        let (building, others): (Vec<_>, Vec<_>) =
            built.plain.iter().filter(is_unit).partition(|binary| binary.target == BUILDING);
        let run = |binary: &Binary| counted(alone(&mut binary.command()));
        let checked = &built.checked;
        let builds: Job<'_, Result<Summary>> = Box::new(move || {
            let outcome = building.into_iter().map(run).sum::<Result<Summary>>();
            let _ = checked.set(binaries::built(&mut tests(CHECKED, &CHECKED_TESTS)));
            outcome
        });
        let others = others.into_iter().map(|binary| Box::new(move || run(binary)) as Job<'_, _>);
        beside::run(iter::once(builds).chain(others).collect(), at_once()).into_iter().sum()
    });
    built
}

/// The behaviour tests with the fake as one of its profiles.
fn behaviour(built: &Built, profile: &str) -> Result<Summary> {
    // Most of them wait most of the time.
    let targets: [(&str, &[&str]); 2] = [(BEHAVIOUR, &["--test-threads=4"]), (FAKE, &[])];
    let told = [(PROFILE, profile.into())];
    targets.into_iter().map(|(target, args)| built.run(target, args, &told)).sum()
}

/// What the search for foreign clients came to, which should not have panicked.
fn searched(programs: thread::Result<(Found, Vec<String>)>) -> (Result<Found>, Vec<String>) {
    match programs {
        Ok((found, missing)) => (Ok(found), missing),
        Err(_) => (Err(anyhow!("the search for them panicked")), Vec::new()),
    }
}

/// The level of the foreign clients, unless the search for them found none.
fn foreign_clients(built: &Built, found: Result<Found>) -> Option<Level<'_>> {
    let is_needed = found.as_ref().map_or(true, |found| !found.is_empty());
    let run = move || built.run(foreign::TARGET, &[], &found?);
    is_needed.then(|| ("foreign clients".to_owned(), Box::new(run) as Job<'_, _>))
}

fn on_kafka(levels: &mut Levels, version: &Version) {
    let level = format!("broker, Kafka {version}");
    let mut kafka = None;
    levels.run(&level, || {
        let kafka = kafka.insert(Kafka::temporary("test", version, 3)?);
        broker_tests(kafka, &["--skip", RULES])
    });
    if let Some(kafka) = &mut kafka {
        if has_profile(version) {
            levels.run("fake beside Kafka", || {
                // A test of rskafka-fake's own, which has nothing to compare with unless it is told of a broker.
                counted(told_of(kafka, &mut tests(&[], &["--test", FAKE, "--", SAME_ANSWERS])))
            });
        } else {
            note!("THE FAKE IS NOT COMPARED: it has no profile of Kafka {version}, only {PROFILES:?}");
        }
        levels.run("demo, Kafka and Java", || {
            demo::on_kafka(kafka, &Programs::CHECKED, None).map(|()| Summary::passed(2))
        });
        // The last, because a broker stands still in it.
        levels.run("the simulation's rules, Kafka", || broker_tests(kafka, &[RULES]));
    }
}

/// Whether the fake can be a broker of this version.
fn has_profile(version: &Version) -> bool {
    let version = version.to_string();
    PROFILES.iter().any(|profile| {
        profile.strip_prefix("kafka-").is_some_and(|minor| version.starts_with(&format!("{minor}.")))
    })
}

fn broker_tests(kafka: &Kafka, which: &[&str]) -> Result<Summary> {
    // The ignored ones are those that need to know more than an address.
    let args = [&["--test", BROKER, "--", "--include-ignored"], which].concat();
    counted(told_of(kafka, &mut tests(CHECKED, &args)))
}

fn told_of<'a>(kafka: &Kafka, command: &'a mut Command) -> &'a mut Command {
    command.env("TEST_INTEGRATION", "1").env("KAFKA_CONNECT", kafka.connect());
    command.env(facts::VARIABLE, kafka.folder().join(facts::FILE))
}

/// All but the targets with a level of their own. Never for one package alone, so that every level uses the same build of
/// the dependencies.
fn unit_args(packages: &[Package]) -> Vec<&str> {
    let mut args = vec!["--lib", "--bins"];
    let tests = packages.iter().flat_map(|package| package.targets_of("test"));
    let others = tests.filter(|name| !WITH_LEVEL.contains(name));
    args.extend(others.flat_map(|name| ["--test", name]));
    args
}

/// Without arguments for how to build them, as all that runs for a short time or is costly to optimise, or with those of
/// `CHECKED`.
fn tests(build: &[&str], args: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    alone(cargo.arg("test").args(build).args(args));
    cargo
}

/// Not told of a broker by whoever runs this command.
fn alone(tests: &mut Command) -> &mut Command {
    for variable in ["TEST_INTEGRATION", "KAFKA_CONNECT", facts::VARIABLE, PROFILE] {
        tests.env_remove(variable);
    }
    tests
}

pub(crate) fn counted(command: &mut Command) -> Result<Summary> {
    let (status, output) = children::run_shown(command)?;
    let summary = Summary::of(&output);
    ensure!(
        status.success() == (summary.failed == 0),
        "the tests failed ({status}) after {} that passed",
        summary.passed
    );
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Target;

    #[test]
    fn the_fake_is_compared_with_the_versions_that_it_can_be() {
        let has_profile = |version: &str| has_profile(&version.parse().unwrap());
        assert!(has_profile("4.4.0") && has_profile("2.8.2"));
        assert!(!has_profile("4.3.0") && !has_profile("4.40.0"));
    }

    #[test]
    fn a_search_for_foreign_clients_that_panics_fails_their_level() {
        let built = Built::default();
        let (found, missing) = searched(Err(Box::new("panicked")));
        assert!(missing.is_empty());
        let mut levels = Levels::default();
        levels.run_beside(foreign_clients(&built, found).into_iter().collect());
        assert_eq!(levels.failed(), ["foreign clients (the search for them panicked)"]);
    }

    #[test]
    fn the_behaviour_tests_run_with_every_profile_of_the_fake() {
        let source = include_str!("../../crates/rskafka-fake/src/profile.rs");
        let (_, names) = source.split_once("pub fn name(self)").unwrap();
        let (names, _) = names.split_once("\n    }\n").unwrap();
        assert_eq!(names.split('"').skip(1).step_by(2).collect::<Vec<_>>(), PROFILES);
    }

    #[test]
    fn targets_with_their_own_level_are_not_run_as_unit_tests() {
        let target = |kind: &str, name: &str| Target { kind: vec![kind.to_owned()], name: name.to_owned() };
        let targets =
            vec![target("test", "golden"), target("test", "dial"), target("test", "it"), target("lib", "x")];
        let package = Package { targets, ..Package::default() };
        assert_eq!(unit_args(&[package]), ["--lib", "--bins", "--test", "dial"]);
    }
}
