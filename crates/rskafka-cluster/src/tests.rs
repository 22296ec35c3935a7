//! Clusters in memory, on paused time, with what this crate keeps of them in view.

mod addresses;
mod backing_off;
mod candidates;
mod identity;
mod lanes;
mod leases;
mod refreshing;
mod targets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka_fake::{FakeCluster, FakeClusterBuilder};
use rskafka_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
use rskafka_protocol::messages::list_offsets::{
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use rskafka_protocol::{ApiKey, ErrorCode, Uuid};
use rskafka_transport::{CallOptions, Deadline, Endpoint, Env, Nature};
use tokio::time::Instant;

use crate::*;

const TOPIC: &str = "wal";

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[allow(clippy::disallowed_methods, reason = "time is paused")]
fn now() -> Instant {
    Instant::now()
}

fn after(duration: Duration) -> Deadline {
    Deadline::after(now(), duration)
}

/// Brokers that can send a client back to the addresses that it was built from.
fn fake() -> FakeClusterBuilder {
    FakeCluster::builder().in_memory().advertise(ApiKey::METADATA, 1..=13)
}

/// A cluster with one topic of one partition, replicated to all brokers.
async fn start(builder: FakeClusterBuilder, brokers: usize) -> FakeCluster {
    let cluster = builder.brokers(brokers).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, brokers as i16).unwrap();
    cluster
}

/// Which broker each host leads to, and which hosts were dialled.
#[derive(Clone)]
struct Net {
    inner: Arc<Mutex<NetState>>,
}

struct NetState {
    /// Where hosts lead that are not in `routes`: to the broker of that name.
    default: FakeCluster,
    routes: BTreeMap<String, (FakeCluster, String)>,
    dialled: Vec<String>,
}

impl Net {
    fn of(cluster: &FakeCluster) -> Self {
        let state = NetState { default: cluster.clone(), routes: BTreeMap::new(), dialled: Vec::new() };
        Self { inner: Arc::new(Mutex::new(state)) }
    }

    /// From now on, `host` leads to a broker of `cluster`.
    fn lead(&self, host: &str, cluster: &FakeCluster, broker: &str) {
        let route = (cluster.clone(), broker.to_owned());
        self.inner.lock().unwrap().routes.insert(host.to_owned(), route);
    }

    /// The hosts dialled since this was called last.
    fn dialled(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().dialled)
    }

    fn dial(&self, host: String) -> (FakeCluster, String) {
        let mut state = self.inner.lock().unwrap();
        state.dialled.push(host.clone());
        let default = (state.default.clone(), host);
        state.routes.get(&default.1).cloned().unwrap_or(default)
    }

    fn env(&self, seed: u64) -> Env {
        let net = self.clone();
        let connector = move |host: String, port: u16| {
            let (cluster, broker) = net.dial(host);
            async move { cluster.connect(&broker, port).await }
        };
        Env::builder().connector(connector).random_seed(seed).build()
    }
}

fn config(hosts: &[&str]) -> ClusterConfig {
    ClusterConfig::new(hosts.iter().map(|host| Endpoint::new(*host, 9092)).collect())
}

async fn connect(env: Env, config: ClusterConfig) -> Cluster {
    Cluster::bootstrap(env, config, after(millis(5000))).await.unwrap()
}

/// A cluster in memory, and the client's view of it.
async fn connected(builder: FakeClusterBuilder, brokers: usize) -> (FakeCluster, Cluster, Net) {
    let fake = start(builder, brokers).await;
    let net = Net::of(&fake);
    let hosts: Vec<_> = (1..=brokers).map(|id| format!("broker-{id}")).collect();
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let cluster = connect(net.env(1), config(&hosts)).await;
    fake.clear_requests();
    net.dialled();
    (fake, cluster, net)
}

/// Asks the leader for the end of its log.
async fn ask_leader(
    cluster: &Cluster,
    lane: &Lane,
    deadline: Deadline,
) -> Result<ListOffsetsResponse, Failed> {
    let call = Call { target: LEADER, via: Via::Own(lane), deadline };
    cluster.send(call, |_, _| (end_of_log(), CallOptions::new(deadline)), judge).await
}

/// The leader of the topic's partition.
const LEADER: LeaderOf<'_> = LeaderOf { topic: TOPIC, partition: 0, topic_id: Uuid::ZERO, replica: None };

/// Asks for the end of the log.
fn end_of_log() -> ListOffsetsRequest {
    let partition = ListOffsetsPartition { timestamp: LATEST_TIMESTAMP, ..Default::default() };
    let topic = ListOffsetsTopic { name: TOPIC.to_owned(), partitions: vec![partition] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

fn judge(answer: Answer<'_, ListOffsetsResponse, Leader>) -> Result<ListOffsetsResponse, NotDone> {
    let code = answer.response.topics[0].partitions[0].error_code;
    Learned::judged(code, None, None, answer.response)
}

/// When requests of an API arrived, at any broker.
fn arrivals(fake: &FakeCluster, api: ApiKey) -> Vec<Instant> {
    let requests = fake.requests().into_iter().filter(|request| request.api_key == api);
    requests.map(|request| request.arrived).collect()
}
