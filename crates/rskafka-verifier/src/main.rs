//! Demo, digest, and a fake cluster to play with: `cargo run --release -p rskafka-verifier -- --help`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod flags;

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use rskafka_verifier::demo::{self, Interrupted, Options};
use rskafka_verifier::digest::Digest;
use rskafka_verifier::play;
use rskafka_verifier::{note, say};

use crate::flags::{self as command, Command, Verifier};

/// What shells give a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(Verifier::parse()) {
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

fn run(flags: Verifier) -> Result<ExitCode> {
    match flags.command {
        Command::Demo(flags) => demo(flags),
        Command::Fake(flags) => fake(&flags),
        Command::Digest => {
            say!("{}", Digest::of_lines(io::stdin().lock()).context("standard input")?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn demo(flags: command::Demo) -> Result<ExitCode> {
    let options = Options {
        bootstrap: flags.bootstrap,
        replication_factor: flags.replication_factor,
        records: flags.records,
        tampering: flags.tampering,
        keep_topic: flags.report.is_some(),
        show_progress: true,
        ..Options::default()
    };
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let report = runtime.block_on(async { demo::run(options, interrupted()?).await })?;
    say!("{}", report.to_string().trim_end());
    if !report.is_verified() {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(file) = flags.report {
        std::fs::write(&file, report.fields())
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends only by Ctrl-C or SIGTERM, once it runs.
fn fake(flags: &command::Fake) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let interrupted = interrupted()?;
        let cluster = play::start(flags.brokers, flags.profile, &flags.topics).await?;
        say!("KAFKA_CONNECT={}", cluster.bootstrap_servers().join(","));
        interrupted.await;
        cluster.shutdown().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Ready at Ctrl-C, and where there are signals at SIGTERM.
fn interrupted() -> Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}
