//! What is in the compose files, and whether tests can use the clusters that they describe.
//!
//! No engine is needed: the files are held against the part of the Compose Specification that they use, and against what the
//! documentation says of them. A key that is not listed here is an error, so that a slip of the pen is found without Docker.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use yaml_serde::Value;

use super::*;
use crate::env::docker::Compose;
use crate::env::version::NEWEST;
use crate::workspace;

/// What the broker tests need, beside one address for each broker.
const KAFKA_SETTINGS: [(&str, &str); 5] = [
    ("KAFKA_PROCESS_ROLES", "broker,controller"),
    ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
    ("KAFKA_DEFAULT_REPLICATION_FACTOR", "3"),
    ("KAFKA_MIN_INSYNC_REPLICAS", "2"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "3"),
];
const REDPANDA_SETTINGS: [&str; 1] = ["--set=redpanda.auto_create_topics_enabled=false"];

fn image_of(cluster: &Cluster) -> &'static str {
    if cluster.name == "docker-kafka" { "apache/kafka" } else { "redpandadata/redpanda" }
}

/// Where the host reaches the brokers.
fn ports_of(cluster: &Cluster) -> [u16; 3] {
    if cluster.name == "docker-kafka" { [9094, 9095, 9096] } else { [9093, 9094, 9095] }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    ports: Vec<String>,
    healthcheck: HealthCheck,
    #[serde(default)]
    environment: BTreeMap<String, Value>,
    #[serde(default)]
    command: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthCheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

fn check(root: &Path) -> Result<()> {
    let composes = Compose::all();
    for cluster in &CLUSTERS {
        let text = fs::read_to_string(root.join(cluster.file));
        let text = text.with_context(|| format!("cannot read {}", cluster.file))?;
        check_text(cluster, &text).context(cluster.file)?;
        for compose in &composes {
            compose.check(cluster.file).context(cluster.file)?;
        }
    }
    let readme = fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    CLUSTERS.iter().try_for_each(|cluster| check_readme(cluster, &readme))
}

/// The README shows how to start the cluster and how to test against it.
fn check_readme(cluster: &Cluster, readme: &str) -> Result<()> {
    let Cluster { file, connect, .. } = cluster;
    let commands = format!(
        "```text\ndocker-compose -f {file} up\nTEST_INTEGRATION=1 KAFKA_CONNECT={connect} cargo test\n```\n"
    );
    ensure!(readme.contains(&commands), "README.md has no block\n{commands}");
    Ok(())
}

fn check_text(cluster: &Cluster, text: &str) -> Result<()> {
    let services = parse(text)?;
    let mut ports = Vec::new();
    for (name, service) in &services {
        ports.push(service.check(name, cluster).with_context(|| format!("service {name}"))?);
    }
    let documented = ports_of(cluster);
    ensure!(ports == documented, "the brokers are at {ports:?}, but documented at {documented:?}");
    if cluster.name == "docker-kafka" {
        check_quorum(&services)?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<BTreeMap<String, Service>> {
    let mut value: Value = yaml_serde::from_str(text)?;
    value.apply_merge()?;
    // Where the specification has room for whatever anchors refer to.
    let file = value.as_mapping_mut().context("not a mapping")?;
    file.retain(|key, _| !key.as_str().is_some_and(|key| key.starts_with("x-")));
    Ok(yaml_serde::from_value::<File>(value)?.services)
}

impl Service {
    /// Gives the port at which the host reaches it.
    fn check(&self, name: &str, cluster: &Cluster) -> Result<u16> {
        let (image, tag) = self.image.split_once(':').context("the image has no tag")?;
        ensure!(image == image_of(cluster), "the image is {image}, not {}", image_of(cluster));
        ensure!(
            tag.chars().any(|char| char.is_ascii_digit()) && !tag.contains('$'),
            "{tag:?} fixes no version"
        );
        self.healthcheck.check()?;

        let [published] = &self.ports[..] else { bail!("not one port is published but {:?}", self.ports) };
        let [host, port, inner] = published.split(':').collect::<Vec<_>>()[..] else {
            bail!("the port {published:?} is not HOST:PORT:PORT");
        };
        ensure!(host == "127.0.0.1", "{published:?} is open to the network");
        let port: u16 = port.parse().with_context(|| format!("the port {published:?}"))?;
        // A client is told the port at which the broker listens, and comes by the one that is published.
        ensure!(inner == port.to_string(), "{published:?} changes the number of the port");

        let (listeners, advertised) =
            if cluster.name == "docker-kafka" { self.kafka_listeners()? } else { self.redpanda_listeners()? };
        let external = format!("127.0.0.1:{port}");
        ensure!(
            address(&advertised, "external") == Some(&external),
            "clients are not sent to {external} by {advertised:?}"
        );
        let bound = address(&listeners, "external").and_then(|address| address.rsplit_once(':'));
        ensure!(bound.is_some_and(|(_, at)| at == inner), "nobody listens at {inner}: {listeners:?}");
        let internal = address(&advertised, "internal").and_then(|address| address.split_once(':'));
        ensure!(
            internal.is_some_and(|(host, _)| host == name),
            "other brokers do not reach it by {advertised:?}"
        );
        Ok(port)
    }

    fn kafka_listeners(&self) -> Result<(String, String)> {
        ensure!(
            self.image.ends_with(&format!(":{NEWEST}")),
            "{} is not of the newest Kafka, {NEWEST}",
            self.image
        );
        for (name, expected) in KAFKA_SETTINGS {
            let value = self.setting(name)?;
            ensure!(value == expected, "{name} is {value:?}, not {expected:?}");
        }
        Ok((self.setting("KAFKA_LISTENERS")?, self.setting("KAFKA_ADVERTISED_LISTENERS")?))
    }

    fn redpanda_listeners(&self) -> Result<(String, String)> {
        for expected in REDPANDA_SETTINGS {
            ensure!(self.command.iter().any(|flag| flag == expected), "{expected} is missing");
        }
        ensure!(
            !self.command.iter().any(|flag| flag.contains("dev-container")),
            "its mode acknowledges too early"
        );
        let flag = |name: &str| {
            let value = self.command.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='));
            value.map(str::to_owned).with_context(|| format!("{name} is missing"))
        };
        Ok((flag("--kafka-addr")?, flag("--advertise-kafka-addr")?))
    }

    /// A variable of its environment, of which the specification allows text and numbers.
    fn setting(&self, name: &str) -> Result<String> {
        match self.environment.get(name).with_context(|| format!("{name} is missing"))? {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            other => bail!("{name} is neither text nor a number: {other:?}"),
        }
    }
}

impl HealthCheck {
    fn check(&self) -> Result<()> {
        let [kind, test] = &self.test[..] else { bail!("the health check is not [\"CMD-SHELL\", command]") };
        ensure!(kind == "CMD-SHELL" && !test.is_empty(), "the health check is not [\"CMD-SHELL\", command]");
        // `$$` is how a compose file writes a dollar.
        ensure!(!test.replace("$$", "").contains('$'), "the health check has a variable of the host: {test}");
        for time in [&self.interval, &self.timeout] {
            let seconds = time.strip_suffix('s').and_then(|number| number.parse::<u32>().ok());
            ensure!(seconds.is_some_and(|seconds| seconds > 0), "{time:?} is not a number of seconds");
        }
        ensure!(self.retries > 0, "a health check without retries");
        Ok(())
    }
}

/// `host:port` of a listener in a list of `name://host:port`.
fn address<'a>(listeners: &'a str, name: &str) -> Option<&'a str> {
    let mut listeners = listeners.split(',').filter_map(|listener| listener.split_once("://"));
    listeners.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, address)| address)
}

