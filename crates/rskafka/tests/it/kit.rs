//! Clients of a cluster in memory, on paused time: a deadline that holds is held to the millisecond.
//!
//! The cluster behaves like the broker that `RSKAFKA_FAKE_PROFILE` names; `cargo xtask test` runs all tests with each.

use std::time::Duration;

use rskafka::client::env::Env;
use rskafka::client::error::Error;
use rskafka::client::{Client, ClientBuilder, PartitionClient};
use rskafka::fake::FakeClusterExt;
use rskafka::protocol::ApiKey;
use rskafka_fake::{FakeCluster, FakeClusterBuilder, Profile};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::common::SLACK;

pub const TOPIC: &str = "wal";

/// Every whole call of a kit's client but a produce ends within this time.
pub const TIMEOUT: Duration = Duration::from_secs(8);

/// Every produce of it, within this.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(7);

/// One attempt of it, within this.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The broker that clusters behave like.
pub fn profile() -> Profile {
    std::env::var("RSKAFKA_FAKE_PROFILE").map_or(Profile::default(), |name| name.parse().unwrap())
}

/// Whether metadata tells a topic from another one of the same name.
pub fn has_topic_ids() -> bool {
    !matches!(profile(), Profile::Redpanda | Profile::EventHubs)
}

/// Whether the brokers speak this version.
pub fn speaks(cluster: &FakeCluster, api: ApiKey, version: i16) -> bool {
    cluster.advertised().iter().any(|(known, versions)| *known == api && versions.contains(&version))
}

/// How many connections to a broker end before it is known in which version to ask for its versions.
pub fn hang_ups() -> usize {
    usize::from(profile() == Profile::EventHubs)
}

/// Where every cluster of these tests begins.
pub fn fake() -> FakeClusterBuilder {
    FakeCluster::builder().profile(profile())
}

/// An environment that dials into the cluster.
pub fn env(cluster: &FakeCluster) -> Env {
    cluster.env_builder().random_seed(1).build()
}

pub fn builder(cluster: &FakeCluster) -> ClientBuilder {
    Client::builder(cluster.bootstrap_servers())
        .env(env(cluster))
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .api_timeout(TIMEOUT)
}

/// A cluster in memory with one topic of one partition, replicated to all brokers, and a client of it.
pub async fn start(brokers: usize) -> (FakeCluster, Client, PartitionClient) {
    let cluster = fake().brokers(brokers).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, brokers as i16).unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    (cluster, client, log)
}

/// The same with a log that appends without idempotence: a lost answer leaves the outcome unknown.
pub async fn start_plain(brokers: usize) -> (FakeCluster, Client, PartitionClient) {
    let (cluster, client, _) = start(brokers).await;
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    (cluster, client, log)
}

/// Has a broker close all its connections, and returns when it has; the client has had no chance to notice.
pub async fn close_connections(cluster: &FakeCluster, broker: i32) {
    cluster.cut_connections(broker).unwrap();
    while cluster.open_connections(broker).unwrap() > 0 {
        tokio::task::yield_now().await;
    }
}

/// An address where nobody listens, for as long as the socket is kept: it has the port, so that no other test gets it.
pub fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

/// Awaits a call that is to fail, within `deadline`.
pub async fn failure<T: std::fmt::Debug>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Error {
    let started = Instant::now();
    let error = call.await.unwrap_err();
    let elapsed = started.elapsed();
    assert!(elapsed <= deadline + SLACK, "{elapsed:?} instead of {deadline:?}: {error}");
    error
}

/// Asserts that a message has all these parts.
pub fn assert_says(error: &Error, parts: &[&str]) {
    let text = format!("{error:?}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}
