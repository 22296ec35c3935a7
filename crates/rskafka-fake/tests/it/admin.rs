//! Deleting records, adding partitions, configs, and what brokers say of themselves.

use std::time::Duration;

use rskafka_fake::{ControlError, FakeCluster, Profile};
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use rskafka_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use rskafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsTopic,
    HIGH_WATERMARK,
};
use rskafka_protocol::messages::describe_cluster::DescribeClusterRequest;
use rskafka_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use rskafka_protocol::messages::incremental_alter_configs::{
    APPEND, AlterConfigsResource, AlterableConfig, DELETE, IncrementalAlterConfigsRequest, SET,
};
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::records::Compression;
use tokio::time::Instant;

use crate::support::*;

fn delete(offset: i64) -> DeleteRecordsRequest {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
    let topics = vec![DeleteRecordsTopic { name: "t".to_owned(), partitions }];
    DeleteRecordsRequest { topics, timeout_ms: 5000 }
}

async fn deleted(client: &mut RawClient, offset: i64) -> DeleteRecordsPartitionResult {
    only(only(client.call(2, &delete(offset)).await.topics).partitions)
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_up_to_an_offset_or_the_end_when_every_replica_has() {
    needs!(DeleteRecordsRequest, 2, "there is no DeleteRecords");
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, 2).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    for _ in 0..3 {
        produce(&mut client, &topic, 0, batch(["a", "b"])).await;
    }
    assert_eq!(deleted(&mut client, 3).await.low_watermark, 3);
    assert_eq!(fetch(&mut client, &topic, 0, 2).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(records(&fetch(&mut client, &topic, 0, 3).await)[0].0, 2, "whole batches");
    assert_eq!(deleted(&mut client, 7).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(deleted(&mut client, HIGH_WATERMARK).await.low_watermark, 6);

    produce(&mut client, &topic, 0, batch(["c"])).await;
    cluster.hold_replica("t", 0, 2).unwrap();
    let start = Instant::now();
    let late = deleted(&mut client, HIGH_WATERMARK).await;
    assert_eq!((late.error_code, late.low_watermark), (ErrorCode::REQUEST_TIMED_OUT, 6));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let id = client.send(2, &delete(HIGH_WATERMARK)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.release_replica("t", 0, 2).unwrap();
    let answer = client.receive::<DeleteRecordsRequest>(2, id).await;
    assert_eq!(only(only(answer.topics).partitions).low_watermark, 7);
    assert_eq!(cluster.log_at("t", 0, 2).unwrap().log_start_offset, 7);
}

#[tokio::test(start_paused = true)]
async fn old_records_are_dropped_every_five_minutes_or_on_command() {
    let cluster = cluster(2).await;
    cluster.create_topic_with("t", 1, 2, [("retention.ms", "60000")]).unwrap();
    cluster.create_topic_with("kept", 1, 1, [("retention.ms", "-1")]).unwrap();
    let leader = cluster.leader("t", 0).unwrap().unwrap();
    let mut client = RawClient::pipe(&cluster, leader).await;
    let topic = topic(&cluster, "t");
    produce(&mut client, &topic, 0, timed_batch([(WALL_MS - 50_000, "old")])).await;
    produce(&mut client, &topic, 0, timed_batch([(WALL_MS + 290_000, "new")])).await;
    produce(&mut client, &topic, 0, timed_batch([(-1, "without a time")])).await;
    let start = |cluster: &FakeCluster| cluster.log("t", 0).unwrap().log_start_offset;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(start(&cluster), 0, "not before the next look");
    tokio::time::sleep(Duration::from_secs(281)).await;
    assert_eq!(start(&cluster), 1);
    assert_eq!(cluster.log_at("t", 0, 3 - leader).unwrap().log_start_offset, 1);
    tokio::time::sleep(Duration::from_secs(100)).await;
    cluster.apply_retention();
    assert_eq!(start(&cluster), 2, "what has no time stays");
}

#[tokio::test]
async fn partitions_are_added_and_usable_at_once() {
    let cluster = cluster(3).await;
    cluster.create_topic("t", 1, 2).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let topics = vec![CreatePartitionsTopic { name: "t".to_owned(), count: 4, assignments: None }];
    let request = CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only: false };
    assert_eq!(only(client.call(3, &request).await.results).error_code, ErrorCode::NONE);
    let again = only(client.call(3, &request).await.results);
    assert_eq!(again.error_code, ErrorCode::INVALID_PARTITIONS);
    assert_eq!(again.error_message.as_deref(), Some("Topic already has 4 partition(s)."));
    let metadata = client.call(9, &MetadataRequest { topics: None, ..Default::default() }).await;
    let partitions = only(metadata.topics).partitions;
    assert!(partitions.len() == 4 && partitions.iter().all(|one| one.replica_nodes.len() == 2));
    let leader = cluster.leader("t", 3).unwrap().unwrap();
    let mut client = RawClient::pipe(&cluster, leader).await;
    assert_eq!(produce(&mut client, &topic(&cluster, "t"), 3, batch(["a"])).await.base_offset, 0);
}

fn describe(resource_type: i8, name: &str, key: &str) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configuration_keys: Some(vec![key.to_owned()]),
    };
    DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: false }
}

