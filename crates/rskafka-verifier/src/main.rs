//! Demo, digest and proxy: `cargo run --release -p rskafka-verifier -- --help`.

mod flags;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context, Result};
use rskafka_verifier::demo::{self, Interrupted, Options};
use rskafka_verifier::digest::Digest;
use rskafka_verifier::proxy::Proxy;

use crate::flags::{self as command, RskafkaVerifier, RskafkaVerifierCmd};

/// What shells give a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(RskafkaVerifier::parse()) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("{error}");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: RskafkaVerifier) -> Result<ExitCode> {
    match flags.subcommand {
        RskafkaVerifierCmd::Demo(flags) => demo(flags),
        RskafkaVerifierCmd::Proxy(flags) => proxy(flags),
        RskafkaVerifierCmd::Digest(_) => {
            println!("{}", Digest::of_lines(io::stdin().lock()).context("standard input")?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn demo(flags: command::Demo) -> Result<ExitCode> {
    let defaults = Options::default();
    let bootstrap = flags.bootstrap.unwrap_or_default();
    let options = Options {
        bootstrap: bootstrap.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        replication_factor: flags.replication_factor,
        records: flags.records.unwrap_or(defaults.records),
        tampering: flags.break_reads,
        keep_topic: flags.report.is_some(),
        show_progress: true,
    };
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let report = runtime.block_on(async { demo::run(options, interrupted()?).await })?;
    print!("{report}");
    if !report.is_verified() {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(file) = flags.report {
        std::fs::write(&file, report.fields())
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends only by Ctrl-C or SIGTERM.
fn proxy(flags: command::Proxy) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let proxy = Proxy::listen(flags.listen.unwrap_or(any), flags.target).await?;
        flags.fault.into_iter().for_each(|fault| {
            proxy.inject(fault);
        });
        println!("{}", proxy.address());
        interrupted()?.await;
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
