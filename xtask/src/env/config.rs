//! The nodes of a cluster and their `server.properties`.
//!
//! Pure: from the version, the size, free ports and certificates to text.

use std::path::Path;

use anyhow::Result;

use crate::env::certificates::Certificates;
use crate::env::listeners::{CONTROLLER, INTERNAL, LISTENERS, Listener, ZOOKEEPER};
use crate::env::version::Version;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Broker,
    /// KRaft's.
    Controller,
    /// Broker and controller: only for one broker, because a lost combined node may cost the quorum.
    Combined,
    /// What versions without KRaft have instead of a controller.
    ZooKeeper,
}

impl Role {
    pub(crate) fn is_broker(self) -> bool {
        matches!(self, Role::Broker | Role::Combined)
    }

    pub(crate) fn is_controller(self) -> bool {
        matches!(self, Role::Controller | Role::Combined)
    }

    /// The class that is the server.
    pub(crate) fn main_class(self) -> &'static str {
        match self {
            Role::ZooKeeper => "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            Role::Broker | Role::Controller | Role::Combined => "kafka.Kafka",
        }
    }
}

/// One JVM.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) role: Role,
    /// Of a broker, those of `LISTENERS`; then the controller's, if it is one. ZooKeeper has one of its own.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// A listener of a node.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) listener: &'static Listener,
    port: u16,
    advertised_port: u16,
}

impl Endpoint {
    fn new(listener: &'static Listener, free_port: &mut impl FnMut() -> Result<u16>) -> Result<Endpoint> {
        let port = free_port()?;
        let advertised_port = if listener.is_proxied { free_port()? } else { port };
        Ok(Endpoint { listener, port, advertised_port })
    }

    /// Where the broker listens, as clients know the host.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.listener.host(), self.port)
    }

    /// Where clients are told to connect to.
    pub(crate) fn advertised_address(&self) -> String {
        format!("{}:{}", self.listener.host(), self.advertised_port)
    }
}

impl Node {
    /// The folder of its configuration, log and data within the environment's.
    pub(crate) fn name(&self) -> String {
        match self.role {
            Role::Controller => "controller".to_owned(),
            Role::ZooKeeper => "zookeeper".to_owned(),
            Role::Broker | Role::Combined => format!("broker-{}", self.id),
        }
    }

    /// Host and port of a listener.
    pub(crate) fn address(&self, listener: &str) -> Option<String> {
        Some(self.endpoints.iter().find(|endpoint| endpoint.listener.name == listener)?.address())
    }
}

/// The nodes of a cluster, with ports from `free_port`; in the order in which they are started.
pub(crate) fn nodes(
    version: &Version,
    brokers: u32,
    mut free_port: impl FnMut() -> Result<u16>,
) -> Result<Vec<Node>> {
    let mut roles: Vec<(u32, Role)> = (1..=brokers).map(|id| (id, Role::Broker)).collect();
    match brokers {
        _ if version.needs_zookeeper() => roles.insert(0, (0, Role::ZooKeeper)),
        1 => roles = vec![(1, Role::Combined)],
        _ => roles.insert(0, (100, Role::Controller)),
    }
    let node = |(id, role): (u32, Role)| {
        let listeners = LISTENERS.iter().filter(|_| role.is_broker());
        let listeners = listeners.chain(Some(CONTROLLER).filter(|_| role.is_controller()));
        let listeners = listeners.chain(Some(ZOOKEEPER).filter(|_| role == Role::ZooKeeper));
        let endpoints = listeners.map(|listener| Endpoint::new(listener, &mut free_port));
        Ok(Node { id, role, endpoints: endpoints.collect::<Result<_>>()? })
    };
    roles.into_iter().map(node).collect()
}

/// The text of a node's `server.properties`.
pub(crate) fn server_properties(
    version: &Version,
    node: &Node,
    nodes: &[Node],
    certificates: &Certificates,
    data: &Path,
) -> String {
    if node.role == Role::ZooKeeper {
        let ports = join(node.endpoints.iter().map(|endpoint| endpoint.port.to_string()));
        let file = fixed(include_str!("zookeeper.properties"));
        return format!("dataDir={}\nclientPort={ports}\n{file}", data.display());
    }
    let mut text = kafka_properties(version, node, nodes, data);
    if node.role.is_broker() {
        let brokers = nodes.iter().filter(|node| node.role.is_broker()).count();
        text += &listener_properties(node, certificates);
        text += &broker_properties(version, brokers);
    }
    text
}

