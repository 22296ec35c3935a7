//! DeleteRecords, CreatePartitions, configs, DescribeCluster.

use rskafka_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use rskafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rskafka_protocol::messages::describe_cluster::DescribeClusterRequest;
use rskafka_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::incremental_alter_configs::{
    APPEND, AlterConfigsResource, AlterableConfig, DELETE, IncrementalAlterConfigsRequest, SET, SUBTRACT,
};
use rskafka_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use rskafka_protocol::messages::produce::ProduceRequest;

use super::super::records::*;
use super::Target;
use crate::support::{fetch_request, produce_request};

fn delete(topic: &str, partition_index: i32, offset: i64) -> DeleteRecordsRequest {
    let partitions = vec![DeleteRecordsPartition { partition_index, offset }];
    let topics = vec![DeleteRecordsTopic { name: topic.to_owned(), partitions }];
    DeleteRecordsRequest { topics, timeout_ms: 5000 }
}

pub(crate) async fn delete_records(target: &mut Target) {
    let unknown = target.name("unknown");
    for version in target.versions::<DeleteRecordsRequest>() {
        let topic = target.create(&format!("trimmed-{version}"), 1, &[]).await;
        let compacted = target.create(&format!("kept-{version}"), 1, &[("cleanup.policy", "compact")]).await;
        let leader = target.leader(&topic);
        let produce = target.at_most::<ProduceRequest>(13);
        for _ in 0..3 {
            target.ask("append", leader, produce, &produce_request(&topic, 0, -1, Some(good()))).await;
        }
        for offset in [7, -2, i64::MAX, 0, 3, 2, 4, -1, 7] {
            target.ask(&format!("before {offset}"), leader, version, &delete(&topic.name, 0, offset)).await;
            for offset in [0, 3, 6] {
                let fetch = target.at_most::<FetchRequest>(18);
                target
                    .ask(&format!("after that {offset}"), leader, fetch, &fetch_request(&topic, 0, offset))
                    .await;
            }
            let asked = ListOffsetsPartition { timestamp: -2, ..Default::default() };
            let listed = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![asked] };
            let request = ListOffsetsRequest { replica_id: -1, topics: vec![listed], ..Default::default() };
            let list = target.at_most::<ListOffsetsRequest>(9);
            target.ask("start after that", leader, list, &request).await;
        }
        target.ask("append again", leader, produce, &produce_request(&topic, 0, -1, Some(good()))).await;
        target.ask("unknown topic", leader, version, &delete(&unknown, 0, 0)).await;
        target.ask("unknown partition", leader, version, &delete(&topic.name, 3, 0)).await;
        if let Some(other) = target.other_broker(&topic) {
            target.ask("not the leader", other, version, &delete(&topic.name, 0, 0)).await;
        }
        let leader = target.leader(&compacted);
        target.ask("compacted", leader, version, &delete(&compacted.name, 0, 0)).await;
        target.ask("nothing", leader, version, &DeleteRecordsRequest::default()).await;
    }
}

