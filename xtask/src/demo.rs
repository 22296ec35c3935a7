//! `cargo xtask demo`: the verifier's demo on an embedded cluster, a temporary Kafka or any broker.
//!
//! On the temporary Kafka its word is not enough: Java's own console consumer reads the topic too, and what it
//! prints must have the digest of what was appended.

use std::collections::HashMap;
use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::chaos;
use crate::children::{self, COMMAND_GRACE, Owned};
use crate::env::cluster::Kafka;
use crate::env::facts;
use crate::env::version::Version;
use crate::progress::Step;
use crate::workspace::Programs;

/// How long the consumer waits for a record that should not be there.
const CONSUMER_TIMEOUT_MS: &str = "10000";

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// fake (embedded), kafka (3 temporary brokers) or `HOST:PORT[,HOST:PORT]`.
    #[arg(long, default_value = "fake")]
    env: String,
    /// How many records, 1,000,000 if not given.
    #[arg(long)]
    records: Option<u32>,
}

/// The command.
pub(crate) fn command(Flags { env, records }: &Flags) -> Result<()> {
    let is_known = matches!(env.as_str(), "fake" | "kafka") || env.contains(':');
    ensure!(is_known, "--env is fake, kafka or HOST:PORT, not {env:?}");
    match env.as_str() {
        "fake" => embedded(&Programs::RELEASE, *records),
        "kafka" => {
            on_kafka(&mut Kafka::temporary("demo", &Version::default(), 3)?, &Programs::RELEASE, *records)
        }
        addresses => run(&Programs::RELEASE, *records, &["--bootstrap", addresses], None),
    }
}

/// On the fake cluster that the verifier embeds.
pub(crate) fn embedded(programs: &Programs, records: Option<u32>) -> Result<()> {
    run(programs, records, &[], None)
}

/// On a Kafka of three brokers, read again by Java.
pub(crate) fn on_kafka(kafka: &mut Kafka, programs: &Programs, records: Option<u32>) -> Result<()> {
    let report = kafka.folder().join("demo.report");
    let file = report.to_str().context("the path of the target folder is not UTF-8")?;
    let connect = kafka.connect();
    let args = ["--bootstrap", &connect, "--replication-factor", "3", "--report", file, "--faults"];
    run(programs, records, &args, Some(kafka))?;

    let report = fs::read_to_string(&report).context("the demo wrote no report")?;
    let report: HashMap<&str, &str> = report.lines().filter_map(|line| line.split_once('=')).collect();
    let field = |name| report.get(name).copied().with_context(|| format!("the report has no {name}"));
    let found = digest_by_java(kafka, field("topic")?, field("partition")?)?;
    let (records, digest) = (field("records")?, field("digest")?);
    ensure!(
        found == digest,
        "java console consumer: what it reads has digest {found}, what was appended {digest}"
    );
    say!("java console consumer: {records} records, digest equal");
    Ok(())
}

/// `kafka`, if it is given, is frozen and killed as the demo asks for it.
fn run(programs: &Programs, records: Option<u32>, args: &[&str], kafka: Option<&mut Kafka>) -> Result<()> {
    let mut demo = programs.built("rskafka-verifier")?;
    demo.arg("demo").args(args);
    demo.args(records.map(|records| format!("--records={records}")));
    let (status, output) = match kafka {
        Some(kafka) => chaos::obey(&mut demo, kafka)?,
        None => children::run_shown(&mut demo)?,
    };
    ensure!(status.success(), "the demo failed ({status})");
    ensure!(all_verified(&output), "the demo ended without a line `verified: N records, 0 lost, ...`");
    Ok(())
}

fn all_verified(output: &str) -> bool {
    let verified = output.lines().filter_map(|line| line.strip_prefix("verified: "));
    let counts = verified.filter_map(|line| line.strip_suffix(" records, 0 lost, 0 duplicated, 0 reordered"));
    counts.filter_map(|records| records.parse::<u64>().ok()).any(|records| records > 0)
}

/// SHA-256 of the values, each followed by a line feed, in the order in which Java reads them.
fn digest_by_java(kafka: &Kafka, topic: &str, partition: &str) -> Result<String> {
    let step = Step::start(format!("Java's console consumer reads {topic}"));
    let log = kafka.folder().join("console-consumer.log");
    let mut consumer = Command::new(kafka.folder().join(facts::CONSOLE_CONSUMER));
    consumer.args(["--bootstrap-server", &kafka.connect(), "--topic", topic, "--partition", partition]);
    consumer.args(["--offset", "earliest", "--timeout-ms", CONSUMER_TIMEOUT_MS]);
    consumer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
    let mut consumer = Owned::spawn(&mut consumer, COMMAND_GRACE)?;
    let mut digest = Command::new("sha256sum");
    digest.stdin(consumer.stdout()?).stdout(Stdio::piped());
    let mut digest = Owned::spawn(&mut digest, COMMAND_GRACE)?;
    let output = std::io::read_to_string(digest.stdout()?)?;
    let status = digest.wait()?;
    ensure!(status.success(), "sha256sum failed ({status})");
    let status = consumer.wait()?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    ensure!(status.success(), "Java's console consumer failed ({status}): {said}");
    step.done();
    Ok(output.split(' ').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_without_loss_are_verified() {
        assert!(all_verified("rates\nverified: 1000000 records, 0 lost, 0 duplicated, 0 reordered\n"));
        assert!(!all_verified("verified: 0 records, 0 lost, 0 duplicated, 0 reordered"));
        assert!(!all_verified("verified: 5 records, 1 lost, 0 duplicated, 0 reordered"));
        assert!(!all_verified("verified: 5 records"));
        assert!(!all_verified(""));
    }
}