fn kafka_properties(version: &Version, node: &Node, nodes: &[Node], data: &Path) -> String {
    let (id, data) = (node.id, data.display());
    let cluster = match nodes.iter().find_map(|node| node.address(ZOOKEEPER.name)) {
        Some(zookeeper) => {
            let file = fixed(include_str!("with-zookeeper.properties"));
            format!("broker.id={id}\nzookeeper.connect={zookeeper}\n{file}")
        }
        None => quorum_properties(node, nodes) + &format!("metadata.log.dir={data}\n"),
    };
    let listeners =
        join(node.endpoints.iter().map(|e| format!("{}://127.0.0.1:{}", e.listener.name, e.port)));
    let known = LISTENERS.iter().chain(Some(CONTROLLER).filter(|_| !version.needs_zookeeper()));
    let protocols = join(known.map(|listener| format!("{}:{}", listener.name, listener.protocol)));
    format!("{cluster}listeners={listeners}\nlistener.security.protocol.map={protocols}\nlog.dirs={data}\n")
}

fn quorum_properties(node: &Node, nodes: &[Node]) -> String {
    let roles = match node.role {
        Role::Combined => "broker,controller",
        Role::Broker => "broker",
        _ => "controller",
    };
    let voter = |node: &Node| Some(format!("{}@{}", node.id, node.address(CONTROLLER.name)?));
    let (id, voters, name) = (node.id, join(nodes.iter().filter_map(voter)), CONTROLLER.name);
    let file = fixed(include_str!("quorum.properties"));
    format!(
        "process.roles={roles}\nnode.id={id}\ncontroller.quorum.voters={voters}\ncontroller.listener.names={name}\n{file}"
    )
}

fn listener_properties(node: &Node, certificates: &Certificates) -> String {
    // The controller's listener may not be advertised by a broker.
    let clients = node.endpoints.iter().filter(|endpoint| endpoint.listener.name != CONTROLLER.name);
    let advertised = join(clients.map(|e| format!("{}://{}", e.listener.name, e.advertised_address())));
    let each: String = LISTENERS.iter().map(|listener| listener.properties(certificates)).collect();
    format!("advertised.listeners={advertised}\ninter.broker.listener.name={INTERNAL}\n{each}")
}

fn broker_properties(version: &Version, brokers: usize) -> String {
    let min_insync = if brokers >= 3 && version.bounds_min_insync_by_replicas() { 2 } else { 1 };
    let shares = if version.has_share_groups() { include_str!("share-groups.properties") } else { "" };
    let file = fixed(include_str!("broker.properties"));
    format!("default.replication.factor={brokers}\nmin.insync.replicas={min_insync}\n{file}{}", fixed(shares))
}

