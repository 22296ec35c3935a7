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
use crate::env::certificates::Certificates;
use crate::env::docker::Compose;
use crate::env::listeners::{CONTROLLER, INTERNAL, LISTENERS, Listener, PASSWORD, SCRAM, SESSION_MS, USER};
use crate::env::version::NEWEST;
use crate::workspace;

/// What the broker tests need, beside the listeners.
const KAFKA_SETTINGS: [(&str, &str); 9] = [
    ("process.roles", "broker,controller"),
    ("controller.listener.names", CONTROLLER.name),
    ("inter.broker.listener.name", INTERNAL),
    ("auto.create.topics.enable", "false"),
    ("unclean.leader.election.enable", "false"),
    ("default.replication.factor", "3"),
    ("min.insync.replicas", "2"),
    ("offsets.topic.replication.factor", "3"),
    ("transaction.state.log.replication.factor", "3"),
];
const REDPANDA_SETTINGS: [&str; 1] = ["--set=redpanda.auto_create_topics_enabled=false"];
const START: [&str; 2] = ["bash", "/opt/rskafka/start.sh"];
const VOLUMES: [&str; 1] = ["./kafka:/opt/rskafka:ro"];
/// Of a certificate and its key in one file, by the listener that shows it; the others show the first.
const KEY_STORES: [(&str, &str); 3] =
    [("", "broker"), ("SSL_BADNAME", "wrong-name"), ("SSL_EXPIRED", "expired")];
/// What tests find in the folder.
const FOR_CLIENTS: [&str; 6] =
    ["ca.pem", "other-ca.pem", "client.pem", "client.key", "other-client.pem", "other-client.key"];

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
    #[serde(default)]
    volumes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthCheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

/// What is checked of a cluster: its compose file, and the files that this names.
#[derive(Clone)]
struct Texts {
    compose: String,
    versions: String,
    /// Of Kafka.
    properties: String,
    environment: String,
    start: String,
}

impl Texts {
    fn of(root: &Path, cluster: &Cluster) -> Result<Texts> {
        let read =
            |file: &str| fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"));
        Ok(Texts {
            compose: read(cluster.file)?,
            versions: read("docker/.env")?,
            properties: read("docker/kafka/server.properties")?,
            environment: read("docker/kafka/environment")?,
            start: read("docker/kafka/start.sh")?,
        })
    }

    /// The one that a name stands for, to be broken.
    fn named(&mut self, name: &str) -> &mut String {
        match name {
            "compose" => &mut self.compose,
            "versions" => &mut self.versions,
            "properties" => &mut self.properties,
            "environment" => &mut self.environment,
            "start" => &mut self.start,
            _ => panic!("no text {name}"),
        }
    }
}

