//! The messages that a log's reader and writer see most, in their highest versions.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use rskafka_protocol::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use rskafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use rskafka_protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use rskafka_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
    TopicProduceResponse,
};
use rskafka_protocol::{Encoder, ErrorCode, Message, Uuid};

use crate::data::Values;

const TOPIC_ID: Uuid = Uuid([0x5a; 16]);

pub(crate) fn benches(c: &mut Criterion) {
    let records = Values::of_one_mib(1024).set();
    message(c, "Produce request of 1 MiB", &produce_request(records.clone()));
    message(c, "Produce response", &produce_response());
    message(c, "Fetch request", &fetch_request());
    message(c, "Fetch response of 1 MiB", &fetch_response(records));
    message(c, "Metadata response of 100 topics", &metadata_response());
    message(c, "ApiVersions request", &api_versions_request());
    message(c, "ApiVersions response", &api_versions_response());
}

/// Throughput is counted in messages: what a payload weighs does not matter, as it is never copied.
fn message<M: Message>(c: &mut Criterion, name: &str, message: &M) {
    let version = M::VERSIONS.max;
    let encode = |message: &M| {
        let mut out = Encoder::for_frame();
        message.encode(version, &mut out).expect("the message is of that version");
        out
    };
    let body = encode(message).into_bytes().slice(4..);
    assert_eq!(M::decode(version, &body).as_ref(), Ok(message));

    let mut group = c.benchmark_group("messages");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("{name}, encode"), |b| {
        b.iter(|| encode(black_box(message)).into_frame().expect("a frame"));
    });
    group.bench_function(format!("{name}, decode"), |b| {
        b.iter(|| M::decode(version, black_box(&body)).expect("the message"));
    });
}

/// A request that appends one batch.
pub(crate) fn produce_request(records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData { index: 3, records: Some(records) };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            topic_id: TOPIC_ID,
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn produce_response() -> ProduceResponse {
    let partition = PartitionProduceResponse { index: 3, base_offset: 123_456_789, ..Default::default() };
    ProduceResponse {
        responses: vec![TopicProduceResponse {
            topic_id: TOPIC_ID,
            partition_responses: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_request() -> FetchRequest {
    let partition = FetchPartition {
        partition: 3,
        current_leader_epoch: 5,
        fetch_offset: 123_456_789,
        last_fetched_epoch: 5,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        topics: vec![FetchTopic { topic_id: TOPIC_ID, partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    }
}

fn fetch_response(records: Bytes) -> FetchResponse {
    let partition = PartitionData {
        partition_index: 3,
        high_watermark: 123_456_999,
        last_stable_offset: 123_456_999,
        log_start_offset: 0,
        records: Some(records),
        ..Default::default()
    };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Three brokers, and ten partitions of each topic.
fn metadata_response() -> MetadataResponse {
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: format!("broker-{node_id}.kafka.example.com"),
        port: 9092,
        rack: Some(format!("rack-{node_id}")),
    };
    let partition = |index: i32| MetadataResponsePartition {
        partition_index: index,
        leader_id: index % 3,
        leader_epoch: 5,
        replica_nodes: vec![0, 1, 2],
        isr_nodes: vec![0, 1, 2],
        ..Default::default()
    };
    let topic = |index: u32| MetadataResponseTopic {
        name: Some(format!("topic-{index:04}")),
        topic_id: Uuid((u128::from(index) + 1).to_be_bytes()),
        partitions: (0..10).map(partition).collect(),
        ..Default::default()
    };
    MetadataResponse {
        brokers: (0..3).map(broker).collect(),
        cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qk".to_owned()),
        controller_id: 1,
        topics: (0..100).map(topic).collect(),
        error_code: ErrorCode::NONE,
        ..Default::default()
    }
}

fn api_versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "rskafka".to_owned(),
        client_software_version: "0.1.0".to_owned(),
        ..Default::default()
    }
}

/// As many APIs as a broker of Kafka 4 names.
fn api_versions_response() -> ApiVersionsResponse {
    let api = |api_key| ApiVersion { api_key, min_version: 0, max_version: 13 };
    ApiVersionsResponse { api_keys: (0..65).map(api).collect(), ..Default::default() }
}
