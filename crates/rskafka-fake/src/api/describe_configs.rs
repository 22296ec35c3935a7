//! DescribeConfigs (key 32), versions 1 to 4: configs, and where their values come from.
//!
//! - Topics have all of Kafka's configs; brokers only those that the fake knows.
//! - UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION; INVALID_REQUEST for another broker's configs and
//!   for things that are neither topic nor broker.
//! - The documentation of a config is not given.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{
    BrokerConfig, Source, State, TopicConfig, TopicRef, broker_configs, check_name, topic_configs,
};

/// What has configs.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
/// Where a topic's own value comes from (Kafka class `ConfigSource`).
const DYNAMIC_TOPIC_CONFIG: i8 = 1;

impl Api for DescribeConfigsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<DescribeConfigsResponse> {
        let results = self.resources.iter().map(|resource| {
            let mut result = match describe(resource, call) {
                Ok(configs) => DescribeConfigsResult { configs, ..entry(resource) },
                Err((error_code, why)) => {
                    DescribeConfigsResult { error_code, error_message: Some(why), ..entry(resource) }
                }
            };
            if !self.include_synonyms {
                result.configs.iter_mut().for_each(|config| config.synonyms.clear());
            }
            result
        });
        Outcome::Answer(DescribeConfigsResponse { results: results.collect(), ..Default::default() })
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        let topics = self.resources.iter().filter(|resource| resource.resource_type == TOPIC);
        topics.map(|topic| (TopicRef::Name(topic.resource_name.clone()), -1)).collect()
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> DescribeConfigsResponse {
        let refused = |resource| DescribeConfigsResult { error_code, ..entry(resource) };
        DescribeConfigsResponse {
            results: self.resources.iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

fn entry(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_message: Some(String::new()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

fn describe(
    resource: &DescribeConfigsResource,
    call: &Call<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    let name = &resource.resource_name;
    let mut configs = match resource.resource_type {
        TOPIC => of_topic(name, call.broker, call.state)?,
        BROKER if name.is_empty() => of_brokers(-1, call.state),
        BROKER if *name == call.broker.to_string() => of_brokers(call.broker, call.state),
        BROKER => {
            let why = format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                call.broker
            );
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
        other => return Err((ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
    };
    if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
        configs.retain(|config| keys.contains(&config.name));
    }
    Ok(configs)
}

fn of_topic(
    name: &str,
    broker: i32,
    state: &State,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    check_name(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why))?;
    let Some(topic) = state.topic(name) else {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic {name} does not exist.")));
    };
    let describe = |(config, default): (&TopicConfig, &str)| {
        let own = topic.configs.get(config.name);
        let inherited = state.configs.values(broker, config.broker_config);
        let (value, source) = match (own, inherited.first()) {
            (Some(value), _) => (value.as_str(), DYNAMIC_TOPIC_CONFIG),
            (None, Some((value, source))) => (*value, *source as i8),
            (None, None) => (default, Source::Default as i8),
        };
        let of_brokers =
            |(value, source): &(&str, Source)| synonym(config.broker_config, value, *source as i8);
        let own = own.map(|value| synonym(config.name, value, DYNAMIC_TOPIC_CONFIG));
        let synonyms = own.into_iter().chain(inherited.iter().map(of_brokers)).collect();
        DescribeConfigsResourceResult {
            name: config.name.to_owned(),
            value: Some(value.to_owned()),
            config_source: source,
            synonyms,
            config_type: config.form.wire_type(),
            documentation: None,
            ..Default::default()
        }
    };
    Ok(topic_configs(state.profile).map(describe).collect())
}

/// The configs of a broker; of -1, those set for all brokers.
fn of_brokers(broker: i32, state: &State) -> Vec<DescribeConfigsResourceResult> {
    let describe = |BrokerConfig { name, form, dynamic, .. }| {
        let mut values = state.configs.values(broker, name);
        values.retain(|(_, source)| broker >= 0 || *source == Source::AllBrokers);
        let (value, source) = *values.first()?;
        let synonyms = values.iter().map(|(value, source)| synonym(name, value, *source as i8));
        Some(DescribeConfigsResourceResult {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            read_only: !dynamic,
            config_source: source as i8,
            synonyms: synonyms.collect(),
            config_type: form.wire_type(),
            documentation: None,
            ..Default::default()
        })
    };
    broker_configs(state.profile).filter_map(describe).collect()
}

fn synonym(name: &str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym { name: name.to_owned(), value: Some(value.to_owned()), source }
}
