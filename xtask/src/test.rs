//! `cargo xtask test`: every level of tests, with how many ran and how long they took.
//!
//! Invariant: a level in which no test ran has failed; a run without a real broker says so, and fails if one was asked for.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::env::cluster::Kafka;
use crate::env::version::Version;
use crate::env::{facts, java};
use crate::libtest::Summary;
use crate::workspace::{self, Package};
use crate::{children, demo, fuzz, outside, sim};

/// Test targets with a level of their own, wherever they are.
const GOLDEN: &str = "golden";
const BEHAVIOUR: &str = "it";
const BROKER: &str = "broker";

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
}

/// The command.
pub(crate) fn command(flags: &Flags) -> Result<()> {
    let version = flags.version.clone().unwrap_or_default();
    let missing = match flags.env.as_str() {
        "auto" => java::check(&version).err(),
        "kafka" => {
            java::check(&version)?;
            None
        }
        _ => Some(anyhow::anyhow!("--env fake")),
    };
    let warning = missing.map(|reason| format!("NO REAL BROKER IS TESTED: {reason:#}"));
    if let Some(warning) = &warning {
        note!("{warning}");
    }

    let packages = workspace::packages()?;
    let mut levels = Levels::default();
    levels.run("unit, property", || cargo_test(&unit_args(&packages)));
    levels.run("golden", || cargo_test(&["--test", GOLDEN, "--", "--nocapture"]));
    levels.run("docs", || cargo_test(&["--doc"]));
    for profile in PROFILES {
        levels.run(&format!("behaviour, {profile}"), || {
            counted(test_command(&["--test", BEHAVIOUR]).env(PROFILE, profile))
        });
    }
    levels.run("examples build", || build_examples(&packages));
    levels.run("fuzz, a moment", fuzz::short);
    levels.run("a user's crate", outside::test);
    levels.run("simulation", sim::short);
    levels.run("demo, embedded", || {
        demo::build()?;
        demo::embedded(&demo::Options::default())?;
        Ok(1)
    });
    if warning.is_none() {
        on_kafka(&mut levels, &version);
    }

    say!("\n{}", levels.table().trim_end());
    if let Some(warning) = &warning {
        say!("{warning}");
    }
    let failed = levels.failed();
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    Ok(())
}

fn on_kafka(levels: &mut Levels, version: &Version) {
    let level = format!("broker, Kafka {version}");
    let mut kafka = None;
    levels.run(&level, || {
        let kafka = kafka.insert(Kafka::temporary("test", version, 3)?);
        broker_tests(kafka, &["--skip", RULES])
    });
    if let Some(kafka) = &kafka {
        if has_profile(version) {
            levels.run("fake beside Kafka", || {
                // A test of rskafka-fake's own, which has nothing to compare with unless it is told of a broker.
                counted(told_of(kafka, &mut test_command(&["--test", BEHAVIOUR, "--", SAME_ANSWERS])))
            });
        } else {
            note!("THE FAKE IS NOT COMPARED: it has no profile of Kafka {version}, only {PROFILES:?}");
        }
        levels.run("demo, Kafka and Java", || demo::on_kafka(kafka, &demo::Options::default()).map(|()| 2));
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

fn broker_tests(kafka: &Kafka, which: &[&str]) -> Result<u64> {
    // The ignored ones are those that need to know more than an address.
    let args = [&["--test", BROKER, "--", "--include-ignored"], which].concat();
    counted(told_of(kafka, &mut test_command(&args)))
}

fn told_of<'a>(kafka: &Kafka, command: &'a mut Command) -> &'a mut Command {
    command.env("TEST_INTEGRATION", "1").env("KAFKA_CONNECT", kafka.connect());
    command.env(facts::VARIABLE, kafka.facts())
}

