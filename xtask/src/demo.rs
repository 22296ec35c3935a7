//! `cargo xtask demo`: the verifier's demo on an embedded cluster, a temporary Kafka or any broker.
//!
//! On the temporary Kafka its word is not enough: Java's own console consumer reads the topic too, and must find the same
//! number of records with the same digest.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::children::{self, COMMAND_GRACE, Explained, Owned};
use crate::env::cluster::Kafka;
use crate::env::version::Version;
use crate::progress::Step;
use crate::workspace::{self, RELEASE};

/// How long the consumer waits for a record that should not be there.
const CONSUMER_TIMEOUT_MS: &str = "10000";
const BREAKS: [&str; 4] = ["lose", "repeat", "swap", "flip"];

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// fake (embedded), kafka (3 temporary brokers) or `HOST:PORT[,HOST:PORT]`.
    #[arg(long, default_value = "fake")]
    env: String,
    #[command(flatten)]
    options: Options,
}

/// What the demo is to do.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// How many records, 1,000,000 if not given.
    #[arg(long)]
    records: Option<u64>,
    /// Tampers with what is read, to see it found.
    #[arg(long = "break", value_parser = BREAKS)]
    tamper: Option<String>,
}

/// The command.
pub(crate) fn command(Flags { env, options }: &Flags) -> Result<()> {
    let is_known = matches!(env.as_str(), "fake" | "kafka") || env.contains(':');
    ensure!(is_known, "--env is fake, kafka or HOST:PORT, not {env:?}");
    build(RELEASE)?;
    match env.as_str() {
        "fake" => embedded(RELEASE, options),
        "kafka" => on_kafka(&Kafka::temporary("demo", &Version::default(), 3)?, RELEASE, options),
        addresses => run(RELEASE, options, &["--bootstrap", addresses]),
    }
}

/// On the fake cluster that the verifier embeds.
pub(crate) fn embedded(profile: &[&str], options: &Options) -> Result<()> {
    run(profile, options, &[])
}

/// On a Kafka of three brokers, read again by Java.
pub(crate) fn on_kafka(kafka: &Kafka, profile: &[&str], options: &Options) -> Result<()> {
    let report = kafka.folder().join("demo.report");
    let file = report.to_str().context("the path of the target folder is not UTF-8")?;
    let connect = kafka.connect();
    run(profile, options, &["--bootstrap", &connect, "--replication-factor", "3", "--report", file])?;

    let report = fields(&fs::read_to_string(&report).context("the demo wrote no report")?, '\n');
    let expected = Digest::of(&report)?;
    let topic = report.get("topic").context("the report names no topic")?;
    let partition = report.get("partition").context("the report names no partition")?;
    let found = read_with_java(kafka, profile, topic, partition)?;
    ensure!(
        found == expected,
        "java console consumer: {} records with digest {}, but the demo appended {} with digest {}",
        found.records,
        found.digest,
        expected.records,
        expected.digest
    );
    say!("java console consumer: {} records, digest equal", found.records);
    Ok(())
}

/// Builds the verifier with cargo's own progress; running it is quiet then.
pub(crate) fn build(profile: &[&str]) -> Result<()> {
    let mut cargo = workspace::cargo();
    children::succeed(
        cargo.arg("build").args(profile).args(["--package", "rskafka-verifier"]),
        "the verifier does not build",
    )
}

fn run(profile: &[&str], options: &Options, args: &[&str]) -> Result<()> {
    let mut demo = verifier(profile, "demo");
    demo.args(args);
    demo.args(options.records.map(|records| format!("--records={records}")));
    demo.args(options.tamper.as_ref().map(|how| format!("--break={how}")));
    let (status, output) = children::run_shown(&mut demo)?;
    ensure!(status.success(), Explained(format!("the demo failed ({status})")));
    ensure!(all_verified(&output), "the demo ended without a line `verified: N records, 0 lost, ...`");
    Ok(())
}

fn verifier(profile: &[&str], command: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo.arg("run").args(profile).args(["--quiet", "--package", "rskafka-verifier", "--", command]);
    cargo
}

fn all_verified(output: &str) -> bool {
    output.lines().filter_map(|line| line.trim().strip_prefix("verified: ")).any(|line| {
        let counts = line.split(", ").collect::<Vec<_>>();
        let [records, rest @ ..] = &counts[..] else { return false };
        let records =
            records.strip_suffix(" records").and_then(|n| n.replace(['_', ','], "").parse::<u64>().ok());
        records.is_some_and(|records| records > 0) && *rest == ["0 lost", "0 duplicated", "0 reordered"]
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Digest {
    records: u64,
    digest: String,
}

impl Digest {
    fn of(fields: &HashMap<String, String>) -> Result<Digest> {
        let records = fields.get("records").context("no number of records")?;
        let digest = fields.get("digest").context("no digest")?;
        Ok(Digest { records: records.parse()?, digest: digest.clone() })
    }
}

fn read_with_java(kafka: &Kafka, profile: &[&str], topic: &str, partition: &str) -> Result<Digest> {
    let step = Step::start(format!("Java's console consumer reads {topic}"));
    let log = kafka.folder().join("console-consumer.log");
    let mut consumer = Command::new(kafka.console_consumer());
    consumer
        .stdin(Stdio::null())
        .args(["--bootstrap-server", &kafka.connect(), "--topic", topic, "--partition", partition])
        .args(["--offset", "earliest", "--timeout-ms", CONSUMER_TIMEOUT_MS])
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?);
    let mut consumer = Owned::spawn(&mut consumer, COMMAND_GRACE)?;
    let mut digest = verifier(profile, "digest");
    digest.stdin(consumer.stdout()?).stdout(Stdio::piped());
    let mut digest = Owned::spawn(&mut digest, COMMAND_GRACE)?;

    let mut output = String::new();
    digest.stdout()?.read_to_string(&mut output)?;
    let status = digest.wait()?;
    ensure!(status.success(), "the digest failed ({status})");
    let status = consumer.wait()?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    ensure!(status.success(), "Java's console consumer failed ({status}): {said}");
    step.done();
    Digest::of(&fields(&output, ' ')).with_context(|| format!("the digest printed {output:?}"))
}

/// `key=value` parts.
fn fields(text: &str, separator: char) -> HashMap<String, String> {
    let parts = text.split(separator).filter_map(|part| part.trim().split_once('='));
    parts.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
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

    #[test]
    fn a_report_and_a_digest_line_compare() {
        let report = fields("topic=wal\npartition=0\nrecords=7\ndigest=ab\n", '\n');
        assert_eq!(report["topic"], "wal");
        let digest = Digest::of(&fields("records=7 digest=ab\n", ' ')).unwrap();
        assert_eq!(Digest::of(&report).unwrap(), digest);
        assert_ne!(Digest::of(&fields("records=8 digest=ab", ' ')).unwrap(), digest);
        assert!(Digest::of(&fields("", ' ')).is_err());
    }
}
