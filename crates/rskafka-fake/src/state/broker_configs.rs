//! Configs of brokers: those that the fake acts on or that clients ask for, and who set them.
//!
//! Invariant: a value that cannot be is refused when it is set; a name that is not in the table has no
//! value.

use std::collections::BTreeMap;

use super::configs::{ConfigValue, TopicConfig};
use crate::profile::Profile;

/// Who set a value (Kafka class `ConfigSource`), by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Broker = 2,
    AllBrokers = 3,
    Static = 4,
    Default = 5,
}

/// Kafka's broker configs (Kafka class `KafkaConfig`), some of them: name, default in 4.x, form, and
/// whether a running broker takes another value.
pub(crate) const BROKER_CONFIGS: &[(&str, &str, ConfigValue, bool)] = &[
    ("auto.create.topics.enable", "false", ConfigValue::Bool, false),
    ("connections.max.idle.ms", "600000", ConfigValue::Long(-1), false),
    ("default.replication.factor", "1", ConfigValue::Int(1), false),
    ("fetch.max.bytes", "57671680", ConfigValue::Int(1024), false),
    ("log.retention.check.interval.ms", "300000", ConfigValue::Long(1), false),
    ("min.insync.replicas", "1", ConfigValue::Int(1), true),
    ("num.partitions", "1", ConfigValue::Int(1), false),
    ("producer.id.expiration.check.interval.ms", "600000", ConfigValue::Int(1), false),
    ("producer.id.expiration.ms", "86400000", ConfigValue::Int(1), true),
    ("socket.request.max.bytes", "104857600", ConfigValue::Int(1), false),
    ("transaction.max.timeout.ms", "900000", ConfigValue::Int(1), false),
    ("transaction.remove.expired.transaction.cleanup.interval.ms", "3600000", ConfigValue::Int(1), false),
    ("transactional.id.expiration.ms", "604800000", ConfigValue::Int(1), false),
];

/// Came with Kafka 3.4; before, `transactional.id.expiration.ms` is for producers too.
const PRODUCER_ID_EXPIRATION: &str = "producer.id.expiration.ms";

type Values = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(crate) struct BrokerConfigs {
    profile: Profile,
    fixed: Values,
    all: Values,
    each: BTreeMap<i32, Values>,
}

impl BrokerConfigs {
    /// With what stands in the brokers' properties.
    ///
    /// # Errors
    ///
    /// Says in words which config is not known or has a value that cannot be.
    pub(crate) fn new(fixed: Values, profile: Profile) -> Result<Self, String> {
        for (name, value) in &fixed {
            check(name, value)?;
        }
        Ok(Self { profile, fixed, ..Self::default() })
    }

    /// The values that a config has at a broker, the one in force first, and who set them.
    pub(crate) fn values(&self, broker: i32, name: &str) -> Vec<(String, Source)> {
        if !self.has(name) {
            return Vec::new();
        }
        let own = self.each.get(&broker).and_then(|values| values.get(name));
        let default = BROKER_CONFIGS.iter().find(|(known, ..)| *known == name);
        let layers = [
            own.map(|value| (value.clone(), Source::Broker)),
            self.all.get(name).map(|value| (value.clone(), Source::AllBrokers)),
            self.fixed.get(name).map(|value| (value.clone(), Source::Static)),
            default.map(|(_, value, ..)| ((*value).to_owned(), Source::Default)),
        ];
        layers.into_iter().flatten().collect()
    }

    /// The values that a topic without its own has from a broker, as [`BrokerConfigs::values`]; the last is
    /// the default.
    pub(crate) fn inherited(
        &self,
        broker: i32,
        config: &TopicConfig,
        default: &str,
    ) -> Vec<(String, Source)> {
        let values = self.values(broker, config.broker_config);
        if values.is_empty() { vec![(default.to_owned(), Source::Default)] } else { values }
    }

    fn has(&self, name: &str) -> bool {
        name != PRODUCER_ID_EXPIRATION || self.profile != Profile::Kafka2_8
    }

    /// A number that is in force at a broker.
    pub(crate) fn number(&self, broker: i32, name: &str) -> i64 {
        let name = if self.has(name) { name } else { "transactional.id.expiration.ms" };
        let value = self.values(broker, name).into_iter().next();
        value.and_then(|(value, _)| value.parse().ok()).unwrap_or_default()
    }

    /// Sets values of one broker, or of all; `None` takes one back.
    ///
    /// # Errors
    ///
    /// Says in words which cannot be set; then none is.
    pub(crate) fn alter(
        &mut self,
        broker: Option<i32>,
        changes: &[(String, Option<String>)],
        validate_only: bool,
    ) -> Result<(), String> {
        for (name, value) in changes {
            // With ZooKeeper a config that is not known is taken.
            if self.profile.quirks().zookeeper && !self.has(name) {
                continue;
            }
            if let Some(value) = value {
                check(name, value)?;
            }
            if !BROKER_CONFIGS.iter().any(|(known, .., dynamic)| known == name && *dynamic) {
                return Err(format!("Cannot update these configs dynamically: Set({name})"));
            }
        }
        if validate_only {
            return Ok(());
        }
        let values = match broker {
            Some(broker) => self.each.entry(broker).or_default(),
            None => &mut self.all,
        };
        for (name, value) in changes {
            match value {
                Some(value) => values.insert(name.clone(), value.clone()),
                None => values.remove(name),
            };
        }
        Ok(())
    }
}

fn check(name: &str, value: &str) -> Result<(), String> {
    let Some((.., form, _)) = BROKER_CONFIGS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("the fake has no broker config {name}"));
    };
    match form.accepts(value, Profile::default()) {
        true => Ok(()),
        false => Err(format!("Invalid value {value} for configuration {name}")),
    }
}
