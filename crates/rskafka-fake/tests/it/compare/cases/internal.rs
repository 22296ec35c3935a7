//! Internal topics: they are there when their coordinators are, and clients may not write to them.

use rskafka_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use rskafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rskafka_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use rskafka_protocol::messages::produce::ProduceRequest;

use super::Target;
use super::producers::batch;
use crate::support::{TopicName, produce_request};

/// After the coordinators were found.
pub(crate) async fn topics(target: &mut Target) {
    let broker = target.any_broker();
    for name in ["__consumer_offsets", "__transaction_state", "__cluster_metadata", "__unknown"] {
        let asked = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let metadata = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        // From version 7 on it has leader epochs, which grow with a cluster's age.
        for version in target.versions::<MetadataRequest>().filter(|version| (4..7).contains(version)) {
            target.ask(name, broker, version, &metadata).await;
        }
        let version = target.at_most::<MetadataRequest>(12);
        let found = target.client(broker).call(version, &metadata).await.topics.remove(0);
        let topic = TopicName { name: name.to_owned(), id: found.topic_id };
        let leader = found.partitions.first().map_or(broker, |partition| partition.leader_id);
        for version in target.versions::<ProduceRequest>() {
            for partition in [0, 99] {
                let request = produce_request(&topic, partition, -1, Some(batch(-1, -1, -1, 1)));
                target.ask(&format!("{name} {partition}"), leader, version, &request).await;
            }
        }
        for partition_index in [0, 99] {
            let partitions = vec![DeleteRecordsPartition { partition_index, offset: 0 }];
            let topics = vec![DeleteRecordsTopic { name: name.to_owned(), partitions }];
            let request = DeleteRecordsRequest { topics, timeout_ms: 1000 };
            target.ask(&format!("{name} {partition_index}"), leader, 1, &request).await;
        }
        create(target, name).await;
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: name.to_owned(),
            configuration_keys: Some(
                ["cleanup.policy", "compression.type", "segment.bytes", "retention.ms"]
                    .map(str::to_owned)
                    .into(),
            ),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        target.ask(name, broker, 1, &request).await;
    }
}

async fn create(target: &mut Target, name: &str) {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let controller = target.controller().await;
    for topics in [vec![topic.clone()], vec![topic.clone(), topic]] {
        let case = format!("{name} {}", topics.len());
        let request = CreateTopicsRequest { topics, timeout_ms: 1000, validate_only: true };
        target.ask(&case, controller, 2, &request).await;
    }
}
