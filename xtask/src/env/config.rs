//! The nodes of a cluster and their `server.properties`.
//!
//! Pure: from the version, the size and free ports to text. A further listener (TLS, SASL) is one row of `LISTENERS` and, for
//! what it needs beyond its protocol, one arm of `listener_properties`.

use std::path::Path;

use crate::env::version::Version;

/// Where clients reach a broker, or brokers each other.
#[derive(Debug)]
pub(crate) struct Listener {
    name: &'static str,
    protocol: &'static str,
}

/// The listener that tests connect to.
pub(crate) const PLAINTEXT: &str = "PLAINTEXT";
/// Replication has its own, so that a fault put between client and broker does not hit it.
const INTERNAL: &str = "INTERNAL";
const CONTROLLER: &str = "CONTROLLER";

/// The listeners of every broker, in the order of its ports.
const LISTENERS: &[Listener] = &[
    Listener { name: PLAINTEXT, protocol: "PLAINTEXT" },
    Listener { name: INTERNAL, protocol: "PLAINTEXT" },
];

/// What a node does (KRaft's `process.roles`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Broker,
    Controller,
    /// Both at once: only for one broker, because a lost combined node may cost the quorum.
    Combined,
}

impl Role {
    pub(crate) fn is_broker(self) -> bool {
        self != Role::Controller
    }

    pub(crate) fn is_controller(self) -> bool {
        self != Role::Broker
    }

    /// How many free ports a node of this role needs.
    fn ports(self) -> usize {
        match self {
            Role::Broker => LISTENERS.len(),
            Role::Controller => 1,
            Role::Combined => LISTENERS.len() + 1,
        }
    }
}

/// One JVM: its listeners have their ports.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) role: Role,
    /// Those of `LISTENERS`, if it is a broker; then the controller's, if it is one.
    ports: Vec<u16>,
}

impl Node {
    /// The folder of its configuration, log and data within the environment's.
    pub(crate) fn name(&self) -> String {
        match self.role {
            Role::Controller => "controller".to_owned(),
            Role::Broker | Role::Combined => format!("broker-{}", self.id),
        }
    }

    /// Host and port of a listener.
    pub(crate) fn address(&self, listener: &str) -> Option<String> {
        self.listeners().find(|(name, _)| *name == listener).map(|(_, port)| format!("127.0.0.1:{port}"))
    }

    fn listeners(&self) -> impl Iterator<Item = (&'static str, u16)> {
        let of_broker = LISTENERS.iter().map(|listener| listener.name).filter(|_| self.role.is_broker());
        let of_controller = Some(CONTROLLER).filter(|_| self.role.is_controller());
        of_broker.chain(of_controller).zip(self.ports.iter().copied())
    }
}

/// The nodes of a cluster, with ports from `free_port`.
pub(crate) fn nodes<E>(brokers: u32, mut free_port: impl FnMut() -> Result<u16, E>) -> Result<Vec<Node>, E> {
    let roles = if brokers == 1 {
        vec![(1, Role::Combined)]
    } else {
        let controller = std::iter::once((100, Role::Controller));
        controller.chain((1..=brokers).map(|id| (id, Role::Broker))).collect()
    };
    let node = |(id, role): (u32, Role)| {
        let ports = (0..role.ports()).map(|_| free_port()).collect::<Result<_, E>>()?;
        Ok(Node { id, role, ports })
    };
    roles.into_iter().map(node).collect()
}

