//! The demo, and a fake cluster to play with: `cargo run --release -p rskafka-verifier -- --help`.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::too_many_lines)]

mod flags;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use rskafka_verifier::demo::{self, Interrupted, Options};
use rskafka_verifier::play;
use rskafka_verifier::{note, say};
use tokio::signal::unix::{SignalKind, signal};

use crate::flags::{Command, Fake, Verifier};

/// What shells give a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Verifier::parse()).await {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            note!("{error}");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            note!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Verifier) -> Result<ExitCode> {
    match flags.command {
        Command::Demo(options) => demo(options).await,
        Command::Fake(flags) => fake(&flags).await,
    }
}

async fn demo(options: Options) -> Result<ExitCode> {
    let file = options.report.clone();
    let report = demo::run(options, interrupted()?).await?;
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
