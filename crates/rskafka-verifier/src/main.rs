//! The demo, chaos, and a fake cluster to play with: `cargo run --release -p rskafka-verifier -- --help`.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::too_many_lines)]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use rskafka_fake::Profile;
use rskafka_verifier::chaos::{self, Parent, Way};
use rskafka_verifier::demo::{self, Options};
use rskafka_verifier::play::{self, Topic};
use rskafka_verifier::sim::process;
use rskafka_verifier::{note, say};
use tokio::signal::unix::{SignalKind, signal};

/// Puts rskafka to the test.
#[derive(Debug, Parser)]
#[command(name = "rskafka-verifier", arg_required_else_help = true)]
struct Verifier {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Appends and tails a log, and verifies every record.
    Demo(demo::Options),
    /// Writes and reads while brokers are killed and frozen by the process that started them and this one.
    Chaos(chaos::Options),
    /// Claims an exclusive log and appends to it; chaos and demo run several of these.
    #[command(hide = true)]
    Claimant(process::Options),
    /// Serves a fake cluster on loopback ports, until it is ended.
    Fake(Fake),
}

#[derive(Debug, Args)]
struct Fake {
    /// How many.
    #[arg(long, default_value_t = 1)]
    brokers: usize,
    /// `NAME:PARTITIONS[:REPLICAS]`, a topic to begin with; may be given several times.
    #[arg(long = "topic")]
    topics: Vec<Topic>,
    /// The broker to behave like, e.g. kafka-3.9 or redpanda; the newest Kafka if not given.
    #[arg(long, default_value_t)]
    profile: Profile,
}

/// What shells give a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    rskafka_verifier::ended(match Verifier::parse().command {
        Command::Demo(options) => demo(options).await,
        Command::Chaos(flags) => chaos(flags).await,
        Command::Claimant(options) => process::run(options).await.map(|()| ExitCode::SUCCESS),
        Command::Fake(flags) => fake(&flags).await,
    })
}

async fn demo(options: Options) -> Result<ExitCode> {
    let file = options.report.clone();
    let Some(report) = demo::run(options, interrupted()?).await? else {
        note!("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    say!("{}", report.to_string().trim_end());
    if !report.is_verified() {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(file) = file {
        std::fs::write(&file, report.fields())
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends with a verdict, or by Ctrl-C or SIGTERM.
async fn chaos(options: chaos::Options) -> Result<ExitCode> {
    let interrupted = interrupted()?;
    let way = Way::of_environment(&options.environment).await?;
    let report = tokio::select! {
        biased;
        () = interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        report = chaos::run(options, way, Parent) => report?,
    };
    say!("{}", report.to_string().trim_end());
    Ok(if report.is_verified() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ends only by Ctrl-C or SIGTERM, once it runs.
async fn fake(flags: &Fake) -> Result<ExitCode> {
    let interrupted = interrupted()?;
    let cluster = play::start(flags.brokers, flags.profile, &flags.topics).await?;
    say!("KAFKA_CONNECT={}", cluster.bootstrap_servers().join(","));
    interrupted.await;
    cluster.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Ready at Ctrl-C or SIGTERM.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Verifier::command().debug_assert();
    }
}
