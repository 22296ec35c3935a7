//! Topics come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, PartitionClient};
use rskafka::protocol::ErrorCode;
use rskafka::protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use rskafka::record::Record;

use super::raw::{call, connect};
use super::{Brokers, new_topic, now, record, served};

pub async fn a_created_topic_is_listed_with_its_partitions(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("listed");
    client.create_topic(&name, 3, 1).await.unwrap();
    let topics = client.list_topics().await.unwrap();
    let topic = topics.iter().find(|topic| topic.name == name).unwrap();
    assert_eq!(topic.partitions.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(topic.partitions.values().all(|partition| partition.leader.is_some()));
    assert!(!topic.is_internal);
    // Each partition can be written to at once.
    for index in 0..3 {
        let log = client.partition_client(&name, index).await.unwrap();
        assert_eq!(log.produce([record("first")]).await.unwrap().base_offset, 0);
    }
}

pub async fn a_topic_that_exists_is_not_created_again(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("twice");
    client.create_topic(&name, 1, 1).await.unwrap();
    let error = client.create_topic(&name, 1, 1).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::TOPIC_ALREADY_EXISTS));
    assert_eq!((error.code(), error.topic()), (Some(ErrorCode::TOPIC_ALREADY_EXISTS), Some(name.as_str())));
    assert_eq!((error.is_retriable(), error.outcome()), (false, Outcome::NotWritten));
}

pub async fn a_topic_that_exists_is_no_error_if_only_a_missing_one_is_to_be_created(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("if-missing");
    let create = |partitions| client.create_topic(&name, partitions, 1).if_missing().into_future();
    // All at once, as when a service starts in many places.
    let (one, two, three) = tokio::join!(create(2), create(2), create(2));
    assert!([&one, &two, &three].into_iter().all(|created| created.is_ok()), "{one:?} {two:?} {three:?}");
    let log = served(&client, &name, 1).await;
    log.produce([record("kept")]).await.unwrap();
    // What is there stays as it is, also if something else was asked for.
    create(3).await.unwrap();
    create(1).await.unwrap();
    let topics = client.list_topics().await.unwrap();
    let topic = topics.iter().find(|topic| topic.name == name).unwrap();
    assert_eq!(topic.partitions.len(), 2);
    assert_eq!(super::values(&super::read_all(&log).await), ["kept"]);

    let error = client.create_topic("no/name", 1, 1).if_missing().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::INVALID_TOPIC_EXCEPTION), "{error}");
}

pub async fn a_topic_for_a_log_keeps_everything_in_two_copies(brokers: Brokers) {
    let client = Client::new_plain(&brokers).await.unwrap();
    let (name, other) = (new_topic("for-log"), new_topic("for-log"));
    let mut replicas = 3;
    let created = client.create_topic(&name, 1, replicas).for_log().await;
    if created.is_err_and(|error| error.code() == Some(ErrorCode::INVALID_REPLICATION_FACTOR)) {
        println!("without two copies: there are fewer than 3 brokers");
        replicas = 1;
        client.create_topic(&name, 1, replicas).for_log().await.unwrap();
    }
    let mut expected = BTreeMap::from(
        [
            ("cleanup.policy", "delete"),
            ("retention.bytes", "-1"),
            ("retention.ms", "-1"),
            ("unclean.leader.election.enable", "false"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    if replicas == 3 {
        expected.insert("min.insync.replicas".to_owned(), "2".to_owned());
    }
    assert_eq!(own_configs(&brokers, &name).await, expected);

    // A config that is set later wins.
    let create = client.create_topic(&other, 1, replicas).config("retention.ms", "1").for_log();
    create.config("retention.bytes", "1000000").await.unwrap();
    expected.insert("retention.bytes".to_owned(), "1000000".to_owned());
    assert_eq!(own_configs(&brokers, &other).await, expected);
}

/// The configs that were set for a topic itself.
async fn own_configs(brokers: &Brokers, topic: &str) -> BTreeMap<String, String> {
    const TOPIC: i8 = 2;
    const SET_FOR_THE_TOPIC: i8 = 1;
    let connection = connect(brokers[0].parse().unwrap()).await;
    let asked = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![asked], ..Default::default() };
    let mut described = call(&connection, &request).await.results.remove(0);
    // Each broker learns of a new topic on its own.
    for _ in 0..100 {
        if described.error_code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        described = call(&connection, &request).await.results.remove(0);
    }
    assert_eq!(described.error_code, ErrorCode::NONE, "{described:?}");
    let own = described.configs.into_iter().filter(|config| config.config_source == SET_FOR_THE_TOPIC);
    own.map(|config| (config.name, config.value.unwrap())).collect()
}

pub async fn a_deleted_topic_is_gone(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("deleted");
    client.create_topic(&name, 1, 1).await.unwrap();
    client.delete_topic(&name).await.unwrap();
    // Each broker learns of it on its own.
    let mut rounds = 0;
    while client.list_topics().await.unwrap().iter().any(|topic| topic.name == name) {
        rounds += 1;
        assert!(rounds < 100, "still listed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = client.delete_topic(&name).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition);
}

pub async fn too_many_replicas_are_refused(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let error = client.create_topic(new_topic("replicas"), 1, 100).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::INVALID_REPLICATION_FACTOR), "{error}");
}

pub async fn configs_are_taken_over(brokers: Brokers) {
    let (log, sent) = stamped_by_the_broker(&brokers).await;
    log.produce([sent.clone()]).await.unwrap();
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1_000).await.unwrap();
    assert!(records[0].record.timestamp > sent.timestamp + Duration::from_secs(60), "{records:?}");
}

pub async fn an_append_tells_the_time_that_the_broker_gave_it(brokers: Brokers) {
    let (log, sent) = stamped_by_the_broker(&brokers).await;
    let produced = log.produce([sent]).await.unwrap();
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1_000).await.unwrap();
    assert_eq!(produced.log_append_time, Some(records[0].record.timestamp));
}

/// A log that keeps the time of the append instead of the record's, and an old record.
async fn stamped_by_the_broker(brokers: &Brokers) -> (PartitionClient, Record<(), Vec<u8>, ()>) {
    let client = Client::new_plain(brokers.clone()).await.unwrap();
    let name = new_topic("configs");
    client.create_topic(&name, 1, 1).config("message.timestamp.type", "LogAppendTime").await.unwrap();
    let log = client.partition_client(&name, 0).await.unwrap();
    (log, Record { timestamp: now() - Duration::from_secs(3600), ..record("stamped by the broker") })
}

pub async fn an_unknown_config_is_refused(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let error =
        client.create_topic(new_topic("configs"), 1, 1).config("no.such", "config").await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::INVALID_CONFIG), "{error}");
}
