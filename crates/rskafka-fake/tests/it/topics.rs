//! Metadata, CreateTopics and DeleteTopics.

use rskafka_fake::Profile;
use rskafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult,
    CreateTopicsRequest,
};
use rskafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rskafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use rskafka_protocol::messages::find_coordinator::{FindCoordinatorRequest, GROUP, TRANSACTION};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use rskafka_protocol::{ErrorCode, Uuid};

use crate::support::*;

fn new_topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.to_owned(), num_partitions, replication_factor, ..Default::default() }
}

async fn create(client: &mut RawClient, version: i16, topic: CreatableTopic) -> CreatableTopicResult {
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    only(client.call(version, &request).await.topics)
}

fn asking_for(name: Option<&str>, topic_id: Uuid) -> MetadataRequest {
    let asked = MetadataRequestTopic { name: name.map(str::to_owned), topic_id };
    MetadataRequest { topics: Some(vec![asked]), ..Default::default() }
}

#[tokio::test]
async fn a_topic_lives_in_every_version_from_its_creation_to_its_end() {
    let cluster = cluster(3).await;
    // With ZooKeeper only the controller changes topics, otherwise any broker does.
    let asked = if profile() == Profile::Kafka2_8 { 1 } else { 2 };
    let mut client = RawClient::pipe(&cluster, asked).await;
    let newest = client.spoken::<CreateTopicsRequest>(7);
    for version in 2..=newest {
        let name = format!("t{version}");
        let created = create(&mut client, version, new_topic(&name, 4, 2)).await;
        assert_eq!(created.error_code, ErrorCode::NONE);
        assert_eq!(created.topic_id.is_zero(), version < 7);
        assert_eq!(
            (created.num_partitions, created.replication_factor),
            if version < 5 { (-1, -1) } else { (4, 2) }
        );
    }
    for version in client.versions::<MetadataRequest>(1..=13) {
        let response = client.call(version, &asking_for(Some("t2"), Uuid::ZERO)).await;
        assert_eq!(response.brokers.len(), 3);
        let topic = only(response.topics);
        assert_eq!((topic.error_code, topic.partitions.len()), (ErrorCode::NONE, 4), "version {version}");
        assert_eq!(topic.topic_id.is_zero(), version < 10);
        let leaders: Vec<_> = topic.partitions.iter().map(|partition| partition.leader_id).collect();
        assert!((1..=3).all(|id| leaders.contains(&id)), "leaders are spread: {leaders:?}");
        assert!(topic.partitions.iter().all(|partition| partition.isr_nodes.len() == 2));
    }
    // Versions 1 to 6, and at Event Hubs 1 to 2 of its 3.
    for version in 1..newest {
        let name = format!("t{}", version + 1);
        let by_name = DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
        let request =
            DeleteTopicsRequest { topics: vec![by_name], topic_names: vec![name.clone()], timeout_ms: 1 };
        let request = if version < 6 { DeleteTopicsRequest { topics: vec![], ..request } } else { request };
        assert_eq!(only(client.call(version, &request).await.responses).error_code, ErrorCode::NONE);
        let again = only(client.call(version, &request).await.responses);
        assert_eq!(again.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let response = client.call(9, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert!(response.topics.is_empty());
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused_with_kafkas_codes() {
    let cluster = cluster(2).await;
    cluster.create_topic("there", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let with_config = |name: &str, value: &str| {
        let config = CreatableTopicConfig { name: name.to_owned(), value: Some(value.to_owned()) };
        CreatableTopic { configs: vec![config], ..new_topic("t", 1, 1) }
    };
    let assigned = |partition_index, broker_ids: &[i32]| {
        let one = CreatableReplicaAssignment { partition_index, broker_ids: broker_ids.to_vec() };
        CreatableTopic { assignments: vec![one], ..new_topic("t", -1, -1) }
    };
    for (topic, code) in [
        (new_topic("there", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (new_topic("t", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (new_topic("t", -2, 1), ErrorCode::INVALID_PARTITIONS),
        (new_topic("t", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR),
        (new_topic("t", 1, 3), ErrorCode::INVALID_REPLICATION_FACTOR),
        (new_topic("", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (new_topic("a b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (new_topic("..", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (new_topic(&"x".repeat(250), 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (with_config("retention.ms", "soon"), ErrorCode::INVALID_CONFIG),
        (assigned(1, &[1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (assigned(0, &[1, 1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (assigned(0, &[9]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (CreatableTopic { num_partitions: 1, ..assigned(0, &[1]) }, ErrorCode::INVALID_REQUEST),
    ] {
        let name = topic.name.clone();
        let result = create(&mut client, 7, topic).await;
        assert_eq!(result.error_code, code, "{name}: {:?}", result.error_message);
        assert!(result.error_message.is_some());
    }
    let twice = vec![new_topic("twice", 1, 1), new_topic("twice", 1, 1)];
    let request = CreateTopicsRequest { topics: twice, ..Default::default() };
    let answers = client.call(7, &request).await.topics;
    assert_eq!(answers.len(), if profile() == Profile::Kafka2_8 { 2 } else { 1 });
    assert!(answers.iter().all(|answer| answer.error_code == ErrorCode::INVALID_REQUEST));
    assert!(cluster.topic_id("t").is_err() && cluster.topic_id("twice").is_err());
}

#[tokio::test]
async fn a_config_that_no_broker_knows_is_refused_but_ignored_by_redpanda() {
    let cluster = cluster(1).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    let config = CreatableTopicConfig { name: "no.such.config".to_owned(), value: Some("1".to_owned()) };
    let topic = CreatableTopic { configs: vec![config], ..new_topic("t", 1, 1) };
    let result = create(&mut client, 7, topic).await;
    let (expected, text) = match profile() {
        Profile::Redpanda => (ErrorCode::NONE, None),
        _ => (ErrorCode::INVALID_CONFIG, Some("Unknown topic config name: no.such.config")),
    };
    assert_eq!((result.error_code, result.error_message.as_deref()), (expected, text));
    assert_eq!(cluster.topic_id("t").is_ok(), expected.is_ok());
}

#[tokio::test]
async fn a_check_only_creates_nothing_and_defaults_are_the_clusters() {
    let builder = fake().brokers(3).in_memory();
    let cluster = builder.default_partitions(5).default_replication_factor(3).start().await.unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let topics = vec![new_topic("t", -1, -1)];
    let request = CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
    let result = only(client.call(7, &request).await.topics);
    let is_told = client.spoken::<CreateTopicsRequest>(7) >= 5;
    let expected = if is_told { (5, 3) } else { (-1, -1) };
    assert_eq!((result.num_partitions, result.replication_factor), expected);
    assert!(cluster.topic_id("t").is_err());
}

#[tokio::test]
async fn topics_that_do_not_exist_have_codes_by_how_they_were_asked_for() {
    let cluster = cluster(1).await;
    let id = cluster.create_topic("t", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    for (name, topic_id, code) in [
        (Some("t"), Uuid::ZERO, ErrorCode::NONE),
        (None, id, ErrorCode::NONE),
        (Some("no"), Uuid::ZERO, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (Some("a b"), Uuid::ZERO, ErrorCode::INVALID_TOPIC_EXCEPTION),
        (None, Uuid([3; 16]), ErrorCode::UNKNOWN_TOPIC_ID),
    ] {
        if name.is_none() && client.spoken::<MetadataRequest>(12) < 12 {
            // It cannot be asked for by its id.
            continue;
        }
        let topic = only(client.call(12, &asking_for(name, topic_id)).await.topics);
        assert_eq!(topic.error_code, code, "{name:?}");
    }
    assert_eq!(client.call(12, &MetadataRequest::default()).await.topics, [], "none asked for");
    assert!(cluster.topic_id("no").is_err(), "nothing is created by asking");
}

#[tokio::test]
async fn a_topic_is_deleted_by_its_id() {
    needs!(DeleteTopicsRequest, 6, "DeleteTopics takes names only");
    let cluster = cluster(1).await;
    let topic_id = cluster.create_topic("t", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let delete = |topic_id| DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id }],
        ..Default::default()
    };
    let unknown = only(client.call(6, &delete(Uuid([3; 16]))).await.responses);
    assert_eq!(unknown.error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    let deleted = only(client.call(6, &delete(topic_id)).await.responses);
    assert_eq!((deleted.error_code, deleted.name.as_deref()), (ErrorCode::NONE, Some("t")));
    assert!(cluster.topic_id("t").is_err());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_another_seed_others() {
    let ids = async |seed| {
        let cluster = fake().in_memory().seed(seed).start().await.unwrap();
        (
            cluster.cluster_id(),
            cluster.create_topic("a", 1, 1).unwrap(),
            cluster.create_topic("b", 1, 1).unwrap(),
        )
    };
    let first = ids(1).await;
    assert_eq!(first, ids(1).await);
    let other = ids(2).await;
    assert!(first.0 != other.0 && first.1 != other.1 && first.1 != first.2);
    // Version 4, as Kafka's.
    assert_eq!((first.1.0[6] >> 4, first.1.0[8] >> 6), (4, 2));
}

#[tokio::test]
async fn names_that_differ_only_in_dots_and_underscores_collide_but_not_within_one_request() {
    let cluster = cluster(1).await;
    cluster.create_topic("col_a.b", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let kraft = profile() != Profile::Kafka2_8;
    for validate_only in [true, false] {
        let topics = vec![new_topic("col.a_b", 1, 1), new_topic("other", 1, 1)];
        let answer = client.call(4, &CreateTopicsRequest { topics, validate_only, timeout_ms: 1 }).await;
        let codes: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [ErrorCode::INVALID_TOPIC_EXCEPTION, ErrorCode::NONE]);
        let why = answer.topics[0].error_message.as_deref();
        assert_eq!(why, Some("Topic 'col.a_b' collides with existing topic: col_a.b"));
    }
    let again = create(&mut client, 4, new_topic("col_a.b", 1, 1)).await;
    assert_eq!(again.error_code, ErrorCode::TOPIC_ALREADY_EXISTS);
    let topics = vec![new_topic("two_a", 1, 1), new_topic("two.a", 1, 1)];
    let answer = client.call(4, &CreateTopicsRequest { topics, ..Default::default() }).await;
    assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
    // With ZooKeeper one is created after the other.
    assert_eq!(answer.topics[1].error_code.is_ok(), kraft, "{answer:?}");
    assert!(cluster.create_topic("other_", 1, 1).is_ok() && cluster.create_topic("other.", 1, 1).is_err());
}

#[tokio::test]
async fn internal_topics_appear_with_their_coordinators_and_take_nothing_from_clients() {
    let cluster = cluster(2).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    let find = |key_type| FindCoordinatorRequest { key: "g".to_owned(), key_type, ..Default::default() };
    for (key_type, name) in [(GROUP, "__consumer_offsets"), (TRANSACTION, "__transaction_state")] {
        let before = only(client.call(4, &asking_for(Some(name), Uuid::ZERO)).await.topics);
        assert_eq!(before.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert!(before.is_internal);
        for _ in 0..2 {
            client.call(1, &find(key_type)).await;
        }
        let topic = only(client.call(4, &asking_for(Some(name), Uuid::ZERO)).await.topics);
        assert_eq!((topic.is_internal, topic.partitions.len()), (true, 50), "{name}");
        assert!(topic.partitions.iter().all(|partition| partition.replica_nodes.len() == 2));
        assert_eq!(cluster.topic_configs(name).unwrap()["cleanup.policy"], "compact");
    }
    let offsets = topic(&cluster, "__consumer_offsets");
    let leader = cluster.leader(&offsets.name, 0).unwrap().unwrap();
    let mut client = RawClient::pipe(&cluster, leader).await;
    let refused = produce(&mut client, &offsets, 0, batch(["x"])).await;
    assert_eq!((refused.error_code, refused.base_offset), (ErrorCode::INVALID_TOPIC_EXCEPTION, -1));
    assert_eq!(cluster.log(&offsets.name, 0).unwrap().end_offset, 0);
    if speaks::<DeleteRecordsRequest>(1).await {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 0 }];
        let topics = vec![DeleteRecordsTopic { name: offsets.name.clone(), partitions }];
        let answer = client.call(1, &DeleteRecordsRequest { topics, timeout_ms: 1 }).await;
        let deleted = only(only(answer.topics).partitions);
        assert_eq!(deleted.error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let mut client = RawClient::pipe(&cluster, 1).await;
    let exists = create(&mut client, 2, new_topic(&offsets.name, 1, 1)).await;
    assert_eq!(exists.error_code, ErrorCode::TOPIC_ALREADY_EXISTS);
    let metadata = create(&mut client, 2, new_topic("__cluster_metadata", 1, 1)).await;
    let expected = match profile() {
        Profile::Kafka2_8 => ErrorCode::NONE,
        _ => ErrorCode::INVALID_REQUEST,
    };
    assert_eq!(metadata.error_code, expected);
    cluster.create_topic("t", 1, 1).unwrap();
    let all = client.call(4, &MetadataRequest { topics: None, ..Default::default() }).await.topics;
    let t = all.iter().find(|topic| topic.name.as_deref() == Some("t"));
    assert!(!t.unwrap().is_internal);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_topic_is_said_in_kafkas_words() {
    let cluster = cluster(2).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    let with = |name: &str, value: &str| {
        let config = CreatableTopicConfig { name: name.to_owned(), value: Some(value.to_owned()) };
        CreatableTopic { configs: vec![config], ..new_topic("t", 1, 1) }
    };
    let assigned = |assignments: &[(i32, &[i32])]| {
        let assign = |(partition_index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: brokers.to_vec(),
        };
        CreatableTopic { assignments: assignments.iter().map(assign).collect(), ..new_topic("t", -1, -1) }
    };
    for (topic, text) in [
        (new_topic(".", 1, 1), "Topic name is invalid: '.' is not allowed"),
        (
            with("retention.ms", "x"),
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            with("retention.ms", "-2"),
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        ),
        (
            with("preallocate", "x"),
            "Invalid value x for configuration preallocate: Expected value to be either true or false",
        ),
        (
            with("cleanup.policy", "delete,x"),
            "Invalid value x for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            with("min.cleanable.dirty.ratio", "2"),
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            new_topic("t", 1, 3),
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached \
             because only 2 broker(s) are registered or some brokers have all their log directories cordoned.",
        ),
        (
            assigned(&[(0, &[1, 9])]),
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (assigned(&[(0, &[1, 1])]), "The manual partition assignment includes the broker 1 more than once."),
        (
            assigned(&[(0, &[1]), (1, &[1, 2])]),
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent \
             with previous partitions, which have 1 replica(s).",
        ),
        (assigned(&[(0, &[1]), (2, &[1])]), "partitions should be a consecutive 0-based integer sequence"),
    ] {
        assert_eq!(create(&mut client, 2, topic).await.error_message.as_deref(), Some(text));
    }
    // With ZooKeeper the last assignment of a partition counts.
    let is_refused = profile() != Profile::Kafka2_8;
    let text = is_refused.then_some("Found multiple manual partition assignments for partition 0");
    let twice = create(&mut client, 2, assigned(&[(0, &[1]), (0, &[1])])).await;
    assert_eq!(twice.error_message.as_deref(), text);
}