pub(crate) async fn create_partitions(target: &mut Target) {
    let controller = target.controller().await;
    let topic = target.create("grown", 1, &[]).await.name;
    let unknown = target.name("unknown");
    let brokers = target.brokers();
    let assign = |lists: &[&[i32]]| {
        let one = |list: &&[i32]| CreatePartitionsAssignment { broker_ids: list.to_vec() };
        Some(lists.iter().map(one).collect::<Vec<_>>())
    };
    let entry = |name: &str, count: i32, assignments| CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments,
    };
    let first = brokers[0];
    let cases = [
        ("more", vec![entry(&topic, 3, None)]),
        ("as many", vec![entry(&topic, 1, None)]),
        ("fewer", vec![entry(&topic, 0, None)]),
        ("negative", vec![entry(&topic, -1, None)]),
        ("unknown", vec![entry(&unknown, 3, None)]),
        ("invalid name", vec![entry("a b", 3, None)]),
        ("twice", vec![entry(&topic, 3, None), entry(&topic, 4, None)]),
        ("assigned", vec![entry(&topic, 3, assign(&[&[first], &[first]]))]),
        ("too few assigned", vec![entry(&topic, 3, assign(&[&[first]]))]),
        ("none assigned", vec![entry(&topic, 3, assign(&[]))]),
        ("assigned to nobody", vec![entry(&topic, 2, assign(&[&[]]))]),
        ("assigned twice", vec![entry(&topic, 2, assign(&[&[first, first]]))]),
        ("assigned to an unknown broker", vec![entry(&topic, 2, assign(&[&[4711]]))]),
        ("no topics", vec![]),
    ];
    for version in target.versions::<CreatePartitionsRequest>() {
        for (case, topics) in &cases {
            let request =
                CreatePartitionsRequest { topics: topics.clone(), timeout_ms: 5000, validate_only: true };
            target.ask(case, controller, version, &request).await;
        }
    }
    if let Some(other) = brokers.iter().copied().find(|broker| *broker != controller) {
        let request = CreatePartitionsRequest {
            topics: vec![entry(&topic, 2, None)],
            timeout_ms: 5000,
            validate_only: true,
        };
        target.ask("not the controller", other, 1, &request).await;
    }
    let topics = vec![entry(&topic, 2, None)];
    let request = CreatePartitionsRequest { topics, timeout_ms: 5000, validate_only: false };
    target.ask("in earnest", controller, 1, &request).await;
    target.ask("again", controller, 1, &request).await;
}

fn describe(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let keys = keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
    let resource =
        DescribeConfigsResource { resource_type, resource_name: name.to_owned(), configuration_keys: keys };
    DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: false }
}

pub(crate) async fn configs(target: &mut Target) {
    let broker = target.any_broker();
    let topic =
        target.create("configured", 1, &[("retention.ms", "-1"), ("cleanup.policy", "compact")]).await.name;
    let unknown = target.name("unknown");
    let id = broker.to_string();
    let acted_on: &[&str] = &[
        "producer.id.expiration.ms",
        "transactional.id.expiration.ms",
        "connections.max.idle.ms",
        "min.insync.replicas",
        "log.cleaner.threads",
        "log.cleaner.backoff.ms",
        "log.retention.bytes",
        "message.max.bytes",
        "num.io.threads",
        "max.connections",
        "background.threads",
    ];
    for version in target.versions::<DescribeConfigsRequest>() {
        for (case, resource_type, name, keys) in [
            ("topic", 2, topic.as_str(), None),
            ("some", 2, &topic, Some(&["retention.ms", "no.such", "segment.bytes"][..])),
            ("none", 2, &topic, Some(&[][..])),
            ("unknown topic", 2, &unknown, None),
            ("invalid topic", 2, "a b", None),
            ("no topic", 2, "", None),
            ("broker", 4, &id, Some(acted_on)),
            ("all brokers", 4, "", Some(acted_on)),
            ("another broker", 4, "4711", None),
            ("a broker without number", 4, "x", None),
            ("unknown type", 3, &topic, None),
            ("type 0", 0, &topic, None),
        ] {
            let mut request = describe(resource_type, name, keys);
            target.ask(case, broker, version, &request).await;
            request.include_synonyms = false;
            target.ask(&format!("{case}, without synonyms"), broker, version, &request).await;
        }
        target.ask("nothing", broker, version, &DescribeConfigsRequest::default()).await;
    }
    alter(target, &topic).await;
}

