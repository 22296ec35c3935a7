//! The fake cluster as an environment: the verifier serves it, for as long as `cargo xtask env up fake` runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::children::{COMMAND_GRACE, Owned};
use crate::env::cluster;
use crate::env::state::{self, State, lock};
use crate::process::Process;
use crate::workspace::Programs;

/// Its name among the environments.
pub(crate) const NAME: &str = "fake";

/// How the verifier announces that it serves.
const CONNECT: &str = "KAFKA_CONNECT=";

/// Serves the cluster until it is ended, by Ctrl-C or by `down`.
pub(crate) fn up(brokers: Option<u32>, profile: Option<&str>, topics: &[String]) -> Result<()> {
    let starting = lock(NAME)?;
    cluster::end_abandoned()?;
    let folder = state::folder(NAME);
    if let Some(state) = State::read(&folder)?.filter(|state| !state.running().is_empty()) {
        bail!("fake runs already, at {}; `cargo xtask env down fake` ends it", state.connect.join(","));
    }
    let mut command = Programs::RELEASE.built("rskafka-verifier")?;
    command.arg(NAME).stdin(Stdio::null()).stdout(Stdio::piped());
    command.args(brokers.map(|brokers| format!("--brokers={brokers}")));
    command.args(profile.map(|profile| format!("--profile={profile}")));
    command.args(topics.iter().map(|topic| format!("--topic={topic}")));
    let mut serving = Owned::spawn(&mut command, COMMAND_GRACE)?;

    let mut announced = String::new();
    BufReader::new(serving.stdout()?).read_line(&mut announced)?;
    // The verifier has printed the reason to standard error.
    let connect = announced.trim_end().strip_prefix(CONNECT).context("the fake cluster does not start")?;
    fs::create_dir_all(&folder)?;
    let state = State {
        version: format!("fake {}", profile.unwrap_or("of the newest Kafka")),
        owner: Process::with_pid(std::process::id()),
        connect: connect.split(',').map(str::to_owned).collect(),
        nodes: vec![(NAME.to_owned(), serving.process)],
    };
    state.write(&folder)?;
    drop(starting);
    say!("fake is up until Ctrl-C or `cargo xtask env down fake`; records are in memory and end with it");
    print_connect(connect);
    let status = serving.wait()?;
    let _ = fs::remove_dir_all(&folder);
    ensure!(status.success(), "the fake cluster ended ({status})");
    say!("fake is down");
    Ok(())
}

/// What a shell can take over, and what to do with it.
pub(crate) fn print_connect(connect: &str) {
    let first = connect.split(',').next().unwrap_or_default();
    say!("to see it work: cargo run --example wal -- {first}");
    say!("with this variable set: TEST_INTEGRATION=1 cargo test -p rskafka --test broker");
    say!("{CONNECT}{connect}");
}
