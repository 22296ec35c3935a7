//! Starts an Apache Kafka as local JVMs and waits until it is usable.
//!
//! Invariant: until `keep`, the brokers end with the value that started them: on success, error, panic and Ctrl-C.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::children::{Owned, tail};
use crate::env::certificates::Certificates;
use crate::env::config::{self, Node, Role};
use crate::env::java::Java;
use crate::env::listeners::{PASSWORD, PLAINTEXT, SCRAM, USER, ZOOKEEPER};
use crate::env::state::{self, State};
use crate::env::version::Version;
use crate::env::{SHUTDOWN_GRACE, facts, ports, probe};
use crate::process::{self, Process, Signal};
use crate::progress::Step;
use crate::say::counted;

/// Ten times what three brokers take on two busy cores.
const START_TIMEOUT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(50);
/// More than `zookeeper.session.timeout.ms`.
const FORGOTTEN_BY_ZOOKEEPER: Duration = Duration::from_secs(4);
/// Another process may take a port after it was found free and before the broker binds it.
const PORT_ATTEMPTS: u32 = 3;

const BROKER_HEAP_MIB: u32 = 384;
const CONTROLLER_HEAP_MIB: u32 = 256;
const TOOL_HEAP_MIB: u32 = 384;

/// A running cluster; dropping it ends it.
#[must_use]
pub(crate) struct Kafka {
    java: Java,
    folder: PathBuf,
    nodes: Vec<Node>,
    state: State,
    owned: Vec<Owned>,
    /// A killed broker must not start before: ZooKeeper still has it, and it would end at once.
    may_start: Instant,
}

impl Kafka {
    /// Starts one that ends with this command.
    pub(crate) fn temporary(purpose: &str, version: &Version, brokers: u32) -> Result<Kafka> {
        Kafka::start(&format!("kafka-{purpose}-{}", std::process::id()), version, brokers)
    }

    /// Starts one in the folder of this name, from an empty log.
    pub(crate) fn start(name: &str, version: &Version, brokers: u32) -> Result<Kafka> {
        ensure!(matches!(brokers, 1 | 3), "an environment has 1 or 3 brokers, not {brokers}");
        let java = Java::for_kafka(version)?;
        end_abandoned()?;
        let owner = Process::with_pid(std::process::id());
        let (nodes, state, owned) = (Vec::new(), State::default(), Vec::new());
        let folder = state::folder(name);
        let mut kafka = Kafka { java, folder, nodes, state, owned, may_start: Instant::now() };
        let mut attempts = 1..PORT_ATTEMPTS;
        loop {
            let nodes = config::nodes(version, brokers, ports::free_block()?)?;
            let brokers = nodes.iter().filter(|node| node.role.is_broker());
            let connect = brokers.filter_map(|node| node.address(PLAINTEXT)).collect();
            kafka.state = State { version: version.to_string(), owner, connect, nodes: Vec::new() };
            match kafka.try_start(version, &nodes) {
                Err(error) if kafka.lost_a_port(&nodes) && attempts.next().is_some() => {
                    note!("a port was taken in the meantime, starting again: {error:#}");
                    kafka.owned.clear();
                }
                started => {
                    kafka.nodes = nodes;
                    return started.map(|()| kafka);
                }
            }
        }
    }

    /// Addresses as `KAFKA_CONNECT` takes them.
    pub(crate) fn connect(&self) -> String {
        self.state.connect.join(",")
    }

    /// Where its logs are; gone with the next environment that is started.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does to a broker what a line says: `Kill`, `ShutDown`, `Start`, `Freeze` or `Thaw`, and its id. A broker that was started again is
    /// not waited for.
    pub(crate) fn order(&mut self, line: &str) -> Result<()> {
        let (what, id) = line.split_once(' ').unwrap_or_default();
        let name = format!("broker-{id}");
        let node =
            self.nodes.iter().find(|node| node.name() == name).context("there is no such broker")?.clone();
        let known = self.state.nodes.iter().find(|(known, _)| *known == name);
        let process = known.context("the broker was never started")?.1;
        match what {
            "Kill" | "ShutDown" => {
                let grace = if what == "Kill" { Duration::ZERO } else { SHUTDOWN_GRACE };
                ensure!(process::end(&[process], grace).is_empty(), "broker {id} does not end");
                self.owned.retain(|owned| owned.process != process);
                if self.nodes.iter().any(|node| node.role == Role::ZooKeeper) {
                    self.may_start = Instant::now() + FORGOTTEN_BY_ZOOKEEPER;
                }
            }
            "Start" => {
                ensure!(!process.is_running(), "broker {id} runs");
                std::thread::sleep(self.may_start.saturating_duration_since(Instant::now()));
                self.spawn(&node)?;
                facts::write(&self.folder, &self.state.version, &self.nodes, &self.state.nodes)?;
            }
            "Freeze" => process.signal(Signal::SIGSTOP)?,
            "Thaw" => process.signal(Signal::SIGCONT)?,
            _ => bail!("{what:?} is no order"),
        }
        Ok(())
    }

