//! Requests with bytes behind their last field.

use rskafka_protocol::Request;
use rskafka_protocol::messages::api_versions::ApiVersionsRequest;
use rskafka_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use rskafka_protocol::messages::delete_records::DeleteRecordsRequest;
use rskafka_protocol::messages::delete_topics::DeleteTopicsRequest;
use rskafka_protocol::messages::describe_configs::DescribeConfigsRequest;
use rskafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use rskafka_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use rskafka_protocol::messages::offset_for_leader_epoch::OffsetForLeaderEpochRequest;

use super::super::records::*;
use super::Target;
use crate::support::{fetch_request, produce_request};

pub(crate) async fn all(target: &mut Target) {
    let topic = target.create("surplus", 1, &[]).await;
    let broker = target.leader(&topic);
    let asked = MetadataRequestTopic { name: Some(topic.name.clone()), ..Default::default() };
    let metadata = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let listed = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![partition] };
    let offsets = ListOffsetsRequest { replica_id: -1, topics: vec![listed], ..Default::default() };
    let new = CreatableTopic {
        name: target.name("never"),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let create = CreateTopicsRequest { topics: vec![new], validate_only: true, ..Default::default() };
    let named = ApiVersionsRequest {
        client_software_name: "raw".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    target.client(broker).surplus = b"abc";
    each_version(target, broker, &named).await;
    each_version(target, broker, &metadata).await;
    each_version(target, broker, &produce_request(&topic, 0, -1, Some(good()))).await;
    each_version(target, broker, &fetch_request(&topic, 0, 0)).await;
    each_version(target, broker, &offsets).await;
    each_version(target, broker, &DeleteRecordsRequest::default()).await;
    each_version(target, broker, &DeleteTopicsRequest::default()).await;
    each_version(target, broker, &DescribeConfigsRequest::default()).await;
    each_version(target, broker, &OffsetForLeaderEpochRequest { replica_id: -1, ..Default::default() }).await;
    each_version(target, broker, &InitProducerIdRequest::default()).await;
    let controller = target.controller().await;
    target.client(controller).surplus = b"abc";
    each_version(target, controller, &create).await;
    target.client(broker).surplus = &[];
    target.client(controller).surplus = &[];
}

async fn each_version<R: Request>(target: &mut Target, broker: i32, request: &R) {
    let name = R::API_KEY;
    for version in target.versions::<R>() {
        let answer = target.ask("with bytes behind it", broker, version, request).await;
        assert!(answer.is_some(), "{name} {version}");
    }
}