async fn alter(target: &mut Target, topic: &str) {
    let broker = target.any_broker();
    let unknown = target.name("unknown");
    let id = broker.to_string();
    let change = |name: &str, config_operation: i8, value: Option<&str>| AlterableConfig {
        name: name.to_owned(),
        config_operation,
        value: value.map(str::to_owned),
    };
    let resource = |resource_type: i8, name: &str, configs: Vec<AlterableConfig>| AlterConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configs,
    };
    let set = || vec![change("retention.ms", SET, Some("1000"))];
    let cases = [
        ("set", vec![resource(2, topic, set())]),
        ("delete", vec![resource(2, topic, vec![change("retention.ms", DELETE, None)])]),
        ("delete with a value", vec![resource(2, topic, vec![change("retention.ms", DELETE, Some("1"))])]),
        ("delete what is not set", vec![resource(2, topic, vec![change("segment.ms", DELETE, None)])]),
        ("append", vec![resource(2, topic, vec![change("cleanup.policy", APPEND, Some("delete"))])]),
        (
            "append what is there",
            vec![resource(2, topic, vec![change("cleanup.policy", APPEND, Some("compact"))])],
        ),
        ("append nonsense", vec![resource(2, topic, vec![change("cleanup.policy", APPEND, Some("x"))])]),
        ("subtract", vec![resource(2, topic, vec![change("cleanup.policy", SUBTRACT, Some("delete"))])]),
        ("append to no list", vec![resource(2, topic, vec![change("retention.ms", APPEND, Some("1"))])]),
        ("unknown operation", vec![resource(2, topic, vec![change("retention.ms", 9, Some("1"))])]),
        ("unknown config", vec![resource(2, topic, vec![change("no.such", SET, Some("1"))])]),
        ("bad value", vec![resource(2, topic, vec![change("retention.ms", SET, Some("x"))])]),
        ("low value", vec![resource(2, topic, vec![change("retention.ms", SET, Some("-2"))])]),
        ("null value", vec![resource(2, topic, vec![change("retention.ms", SET, None)])]),
        (
            "a config twice",
            vec![resource(
                2,
                topic,
                vec![change("retention.ms", SET, Some("1")), change("retention.ms", SET, Some("2"))],
            )],
        ),
        ("a resource twice", vec![resource(2, topic, set()), resource(2, topic, set())]),
        ("unknown topic", vec![resource(2, &unknown, set())]),
        ("invalid topic", vec![resource(2, "a b", set())]),
        ("no topic", vec![resource(2, "", set())]),
        ("no changes", vec![resource(2, topic, vec![])]),
        ("broker", vec![resource(4, &id, vec![change("producer.id.expiration.ms", SET, Some("86400000"))])]),
        (
            "broker, bad value",
            vec![resource(4, &id, vec![change("producer.id.expiration.ms", SET, Some("x"))])],
        ),
        (
            "broker, fixed",
            vec![resource(4, &id, vec![change("transactional.id.expiration.ms", SET, Some("1000"))])],
        ),
        (
            "all brokers",
            vec![resource(4, "", vec![change("producer.id.expiration.ms", SET, Some("86400000"))])],
        ),
        ("broker, dynamic", vec![resource(4, &id, vec![change("log.cleaner.threads", SET, Some("2"))])]),
        ("broker, of topics", vec![resource(4, &id, vec![change("log.retention.ms", SET, Some("-1"))])]),
        ("broker, low", vec![resource(4, &id, vec![change("log.cleaner.threads", SET, Some("-1"))])]),
        ("broker, taken back", vec![resource(4, &id, vec![change("log.cleaner.threads", DELETE, None)])]),
        ("broker, fixed, taken back", vec![resource(4, &id, vec![change("num.partitions", DELETE, None)])]),
        ("broker, unknown", vec![resource(4, &id, vec![change("no.such", SET, Some("1"))])]),
        ("broker, unknown, taken back", vec![resource(4, &id, vec![change("no.such", DELETE, None)])]),
        (
            "broker, appended",
            vec![resource(4, &id, vec![change("log.cleanup.policy", APPEND, Some("compact"))])],
        ),
        (
            "broker, appended to no list",
            vec![resource(4, &id, vec![change("log.cleaner.threads", APPEND, Some("1"))])],
        ),
        ("broker, in sync", vec![resource(4, &id, vec![change("min.insync.replicas", SET, Some("1"))])]),
        (
            "broker, in sync, taken back",
            vec![resource(4, &id, vec![change("min.insync.replicas", DELETE, None)])],
        ),
        ("all brokers, in sync", vec![resource(4, "", vec![change("min.insync.replicas", SET, Some("1"))])]),
        (
            "all brokers, in sync, taken back",
            vec![resource(4, "", vec![change("min.insync.replicas", DELETE, None)])],
        ),
        ("another broker", vec![resource(4, "4711", set())]),
        ("a broker without number", vec![resource(4, "x", set())]),
        ("unknown type", vec![resource(3, topic, set())]),
        ("nothing", vec![]),
    ];
    for version in target.versions::<IncrementalAlterConfigsRequest>() {
        for (case, resources) in &cases {
            let request =
                IncrementalAlterConfigsRequest { resources: resources.clone(), validate_only: true };
            target.ask(case, broker, version, &request).await;
        }
    }
    let newest = target.at_most::<DescribeConfigsRequest>(4);
    let keys = Some(&["retention.ms", "cleanup.policy", "max.message.bytes", "min.insync.replicas"][..]);
    for changes in [
        vec![change("retention.ms", SET, Some("3600000")), change("cleanup.policy", APPEND, Some("delete"))],
        vec![change("retention.ms", DELETE, None), change("cleanup.policy", SUBTRACT, Some("compact"))],
        vec![change("min.insync.replicas", SET, Some("2"))],
        vec![change("no.such", SET, Some("1")), change("retention.ms", SET, Some("7"))],
    ] {
        let case = format!(
            "in earnest {}",
            changes
                .iter()
                .map(|change| format!("{} {:?}", change.name, change.value))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let resources = vec![resource(2, topic, changes)];
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        target.ask(&case, broker, 1, &request).await;
        // The brokers learn of it a moment later.
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        target.ask(&format!("after {case}"), broker, newest, &describe(2, topic, keys)).await;
    }
    let plain = target.create("plain", 1, &[]).await.name;
    let keys = Some(&["retention.bytes", "max.message.bytes", "min.insync.replicas", "preallocate"][..]);
    for (resource_name, operation) in [("", SET), (id.as_str(), SET), (&id, DELETE), ("", DELETE)] {
        let of_all = resource_name.is_empty();
        let value = |number: &'static str| Some(number).filter(|_| operation == SET);
        let changes = vec![
            change("log.retention.bytes", operation, value("1000000000000")),
            change("message.max.bytes", operation, value(if of_all { "1048589" } else { "1048590" })),
            change("log.cleaner.backoff.ms", operation, value("15001")),
        ];
        let case = format!("of all {of_all}, operation {operation}");
        let resources = vec![resource(4, resource_name, changes)];
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        target.ask(&case, broker, 1, &request).await;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        target.ask(&format!("topic after {case}"), broker, newest, &describe(2, &plain, keys)).await;
        let keys = Some(&["log.retention.bytes", "message.max.bytes", "log.cleaner.backoff.ms"][..]);
        for name in [resource_name, ""] {
            target.ask(&format!("broker after {case}"), broker, newest, &describe(4, name, keys)).await;
        }
    }
}

pub(crate) async fn describe_cluster(target: &mut Target) {
    let broker = target.any_broker();
    for version in target.versions::<DescribeClusterRequest>() {
        for operations in [false, true] {
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: operations,
                ..Default::default()
            };
            target.ask(&format!("operations {operations}"), broker, version, &request).await;
        }
        if version >= 1 {
            for endpoint_type in [0, 2, 3] {
                let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
                target.ask(&format!("endpoint type {endpoint_type}"), broker, version, &request).await;
            }
        }
        if version >= 2 {
            let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
            target.ask("fenced too", broker, version, &request).await;
        }
    }
}
