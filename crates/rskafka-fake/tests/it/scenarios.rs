//! What brokers do on the wire in the situations that a client must survive, under every profile.
//!
//! `docs/fake.md` says which test shows which. Each test runs in every profile; where a broker lacks the
//! API, the test says so.

mod appends;
mod connections;
mod faults;
mod leaders;
mod metadata;
mod network;
mod offsets;
mod records;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rskafka_fake::{FakeCluster, FakeClusterBuilder, Profile};
use rskafka_protocol::messages::api_versions::ApiVersionsRequest;
use rskafka_protocol::messages::fetch::{FetchRequest, PartitionData};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::messages::produce::{PartitionProduceResponse, ProduceRequest};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};
use rskafka_protocol::{ApiKey, ErrorCode, Request};

use crate::support::*;

/// A cluster of some profile, asked in the newest versions that it and this project have.
pub(crate) struct Stage {
    pub(crate) cluster: FakeCluster,
    newest: BTreeMap<i16, i16>,
}

impl Stage {
    /// A cluster of so many brokers.
    pub(crate) async fn new(profile: Profile, brokers: usize) -> Self {
        Self::with(profile, FakeCluster::builder().brokers(brokers).in_memory()).await
    }

    pub(crate) async fn with(profile: Profile, builder: FakeClusterBuilder) -> Self {
        let wall = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(WALL_MS as u64);
        let cluster = builder.profile(profile).wall_clock(wall).start().await.unwrap();
        let address = cluster.bootstrap_servers()[0].clone();
        let mut client = match address.starts_with("broker-") {
            true => RawClient::pipe(&cluster, 1).await,
            false => RawClient::tcp(&address).await,
        };
        let answer = client.call(0, &ApiVersionsRequest::default()).await;
        drop(client);
        // So that a fault of bytes does not strike it.
        while cluster.open_connections(1).unwrap() > 0 {
            tokio::task::yield_now().await;
        }
        let newest = answer.api_keys.iter().map(|api| (api.api_key, api.max_version)).collect();
        Self { cluster, newest }
    }

    /// The newest version of a request; `None` if the brokers do not have that API.
    pub(crate) fn newest<R: Request>(&self) -> Option<i16> {
        self.newest.get(&R::API_KEY.0).map(|newest| R::VERSIONS.max.min(*newest))
    }

    pub(crate) async fn client(&self, broker: i32) -> RawClient {
        RawClient::pipe(&self.cluster, broker).await
    }

    /// The topic `t` with one partition, which broker 1 leads.
    pub(crate) fn topic(&self, replicas: i16) -> TopicName {
        self.topic_with(replicas, &[])
    }

    pub(crate) fn topic_with(&self, replicas: i16, configs: &[(&str, &str)]) -> TopicName {
        self.cluster.create_topic_with("t", 1, replicas, configs.iter().copied()).unwrap();
        if self.cluster.leader("t", 0).unwrap() != Some(1) {
            self.cluster.move_leader("t", 0, 1).unwrap();
        }
        topic(&self.cluster, "t")
    }

    pub(crate) async fn call<R: Request>(&self, client: &mut RawClient, request: &R) -> R::Response {
        client.call(self.newest::<R>().expect("the brokers have the API"), request).await
    }

    pub(crate) async fn send_append(&self, client: &mut RawClient, topic: &TopicName, records: Bytes) -> i32 {
        let version = self.newest::<ProduceRequest>().unwrap();
        client.send(version, &produce_request(topic, 0, -1, Some(records))).await
    }

    pub(crate) async fn appended(&self, client: &mut RawClient, id: i32) -> PartitionProduceResponse {
        produced(client.receive::<ProduceRequest>(self.newest::<ProduceRequest>().unwrap(), id).await)
    }

    /// Appends with acks=all: offset or code.
    pub(crate) async fn append(
        &self,
        client: &mut RawClient,
        topic: &TopicName,
        records: Bytes,
    ) -> Result<i64, ErrorCode> {
        let id = self.send_append(client, topic, records).await;
        let answer = self.appended(client, id).await;
        answer.error_code.ok().map(|()| answer.base_offset)
    }

    pub(crate) async fn fetch(
        &self,
        client: &mut RawClient,
        topic: &TopicName,
        offset: i64,
    ) -> PartitionData {
        let version = self.newest::<FetchRequest>().unwrap();
        fetched(client.call(version, &fetch_request(topic, 0, offset)).await)
    }

    pub(crate) async fn metadata(&self, client: &mut RawClient) -> MetadataResponse {
        let asked = MetadataRequestTopic { name: Some("t".to_owned()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        self.call(client, &request).await
    }

    /// What the partition holds.
    pub(crate) fn values(&self) -> Vec<Bytes> {
        self.cluster.log("t", 0).unwrap().values().unwrap()
    }

    /// Waits until a broker has begun with `count` requests to append.
    pub(crate) async fn appends_taken(&self, count: usize) {
        let is_taken = |request: &rskafka_fake::ReceivedRequest| {
            request.api_key == ApiKey::PRODUCE && request.taken.is_some()
        };
        while self.cluster.requests().iter().filter(|request| is_taken(request)).count() < count {
            tokio::task::yield_now().await;
        }
    }
}

/// A batch of one record with a producer's sequence number, which is also its value.
pub(crate) fn numbered(producer_id: i64, epoch: i16, sequence: i32) -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    builder.push(NewRecord::new(WALL_MS, None, Some(sequence.to_string().as_bytes()))).unwrap();
    builder.set_producer(producer_id, epoch, sequence);
    builder.build().unwrap().into_bytes()
}