/// All but the targets with a level of their own. Always `--workspace`, so that every level uses the same build of the
/// dependencies.
fn unit_args(packages: &[Package]) -> Vec<&str> {
    let mut args = vec!["--lib", "--bins"];
    let tests = packages.iter().flat_map(|package| &package.targets).filter(|(kind, _)| kind == "test");
    let others =
        tests.map(|(_, name)| name.as_str()).filter(|name| ![GOLDEN, BEHAVIOUR, BROKER].contains(name));
    args.extend(others.flat_map(|name| ["--test", name]));
    args
}

fn test_command(args: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--workspace"]).args(args);
    for variable in ["TEST_INTEGRATION", "KAFKA_CONNECT", facts::VARIABLE, PROFILE] {
        cargo.env_remove(variable);
    }
    cargo
}

fn cargo_test(args: &[&str]) -> Result<u64> {
    counted(&mut test_command(args))
}

fn counted(command: &mut Command) -> Result<u64> {
    let (status, output) = children::run_shown(command)?;
    let Summary { passed, failed, ignored, skipped } = Summary::of(&output);
    ensure!(status.success() || failed > 0, "cargo test failed ({status}) after {passed} tests");
    ensure!(status.success(), "{failed} of {} tests failed", passed + failed);
    if ignored > 0 {
        say!("{ignored} tests are ignored");
    }
    if skipped > 0 {
        say!("{skipped} tests are skipped, each with its reason above");
    }
    Ok(passed - skipped)
}

fn build_examples(packages: &[Package]) -> Result<u64> {
    let status = children::run(workspace::cargo().args(["build", "--workspace", "--examples"]))?;
    ensure!(status.success(), "an example does not build ({status})");
    let examples = packages.iter().flat_map(|package| &package.targets).filter(|(kind, _)| kind == "example");
    Ok(examples.count() as u64)
}

#[derive(Default)]
struct Levels {
    rows: Vec<Row>,
}

struct Row {
    level: String,
    outcome: Result<u64>,
    took: Duration,
}

impl Levels {
    /// Runs one level, even if an earlier one failed: the table then shows all that is wrong.
    fn run(&mut self, level: &str, run: impl FnOnce() -> Result<u64>) {
        say!("\n== {level}");
        let since = Instant::now();
        let outcome = run().and_then(|tests| {
            ensure!(tests > 0, "no test ran");
            Ok(tests)
        });
        if let Err(error) = &outcome {
            note!("{level}: {error:#}");
        }
        self.rows.push(Row { level: level.to_owned(), outcome, took: since.elapsed() });
    }

    fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.level.len()).max().unwrap_or_default();
        let mut table = format!("{:<width$}  {:>7}  {:>7}\n", "level", "tests", "seconds");
        for row in &self.rows {
            let tests = row.outcome.as_ref().map_or("FAILED".to_owned(), u64::to_string);
            let _ = writeln!(table, "{:<width$}  {tests:>7}  {:>7.1}", row.level, row.took.as_secs_f64());
        }
        table
    }

    fn failed(&self) -> Vec<String> {
        let failed = |row: &Row| row.outcome.as_ref().err().map(|error| format!("{} ({error:#})", row.level));
        self.rows.iter().filter_map(failed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_without_tests_has_failed() {
        let mut levels = Levels::default();
        levels.run("some", || Ok(3));
        levels.run("none", || Ok(0));
        assert_eq!(levels.failed(), ["none (no test ran)"]);
        let expected = "level    tests  seconds\nsome        3      0.0\nnone   FAILED      0.0\n";
        assert_eq!(levels.table(), expected);
    }

    #[test]
    fn the_fake_is_compared_with_the_versions_that_it_can_be() {
        let has_profile = |version: &str| has_profile(&version.parse().unwrap());
        assert!(has_profile("4.4.0") && has_profile("2.8.2"));
        assert!(!has_profile("4.3.0") && !has_profile("4.40.0"));
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
        let target = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        let targets =
            vec![target("test", "golden"), target("test", "dial"), target("test", "it"), target("lib", "x")];
        let package = Package { targets, ..Package::default() };
        assert_eq!(unit_args(&[package]), ["--lib", "--bins", "--test", "dial"]);
    }
}
