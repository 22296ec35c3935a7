//! `cargo xtask env`: Kafka clusters to test against.
//!
//! An environment is a folder under `target/env`. `up` leaves its processes running, `down` ends exactly these.

mod certificates;
pub(crate) mod cluster;
pub(crate) mod compose;
mod config;
pub(crate) mod docker;
pub(crate) mod facts;
mod fake;
pub(crate) mod java;
mod listeners;
mod ports;
mod probe;
mod state;
pub(crate) mod version;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::env::cluster::Kafka;
use crate::env::docker::Containers;
use crate::env::state::{State, lock};
use crate::env::version::Version;
use crate::say::counted;

/// Time for brokers to flush and to hand over their leaders.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
const DEFAULT_BROKERS: u32 = 1;

/// The command.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Starts it and leaves it running (fake: until it is ended); prints how to connect.
    Up {
        /// kafka (local JVMs), docker-kafka, docker-redpanda (Docker), or fake.
        name: String,
        /// Release of Apache Kafka, the newest 4.x if not given.
        #[arg(long)]
        version: Option<Version>,
        /// 1 (broker and controller in one, the default) or 3 (and a controller); of the fake, any number.
        #[arg(long)]
        brokers: Option<u32>,
        /// `NAME:PARTITIONS[:REPLICAS]`, a topic that the fake begins with; may be given several times.
        #[arg(long = "topic")]
        topics: Vec<String>,
        /// The broker that the fake behaves like, e.g. kafka-3.9 or redpanda; the newest Kafka if not given.
        #[arg(long)]
        profile: Option<String>,
    },
    /// Ends its processes.
    Down {
        /// As for `up`.
        name: String,
    },
    /// Says what runs and how to connect.
    Status {
        /// As for `up`.
        name: String,
    },
}

/// Does it.
pub(crate) fn command(command: Command) -> Result<()> {
    match command {
        Command::Up { name, version, brokers, topics, profile } if name == fake::NAME => {
            ensure!(version.is_none(), "the fake has profiles instead of versions: --profile");
            fake::up(brokers, profile.as_deref(), &topics)
        }
        Command::Up { name, version, brokers, topics, profile } => {
            ensure!(topics.is_empty() && profile.is_none(), "--topic and --profile are for the fake only");
            up(&name, version, brokers)
        }
        Command::Down { name } => down(&name),
        Command::Status { name } => status(&name),
    }
}

fn up(name: &str, version: Option<Version>, brokers: Option<u32>) -> Result<()> {
    if let Some(cluster) = compose::cluster(name) {
        let fixed = version.is_none() && brokers.is_none();
        ensure!(fixed, "{name} has the version and the three brokers that {} says", cluster.file);
        return Containers::of(cluster)?.up();
    }
    require_local(name)?;
    let _lock = lock(name)?;
    let folder = state::folder(name);
    if let Some(state) = State::read(&folder)? {
        if state.owner.is_some_and(|owner| owner.is_running()) {
            bail!("another command is starting {name} right now");
        }
        let running = state.running().len();
        if running > 0 {
            let same_version = version.is_none_or(|version| version.to_string() == state.version);
            let same_size = brokers.is_none_or(|brokers| brokers as usize == state.connect.len());
            ensure!(
                running == state.nodes.len() && same_version && same_size,
                "{name} runs already ({}), but not as asked for; `cargo xtask env down {name}` first",
                describe(&state)
            );
            say!("{name} runs already: {}", describe(&state));
            print_connect(&state.connect.join(","), &folder);
            return Ok(());
        }
    }
    let version = version.unwrap_or_default();
    let kafka = Kafka::start(name, &version, brokers.unwrap_or(DEFAULT_BROKERS))?;
    let connect = kafka.connect();
    kafka.keep()?;
    say!("{name} is up: Kafka {version}; `cargo xtask env down {name}` ends it");
    print_connect(&connect, &folder);
    Ok(())
}

/// Ends an environment, and what killed commands have left.
fn down(name: &str) -> Result<()> {
    if let Some(cluster) = compose::cluster(name) {
        return Containers::of(cluster)?.down();
    }
    require_local(name)?;
    let _lock = lock(name)?;
    cluster::end_abandoned()?;
    let folder = state::folder(name);
    let state = State::read(&folder)?.unwrap_or_default();
    let running = state.running().len();
    if running == 0 {
        say!("{name} does not run");
        return Ok(());
    }
    cluster::stop(&folder, &state, SHUTDOWN_GRACE)?;
    let ended = counted(running, "process", "processes");
    match name {
        fake::NAME => say!("fake is down"),
        _ => say!("{name} is down: {ended} ended; logs stay in {}", folder.display()),
    }
    Ok(())
}

/// Says what runs and how to connect to it.
fn status(name: &str) -> Result<()> {
    if let Some(cluster) = compose::cluster(name) {
        return Containers::of(cluster)?.status();
    }
    require_local(name)?;
    let state = State::read(&state::folder(name))?.unwrap_or_default();
    if state.running().is_empty() {
        say!("{name} does not run; `cargo xtask env up {name}` starts it");
    } else {
        say!("{name}: {}", describe(&state));
        for (node, process) in &state.nodes {
            let runs = if process.is_running() { "runs" } else { "has ended" };
            say!("  {node:<12} pid {:<8} {runs}", process.pid);
        }
        match name {
            fake::NAME => fake::print_connect(&state.connect.join(",")),
            _ => {
                say!("  folder {}", state::folder(name).display());
                print_connect(&state.connect.join(","), &state::folder(name));
            }
        }
    }
    for other in state::names()?.iter().filter(|other| *other != name) {
        let state = State::read(&state::folder(other))?.unwrap_or_default();
        if !state.running().is_empty() {
            let owned = state.owner.is_some_and(|owner| owner.is_running());
            let note =
                if owned { "ends with its command" } else { "left by a killed command, ends with `down`" };
            say!("{other} ({note}): {}", describe(&state));
        }
    }
    Ok(())
}

fn describe(state: &State) -> String {
    let brokers = counted(state.connect.len(), "broker", "brokers");
    let (running, of) = (state.running().len(), state.nodes.len());
    let run = if of == 1 { "process runs" } else { "processes run" };
    let kind = if state.version.starts_with(fake::NAME) { "" } else { "Kafka " };
    format!("{kind}{}, {brokers}, {running} of {of} {run}", state.version)
}

/// What tests are told; the last lines are what a shell can take over.
fn print_connect(connect: &str, folder: &Path) {
    let file = folder.join(facts::FILE);
    for fact in fs::read_to_string(&file).unwrap_or_default().lines() {
        say!("  {fact}");
    }
    say!("with these two set: TEST_INTEGRATION=1 cargo test -p rskafka --test broker -- --include-ignored");
    say!("{}={}", facts::VARIABLE, file.display());
    say!("KAFKA_CONNECT={connect}");
}

fn require_local(name: &str) -> Result<()> {
    match name {
        "kafka" | fake::NAME => Ok(()),
        _ => bail!(
            "there is no environment {name:?}; the names are kafka, docker-kafka, docker-redpanda and fake"
        ),
    }
}
