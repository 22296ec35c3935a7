//! CreateTopics (key 19), versions 2 to 7: new topics, usable when the answer is out.
//!
//! - INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_CONFIG, INVALID_PARTITIONS,
//!   INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT; INVALID_REQUEST for a name that the request
//!   has twice, and for an assignment beside numbers.
//! - -1 partitions or replicas: the cluster's defaults. `validate_only` checks and creates nothing.
//! - Any broker takes the request, as with KRaft; with ZooKeeper only the controller (NOT_CONTROLLER).
//! - From version 5 on all configs are answered, from 7 on the topic's id.

use std::collections::BTreeMap;

use rskafka_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use rskafka_protocol::{ErrorCode, Uuid};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{NewTopic, Source, State, TopicConfig, TopicRef, TopicRequest, topic_configs};

/// Where a topic's own value comes from (Kafka class `ConfigSource`).
const DYNAMIC_TOPIC_CONFIG: i8 = 1;

impl Api for CreateTopicsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<CreateTopicsResponse> {
        if !call.may_change_topics() {
            let mut response = self.refuse(ErrorCode::NOT_CONTROLLER, call.version);
            let why = "This is not the correct controller for this cluster.".to_owned();
            response.topics.iter_mut().for_each(|topic| topic.error_message = Some(why.clone()));
            return Outcome::Answer(response);
        }
        let zookeeper = call.state.profile.quirks().zookeeper;
        let names: Vec<String> = self.topics.iter().map(|topic| topic.name.clone()).collect();
        let is_repeated = |name: &str| names.iter().filter(|other| *other == name).count() > 1;
        let mut response = CreateTopicsResponse::default();
        let mut created = Vec::new();
        for topic in self.topics {
            // One entry for a name, however often the request has it; with ZooKeeper each is answered.
            if !zookeeper && response.topics.iter().any(|result| result.name == topic.name) {
                continue;
            }
            let result = if is_repeated(&topic.name) {
                refused(topic.name, ErrorCode::INVALID_REQUEST, Some("Duplicate topic name.".to_owned()))
            } else {
                create(topic, self.validate_only, call, &created)
            };
            if !zookeeper && result.error_code.is_ok() {
                created.push(result.name.clone());
            }
            response.topics.push(result);
        }
        Outcome::Answer(response)
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        self.topics.iter().map(|topic| (TopicRef::Name(topic.name.clone()), -1)).collect()
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> CreateTopicsResponse {
        let topics = self.topics.iter().map(|topic| refused(topic.name.clone(), code, None)).collect();
        CreateTopicsResponse { topics, ..Default::default() }
    }
}

fn create(
    topic: CreatableTopic,
    validate_only: bool,
    call: &mut Call<'_>,
    created: &[String],
) -> CreatableTopicResult {
    let name = topic.name.clone();
    let zookeeper = call.state.profile.quirks().zookeeper;
    let new = parse(topic, zookeeper).and_then(|request| NewTopic::check(request, call.state, created));
    let new = match new {
        Ok(new) => new,
        Err((code, why)) => return refused(name, code, Some(why)),
    };
    let mut result = CreatableTopicResult {
        name,
        error_message: None,
        num_partitions: new.assignments.len() as i32,
        replication_factor: new.assignments.first().map_or(-1, |brokers| brokers.len() as i16),
        configs: Some(configs(&new.configs, call.state)),
        ..Default::default()
    };
    // With KRaft a check only gets an id too, of a topic that never is.
    result.topic_id = match validate_only {
        true if zookeeper => Uuid::ZERO,
        true => call.state.new_id(),
        false => call.state.insert_topic(new),
    };
    result
}

fn parse(topic: CreatableTopic, zookeeper: bool) -> Result<TopicRequest, (ErrorCode, String)> {
    let mut configs = BTreeMap::new();
    for config in topic.configs {
        let Some(value) = config.value else {
            let why = format!("Null value not supported for topic configs: {}", config.name);
            let code = if zookeeper { ErrorCode::INVALID_REQUEST } else { ErrorCode::INVALID_CONFIG };
            return Err((code, why));
        };
        configs.insert(config.name, value);
    }
    let assignments = topic.assignments.into_iter().map(|one| (one.partition_index, one.broker_ids));
    Ok(TopicRequest {
        name: topic.name,
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs,
    })
}

fn configs(own: &BTreeMap<String, String>, state: &State) -> Vec<CreatableTopicConfigs> {
    let entry = |(config, default): (&TopicConfig, &str)| {
        let inherited = state.configs.values(-1, config.broker_config).into_iter().next();
        let (value, config_source) = match (own.get(config.name), inherited) {
            (Some(value), _) => (value.as_str(), DYNAMIC_TOPIC_CONFIG),
            (None, Some((value, source))) => (value, source as i8),
            (None, None) => (default, Source::Default as i8),
        };
        let name = config.name.to_owned();
        CreatableTopicConfigs { name, value: Some(value.to_owned()), config_source, ..Default::default() }
    };
    topic_configs(state.profile).map(entry).collect()
}

fn refused(name: String, error_code: ErrorCode, error_message: Option<String>) -> CreatableTopicResult {
    CreatableTopicResult { name, error_code, error_message, ..Default::default() }
}