/// The settings of a file, without its comments.
fn fixed(file: &str) -> String {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

pub(crate) fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn cluster(version: &str, brokers: u32) -> Vec<Node> {
        let mut next = 9000;
        let free_port = || {
            next += 1;
            Ok(next)
        };
        nodes(&version.parse().unwrap(), brokers, free_port).unwrap()
    }

    fn rendered(version: &str, nodes: &[Node], at: usize) -> HashMap<String, String> {
        let certificates = Certificates::new().unwrap();
        let version = version.parse().unwrap();
        let text = server_properties(&version, &nodes[at], nodes, &certificates, Path::new("/data"));
        let pairs: Vec<(String, String)> = text
            .lines()
            .map(|line| line.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap())
            .collect();
        let properties: HashMap<String, String> = pairs.iter().cloned().collect();
        assert_eq!(properties.len(), pairs.len(), "a key twice: the last one would win in silence");
        properties
    }

    #[test]
    fn one_broker_is_its_own_controller() {
        let nodes = cluster("4.4.0", 1);
        let properties = rendered("4.4.0", &nodes, 0);
        assert_eq!(properties["process.roles"], "broker,controller");
        assert!(properties["listeners"].starts_with("PLAINTEXT://127.0.0.1:9001,SSL://127.0.0.1:9002,"));
        let controller = nodes[0].address(CONTROLLER.name).unwrap();
        assert!(properties["listeners"].ends_with(&format!(",CONTROLLER://{controller}")));
        assert_eq!(properties["controller.quorum.voters"], format!("1@{controller}"));
        assert!(!properties["advertised.listeners"].contains("CONTROLLER"));
        assert_eq!(properties["default.replication.factor"], "1");
        assert_eq!(properties["min.insync.replicas"], "1");
        assert_eq!(properties["auto.create.topics.enable"], "false");
    }

    #[test]
    fn three_brokers_have_a_controller_of_their_own() {
        let nodes = cluster("4.4.0", 3);
        let names: Vec<String> = nodes.iter().map(Node::name).collect();
        assert_eq!(names, ["controller", "broker-1", "broker-2", "broker-3"]);

        let controller = rendered("4.4.0", &nodes, 0);
        assert_eq!(controller["listeners"], "CONTROLLER://127.0.0.1:9001");
        assert!(!controller.contains_key("advertised.listeners"));

        let broker = rendered("4.4.0", &nodes, 2);
        assert_eq!(broker["node.id"], "2");
        assert_eq!(broker["process.roles"], "broker");
        assert_eq!(broker["controller.quorum.voters"], "100@127.0.0.1:9001");
        assert!(!broker["listeners"].contains("CONTROLLER"));
        assert_eq!(broker["default.replication.factor"], "3");
        assert_eq!(broker["min.insync.replicas"], "2");
    }

    #[test]
    fn kafka_2_has_a_zookeeper_for_one_broker_and_for_three() {
        for brokers in [1, 3] {
            let nodes = cluster("2.8.2", brokers);
            assert_eq!(nodes.len(), brokers as usize + 1);
            assert_eq!(nodes[0].name(), "zookeeper");
            assert_eq!(rendered("2.8.2", &nodes, 0)["clientPort"], "9001");
            let broker = rendered("2.8.2", &nodes, 1);
            assert_eq!(broker["zookeeper.connect"], "127.0.0.1:9001");
            assert_eq!(broker["broker.id"], "1");
            assert!(!broker.contains_key("process.roles"));
            assert!(!broker["listener.security.protocol.map"].contains("CONTROLLER"));
            assert_eq!(broker["min.insync.replicas"], "1");
        }
    }

    #[test]
    fn a_proxied_listener_is_advertised_under_a_port_that_nobody_has() {
        let nodes = cluster("4.4.0", 1);
        let properties = rendered("4.4.0", &nodes, 0);
        let ports = |key: &str| -> HashMap<String, String> {
            let listeners = properties[key].split(',').map(|listener| listener.split_once("://").unwrap());
            let port = |address: &str| address.split_once(':').unwrap().1.to_owned();
            listeners.map(|(name, address)| (name.to_owned(), port(address))).collect()
        };
        let (bound, advertised) = (ports("listeners"), ports("advertised.listeners"));
        for Listener { name, is_proxied, .. } in LISTENERS {
            assert_eq!(bound[*name] != advertised[*name], *is_proxied, "{name}");
            assert!(!is_proxied || !bound.values().any(|port| *port == advertised[*name]), "{name}");
        }
    }

    #[test]
    fn each_listener_has_what_its_protocol_needs() {
        let properties = rendered("4.4.0", &cluster("4.4.0", 1), 0);
        let property = |key: &str| properties.get(&format!("listener.name.{key}")).map(String::as_str);
        assert_eq!(property("ssl.ssl.client.auth"), Some("none"));
        assert_eq!(property("mtls.ssl.client.auth"), Some("required"));
        assert!(
            property("ssl_badname.ssl.keystore.key").unwrap().starts_with("-----BEGIN PRIVATE KEY-----\\n")
        );
        assert_ne!(property("ssl_expired.ssl.keystore.key"), property("ssl.ssl.keystore.key"));
        assert_eq!(property("plaintext.ssl.keystore.key"), None);
        assert_eq!(property("ssl.plain.sasl.jaas.config"), None);
        for mechanism in ["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"] {
            for listener in ["sasl_plaintext", "sasl_ssl"] {
                assert!(property(&format!("{listener}.{mechanism}.sasl.jaas.config")).is_some());
                assert_eq!(property(&format!("{listener}.{mechanism}.connections.max.reauth.ms")), None);
            }
            let limit = property(&format!("sasl_reauth.{mechanism}.connections.max.reauth.ms"));
            assert_eq!(limit, Some("5000"));
        }
    }

    #[test]
    fn one_listener_offers_fewer_mechanisms_than_the_others() {
        let properties = rendered("4.4.0", &cluster("4.4.0", 1), 0);
        let offered = |listener| &properties[&format!("listener.name.{listener}.sasl.enabled.mechanisms")];
        assert_eq!(offered("sasl_ssl"), "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER");
        assert_eq!(offered("proxy_sasl_ssl"), "SCRAM-SHA-512");
    }

    #[test]
    fn share_groups_are_configured_from_4_1_on() {
        let key = "share.coordinator.state.topic.min.isr";
        assert!(rendered("4.1.0", &cluster("4.1.0", 1), 0).contains_key(key));
        assert!(!rendered("3.9.1", &cluster("3.9.1", 1), 0).contains_key(key));
    }
}
