//! `cargo xtask chaos`: the verifier's chaos on a temporary Kafka of three brokers.
//!
//! Invariant: brokers are signalled and started here only, where their processes are known; the verifier asks for it by lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Result, ensure};

use crate::children::{COMMAND_GRACE, Owned};
use crate::env::cluster::Kafka;
use crate::env::facts;
use crate::env::java::Java;
use crate::env::version::Version;
use crate::workspace::Programs;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// How long brokers are killed and frozen.
    #[arg(long, default_value_t = 2)]
    minutes: u32,
    /// The faults and their moments follow from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Release of Apache Kafka, the newest 4.x if not given.
    #[arg(long, default_value_t)]
    version: Version,
    /// Who writes: a writer of each partition, or processes that take an exclusive log from each other.
    #[arg(long, default_value = "writers", value_parser = ["writers", "claimants"])]
    profile: String,
}

/// How a line of the verifier begins that is not meant for people.
const ORDER: &str = "order: ";

/// The command.
pub(crate) fn command(Flags { minutes, seed, version, profile }: &Flags) -> Result<()> {
    ensure!(*minutes > 0, "nothing goes wrong in no time: --minutes is 1 or more");
    // Java is missed before minutes of building, not after.
    Java::for_kafka(version)?;
    let mut verifier = Programs::RELEASE.built("rskafka-verifier")?;
    let mut kafka = Kafka::temporary("chaos", version, 3)?;
    let seconds = u64::from(*minutes) * 60;
    verifier.args(["chaos", &format!("--seconds={seconds}"), &format!("--seed={seed}")]);
    verifier.args(["--profile", profile]).arg("--environment").arg(kafka.folder().join(facts::FILE));
    let (status, _) = obey(&mut verifier, &mut kafka)?;
    ensure!(status.success(), "chaos failed ({status}); the brokers' logs: {}", kafka.folder().display());
    Ok(())
}

/// Runs the verifier, does to the brokers what it asks for, and shows the other lines of its output, which it gives.
pub(crate) fn obey(verifier: &mut Command, kafka: &mut Kafka) -> Result<(ExitStatus, String)> {
    let mut verifier = Owned::spawn(verifier.stdin(Stdio::piped()).stdout(Stdio::piped()), COMMAND_GRACE)?;
    let mut answers = verifier.stdin()?;
    let mut output = String::new();
    for line in BufReader::new(verifier.stdout()?).lines() {
        let line = line?;
        let Some(order) = line.strip_prefix(ORDER) else {
            say!("{line}");
            output.extend([&line, "\n"]);
            continue;
        };
        let answer = kafka.order(order).map_or_else(|error| format!("{error:#}"), |()| "done".to_owned());
        // If it is gone, its output ends too.
        let _ = writeln!(answers, "{}", answer.replace('\n', "; "));
    }
    Ok((verifier.wait()?, output))
}