/// The text of a node's `server.properties`.
pub(crate) fn server_properties(version: &Version, node: &Node, nodes: &[Node], data: &Path) -> String {
    let mut properties = quorum_properties(node, nodes, data);
    if node.role.is_broker() {
        let brokers = nodes.iter().filter(|node| node.role.is_broker()).count();
        properties.extend(listener_properties(node));
        properties.extend(broker_properties(version, brokers));
    }
    properties.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

type Properties = Vec<(&'static str, String)>;

fn quorum_properties(node: &Node, nodes: &[Node], data: &Path) -> Properties {
    let roles = match node.role {
        Role::Broker => "broker",
        Role::Controller => "controller",
        Role::Combined => "broker,controller",
    };
    let voters = nodes.iter().filter_map(|node| Some(format!("{}@{}", node.id, node.address(CONTROLLER)?)));
    let listeners = node.listeners().map(|(name, port)| format!("{name}://127.0.0.1:{port}"));
    let controller = Listener { name: CONTROLLER, protocol: "PLAINTEXT" };
    let protocols = LISTENERS.iter().chain([&controller]).map(|l| format!("{}:{}", l.name, l.protocol));
    vec![
        ("process.roles", roles.to_owned()),
        ("node.id", node.id.to_string()),
        ("controller.quorum.voters", join(voters)),
        ("controller.listener.names", CONTROLLER.to_owned()),
        ("controller.quorum.election.timeout.ms", "500".to_owned()),
        ("controller.quorum.fetch.timeout.ms", "1000".to_owned()),
        ("controller.quorum.election.backoff.max.ms", "300".to_owned()),
        // The time after which a killed broker's leaders move.
        ("broker.session.timeout.ms", "3000".to_owned()),
        ("broker.heartbeat.interval.ms", "500".to_owned()),
        ("listeners", join(listeners)),
        ("listener.security.protocol.map", join(protocols)),
        ("log.dirs", data.display().to_string()),
        ("metadata.log.dir", data.display().to_string()),
    ]
}

fn listener_properties(node: &Node) -> Properties {
    // The controller's listener may not be advertised by a broker.
    let advertised = node
        .listeners()
        .filter(|(name, _)| *name != CONTROLLER)
        .map(|(name, port)| format!("{name}://127.0.0.1:{port}"));
    vec![("advertised.listeners", join(advertised)), ("inter.broker.listener.name", INTERNAL.to_owned())]
}

fn broker_properties(version: &Version, brokers: usize) -> Properties {
    let min_insync = if brokers >= 3 { 2 } else { 1 };
    let mut properties = vec![
        ("default.replication.factor", brokers.to_string()),
        ("min.insync.replicas", min_insync.to_string()),
    ];
    let fixed = [
        ("num.partitions", "1"),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "3"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "3"),
        ("replica.lag.time.max.ms", "3000"),
        // Kafka's second would add to every failover of an acks=all append.
        ("replica.fetch.backoff.ms", "100"),
        ("unclean.leader.election.enable", "false"),
        ("auto.leader.rebalance.enable", "false"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("auto.create.topics.enable", "false"),
        ("delete.topic.enable", "true"),
        // So that a test of retention takes seconds, not minutes.
        ("log.retention.check.interval.ms", "1000"),
        ("log.segment.delete.delay.ms", "1000"),
        ("log.initial.task.delay.ms", "1000"),
        ("controlled.shutdown.enable", "true"),
        ("num.network.threads", "1"),
        ("num.io.threads", "4"),
        ("log.cleaner.dedupe.buffer.size", "8388608"),
        ("num.recovery.threads.per.data.dir", "1"),
    ];
    let share_groups = [
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("share.coordinator.state.topic.num.partitions", "3"),
    ];
    let share_groups = share_groups.into_iter().filter(|_| version.has_share_groups());
    properties.extend(fixed.into_iter().chain(share_groups).map(|(key, value)| (key, value.to_owned())));
    properties
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::convert::Infallible;

    fn cluster(brokers: u32) -> Vec<Node> {
        let mut next = 9000;
        let Ok(nodes) = nodes::<Infallible>(brokers, || {
            next += 1;
            Ok(next)
        });
        nodes
    }

    fn rendered(version: &str, nodes: &[Node], at: usize) -> HashMap<String, String> {
        let text = server_properties(&version.parse().unwrap(), &nodes[at], nodes, Path::new("/data"));
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
        let nodes = cluster(1);
        let properties = rendered("4.3.0", &nodes, 0);
        assert_eq!(properties["process.roles"], "broker,controller");
        assert_eq!(properties["controller.quorum.voters"], "1@127.0.0.1:9003");
        assert_eq!(
            properties["listeners"],
            "PLAINTEXT://127.0.0.1:9001,INTERNAL://127.0.0.1:9002,CONTROLLER://127.0.0.1:9003"
        );
        assert_eq!(
            properties["advertised.listeners"],
            "PLAINTEXT://127.0.0.1:9001,INTERNAL://127.0.0.1:9002"
        );
        assert_eq!(properties["default.replication.factor"], "1");
        assert_eq!(properties["min.insync.replicas"], "1");
        assert_eq!(properties["auto.create.topics.enable"], "false");
    }

    #[test]
    fn three_brokers_have_a_controller_of_their_own() {
        let nodes = cluster(3);
        assert_eq!(
            nodes.iter().map(Node::name).collect::<Vec<_>>(),
            ["controller", "broker-1", "broker-2", "broker-3"]
        );

        let controller = rendered("4.3.0", &nodes, 0);
        assert_eq!(controller["listeners"], "CONTROLLER://127.0.0.1:9001");
        assert!(!controller.contains_key("advertised.listeners"));

        let broker = rendered("4.3.0", &nodes, 2);
        assert_eq!(broker["node.id"], "2");
        assert_eq!(broker["process.roles"], "broker");
        assert_eq!(broker["controller.quorum.voters"], "100@127.0.0.1:9001");
        assert_eq!(broker["listeners"], "PLAINTEXT://127.0.0.1:9004,INTERNAL://127.0.0.1:9005");
        assert_eq!(broker["default.replication.factor"], "3");
        assert_eq!(broker["min.insync.replicas"], "2");
        assert_eq!(nodes[2].address(PLAINTEXT).unwrap(), "127.0.0.1:9004");
    }

    #[test]
    fn share_groups_are_configured_from_4_1_on() {
        let key = "share.coordinator.state.topic.min.isr";
        assert!(rendered("4.1.0", &cluster(1), 0).contains_key(key));
        assert!(!rendered("3.9.1", &cluster(1), 0).contains_key(key));
    }
}