fn check(root: &Path) -> Result<()> {
    let composes = Compose::all();
    for cluster in &CLUSTERS {
        check_texts(cluster, &Texts::of(root, cluster)?).context(cluster.file)?;
        for compose in &composes {
            compose.check(cluster.file).context(cluster.file)?;
        }
    }
    for (_, store) in KEY_STORES {
        let pem = fs::read_to_string(root.join(format!("docker/kafka/certificates/{store}.pem")))?;
        let has = |what: &str| pem.contains(&format!("-----BEGIN {what}-----"));
        ensure!(has("PRIVATE KEY") && has("CERTIFICATE"), "{store}.pem is not a key with its certificate");
    }
    for file in FOR_CLIENTS {
        ensure!(root.join("docker/kafka/certificates").join(file).is_file(), "{file} is missing");
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

fn check_texts(cluster: &Cluster, texts: &Texts) -> Result<()> {
    let services = parse(&with_versions(&texts.compose, &pairs(&texts.versions)?)?)?;
    let mut ports = Vec::new();
    let mut nodes = Vec::new();
    for (name, service) in &services {
        let mut check = || -> Result<u16> {
            let published = service.check(cluster)?;
            if cluster.name == "docker-kafka" {
                nodes.push(Node::of(name, service, texts, &published)?);
            } else {
                service.check_redpanda(name, &published)?;
            }
            Ok(published[0])
        };
        ports.push(check().with_context(|| format!("service {name}"))?);
    }
    let documented = ports_of(cluster);
    ensure!(ports == documented, "the brokers are at {ports:?}, but documented at {documented:?}");
    if cluster.name == "docker-kafka" { check_together(&nodes, texts) } else { Ok(()) }
}

/// The lines `name=value` of a file; a name twice is an error.
fn pairs(text: &str) -> Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once('=').with_context(|| format!("{line:?} is not name=value"))?;
        ensure!(pairs.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice");
    }
    Ok(pairs)
}

/// Fills in `${NAME:?what is missing}`, as Compose does.
fn with_versions(text: &str, versions: &BTreeMap<String, String>) -> Result<String> {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').context("${ without }")?;
        let (name, _) = variable.split_once(":?").with_context(|| format!("{variable} may be empty"))?;
        filled += versions.get(name).with_context(|| format!("docker/.env does not set {name}"))?;
        filled += rest;
    }
    Ok(filled)
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
    /// Gives the ports at which the host reaches it.
    fn check(&self, cluster: &Cluster) -> Result<Vec<u16>> {
        let (image, tag) = self.image.split_once(':').context("the image has no tag")?;
        ensure!(image == image_of(cluster), "the image is {image}, not {}", image_of(cluster));
        ensure!(tag.chars().any(|char| char.is_ascii_digit()), "{tag:?} fixes no version");
        self.healthcheck.check()?;
        ensure!(!self.ports.is_empty(), "no port is published");
        self.ports.iter().map(|published| port(published)).collect()
    }

    fn check_redpanda(&self, name: &str, published: &[u16]) -> Result<()> {
        for expected in REDPANDA_SETTINGS {
            ensure!(self.command.iter().any(|flag| flag == expected), "{expected} is missing");
        }
        ensure!(
            !self.command.iter().any(|flag| flag.contains("dev-container")),
            "its mode acknowledges too early"
        );
        let flag = |name: &str| {
            let value = self.command.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='));
            value.map(addresses).with_context(|| format!("{name} is missing"))
        };
        let (bound, advertised) = (flag("--kafka-addr")?, flag("--advertise-kafka-addr")?);
        let [port] = published else { bail!("not one port is published but {published:?}") };
        let at = |addresses: &BTreeMap<String, String>, name: &str| {
            addresses.get(name).cloned().unwrap_or_default()
        };
        let external = at(&advertised, "external");
        ensure!(external == format!("127.0.0.1:{port}"), "clients are sent to {external}");
        ensure!(at(&bound, "external").ends_with(&format!(":{port}")), "nobody listens at {port}: {bound:?}");
        let internal = at(&advertised, "internal");
        ensure!(internal.starts_with(&format!("{name}:")), "other brokers do not reach it by {internal}");
        Ok(())
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

/// The number of a port that is published on the loopback address only, and under its own number: a client is told the
/// port at which the broker listens.
fn port(published: &str) -> Result<u16> {
    let [host, port, inner] = published.split(':').collect::<Vec<_>>()[..] else {
        bail!("the port {published:?} is not HOST:PORT:PORT");
    };
    ensure!(host == "127.0.0.1", "{published:?} is open to the network");
    ensure!(inner == port, "{published:?} changes the number of the port");
    port.parse().with_context(|| format!("the port {published:?}"))
}

/// A container of Kafka.
struct Node {
    name: String,
    id: String,
    /// As start.sh makes them.
    properties: BTreeMap<String, String>,
    /// By listener.
    bound: BTreeMap<String, String>,
    advertised: BTreeMap<String, String>,
}

impl Node {
    fn of(name: &str, service: &Service, texts: &Texts, published: &[u16]) -> Result<Node> {
        ensure!(service.image.ends_with(&format!(":{NEWEST}")), "{} is not Kafka {NEWEST}", service.image);
        ensure!(service.command == START && service.volumes == VOLUMES, "it does not run start.sh");
        let id = service.setting("NODE")?;
        ensure!(name == format!("kafka-{id}"), "its NODE is {id}");
        let digit = (id.parse::<u16>()? + 3).to_string();
        let properties = pairs(&texts.properties.replace("@NODE@", &id).replace("@DIGIT@", &digit))?;
        let property = |key: &str| properties.get(key).map(String::as_str).unwrap_or_default();
        for (key, expected) in KAFKA_SETTINGS {
            ensure!(property(key) == expected, "{key} is {:?}, not {expected:?}", property(key));
        }
        let (bound, advertised) =
            (addresses(property("listeners")), addresses(property("advertised.listeners")));
        let (name, id) = (name.to_owned(), id.clone());
        let node = Node { name, id, properties: properties.clone(), bound, advertised };
        node.check_listeners(published)?;
        Ok(node)
    }

    /// They are those of the local JVMs, and each but the two inner ones is published.
    fn check_listeners(&self, published: &[u16]) -> Result<()> {
        let of_map = self.properties.get("listener.security.protocol.map").cloned().unwrap_or_default();
        let protocols = LISTENERS.iter().chain([CONTROLLER]);
        let expected: Vec<String> = protocols.map(|of| format!("{}:{}", of.name, of.protocol)).collect();
        ensure!(of_map == expected.join(","), "the protocols are {of_map}, not {}", expected.join(","));
        let mut expected = BTreeMap::new();
        let mut ports = Vec::new();
        for listener in LISTENERS {
            expected.extend(pairs(&properties_of(listener)?)?);
            if listener.name == INTERNAL {
                let address = self.advertised.get(INTERNAL).cloned().unwrap_or_default();
                ensure!(
                    address.starts_with(&format!("{}:", self.name)),
                    "other brokers are sent to {address}"
                );
                continue;
            }
            ports.push(self.port(listener)?);
        }
        ensure!(ports == published, "it listens at {ports:?}, but published are {published:?}");
        let is_of_listener = |key: &String| key.starts_with("listener.name.");
        let found = self.properties.iter().filter(|(key, _)| is_of_listener(key));
        let found: BTreeMap<String, String> =
            found.map(|(key, value)| (key.clone(), value.clone())).collect();
        for (key, value) in &expected {
            ensure!(found.get(key) == Some(value), "{key} is {:?}, not {value:?}", found.get(key));
        }
        ensure!(found.len() == expected.len(), "there are listeners that the local JVMs do not have");
        Ok(())
    }

    /// Where it listens for clients, who are sent there, or to a proxy that tests put elsewhere.
    fn port(&self, listener: &Listener) -> Result<u16> {
        let name = listener.name;
        let bound = self.bound.get(name).and_then(|address| address.strip_prefix(':'));
        let bound: u16 = bound.with_context(|| format!("{name} is not bound to all addresses"))?.parse()?;
        let sent = self.advertised.get(name).cloned().unwrap_or_default();
        let at = format!("{}:{bound}", listener.host());
        if !listener.is_proxied {
            ensure!(sent == at, "clients of {name} are sent to {sent}, not to {at}");
            return Ok(bound);
        }
        let proxy = sent.strip_prefix(&format!("{}:", listener.host()));
        ensure!(proxy.is_some(), "clients of {name} are sent to {sent}");
        let is_free = self.bound.values().all(|bound| bound.strip_prefix(':') != proxy);
        ensure!(is_free, "a broker listens at {sent}, where a proxy is to be");
        Ok(bound)
    }
}

/// The properties that the local JVMs have, with files for what they have as text.
fn properties_of(listener: &Listener) -> Result<String> {
    let certificates = "/opt/rskafka/certificates";
    let store = KEY_STORES.iter().rfind(|(name, _)| *name == listener.name || name.is_empty());
    let store = store.context("no key store")?.1;
    let properties = listener.properties(&Certificates::new()?);
    let lines = properties.lines().filter_map(|line| {
        let (key, _) = line.split_once('=')?;
        Some(match key.rsplit_once(".ssl.") {
            Some((of, "keystore.key")) => format!("{of}.ssl.keystore.location={certificates}/{store}.pem\n"),
            Some((_, "keystore.certificate.chain")) => String::new(),
            Some((of, "truststore.certificates")) => {
                format!("{of}.ssl.truststore.location={certificates}/ca.pem\n")
            }
            _ => format!("{line}\n"),
        })
    });
    Ok(lines.collect())
}

/// `host:port` by the name of a listener, of a list of `name://host:port`.
fn addresses(listeners: &str) -> BTreeMap<String, String> {
    let listeners = listeners.split(',').filter_map(|listener| listener.split_once("://"));
    listeners.map(|(name, address)| (name.to_owned(), address.to_owned())).collect()
}

/// The brokers are each other's voters, users can log in, and tests are told what is there.
fn check_together(nodes: &[Node], texts: &Texts) -> Result<()> {
    let mut voters = Vec::new();
    for Node { name, id, bound, .. } in nodes {
        let port = bound.get(CONTROLLER.name).with_context(|| format!("{name} has no controller"))?;
        voters.push(format!("{id}@{name}{port}"));
    }
    let found = nodes[0].properties.get("controller.quorum.voters").cloned().unwrap_or_default();
    ensure!(found == voters.join(","), "the voters are {found}, not {voters:?}");
    for mechanism in SCRAM {
        let user = format!("--add-scram '{mechanism}=[name={USER},password={PASSWORD}]'");
        ensure!(texts.start.contains(&user), "start.sh has no {user}");
    }
    let told = pairs(&texts.environment)?;
    let mut expected = BTreeMap::from(
        [
            ("version", NEWEST),
            ("sasl.user", USER),
            ("sasl.password", PASSWORD),
            ("sasl.session.ms", &SESSION_MS.to_string()),
            ("certificates", "certificates"),
            ("console.consumer", "console-consumer"),
            ("console.producer", "console-producer"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    for listener in LISTENERS.iter().filter(|listener| listener.name != INTERNAL) {
        let name = listener.name;
        let at = nodes.iter().map(|node| format!("{}{}", listener.host(), node.bound[name]));
        expected.insert(format!("listener.{name}"), at.collect::<Vec<_>>().join(","));
        if listener.is_proxied {
            let at: Vec<&str> = nodes.iter().map(|node| node.advertised[name].as_str()).collect();
            expected.insert(format!("advertised.{name}"), at.join(","));
        }
    }
    ensure!(told == expected, "tests are told {told:?}, and there is {expected:?}");
    Ok(())
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

#[test]
fn the_files_describe_what_is_documented() {
    check(&workspace::root()).unwrap();
}

/// A text, what to replace in it and by what, and whether Compose itself can see that. Each breaks one thing.
type Change = (&'static str, &'static str, &'static str, bool);

const OF_KAFKA: [Change; 33] = [
    ("compose", "    environment: {", "    enviroment: {", true),
    ("compose", "- \"127.0.0.1:9095:9095\"", "- [9095]", true),
    ("compose", "services:", "service:", false),
    ("compose", "<<: *kafka", "<<: *kafak", false),
    ("compose", "{ NODE: 2,", "{ NODE: [2],", true),
    ("compose", "{ NODE: 2,", "{ NODE: 3,", false),
    ("compose", "start.sh", "run.sh", false),
    ("compose", "./kafka:", "./kafak:", false),
    ("compose", "  image: apache/kafka:${KAFKA_VERSION", "  image: apache/kafka:${KAFAK_VERSION", true),
    ("compose", ":?is set in docker/.env", "", false),
    ("compose", "127.0.0.1:9495:9495", "9495:9495", false),
    ("compose", "127.0.0.1:9095:9095", "127.0.0.1:9094:9094", false),
    ("compose", "127.0.0.1:9095:9095", "127.0.0.1:9095:9094", false),
    ("compose", "      - \"127.0.0.1:9296:9296\"\n", "", false),
    ("compose", "$$(", "$(", false),
    ("versions", "KAFKA_VERSION=4", "KAFKA_VERSION=3", false),
    ("versions", "KAFKA_VERSION=4.4.0", "KAFKA_VERSION=latest", false),
    ("properties", "topics.enable=false", "topics.enable=true", false),
    ("properties", "SSL://localhost:919", "SSL://127.0.0.1:919", false),
    ("properties", "PLAINTEXT://127.0.0.1:909", "PLAINTEXT://kafka-@NODE@:909", false),
    ("properties", "INTERNAL://kafka-@NODE@:", "INTERNAL://kafka-1:", false),
    ("properties", "PROXY://127.0.0.1:979", "PROXY://127.0.0.1:969", false),
    ("properties", "MTLS:SSL", "MTLS:PLAINTEXT", false),
    ("properties", "client.auth=required", "client.auth=none", false),
    ("properties", "certificates/expired.pem", "certificates/broker.pem", false),
    ("properties", "max.reauth.ms=5000", "max.reauth.ms=6000", false),
    ("properties", "alice-secret", "alice", false),
    ("properties", "3@kafka-3", "4@kafka-3", false),
    ("properties", "\nnode.id", "\nlistener.name.other.ssl.client.auth=none\nnode.id", false),
    ("properties", "\nnode.id", "\nprocess.roles=broker\nnode.id", false),
    ("start", "SCRAM-SHA-512", "SCRAM-SHA-1", false),
    ("environment", "localhost:9195", "localhost:9196", false),
    ("environment", "advertised.PROXY=", "advertised.PRXY=", false),
];

const OF_REDPANDA: [Change; 7] = [
    ("compose", "    interval: 5s", "    interval: often", false),
    ("compose", "    retries: 24", "    tries: 24", false),
    ("compose", "_enabled=false", "_enabled=true", false),
    ("compose", "- --overprovisioned", "- --mode=dev-container", false),
    ("compose", "external://127.0.0.1:9093", "external://0.0.0.0:9093", false),
    ("compose", "internal://redpanda-2:", "internal://redpanda-1:", false),
    ("versions", "REDPANDA_VERSION=v24.3.18", "REDPANDA_VERSION=latest", false),
];

#[test]
fn a_broken_file_is_found() {
    let composes = Compose::all();
    for (cluster, changes) in CLUSTERS.iter().zip([&OF_KAFKA[..], &OF_REDPANDA]) {
        for (file, before, after, by_schema) in changes {
            let texts = Texts::of(&workspace::root(), cluster).unwrap();
            let mut broken = texts.clone();
            let text = broken.named(file);
            assert!(text.contains(before), "{before} is not in it");
            *text = text.replace(before, after);
            check_texts(cluster, &broken).expect_err(after);
            for compose in composes.iter().filter(|_| *by_schema) {
                compose_refuses(compose, &texts, &broken.compose);
            }
        }
    }
}

fn compose_refuses(compose: &Compose, texts: &Texts, broken: &str) {
    let folder = std::env::temp_dir().join(format!("xtask-compose-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("broken.yml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        compose.check(file.to_str().unwrap())
    };
    fs::write(folder.join(".env"), &texts.versions).unwrap();
    check(&texts.compose).unwrap();
    check(broken).expect_err(broken);
    fs::remove_dir_all(folder).unwrap();
}

/// Writes new keys and certificates. Those of the authorities are in no file, so that they sign nothing else.
#[test]
#[ignore = "writes into the repository: cargo test --bin xtask certificates_of_the_containers -- --ignored"]
fn certificates_of_the_containers() {
    let folder = workspace::root().join("docker/kafka/certificates");
    let _ = fs::remove_dir_all(&folder);
    let certificates = Certificates::new().unwrap();
    certificates.write(&folder).unwrap();
    let servers = [&certificates.server, &certificates.server_with_wrong_name, &certificates.expired_server];
    for ((_, store), of) in KEY_STORES.into_iter().zip(servers) {
        fs::write(folder.join(format!("{store}.pem")), format!("{}{}", of.key, of.certificate)).unwrap();
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
