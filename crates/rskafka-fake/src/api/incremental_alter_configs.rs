//! IncrementalAlterConfigs (key 44), versions 0 and 1: changes single configs (KIP-339).
//!
//! - UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION; INVALID_CONFIG for a name or value that cannot be,
//!   and for an operation on lists that is asked of something else; INVALID_REQUEST for a resource or a config
//!   that the request has twice, for a null value to be set and for things that are neither topic nor broker.
//! - A topic's changes take effect at once; `validate_only` makes none.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::incremental_alter_configs::{
    APPEND, AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, DELETE,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, SET, SUBTRACT,
};

use super::describe_configs::{BROKER, TOPIC};
use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{TopicRef, check_name, topic_config};

type Refused = (ErrorCode, String);

impl Api for IncrementalAlterConfigsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<IncrementalAlterConfigsResponse> {
        let is_same = |one: &AlterConfigsResource, other: &AlterConfigsResource| {
            (one.resource_type, &one.resource_name) == (other.resource_type, &other.resource_name)
        };
        let mut responses: Vec<AlterConfigsResourceResponse> = Vec::new();
        let zookeeper = call.state.profile.quirks().zookeeper;
        for (place, resource) in self.resources.iter().enumerate() {
            // With ZooKeeper the last of several for a resource counts.
            if zookeeper && self.resources[place + 1..].iter().any(|other| is_same(resource, other)) {
                continue;
            }
            let count = self.resources.iter().filter(|other| is_same(resource, other)).count();
            let outcome = match count > 1 && !zookeeper {
                true => Err(invalid("Each resource must appear at most once.")),
                false => alter(resource, self.validate_only, call),
            };
            let (error_code, error_message) = match outcome {
                Ok(()) => (ErrorCode::NONE, None),
                Err((code @ ErrorCode::UNKNOWN_SERVER_ERROR, _)) => (code, None),
                Err((code, why)) => (code, Some(why)),
            };
            responses.push(AlterConfigsResourceResponse { error_code, error_message, ..entry(resource) });
        }
        Outcome::Answer(IncrementalAlterConfigsResponse { responses, ..Default::default() })
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        let topics = self.resources.iter().filter(|resource| resource.resource_type == TOPIC);
        topics.map(|topic| (TopicRef::Name(topic.resource_name.clone()), -1)).collect()
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> IncrementalAlterConfigsResponse {
        let refused = |resource| AlterConfigsResourceResponse { error_code, ..entry(resource) };
        let responses = self.resources.iter().map(refused).collect();
        IncrementalAlterConfigsResponse { responses, ..Default::default() }
    }
}

fn entry(resource: &AlterConfigsResource) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_message: None,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

fn invalid(why: impl Into<String>) -> Refused {
    (ErrorCode::INVALID_REQUEST, why.into())
}

fn alter(resource: &AlterConfigsResource, validate_only: bool, call: &mut Call<'_>) -> Result<(), Refused> {
    let AlterConfigsResource { resource_type, resource_name: name, configs } = resource;
    let zookeeper = call.state.profile.quirks().zookeeper;
    for (place, config) in configs.iter().enumerate() {
        if configs[..place].iter().any(|other| other.name == config.name) {
            return Err(invalid("Error due to duplicate config keys"));
        }
        if config.value.is_none() && config.config_operation != DELETE {
            return Err(invalid(format!("Null value not supported for : {}", config.name)));
        }
    }
    match *resource_type {
        TOPIC if name.is_empty() => Err(invalid("Default topic resources are not allowed.")),
        TOPIC if check_name(name).is_err() && !zookeeper => {
            Err((ErrorCode::INVALID_TOPIC_EXCEPTION, check_name(name).err().unwrap_or_default()))
        }
        TOPIC => alter_topic(name, configs, validate_only, call),
        BROKER => alter_broker(name, configs, validate_only, call),
        other => Err(invalid(format!("Unknown resource type {other}"))),
    }
}