    /// Lets the cluster run on after this command.
    pub(crate) fn keep(mut self) -> Result<()> {
        self.state.owner = None;
        self.state.write(&self.folder)?;
        self.owned.drain(..).for_each(Owned::release);
        Ok(())
    }

    fn try_start(&mut self, version: &Version, nodes: &[Node]) -> Result<()> {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder)?;
        self.state.write(&self.folder)?;
        let certificates = Certificates::new()?;
        certificates.write(&self.folder.join(facts::CERTIFICATES))?;
        for node in nodes {
            let folder = self.folder.join(node.name());
            fs::create_dir(&folder)?;
            let data = folder.join("data");
            let properties = config::server_properties(version, node, nodes, &certificates, &data);
            fs::write(folder.join("server.properties"), properties)?;
        }
        for (program, main_class) in [
            (facts::CONSOLE_CONSUMER, Some(version.console_consumer())),
            (facts::CONSOLE_PRODUCER, Some(version.console_producer())),
            (facts::JAVA, None),
        ] {
            let command = self.java.command(TOOL_HEAP_MIB, "WARN", main_class);
            facts::write_program(&self.folder.join(program), &command)?;
        }

        let others = match nodes.split_first() {
            Some((zookeeper, others)) if zookeeper.role == Role::ZooKeeper => {
                let step = Step::start("starting ZooKeeper, and adding users");
                self.spawn(zookeeper)?;
                self.add_users(zookeeper)?;
                step.done();
                others
            }
            _ => {
                let step = Step::start("formatting the log folders");
                self.format(nodes)?;
                step.done();
                nodes
            }
        };
        let step = Step::start(format!(
            "starting Kafka {version}, {}",
            counted(self.state.connect.len(), "broker", "brokers")
        ));
        others.iter().try_for_each(|node| self.spawn(node))?;
        self.wait_until_usable(nodes)?;
        step.done();
        facts::write(&self.folder, &self.state.version, nodes, &self.state.nodes)
    }

    /// Gives every node its cluster id and its initial metadata, and controllers the users.
    fn format(&mut self, nodes: &[Node]) -> Result<()> {
        let cluster_id = cluster_id();
        let tool = |node: &Node| {
            let folder = self.folder.join(node.name());
            let mut tool = self.java.command(CONTROLLER_HEAP_MIB, "WARN", Some("kafka.tools.StorageTool"));
            tool.args(["format", "--cluster-id", &cluster_id, "--config"])
                .arg(folder.join("server.properties"));
            if node.role.is_controller() {
                for mechanism in SCRAM {
                    tool.args(["--add-scram", &format!("{mechanism}=[name={USER},password={PASSWORD}]")]);
                }
            }
            (folder.join("format.log"), tool)
        };
        let tools: Vec<(PathBuf, Command)> = nodes.iter().map(tool).collect();
        self.run_tools(tools)
    }

    /// What versions with ZooKeeper have instead; its tool waits until ZooKeeper listens.
    fn add_users(&mut self, zookeeper: &Node) -> Result<()> {
        let address = zookeeper.address(ZOOKEEPER.name).context("ZooKeeper has no port")?;
        let secrets = SCRAM.map(|mechanism| format!("{mechanism}=[password={PASSWORD}]")).join(",");
        let mut tool = self.java.command(CONTROLLER_HEAP_MIB, "WARN", Some("kafka.admin.ConfigCommand"));
        tool.args(["--zookeeper", &address, "--alter", "--add-config", &secrets]);
        tool.args(["--entity-type", "users", "--entity-name", USER]);
        self.run_tools(vec![(self.folder.join(zookeeper.name()).join("users.log"), tool)])
    }

    /// Runs command line tools at the same time, each with its log. While they run they belong to the environment, so that none is left
    /// if this command is killed.
    fn run_tools(&mut self, tools: Vec<(PathBuf, Command)>) -> Result<()> {
        let servers = self.state.nodes.len();
        let mut running = Vec::new();
        for (log, mut tool) in tools {
            let file = File::create(&log)?;
            let owned = Owned::spawn(tool.stdout(file.try_clone()?).stderr(file), Duration::ZERO)?;
            self.state.nodes.push(("tool".to_owned(), owned.process));
            self.state.write(&self.folder)?;
            running.push((log, owned));
        }
        for (log, tool) in running {
            let status = tool.wait()?;
            ensure!(
                status.success(),
                "setting up the log folders or users failed ({status}): {}",
                tail(&log)
            );
        }
        self.state.nodes.truncate(servers);
        self.state.write(&self.folder)
    }

    fn spawn(&mut self, node: &Node) -> Result<()> {
        let folder = self.folder.join(node.name());
        let log = File::options().create(true).append(true).open(folder.join("server.log"))?;
        let heap = if node.role.is_broker() { BROKER_HEAP_MIB } else { CONTROLLER_HEAP_MIB };
        let mut server = self.java.command(heap, "INFO", Some(node.role.main_class()));
        server.arg(folder.join("server.properties")).stdout(log.try_clone()?).stderr(log);
        let owned = Owned::spawn(&mut server, Duration::ZERO)?;
        self.state.nodes.retain(|(name, _)| *name != node.name());
        self.state.nodes.push((node.name(), owned.process));
        self.owned.push(owned);
        self.state.write(&self.folder)
    }

    fn wait_until_usable(&self, nodes: &[Node]) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        for node in nodes.iter().filter(|node| node.role.is_broker()) {
            let address = node.address(PLAINTEXT).context("a broker has no port for plain text")?;
            while let Some(lacks) = probe::lacks(&address, self.state.connect.len()) {
                if let Some((name, _)) = self.state.nodes.iter().find(|(_, process)| !process.is_running()) {
                    let log = tail(&self.folder.join(name).join("server.log"));
                    bail!("{name} ended while it started; the end of its log:\n{log}");
                }
                if Instant::now() >= deadline {
                    let (seconds, name) = (START_TIMEOUT.as_secs(), node.name());
                    let log = tail(&facts::server_log(&self.folder, node));
                    bail!("not usable after {seconds} s: {name} {lacks}; the end of its log:\n{log}");
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }

    fn lost_a_port(&self, nodes: &[Node]) -> bool {
        nodes.iter().any(|node| {
            let log = fs::read_to_string(facts::server_log(&self.folder, node));
            log.is_ok_and(|log| log.contains("Address already in use"))
        })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if self.owned.is_empty() {
            return;
        }
        self.owned.clear();
        // The logs stay, to find out why it failed.
        remove_data(&self.folder, &self.state);
    }
}

/// Ends the environment in this folder and removes its data; its logs stay.
pub(crate) fn stop(folder: &Path, state: &State, grace: Duration) -> Result<()> {
    // Brokers first: they tell the controller, or ZooKeeper, that they go.
    let running = state.running();
    let is_broker = |process: &Process| {
        state.nodes.iter().any(|(name, of_node)| of_node == process && name.starts_with("broker"))
    };
    let (brokers, others): (Vec<Process>, Vec<Process>) = running.into_iter().partition(is_broker);
    for processes in [brokers, others] {
        let left = process::end(&processes, grace);
        ensure!(left.is_empty(), "these processes do not end: {left:?}");
    }
    remove_data(folder, state);
    Ok(())
}

/// Ends what a command that was itself killed has left.
pub(crate) fn end_abandoned() -> Result<()> {
    for name in state::names()? {
        let folder = state::folder(&name);
        let Some(state) = State::read(&folder)? else { continue };
        if state.owner.is_some_and(|owner| !owner.is_running()) {
            stop(&folder, &state, Duration::ZERO)?;
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    Ok(())
}

fn remove_data(folder: &Path, state: &State) {
    for (name, _) in &state.nodes {
        let _ = fs::remove_dir_all(folder.join(name).join("data"));
    }
}

/// A Kafka Uuid is 16 bytes in base64: 21 free characters, for which hexadecimal digits will do, and a last one of which
/// four bits are zero.
fn cluster_id() -> String {
    let random = RandomState::new().hash_one(0);
    format!("{random:021x}A")
}
