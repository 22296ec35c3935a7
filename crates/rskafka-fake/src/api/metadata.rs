//! Metadata (key 3), versions 1 to 13: brokers, topics, partitions and their leaders.
//!
//! - Null asks for all topics, an empty list for none; by id from version 12 on.
//! - UNKNOWN_TOPIC_OR_PARTITION for a name and UNKNOWN_TOPIC_ID for an id that do not exist,
//!   INVALID_TOPIC_EXCEPTION for a name that cannot; topics are never created here.
//! - Only brokers that run are named, and those whose crash the cluster has not noticed. A partition without
//!   leader has LEADER_NOT_AVAILABLE and leader -1.
//! - A broker may be told to answer from an earlier image of the cluster.
//! - With Kafka 4 no replica is in sync while there is no leader (KIP-966).
//! - Any broker that runs may be named as the controller, as with KRaft: here the one with the lowest id.

use rskafka_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use rskafka_protocol::{ErrorCode, Uuid};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{Broker, Partition, State, Topic, TopicRef, check_name, is_internal};

/// The version from which on topics are looked up by id.
const IDS_FROM: i16 = 12;
/// What Kafka answers without an authorizer: each operation that a topic, or the cluster, has.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

impl Api for MetadataRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<MetadataResponse> {
        let asked = self.topics.as_deref().unwrap_or_default();
        if asked.iter().any(|topic| topic.name.is_none() && topic.topic_id.is_zero()) {
            return Outcome::Answer(self.refuse(ErrorCode::UNKNOWN_SERVER_ERROR, call.version));
        }
        let old = call.state.old_metadata.take(call.broker);
        let view = View { state: &*call.state, old: old.as_deref() };
        let mut topics: Vec<_> = match &self.topics {
            None => view.topics(),
            Some(asked) => {
                // One entry for a topic, however often the request has it.
                let is_first = |(place, topic): &(usize, &_)| !asked[..*place].contains(topic);
                let asked = asked.iter().enumerate().filter(is_first);
                asked.map(|(_, topic)| view.look_up(topic, call.version)).collect()
            }
        };
        if self.include_topic_authorized_operations {
            topics.iter_mut().for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
        }
        let mut response = MetadataResponse { topics, ..view.of_cluster() };
        if self.include_cluster_authorized_operations {
            response.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        Outcome::Answer(response)
    }

    fn targets(&self, version: i16) -> Vec<(TopicRef, i32)> {
        self.topics.iter().flatten().map(|topic| (topic_ref(topic, version), -1)).collect()
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> MetadataResponse {
        let refused = |topic: &MetadataRequestTopic| MetadataResponseTopic {
            error_code: code,
            name: Some(topic.name.clone().unwrap_or_default()),
            topic_id: topic.topic_id,
            ..Default::default()
        };
        let topics = self.topics.iter().flatten().map(refused).collect();
        MetadataResponse { topics, error_code: code, ..Default::default() }
    }
}

/// The cluster as a broker answers it that knows everything.
pub(crate) fn image(state: &State) -> MetadataResponse {
    let view = View { state, old: None };
    MetadataResponse { topics: view.topics(), ..view.of_cluster() }
}

/// The cluster as a broker sees it.
struct View<'a> {
    state: &'a State,
    /// What it sees if that is not the present.
    old: Option<&'a MetadataResponse>,
}

impl View<'_> {
    fn of_cluster(&self) -> MetadataResponse {
        if let Some(MetadataResponse { brokers, cluster_id, controller_id, .. }) = self.old {
            let (brokers, cluster_id) = (brokers.clone(), cluster_id.clone());
            return MetadataResponse {
                brokers,
                cluster_id,
                controller_id: *controller_id,
                ..Default::default()
            };
        }
        let brokers = self.state.listed().map(|broker| MetadataResponseBroker {
            node_id: broker.id,
            host: broker.advertised.host.clone(),
            port: broker.advertised.wire_port(),
            rack: broker.rack.clone(),
        });
        MetadataResponse {
            brokers: brokers.collect(),
            cluster_id: Some(self.state.cluster_id.clone()),
            controller_id: self.state.controller(),
            ..Default::default()
        }
    }

    fn topics(&self) -> Vec<MetadataResponseTopic> {
        match self.old {
            Some(old) => old.topics.clone(),
            None => self.state.topics().map(|topic| describe(topic, self.state)).collect(),
        }
    }

    fn find(&self, topic: &TopicRef) -> Result<MetadataResponseTopic, ErrorCode> {
        let Some(old) = self.old else {
            return self.state.find(topic).map(|topic| describe(topic, self.state));
        };
        let (is_same, unknown): (&dyn Fn(&&MetadataResponseTopic) -> bool, _) = match topic {
            TopicRef::Name(name) => {
                (&|known| known.name.as_ref() == Some(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
            TopicRef::Id(id) => (&|known| known.topic_id == *id, ErrorCode::UNKNOWN_TOPIC_ID),
        };
        old.topics.iter().find(is_same).cloned().ok_or(unknown)
    }

    fn look_up(&self, asked: &MetadataRequestTopic, version: i16) -> MetadataResponseTopic {
        let topic = topic_ref(asked, version);
        self.find(&topic).unwrap_or_else(|error_code| match topic {
            TopicRef::Name(name) => {
                let error_code = match check_name(&name) {
                    Ok(()) => error_code,
                    Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                };
                let (is_internal, name) = (is_internal(&name), Some(name));
                MetadataResponseTopic { error_code, name, is_internal, ..Default::default() }
            }
            TopicRef::Id(topic_id) => {
                MetadataResponseTopic { error_code, name: None, topic_id, ..Default::default() }
            }
        })
    }
}

fn topic_ref(topic: &MetadataRequestTopic, version: i16) -> TopicRef {
    match &topic.name {
        Some(name) if version < IDS_FROM || topic.topic_id.is_zero() => TopicRef::Name(name.clone()),
        _ => TopicRef::Id(topic.topic_id),
    }
}

fn describe(topic: &Topic, state: &State) -> MetadataResponseTopic {
    let partitions =
        (0..).zip(&topic.partitions).map(|(index, partition)| describe_partition(index, partition, state));
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        is_internal: is_internal(&topic.name),
        topic_id: if state.profile.quirks().topic_ids { topic.id } else { Uuid::ZERO },
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn describe_partition(
    partition_index: i32,
    partition: &Partition,
    state: &State,
) -> MetadataResponsePartition {
    let is_offline = |id: &i32| !state.broker(*id).is_some_and(Broker::is_listed);
    MetadataResponsePartition {
        error_code: match partition.leader {
            Some(_) => ErrorCode::NONE,
            None => ErrorCode::LEADER_NOT_AVAILABLE,
        },
        partition_index,
        leader_id: partition.leader_id(),
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.brokers().collect(),
        isr_nodes: match partition.leader {
            None if state.profile.quirks().eligible_leaders => Vec::new(),
            _ => partition.isr.clone(),
        },
        offline_replicas: partition.brokers().filter(is_offline).collect(),
    }
}