fn alter_topic(
    name: &str,
    configs: &[AlterableConfig],
    validate_only: bool,
    call: &mut Call<'_>,
) -> Result<(), Refused> {
    let zookeeper = call.state.profile.quirks().zookeeper;
    let Some(topic) = call.state.topic(name) else {
        let why = format!("The topic '{name}' does not exist.");
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why));
    };
    let profile = call.state.profile;
    let is_known = |config: &AlterableConfig| topic_config(profile, &config.name).is_some();
    // With ZooKeeper a wrong value is a wrong request.
    let wrong = match zookeeper && configs.iter().all(is_known) {
        true => ErrorCode::INVALID_REQUEST,
        false => ErrorCode::INVALID_CONFIG,
    };
    let mut own = topic.configs.clone();
    let changed = configs.iter().try_for_each(|config| {
        let name = &config.name;
        let known = topic_config(profile, name).filter(|(known, _)| known.form.is_list());
        let list = known.map(|(_, default)| own.get(name).map_or(default, String::as_str));
        let text = |operation| format!("Can't {operation} to key {name} because its type is not LIST.");
        match new_value(config, list, text)? {
            Some(value) => own.insert(name.clone(), value),
            None => own.remove(name),
        };
        Ok(())
    });
    changed.map_err(|(code, why)| match code {
        ErrorCode::INVALID_CONFIG => (wrong, why),
        _ => (code, why),
    })?;
    call.state.set_topic_configs(name, own, validate_only).map_err(|why| (wrong, why))
}

fn alter_broker(
    name: &str,
    configs: &[AlterableConfig],
    validate_only: bool,
    call: &mut Call<'_>,
) -> Result<(), Refused> {
    let zookeeper = call.state.profile.quirks().zookeeper;
    let broker = match name.parse() {
        Ok(id) if id == call.broker => Some(id),
        Ok(id) => {
            let why = format!("Unexpected broker id, expected {}, but received {id}", call.broker);
            return Err(invalid(why));
        }
        Err(_) if name.is_empty() => None,
        Err(_) => return Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    };
    let change = |config: &AlterableConfig| {
        let name = &config.name;
        let list = call.state.configs.list(broker, name);
        let text = |operation: &str| {
            let operation = operation.to_lowercase();
            format!("Config value {operation} is not allowed for config key: {name}")
        };
        let value = new_value(config, list.as_deref(), text);
        let value = value.map_err(|(code, why)| match code {
            ErrorCode::INVALID_CONFIG if zookeeper => invalid(why),
            _ => (code, why),
        });
        Ok((name.clone(), value?))
    };
    let changes = configs.iter().map(change).collect::<Result<Vec<_>, _>>()?;
    call.state.set_broker_configs(broker, &changes, validate_only)
}

/// The value that a change gives a config; `None` if it takes it back. `list` is what a list is before, and
/// `not_a_list` the words against adding to something else.
fn new_value(
    change: &AlterableConfig,
    list: Option<&str>,
    not_a_list: impl Fn(&'static str) -> String,
) -> Result<Option<String>, Refused> {
    let value = change.value.as_deref().unwrap_or_default();
    let (operation, adds) = match change.config_operation {
        SET => return Ok(Some(value.to_owned())),
        DELETE => return Ok(None),
        APPEND => ("APPEND", true),
        SUBTRACT => ("SUBTRACT", false),
        other => return Err((ErrorCode::UNKNOWN_SERVER_ERROR, format!("no operation {other}"))),
    };
    let list = list.ok_or_else(|| (ErrorCode::INVALID_CONFIG, not_a_list(operation)))?;
    let mut words: Vec<&str> = list.split(',').filter(|word| !word.is_empty()).collect();
    for word in value.split(',') {
        words.retain(|known| adds || *known != word);
        if adds && !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(Some(words.join(",")))
}
