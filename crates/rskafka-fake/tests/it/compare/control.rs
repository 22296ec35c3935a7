//! What is done to the clusters that are compared, besides asking them: a broker is frozen.
//!
//! One signal stops a process and another resumes it. The fake does the same as a crash that is noticed equally late, and a
//! start; it keeps its logs in memory, as the frozen process does.

use std::process::Command;
use std::time::Duration;

use rskafka_fake::FakeCluster;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use serde_json::json;

use super::target::Target;
use crate::support::{RawClient, TopicName};

/// How long until a silent broker is taken for dead: `broker.session.timeout.ms` and
/// `replica.lag.time.max.ms` of the environments of `xtask`.
const SESSION: Duration = Duration::from_secs(3);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to get hold of a cluster's brokers.
pub(crate) enum Control {
    Fake {
        cluster: FakeCluster,
        /// Whether it does as a cluster whose brokers can be frozen.
        can_freeze: bool,
    },
    /// The process ids, in the order of the addresses; empty if they are not known.
    Processes(Vec<u32>),
}

impl Control {
    /// As the file says that `KAFKA_ENVIRONMENT` names.
    pub(crate) fn of_environment() -> Self {
        let file = std::env::var("KAFKA_ENVIRONMENT").ok();
        let text = file.map(|file| std::fs::read_to_string(file).expect("the environment's file"));
        let line =
            text.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("broker.pids=")));
        let pids =
            line.map_or_else(Vec::new, |pids| pids.split(',').map(|pid| pid.parse().unwrap()).collect());
        Self::Processes(pids)
    }
}

/// Resumes a stopped process, also if the test fails.
pub(crate) struct Stopped(u32);

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking(), "no process {pid}");
}

impl Target {
    pub(crate) fn can_freeze(&self) -> bool {
        match &self.control {
            Control::Fake { can_freeze, .. } => *can_freeze,
            Control::Processes(pids) => !pids.is_empty(),
        }
    }

    pub(crate) async fn freeze(&mut self, broker: i32) {
        match &self.control {
            Control::Fake { cluster, .. } => {
                cluster.miss_crashes_after(SESSION);
                cluster.stop_broker(broker).await.unwrap();
            }
            Control::Processes(pids) => {
                let place = self.bootstrap.iter().position(|address| *address == self.addresses[&broker]);
                let pid = pids[place.expect("an address of the environment")];
                signal(pid, "-STOP");
                self.stopped = Some(Stopped(pid));
            }
        }
    }

    pub(crate) async fn thaw(&mut self, broker: i32) {
        self.stopped = None;
        if let Control::Fake { cluster, .. } = &self.control {
            cluster.start_broker(broker).await.unwrap();
        }
    }

    /// The broker that changes topics, where that is a matter of brokers.
    pub(crate) async fn controller_if_broker(&mut self) -> Option<i32> {
        let id = self.controller().await;
        self.addresses.contains_key(&id).then_some(id)
    }

    /// Creates a topic with one partition at these brokers, the first of which leads.
    pub(crate) async fn create_at(&mut self, topic: &str, brokers: &[i32], min_insync: &str) -> TopicName {
        let name = self.name(topic);
        let config = |name: &str, value: &str| CreatableTopicConfig {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        let new = CreatableTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![CreatableReplicaAssignment {
                partition_index: 0,
                broker_ids: brokers.to_vec(),
            }],
            configs: vec![config("min.insync.replicas", min_insync)],
        };
        let request = CreateTopicsRequest { topics: vec![new], timeout_ms: 5000, ..Default::default() };
        let broker = self.controller().await;
        let response = self.client(broker).call(7, &request).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::NONE, "{response:?}");
        self.topics.push(name.clone());
        let topic = TopicName { name, id: response.topics[0].topic_id };
        self.wait_for_isr(&topic, brokers.len()).await;
        self.leaders.insert(topic.name.clone(), brokers[0]);
        self.wait_until_served(&topic).await;
        topic
    }

    /// Waits until every broker says that so many are in sync with a topic.
    pub(crate) async fn wait_for_isr(&mut self, topic: &TopicName, count: usize) {
        for broker in self.brokers() {
            self.wait_for(broker, topic, |metadata| {
                let partition = metadata.topics[0].partitions.first();
                partition.is_some_and(|one| one.leader_id >= 0 && one.isr_nodes.len() == count)
            })
            .await;
        }
    }

    /// Waits until all others say that a broker is gone, from topics that it followed and that it led.
    pub(crate) async fn wait_until_gone(&mut self, gone: i32, followed: &[&TopicName], led: &[&TopicName]) {
        for broker in self.brokers().into_iter().filter(|broker| *broker != gone) {
            for topic in followed {
                self.wait_for(broker, topic, |metadata| {
                    let is_named = metadata.brokers.iter().any(|broker| broker.node_id == gone);
                    let isr = &metadata.topics[0].partitions[0].isr_nodes;
                    !is_named && !isr.contains(&gone)
                })
                .await;
            }
            for topic in led {
                let is_led = |metadata: &MetadataResponse| metadata.topics[0].partitions[0].leader_id == gone;
                self.wait_for(broker, topic, |metadata| !is_led(metadata)).await;
            }
        }
    }

    /// Waits until no broker knows a topic.
    pub(crate) async fn wait_until_unknown(&mut self, topic: &TopicName) {
        for broker in self.brokers() {
            self.wait_for(broker, topic, |metadata| !metadata.topics[0].error_code.is_ok()).await;
        }
    }

    async fn wait_for(&mut self, broker: i32, topic: &TopicName, is_so: impl Fn(&MetadataResponse) -> bool) {
        let asked = MetadataRequestTopic { name: Some(topic.name.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let mut client = self.new_client(broker).await;
        let waiting = async {
            while !is_so(&client.call(9, &request).await) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it happens in time");
    }

    pub(crate) async fn new_client(&self, broker: i32) -> RawClient {
        RawClient::tcp(&self.addresses[&broker]).await
    }

    /// Keeps another value that must be the same in both clusters.
    pub(crate) fn note(&mut self, case: &str, value: usize) {
        self.answers.push((case.to_owned(), json!(value)));
    }
}
