//! A cluster to ask, real or not, and its answers made comparable.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use rskafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use rskafka_protocol::messages::list_offsets::{
    EARLIEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ApiKey, ErrorCode, Message, Request, decode_response};
use serde_json::{Value, json};

use super::control::{Control, Stopped};
use super::records;
use crate::support::{RawClient, TopicName};

pub(crate) struct Target {
    /// What is asked: the versions that both clusters have.
    versions: BTreeMap<i16, (i16, i16)>,
    /// Producer ids in the order in which they were first seen.
    producer_ids: Vec<i64>,
    pub(super) control: Control,
    pub(super) stopped: Option<Stopped>,
    pub(super) bootstrap: Vec<String>,
    pub(super) addresses: BTreeMap<i32, String>,
    clients: BTreeMap<i32, RawClient>,
    /// Makes the names of topics unique; removed from answers.
    suffix: String,
    pub(super) leaders: BTreeMap<String, i32>,
    pub(super) topics: Vec<String>,
    pub(crate) answers: Vec<(String, Value)>,
}

impl Target {
    /// A cluster at these addresses, to be asked in those versions of each API.
    pub(crate) async fn new(
        bootstrap: Vec<String>,
        versions: BTreeMap<i16, (i16, i16)>,
        control: Control,
    ) -> Self {
        let mut client = RawClient::tcp(&bootstrap[0]).await;
        let metadata = client.call(9, &MetadataRequest::default()).await;
        let mut addresses = BTreeMap::new();
        let mut clients = BTreeMap::new();
        for broker in metadata.brokers {
            let address = format!("{}:{}", broker.host, broker.port);
            clients.insert(broker.node_id, RawClient::tcp(&address).await);
            addresses.insert(broker.node_id, address);
        }
        let suffix = format!("-{}-{}", std::process::id(), addresses.values().next().unwrap().len());
        let suffix = format!("{suffix}-{}", addresses.values().next().unwrap().replace(':', "-"));
        let producer_ids = Vec::new();
        Self {
            versions,
            producer_ids,
            control,
            stopped: None,
            bootstrap,
            addresses,
            clients,
            suffix,
            leaders: BTreeMap::new(),
            topics: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// The versions of a message in which the cluster is asked.
    pub(crate) fn versions<M: Message>(&self) -> impl Iterator<Item = i16> + use<M> {
        let (min, max) = self.versions.get(&M::API_KEY.0).copied().unwrap_or((0, -1));
        (min..=max).filter(|version| M::VERSIONS.contains(*version))
    }

    /// The newest of them, at most `wanted`.
    pub(crate) fn at_most<M: Message>(&self, wanted: i16) -> i16 {
        self.versions::<M>().take_while(|version| *version <= wanted).last().expect("some version")
    }

    /// The broker that takes requests to change topics.
    pub(crate) async fn controller(&mut self) -> i32 {
        let broker = self.any_broker();
        self.client(broker).call(9, &MetadataRequest::default()).await.controller_id
    }

    pub(crate) async fn cluster_id(&mut self) -> String {
        let broker = self.any_broker();
        self.client(broker).call(9, &MetadataRequest::default()).await.cluster_id.expect("an id")
    }

    pub(crate) fn brokers(&self) -> Vec<i32> {
        self.addresses.keys().copied().collect()
    }

    pub(crate) fn broker_count(&self) -> usize {
        self.addresses.len()
    }

    /// The name of a topic that is this run's own.
    pub(crate) fn name(&self, topic: &str) -> String {
        format!("{topic}{}", self.suffix)
    }

    pub(crate) fn any_broker(&self) -> i32 {
        *self.addresses.keys().next().unwrap()
    }

    pub(crate) fn leader(&self, topic: &TopicName) -> i32 {
        self.leaders[&topic.name]
    }

    /// A broker that does not lead the topic's partition.
    pub(crate) fn other_broker(&self, topic: &TopicName) -> Option<i32> {
        let leader = self.leader(topic);
        self.addresses.keys().copied().find(|&id| id != leader)
    }

    /// A broker that holds the topic's partition and does not lead it.
    pub(crate) async fn follower(&mut self, topic: &TopicName) -> Option<i32> {
        let asked = MetadataRequestTopic { name: Some(topic.name.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let broker = self.any_broker();
        let metadata = self.client(broker).call(9, &request).await;
        let partition = &metadata.topics[0].partitions[0];
        partition.replica_nodes.iter().copied().find(|&id| id != partition.leader_id)
    }

    /// Creates a topic with one partition and waits until every broker knows it.
    pub(crate) async fn create(
        &mut self,
        topic: &str,
        replication_factor: i16,
        configs: &[(&str, &str)],
    ) -> TopicName {
        let name = self.name(topic);
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        });
        let new = CreatableTopic {
            name: name.clone(),
            num_partitions: 1,
            replication_factor,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![new], ..Default::default() };
        let broker = self.controller().await;
        let mut response = self.client(broker).call(7, &request).await;
        // With ZooKeeper it may take a moment until a topic of that name is gone.
        while response.topics[0].error_code == ErrorCode::TOPIC_ALREADY_EXISTS {
            tokio::time::sleep(Duration::from_millis(50)).await;
            response = self.client(broker).call(7, &request).await;
        }
        assert_eq!(response.topics[0].error_code, ErrorCode::NONE, "{response:?}");
        self.topics.push(name.clone());
        let asked = MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let brokers: Vec<i32> = self.clients.keys().copied().collect();
        for broker in brokers {
            while !self.knows(broker, &request, replication_factor).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let topic = TopicName { name, id: response.topics[0].topic_id };
        self.wait_until_served(&topic).await;
        topic
    }

    /// Waits until the leader serves a topic: that may be a moment after Metadata names it.
    pub(super) async fn wait_until_served(&mut self, topic: &TopicName) {
        let asked = ListOffsetsPartition { timestamp: EARLIEST_TIMESTAMP, ..Default::default() };
        let listed = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![asked] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![listed], ..Default::default() };
        let leader = self.leader(topic);
        while !self.client(leader).call(1, &request).await.topics[0].partitions[0].error_code.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn knows(&mut self, broker: i32, request: &MetadataRequest, replicas: i16) -> bool {
        let metadata: MetadataResponse = self.client(broker).call(9, request).await;
        let topic = &metadata.topics[0];
        let Some(partition) = topic.partitions.first().filter(|partition| partition.leader_id >= 0) else {
            return false;
        };
        self.leaders.insert(topic.name.clone().unwrap(), partition.leader_id);
        partition.isr_nodes.len() == replicas as usize
    }

    pub(crate) fn client(&mut self, broker: i32) -> &mut RawClient {
        self.clients.get_mut(&broker).unwrap()
    }

    /// Asks, and keeps the answer for the comparison.
    pub(crate) async fn ask<R: Request>(
        &mut self,
        case: &str,
        broker: i32,
        version: i16,
        request: &R,
    ) -> Option<R::Response> {
        let case = format!("{} v{version} {case}", R::API_KEY);
        if !self.versions::<R>().any(|known| known == version) {
            return None;
        }
        let client = self.client(broker);
        let id = client.send(version, request).await;
        let frame = match tokio::time::timeout(Duration::from_secs(5), client.frame()).await {
            Ok(Some(frame)) => frame,
            other => {
                let closed = other.is_ok();
                self.answers.push((case, json!(if closed { "connection closed" } else { "nothing" })));
                self.reconnect(broker).await;
                return None;
            }
        };
        let answer = self.keep::<R>(case, version, id, &frame);
        Some(answer)
    }

    fn keep<R: Request>(&mut self, case: String, version: i16, id: i32, frame: &Bytes) -> R::Response {
        let (header, response) =
            decode_response::<R::Response>(version, frame).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(header.correlation_id, id, "{case}");
        let mut json = super::json::of(&response, version);
        sort_producers(&mut json);
        self.number_producers(&mut json);
        drop_incomparable(&case, &mut json);
        self.normalize(&mut json, self.has_texts::<R>());
        self.answers.push((case, json));
        response
    }

    /// Keeps an answer that was asked for outside of [`Target::ask`].
    pub(crate) fn keep_answer<M: Message>(&mut self, case: &str, version: i16, answer: &M) {
        let mut json = super::json::of(answer, version);
        self.number_producers(&mut json);
        self.normalize(&mut json, false);
        self.answers.push((case.to_owned(), json));
    }

    /// Sends bytes on a new connection, and keeps whether it stays open for a moment.
    pub(crate) async fn send_raw(&mut self, case: &str, bytes: &[u8]) {
        let mut client = RawClient::tcp(self.addresses.values().next().unwrap()).await;
        client.send_bytes(bytes).await;
        let answer = match tokio::time::timeout(Duration::from_millis(700), client.frame()).await {
            Ok(None) => json!("connection closed"),
            Ok(Some(frame)) => json!(format!("answered {:?}", &frame[..frame.len().min(14)])),
            Err(_) => json!("nothing"),
        };
        self.answers.push((format!("raw: {case}"), answer));
    }

    /// Sends a request that gets no answer, then asks for something, to see whether the connection lives.
    pub(crate) async fn send_silent<R: Request>(
        &mut self,
        case: &str,
        broker: i32,
        version: i16,
        request: &R,
    ) {
        let client = self.client(broker);
        client.send(version, request).await;
        let probe = MetadataRequest::default();
        let id = client.send(1, &probe).await;
        let frame = client.frame().await;
        let answer = match &frame {
            None => json!("connection closed"),
            Some(frame) => {
                decode_response::<MetadataResponse>(1, frame).expect("an answer to the probe");
                json!(format!("no answer, next has id {}", frame[..4] == id.to_be_bytes()))
            }
        };
        self.answers.push((format!("{} v{version} {case}", R::API_KEY), answer));
        if frame.is_none() {
            self.reconnect(broker).await;
        }
    }

    pub(crate) async fn reconnect(&mut self, broker: i32) {
        let client = RawClient::tcp(&self.addresses[&broker]).await;
        self.clients.insert(broker, client);
    }

    /// Deletes what this run created.
    pub(crate) async fn clean_up(&mut self) {
        let by_name = |name: String| DeleteTopicState { name: Some(name), ..Default::default() };
        let topics = self.topics.drain(..).map(by_name).collect();
        let request = DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
        let broker = self.controller().await;
        self.client(broker).call(6, &request).await;
    }

    /// Replaces producer ids by the order in which they were first seen.
    fn number_producers(&mut self, value: &mut Value) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|value| self.number_producers(value)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    let id = value.as_i64().filter(|id| *id >= 0 && name == "producerId");
                    if let Some(id) = id {
                        let known = self.producer_ids.iter().position(|known| *known == id);
                        *value = json!(known.unwrap_or_else(|| {
                            self.producer_ids.push(id);
                            self.producer_ids.len() - 1
                        }));
                    }
                    self.number_producers(value);
                }
            }
            _ => {}
        }
    }

    /// Whether the texts of an API's errors are compared: of those that say what is wrong with a topic or a
    /// config, as Kafka 4 has them.
    fn has_texts<M: Message>(&self) -> bool {
        let is_kafka_4 = self.at_most::<ProduceRequest>(13) >= 12;
        is_kafka_4 && [ApiKey::CREATE_TOPICS, ApiKey::INCREMENTAL_ALTER_CONFIGS].contains(&M::API_KEY)
    }

    fn normalize(&self, value: &mut Value, keeps_texts: bool) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|value| self.normalize(value, keeps_texts)),
            Value::Object(fields) => {
                let roles: Vec<i32> = self.leaders.values().copied().collect();
                for (name, value) in fields.iter_mut() {
                    let new = match (name.as_str(), &*value) {
                        ("topicId", Value::String(id)) => json!(if is_zero(id) { "none" } else { "some" }),
                        ("host" | "clusterId", Value::String(_)) => json!("some"),
                        ("port", Value::Number(_)) => json!("some"),
                        ("logAppendTimeMs" | "lastTimestamp", Value::Number(time))
                            if time.as_i64() > Some(0) =>
                        {
                            json!("some")
                        }
                        ("leaderId" | "nodeId" | "controllerId" | "brokerId", Value::Number(id)) => {
                            let id = id.as_i64().unwrap() as i32;
                            json!(if id < 0 || !(roles.is_empty() || self.addresses.contains_key(&id)) {
                                "none"
                            } else {
                                "some"
                            })
                        }
                        ("replicaNodes" | "isrNodes" | "offlineReplicas", Value::Array(list)) => {
                            json!(list.len())
                        }
                        ("errorMessage" | "batchIndexErrorMessage", Value::String(_)) if !keeps_texts => {
                            json!("some")
                        }
                        ("records", Value::String(base64)) => records::describe(base64),
                        (_, Value::String(text)) if text.contains(&self.suffix) => {
                            json!(text.replace(&self.suffix, ""))
                        }
                        _ => continue,
                    };
                    *value = new;
                }
                fields.iter_mut().for_each(|(_, value)| self.normalize(value, keeps_texts));
            }
            _ => {}
        }
    }
}