fn set(resource_type: i8, resource: &str, name: &str, value: &str) -> IncrementalAlterConfigsRequest {
    let change =
        AlterableConfig { name: name.to_owned(), config_operation: SET, value: Some(value.to_owned()) };
    let resource =
        AlterConfigsResource { resource_type, resource_name: resource.to_owned(), configs: vec![change] };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

#[tokio::test]
async fn configs_are_described_and_changed_and_take_effect() {
    needs!(IncrementalAlterConfigsRequest, 1, "there is no IncrementalAlterConfigs");
    let builder = fake().config("producer.id.expiration.ms", "5000").in_memory();
    let cluster = builder.start().await.unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let request = describe(2, "t", "max.message.bytes");
    let before = only(only(client.call(4, &request).await.results).configs);
    assert_eq!((before.value.as_deref(), before.config_source), (Some("1048588"), 5));
    let altered = only(client.call(1, &set(2, "t", "max.message.bytes", "100")).await.responses);
    assert_eq!(altered.error_code, ErrorCode::NONE);
    let after = only(only(client.call(4, &request).await.results).configs);
    assert_eq!((after.value.as_deref(), after.config_source), (Some("100"), 1));
    let answer = produce(&mut client, &topic, 0, batch([vec![0; 200]])).await;
    assert_eq!(answer.error_code, ErrorCode::MESSAGE_TOO_LARGE);

    let request = describe(4, "1", "producer.id.expiration.ms");
    if profile() == Profile::Kafka2_8 {
        assert!(only(client.call(4, &request).await.results).configs.is_empty(), "it came with Kafka 3.4");
        return;
    }
    let fixed = only(only(client.call(4, &request).await.results).configs);
    assert_eq!((fixed.value.as_deref(), fixed.config_source), (Some("5000"), 4));
    client.call(1, &set(4, "", "producer.id.expiration.ms", "6000")).await;
    client.call(1, &set(4, "1", "producer.id.expiration.ms", "7000")).await;
    let dynamic = only(only(client.call(4, &request).await.results).configs);
    let sources: Vec<_> =
        dynamic.synonyms.iter().map(|one| (one.value.clone().unwrap(), one.source)).collect();
    let expected = [("7000", 2), ("6000", 3), ("5000", 4), ("86400000", 5)];
    assert_eq!(sources, expected.map(|(value, source)| (value.to_owned(), source)));
    let refused = client.call(1, &set(4, "1", "transactional.id.expiration.ms", "1")).await;
    assert_eq!(only(refused.responses).error_code, ErrorCode::INVALID_REQUEST);

    for (name, value) in [("no.such", "1"), ("num.partitions", "x")] {
        let error = fake().config(name, value).start().await.unwrap_err();
        assert!(matches!(error, ControlError::InvalidSetting { .. }), "{error}");
    }
}

#[tokio::test]
async fn only_the_controller_of_kafka_2_8_creates_topics() {
    for profile in Profile::ALL {
        let cluster = FakeCluster::builder().profile(profile).brokers(2).in_memory().start().await.unwrap();
        let mut client = RawClient::pipe(&cluster, 2).await;
        assert_eq!(client.call(1, &MetadataRequest::default()).await.controller_id, 1);
        let new = CreatableTopic {
            name: "t".to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![new], ..Default::default() };
        let expected = match profile {
            Profile::Kafka2_8 => ErrorCode::NOT_CONTROLLER,
            _ => ErrorCode::NONE,
        };
        assert_eq!(only(client.call(2, &request).await.topics).error_code, expected, "{profile}");
        let mut controller = RawClient::pipe(&cluster, 1).await;
        controller.call(2, &request).await;
        cluster.topic_id("t").unwrap();
    }
}

#[tokio::test]
async fn event_hubs_gives_no_topic_ids_takes_gzip_only_and_hangs_up_on_new_versions() {
    let cluster = FakeCluster::builder().profile(Profile::EventHubs).in_memory().start().await.unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::unbound(&cluster, 1).await;
    for (compression, code) in [
        (Compression::None, ErrorCode::NONE),
        (Compression::Gzip, ErrorCode::NONE),
        (Compression::Lz4, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        (Compression::Zstd, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
    ] {
        let mut builder = rskafka_protocol::records::RecordBatchBuilder::new();
        builder.set_compression(compression);
        builder.push(rskafka_protocol::records::NewRecord::new(WALL_MS, None, None)).unwrap();
        let records = builder.build().unwrap().into_bytes();
        let answer = produced(client.call(7, &produce_request(&topic, 0, -1, Some(records))).await);
        assert_eq!(answer.error_code, code, "{compression}");
    }
    client.send(9, &MetadataRequest::default()).await;
    assert!(client.is_closed().await, "a version that it does not speak");
    let mut client = RawClient::unbound(&cluster, 1).await;
    client.send(4, &rskafka_protocol::messages::api_versions::ApiVersionsRequest::default()).await;
    assert!(client.is_closed().await, "not even of ApiVersions");
    // A version with ids, which it would not have: the id is zero.
    let builder = FakeCluster::builder().profile(Profile::EventHubs);
    let builder = builder.advertise(rskafka_protocol::ApiKey::METADATA, 1..=12).in_memory();
    let cluster = builder.start().await.unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let metadata = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert!(only(metadata.topics).topic_id.is_zero());
}

#[tokio::test]
async fn brokers_that_do_not_run_are_described_as_fenced_on_request() {
    needs!(DescribeClusterRequest, 2, "DescribeCluster cannot be asked for fenced brokers");
    let cluster = cluster(2).await;
    cluster.stop_broker(2).await.unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    for (include_fenced_brokers, expected) in [(false, vec![(1, false)]), (true, vec![(1, false), (2, true)])]
    {
        let request = DescribeClusterRequest { include_fenced_brokers, ..Default::default() };
        let brokers = client.call(2, &request).await.brokers;
        let found: Vec<_> = brokers.iter().map(|broker| (broker.broker_id, broker.is_fenced)).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn what_the_brokers_properties_say_holds_for_topics_and_requests() {
    let builder = fake().brokers(2).in_memory().config("num.partitions", "3");
    let builder = builder.config("default.replication.factor", "2").config("min.insync.replicas", "2");
    let builder = builder.config("fetch.max.bytes", "1024").config("socket.request.max.bytes", "10000");
    let cluster = builder.start().await.unwrap();
    cluster.create_topic("t", -1, -1).unwrap();
    cluster.create_topic_with("own", 1, 2, [("min.insync.replicas", "1")]).unwrap();
    assert!(cluster.leader("t", 2).is_ok() && cluster.leader("t", 3).is_err());
    assert_eq!(cluster.isr("t", 0).unwrap().len(), 2);
    cluster.stop_broker(2).await.unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let (t, own) = (topic(&cluster, "t"), topic(&cluster, "own"));
    let answer = produce(&mut client, &t, 0, batch(["a"])).await;
    assert_eq!(answer.error_code, too_few_in_sync().0);
    for _ in 0..2 {
        let answer = produce(&mut client, &own, 0, batch([vec![0; 1000]])).await;
        assert_eq!(answer.error_code, ErrorCode::NONE, "a topic's own config goes first");
    }
    let (read, first) = (fetch(&mut client, &own, 0, 0).await.records.unwrap(), batch([vec![0; 1000]]));
    assert_eq!(read.len(), first.len().max(1024), "the second batch is cut off, or not given");

    if speaks::<IncrementalAlterConfigsRequest>(1).await {
        let described = only(client.call(4, &describe(2, "t", "min.insync.replicas")).await.results);
        let described = only(described.configs);
        // With eligible leader replicas the controller has taken it over for all brokers.
        let source = if profile() == Profile::Kafka4_4 { 3 } else { 4 };
        assert_eq!((described.value.as_deref(), described.config_source), (Some("2"), source));
        client.call(1, &set(4, "", "min.insync.replicas", "1")).await;
        let answer = produce(&mut client, &t, 0, batch(["a"])).await;
        assert_eq!(answer.error_code, ErrorCode::NONE, "it holds at once");
    }
    client.send(9, &produce_request(&own, 0, -1, Some(batch([vec![0; 10_000]])))).await;
    assert!(client.is_closed().await);
}

fn change(resource: &str, name: &str, operation: i8, value: Option<&str>) -> IncrementalAlterConfigsRequest {
    let (name, value) = (name.to_owned(), value.map(str::to_owned));
    let configs = vec![AlterableConfig { name, config_operation: operation, value }];
    let resource = AlterConfigsResource { resource_type: 4, resource_name: resource.to_owned(), configs };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

#[tokio::test]
async fn running_brokers_take_configs_and_give_them_back_and_topics_follow() {
    needs!(IncrementalAlterConfigsRequest, 1, "there is no IncrementalAlterConfigs");
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    for (name, value) in
        [("log.cleaner.threads", "2"), ("log.retention.ms", "60000"), ("message.max.bytes", "100")]
    {
        let answer = only(client.call(1, &change("", name, SET, Some(value))).await.responses);
        assert_eq!(answer.error_code, ErrorCode::NONE, "{name}: {answer:?}");
        let described = only(only(client.call(4, &describe(4, "1", name)).await.results).configs);
        assert_eq!((described.value.as_deref(), described.config_source), (Some(value), 3));
    }
    for (name, value) in [("retention.ms", "60000"), ("max.message.bytes", "100")] {
        let described = only(only(client.call(4, &describe(2, "t", name)).await.results).configs);
        assert_eq!((described.value.as_deref(), described.config_source), (Some(value), 3));
    }
    let large = || batch([vec![0; 200]]);
    let answer = produce(&mut client, &topic, 0, large()).await;
    assert_eq!(answer.error_code, ErrorCode::MESSAGE_TOO_LARGE);
    client.call(1, &change("", "message.max.bytes", DELETE, None)).await;
    let described = only(only(client.call(4, &describe(2, "t", "max.message.bytes")).await.results).configs);
    assert_eq!((described.value.as_deref(), described.config_source), (Some("1048588"), 5));
    assert_eq!(produce(&mut client, &topic, 0, large()).await.error_code, ErrorCode::NONE);

    let retained = |cluster: &FakeCluster| {
        cluster.apply_retention();
        cluster.log("t", 0).unwrap().log_start_offset == 0
    };
    tokio::time::pause();
    produce(&mut client, &topic, 0, timed_batch([(WALL_MS, "old")])).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    client.call(1, &change("", "log.retention.ms", DELETE, None)).await;
    assert!(retained(&cluster), "for a week again");
    client.call(1, &change("", "log.retention.ms", SET, Some("60000"))).await;
    assert!(!retained(&cluster));

    let no_list = match profile() {
        Profile::Kafka2_8 => ErrorCode::INVALID_REQUEST,
        _ => ErrorCode::INVALID_CONFIG,
    };
    for (name, operation, value, code) in [
        ("num.partitions", SET, Some("2"), ErrorCode::INVALID_REQUEST),
        ("num.partitions", DELETE, None, ErrorCode::NONE),
        ("log.cleaner.threads", SET, Some("x"), ErrorCode::INVALID_REQUEST),
        ("log.cleaner.threads", DELETE, None, ErrorCode::NONE),
        ("a.plugins.own", SET, Some("1"), ErrorCode::NONE),
        ("log.cleanup.policy", APPEND, Some("compact"), ErrorCode::NONE),
        ("log.cleaner.threads", APPEND, Some("1"), no_list),
    ] {
        let answer = only(client.call(1, &change("", name, operation, value)).await.responses);
        assert_eq!(answer.error_code, code, "{name}: {answer:?}");
    }
    let described = only(only(client.call(4, &describe(2, "t", "cleanup.policy")).await.results).configs);
    assert_eq!(described.value.as_deref(), Some("delete,compact"));
}

#[tokio::test]
async fn a_refused_change_of_broker_configs_changes_neither_brokers_nor_topics() {
    needs!(IncrementalAlterConfigsRequest, 1, "there is no IncrementalAlterConfigs");
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let mut request = change("", "message.max.bytes", SET, Some("100"));
    request.resources[0].configs.push(AlterableConfig {
        name: "log.cleaner.threads".to_owned(),
        config_operation: SET,
        value: Some("x".to_owned()),
    });
    let refused = only(client.call(1, &request).await.responses);
    assert_eq!(refused.error_code, ErrorCode::INVALID_REQUEST, "{refused:?}");
    request.resources[0].configs.pop();
    request.validate_only = true;
    let checked = only(client.call(1, &request).await.responses);
    assert_eq!(checked.error_code, ErrorCode::NONE, "{checked:?}");
    let described = only(only(client.call(4, &describe(4, "1", "message.max.bytes")).await.results).configs);
    assert_eq!(described.value.as_deref(), Some("1048588"));
    assert_eq!(produce(&mut client, &topic, 0, batch([vec![0; 200]])).await.error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn with_eligible_leader_replicas_min_insync_replicas_is_set_for_all_brokers_and_stays_so() {
    needs!(IncrementalAlterConfigsRequest, 1, "there is no IncrementalAlterConfigs");
    let cluster = fake().in_memory().config("min.insync.replicas", "2").start().await.unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let name = "min.insync.replicas";
    let described = only(only(client.call(4, &describe(4, "1", name)).await.results).configs);
    let has_elr = profile() == Profile::Kafka4_4;
    assert_eq!((described.value.as_deref(), described.config_source == 3), (Some("2"), has_elr));
    for (resource, operation, value, text) in [
        (
            "1",
            SET,
            Some("1"),
            Some("Broker-level min.insync.replicas cannot be altered while ELR is enabled."),
        ),
        ("1", DELETE, None, Some("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")),
        ("", DELETE, None, Some("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")),
        ("", SET, Some("3"), None),
    ] {
        let answer = only(client.call(1, &change(resource, name, operation, value)).await.responses);
        assert_eq!(answer.error_message.as_deref(), text.filter(|_| has_elr), "{answer:?}");
    }
    let described = only(only(client.call(4, &describe(4, "1", name)).await.results).configs);
    assert_eq!(described.value.as_deref(), Some("3"));
}
