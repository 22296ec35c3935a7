//! ApiVersions, Metadata, CreateTopics, DeleteTopics, and what is no request.

use rskafka_protocol::messages::api_versions::ApiVersionsRequest;
use rskafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rskafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::messages::sasl_authenticate::SaslAuthenticateRequest;
use rskafka_protocol::messages::sasl_handshake::SaslHandshakeRequest;
use rskafka_protocol::{Uuid, encode_request};

use super::Target;

const UNKNOWN_ID: Uuid = Uuid([7; 16]);

pub(crate) async fn versions(target: &mut Target) {
    let broker = target.any_broker();
    for name in ["good", "", "two words", "-dash", "dash-", "a", "a_b", "1.0"] {
        let request = ApiVersionsRequest {
            client_software_name: name.to_owned(),
            client_software_version: "1".to_owned(),
            ..Default::default()
        };
        for version in target.versions::<ApiVersionsRequest>() {
            target.ask(&format!("name {name:?}"), broker, version, &request).await;
        }
    }
    let cluster_id = target.cluster_id().await;
    for (case, cluster_id, node_id) in [
        ("this broker", Some(cluster_id.clone()), broker),
        ("another broker", Some(cluster_id.clone()), broker + 50),
        ("broker -2", Some(cluster_id.clone()), -2),
        ("another cluster", Some("another".to_owned()), broker),
        ("a cluster without a name", Some(String::new()), broker),
        ("a broker of no cluster", None, broker),
        ("no broker of a cluster", Some(cluster_id), -1),
        ("no broker of another cluster", Some("another".to_owned()), -1),
    ] {
        for name in ["good", ""] {
            let request = ApiVersionsRequest {
                client_software_name: name.to_owned(),
                client_software_version: "1".to_owned(),
                cluster_id: cluster_id.clone(),
                node_id,
            };
            for version in target.versions::<ApiVersionsRequest>() {
                target.ask(&format!("name {name:?}, meant for {case}"), broker, version, &request).await;
            }
        }
    }
    for mechanism in ["PLAIN", "none"] {
        let request = SaslHandshakeRequest { mechanism: mechanism.to_owned() };
        target.ask("without SASL", broker, 1, &request).await;
    }
    for version in target.versions::<SaslAuthenticateRequest>() {
        let request = SaslAuthenticateRequest { auth_bytes: "\0alice\0secret".into() };
        target.ask("without SASL", broker, version, &request).await;
    }
    let frame = encode_request(&ApiVersionsRequest::default(), 3, 7, Some("raw")).unwrap().to_bytes();
    let disguised = |api_key: i16, version: i16| {
        let mut bytes = frame.to_vec();
        bytes[4..6].copy_from_slice(&api_key.to_be_bytes());
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        bytes
    };
    target.send_raw("ApiVersions v99", &disguised(18, 99)).await;
    target.send_raw("unknown API", &disguised(999, 0)).await;
    target.send_raw("Metadata v99", &disguised(3, 99)).await;
    target.send_raw("Produce v2", &disguised(0, 2)).await;
    target.send_raw("Produce that does not decode", &disguised(0, 9)).await;
    target.send_raw("Metadata that does not decode", &disguised(3, 9)).await;
    target.send_raw("empty frame", &[0; 4]).await;
    target.send_raw("negative length", &[0xff; 4]).await;
    target.send_raw("length above the limit", &[0x7f, 0, 0, 0]).await;
    target.send_raw("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    target.send_raw("TLS", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0]).await;
}

pub(crate) async fn metadata(target: &mut Target) {
    let broker = target.any_broker();
    let topic = target.create("metadata", 1, &[]).await;
    let by_name = |name: &str| MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
    let unknown = target.name("unknown");
    let long = "x".repeat(250);
    for version in target.versions::<MetadataRequest>() {
        let names = [&topic.name, &unknown, "a b", ".", "..", &long, "", "ü"];
        for name in names {
            let request = MetadataRequest {
                topics: Some(vec![by_name(name)]),
                allow_auto_topic_creation: version < 4,
                ..Default::default()
            };
            target.ask(&format!("topic {}", &name[..name.len().min(9)]), broker, version, &request).await;
        }
        let request = MetadataRequest { allow_auto_topic_creation: version < 4, ..Default::default() };
        target.ask("no topic", broker, version, &request).await;
        if (8..=10).contains(&version) {
            let request = MetadataRequest {
                include_cluster_authorized_operations: true,
                include_topic_authorized_operations: true,
                topics: Some(vec![by_name(&topic.name), by_name(&unknown)]),
                ..Default::default()
            };
            target.ask("operations", broker, version, &request).await;
        }
        if version >= 11 {
            let request = MetadataRequest {
                include_topic_authorized_operations: true,
                topics: Some(vec![by_name(&topic.name), by_name(&unknown)]),
                ..Default::default()
            };
            target.ask("operations", broker, version, &request).await;
        }
        if version >= 12 {
            for (case, name, topic_id) in [
                ("known id", None, topic.id),
                ("unknown id", None, UNKNOWN_ID),
                ("known id and name", Some(topic.name.clone()), topic.id),
                ("unknown id and known name", Some(topic.name.clone()), UNKNOWN_ID),
                ("zero id", None, Uuid::ZERO),
            ] {
                let asked = MetadataRequestTopic { name, topic_id };
                let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
                target.ask(case, broker, version, &request).await;
            }
        }
        let twice = vec![by_name(&topic.name), by_name(&topic.name)];
        let request = MetadataRequest { topics: Some(twice), ..Default::default() };
        target.ask("a topic twice", broker, version, &request).await;
    }
}

pub(crate) async fn create(target: &mut Target) {
    let broker = target.controller().await;
    // The answer names it.
    let first = target.any_broker();
    let existing = target.create("existing", 1, &[]).await.name;
    let count = target.broker_count() as i16;
    let config = |name: &str, value: Option<&str>| CreatableTopicConfig {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let assign = |partition_index: i32, broker_ids: &[i32]| CreatableReplicaAssignment {
        partition_index,
        broker_ids: broker_ids.to_vec(),
    };
    let base = CreatableTopic {
        name: target.name("created"),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let with = |change: &dyn Fn(&mut CreatableTopic)| {
        let mut topic = base.clone();
        change(&mut topic);
        vec![topic]
    };
    let long = "x".repeat(250);
    let cases = [
        ("good", with(&|_| {})),
        ("defaults", with(&|topic| (topic.num_partitions, topic.replication_factor) = (-1, 1))),
        ("exists", with(&|topic| topic.name = existing.clone())),
        ("exists, and wrong", with(&|topic| (topic.name, topic.num_partitions) = (existing.clone(), 0))),
        ("0 partitions", with(&|topic| topic.num_partitions = 0)),
        ("-2 partitions", with(&|topic| topic.num_partitions = -2)),
        ("0 replicas", with(&|topic| topic.replication_factor = 0)),
        ("-2 replicas", with(&|topic| topic.replication_factor = -2)),
        ("0 of both", with(&|topic| (topic.num_partitions, topic.replication_factor) = (0, 0))),
        ("too many replicas", with(&|topic| topic.replication_factor = count + 1)),
        ("empty name", with(&|topic| topic.name = String::new())),
        ("name .", with(&|topic| topic.name = ".".to_owned())),
        ("long name", with(&|topic| topic.name = long.clone())),
        ("name with a space", with(&|topic| topic.name = "a b".to_owned())),
        ("two bad things", with(&|topic| (topic.name, topic.num_partitions) = ("a b".to_owned(), 0))),
        ("config", with(&|topic| topic.configs = vec![config("retention.ms", Some("-1"))])),
        ("unknown config", with(&|topic| topic.configs = vec![config("no.such", Some("1"))])),
        ("bad config", with(&|topic| topic.configs = vec![config("retention.ms", Some("x"))])),
        ("low config", with(&|topic| topic.configs = vec![config("retention.ms", Some("-2"))])),
        ("null config", with(&|topic| topic.configs = vec![config("retention.ms", None)])),
        ("small segments", with(&|topic| topic.configs = vec![config("segment.bytes", Some("1000"))])),
        (
            "assigned",
            with(&|topic| {
                (topic.num_partitions, topic.replication_factor) = (-1, -1);
                topic.assignments = vec![assign(0, &[broker]), assign(1, &[broker])];
            }),
        ),
        (
            "assigned, with partitions",
            with(&|topic| {
                topic.replication_factor = -1;
                topic.assignments = vec![assign(0, &[broker])];
            }),
        ),
        (
            "assigned, with replicas",
            with(&|topic| {
                topic.num_partitions = -1;
                topic.assignments = vec![assign(0, &[broker])];
            }),
        ),
        (
            "assigned with a hole",
            with(&|topic| {
                (topic.num_partitions, topic.replication_factor) = (-1, -1);
                topic.assignments = vec![assign(0, &[broker]), assign(2, &[broker])];
            }),
        ),
        (
            "assigned to none",
            with(&|topic| {
                (topic.num_partitions, topic.replication_factor) = (-1, -1);
                topic.assignments = vec![assign(0, &[])];
            }),
        ),
        (
            "assigned twice",
            with(&|topic| {
                (topic.num_partitions, topic.replication_factor) = (-1, -1);
                topic.assignments = vec![assign(0, &[first, first])];
            }),
        ),
        (
            "assigned to an unknown broker",
            with(&|topic| {
                (topic.num_partitions, topic.replication_factor) = (-1, -1);
                topic.assignments = vec![assign(0, &[4711])];
            }),
        ),
        (
            "a partition assigned twice",
            with(&|topic| {
                (topic.num_partitions, topic.replication_factor) = (-1, -1);
                topic.assignments = vec![assign(0, &[broker]), assign(0, &[broker])];
            }),
        ),
        ("a name twice", vec![base.clone(), base.clone()]),
        ("bad boolean", with(&|topic| topic.configs = vec![config("preallocate", Some("x"))])),
        ("bad word", with(&|topic| topic.configs = vec![config("cleanup.policy", Some("x"))])),
        ("bad type", with(&|topic| topic.configs = vec![config("message.timestamp.type", Some("x"))])),
        ("bad ratio", with(&|topic| topic.configs = vec![config("min.cleanable.dirty.ratio", Some("2"))])),
        ("low ratio", with(&|topic| topic.configs = vec![config("min.cleanable.dirty.ratio", Some("-1"))])),
        ("no number", with(&|topic| topic.configs = vec![config("max.message.bytes", Some("1e9"))])),
        ("no topics", vec![]),
    ];
    let version_2_8 = target.at_most::<ProduceRequest>(13) < 10;
    for version in target.versions::<CreateTopicsRequest>() {
        for (case, topics) in &cases {
            if version_2_8 && ["assigned to none", "assigned to an unknown broker"].contains(case) {
                continue;
            }
            let request =
                CreateTopicsRequest { topics: topics.clone(), timeout_ms: 5000, validate_only: true };
            target.ask(case, broker, version, &request).await;
        }
    }
    if let Some(other) = target.brokers().into_iter().find(|other| *other != broker) {
        for version in target.versions::<CreateTopicsRequest>() {
            for topics in [vec![base.clone()], vec![base.clone(), base.clone()]] {
                let request = CreateTopicsRequest { topics, timeout_ms: 5000, validate_only: true };
                target.ask("not the controller", other, version, &request).await;
            }
        }
    }
    let request = CreateTopicsRequest { topics: vec![base.clone()], timeout_ms: 5000, validate_only: false };
    target.ask("in earnest", broker, 7, &request).await;
    let request =
        DeleteTopicsRequest { topic_names: vec![base.name], timeout_ms: 5000, ..Default::default() };
    target.ask("what was created", broker, 5, &request).await;
}

/// Names that differ only in dots and underscores.
pub(crate) async fn collide(target: &mut Target) {
    let broker = target.controller().await;
    target.create("col_a.b", 1, &[]).await;
    let new = |target: &Target, name: &str| CreatableTopic {
        name: target.name(name),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    // Kafka 2.8 creates one after the other, in no order.
    let in_order = target.at_most::<ProduceRequest>(13) >= 10;
    for validate_only in [true, false] {
        for (case, names) in [
            ("collides", &["col.a_b"][..]),
            ("collides, and no partitions", &["col.a.b"]),
            ("exists", &["col_a.b"]),
            ("collide with each other", &["kol_a", "kol.a"]),
        ] {
            let mut topics: Vec<_> = names.iter().map(|name| new(target, name)).collect();
            if case.ends_with("no partitions") {
                topics[0].num_partitions = 0;
            } else if case == "collide with each other" && !validate_only && !in_order {
                continue;
            }
            let request = CreateTopicsRequest { topics, timeout_ms: 5000, validate_only };
            // The newest without configs in its answer.
            let version = target.at_most::<CreateTopicsRequest>(4);
            target.ask(&format!("{case}, validate only {validate_only}"), broker, version, &request).await;
        }
    }
    target.topics.extend([target.name("kol_a"), target.name("kol.a")]);
}

pub(crate) async fn delete(target: &mut Target) {
    let broker = target.controller().await;
    let unknown = target.name("unknown");
    for version in 1..=5 {
        let name = target.create(&format!("deleted-{version}"), 1, &[]).await.name;
        let twice = target.create(&format!("deleted-twice-{version}"), 1, &[]).await.name;
        for (case, names) in [
            ("unknown", vec![unknown.clone()]),
            ("invalid", vec!["a b".to_owned()]),
            ("empty", vec![String::new()]),
            ("twice", vec![unknown.clone(), unknown.clone()]),
            ("known twice", vec![twice.clone(), twice.clone()]),
            ("known", vec![name.clone()]),
            ("gone", vec![name.clone()]),
            ("none", vec![]),
        ] {
            let request = DeleteTopicsRequest { topic_names: names, timeout_ms: 5000, ..Default::default() };
            target.ask(case, broker, version, &request).await;
        }
    }
    if let Some(other) = target.brokers().into_iter().find(|other| *other != broker) {
        for version in target.versions::<DeleteTopicsRequest>().filter(|version| *version < 6) {
            let topic_names = vec![unknown.clone(), unknown.clone()];
            let request = DeleteTopicsRequest { topic_names, timeout_ms: 5000, ..Default::default() };
            target.ask("not the controller", other, version, &request).await;
        }
    }
    let by_id = target.create("deleted-by-id", 1, &[]).await;
    let by_name = target.create("deleted-by-name", 1, &[]).await;
    let both = target.create("deleted-by-both", 1, &[]).await;
    let twice = target.create("deleted-by-id-twice", 1, &[]).await;
    let entry =
        |name: Option<&str>, topic_id: Uuid| DeleteTopicState { name: name.map(str::to_owned), topic_id };
    for (case, topics) in [
        ("unknown name", vec![entry(Some(&unknown), Uuid::ZERO)]),
        ("unknown id", vec![entry(None, UNKNOWN_ID)]),
        ("neither", vec![entry(None, Uuid::ZERO)]),
        ("both", vec![entry(Some(&by_name.name), by_name.id)]),
        ("name and id of one topic", vec![entry(Some(&both.name), Uuid::ZERO), entry(None, both.id)]),
        ("id twice", vec![entry(None, twice.id), entry(None, twice.id)]),
        ("unknown id twice", vec![entry(None, UNKNOWN_ID), entry(None, UNKNOWN_ID)]),
        ("by id", vec![entry(None, by_id.id)]),
        ("by name", vec![entry(Some(&by_name.name), Uuid::ZERO)]),
    ] {
        let request = DeleteTopicsRequest { topics, timeout_ms: 5000, ..Default::default() };
        target.ask(case, broker, 6, &request).await;
    }
}