/// Takes out what the head of `differences.rs` names.
fn drop_incomparable(case: &str, json: &mut Value) {
    let Some(fields) = json.as_object_mut() else {
        return;
    };
    for name in ["apiKeys", "supportedFeatures", "finalizedFeatures", "finalizedFeaturesEpoch"] {
        fields.remove(name);
    }
    if case.ends_with("session 4711 epoch 0") {
        fields.remove("sessionId");
    }
    if let Some(partitions) = json.pointer_mut("/topics/0/partitions").and_then(Value::as_array_mut) {
        partitions.sort_by_key(|partition| partition["partitionIndex"].as_i64());
    }
    for path in ["/topics/0/configs", "/results/0/configs"] {
        let Some(configs) = json.pointer_mut(path).and_then(Value::as_array_mut) else {
            continue;
        };
        configs.sort_by_key(|config| config["name"].to_string());
        for config in configs.iter_mut().filter_map(Value::as_object_mut) {
            // A controller may have other properties than the brokers, which name theirs as synonyms.
            if path.starts_with("/topics") && OF_THE_CONTROLLER.iter().any(|name| config["name"] == *name) {
                config.retain(|field, _| field != "value" && field != "configSource");
            } else if config["name"] == OF_THE_CONTROLLER[0] {
                config.remove("synonyms");
            }
        }
    }
}

/// Topic configs whose defaults the properties of the brokers of a test cluster set, and not those of its
/// controller.
const OF_THE_CONTROLLER: [&str; 3] =
    ["min.insync.replicas", "file.delete.delay.ms", "unclean.leader.election.enable"];

/// Kafka names those that a partition remembers in no order.
fn sort_producers(json: &mut Value) {
    if let Some(producers) = json.pointer_mut("/topics/0/partitions/0/activeProducers") {
        producers.as_array_mut().unwrap().sort_by_key(|producer| producer["lastSequence"].as_i64());
    }
}

fn is_zero(id: &str) -> bool {
    id.chars().all(|c| c == 'A')
}