/// The brokers are each other's voters, in one cluster.
fn check_quorum(services: &BTreeMap<String, Service>) -> Result<()> {
    let mut voters = Vec::new();
    for (name, service) in services {
        let listeners = service.setting("KAFKA_LISTENERS")?;
        let port = address(&listeners, "controller").and_then(|address| address.rsplit_once(':'));
        let (_, port) = port.with_context(|| format!("{name} has no listener CONTROLLER"))?;
        voters.push(format!("{}@{name}:{port}", service.setting("KAFKA_NODE_ID")?));
    }
    let voters = voters.join(",");
    let id = |service: &Service| service.setting("CLUSTER_ID");
    let first = services.values().next().map(id).transpose()?;
    for (name, service) in services {
        let found = service.setting("KAFKA_CONTROLLER_QUORUM_VOTERS")?;
        ensure!(found == voters, "{name} has the voters {found}, but they are {voters}");
        ensure!(Some(id(service)?) == first, "{name} is of another cluster");
    }
    Ok(())
}

fn text(cluster: &Cluster) -> String {
    fs::read_to_string(workspace::root().join(cluster.file)).unwrap()
}

#[test]
fn the_files_describe_what_is_documented() {
    check(&workspace::root()).unwrap();
}

/// Each change breaks one thing; `by_schema` are those that Compose itself can see.
#[test]
fn a_broken_file_is_found() {
    let [kafka, redpanda] = &CLUSTERS;
    let composes = Compose::all();
    for (cluster, before, after, by_schema) in [
        (kafka, "    environment:\n", "    enviroment:\n", true),
        (kafka, "ports: [\"127.0.0.1:9095:9095\"]", "ports: 9095", true),
        (kafka, "services:", "service:", false),
        (kafka, "<<: *kafka", "<<: *kafak", false),
        (kafka, "TOPICS_ENABLE: \"false\"", "TOPICS_ENABLE: false", true),
        (redpanda, "    interval: 5s", "    interval: often", false),
        (redpanda, "    retries: 24", "    tries: 24", false),
        (kafka, "TOPICS_ENABLE: \"false\"", "TOPICS_ENABLE: \"true\"", false),
        (kafka, "  image: apache/kafka:", "  image: apache/kafka:latest #", false),
        (kafka, "  image: apache/kafka:", "  image: apache/kafka # ", false),
        (kafka, "  image: apache/kafka:4", "  image: apache/kafka:3", false),
        (kafka, "127.0.0.1:9095:9095", "9095:9095", false),
        (kafka, "127.0.0.1:9095:9095", "127.0.0.1:9094:9094", false),
        (kafka, "127.0.0.1:9095:9095", "127.0.0.1:9095:9094", false),
        (kafka, "EXTERNAL://127.0.0.1:9096", "EXTERNAL://127.0.0.1:9095", false),
        (kafka, "EXTERNAL://127.0.0.1:9096", "EXTERNAL://kafka-3:9096", false),
        (kafka, "INTERNAL://kafka-2:", "INTERNAL://kafka-1:", false),
        (kafka, "EXTERNAL://:9096", "EXTERNAL://:9094", false),
        (kafka, "9096", "9097", false),
        (kafka, "3@kafka-3", "4@kafka-3", false),
        (kafka, "$$(", "$(", false),
        (redpanda, "_enabled=false", "_enabled=true", false),
        (redpanda, "- --overprovisioned", "- --mode=dev-container", false),
        (redpanda, "external://127.0.0.1:9093", "external://0.0.0.0:9093", false),
        (redpanda, "redpanda:v24", "redpanda:latest # v24", false),
    ] {
        let text = text(cluster);
        let broken = text.replace(before, after);
        assert_ne!(text, broken, "{before} is not in it");
        check_text(cluster, &broken).expect_err(after);
        for compose in composes.iter().filter(|_| by_schema) {
            let file = std::env::temp_dir().join(format!("xtask-compose-{}.yml", std::process::id()));
            fs::write(&file, &broken).unwrap();
            compose.check(file.to_str().unwrap()).expect_err(after);
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn the_readme_has_the_commands() {
    let shown = "```text\ndocker-compose -f docker/docker-compose-kafka.yml up\n\
                 TEST_INTEGRATION=1 KAFKA_CONNECT=localhost:9094 cargo test\n```\n";
    check_readme(&CLUSTERS[0], shown).unwrap();
    assert!(check_readme(&CLUSTERS[0], &shown.replace("9094", "9092")).is_err());
    assert!(check_readme(&CLUSTERS[1], shown).is_err());
}
