//! Configs of brokers: those that the fake acts on or that a running broker takes, and who set them.
//!
//! Invariant: an invalid value is refused when it is set.

use std::collections::BTreeMap;

use rskafka_protocol::ErrorCode;

use super::TopicRefused;
use super::configs::ConfigValue::{self, Bool, Int, Long};
use super::configs::topic_configs;
use crate::profile::Profile;

/// Who set a value (Kafka class `ConfigSource`), by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Broker = 2,
    AllBrokers = 3,
    Static = 4,
    Default = 5,
}

/// A config that brokers know (Kafka class `KafkaConfig`).
#[derive(Clone, Copy)]
pub(crate) struct BrokerConfig {
    pub(crate) name: &'static str,
    default: Option<&'static str>,
    pub(crate) form: ConfigValue,
    /// Whether a running broker takes another value.
    pub(crate) dynamic: bool,
}

const fn fixed(name: &'static str, default: &'static str, form: ConfigValue) -> BrokerConfig {
    BrokerConfig { name, default: Some(default), form, dynamic: false }
}

const fn dynamic(name: &'static str, default: &'static str, form: ConfigValue) -> BrokerConfig {
    BrokerConfig { name, default: Some(default), form, dynamic: true }
}

/// Some of Kafka's broker configs, with their defaults in 4.x. Those that topics inherit are dynamic and stand
/// in the table of topic configs.
const BROKER_CONFIGS: &[BrokerConfig] = &[
    fixed("auto.create.topics.enable", "false", Bool),
    dynamic("background.threads", "10", Int(1)),
    fixed("connections.max.idle.ms", "600000", Long(-1)),
    fixed("default.replication.factor", "1", Int(1)),
    fixed("fetch.max.bytes", "57671680", Int(1024)),
    dynamic("log.cleaner.backoff.ms", "15000", Long(0)),
    dynamic("log.cleaner.threads", "1", Int(0)),
    fixed("log.retention.check.interval.ms", "300000", Long(1)),
    dynamic("max.connections", "2147483647", Int(0)),
    dynamic("num.io.threads", "8", Int(1)),
    dynamic("num.network.threads", "3", Int(1)),
    fixed("num.partitions", "1", Int(1)),
    fixed("offsets.topic.num.partitions", "50", Int(1)),
    fixed("offsets.topic.replication.factor", "3", Int(1)),
    fixed("producer.id.expiration.check.interval.ms", "600000", Int(1)),
    dynamic(PRODUCER_ID_EXPIRATION, "86400000", Int(1)),
    fixed("socket.request.max.bytes", "104857600", Int(1)),
    fixed("transaction.max.timeout.ms", "900000", Int(1)),
    fixed("transaction.remove.expired.transaction.cleanup.interval.ms", "3600000", Int(1)),
    fixed("transaction.state.log.num.partitions", "50", Int(1)),
    fixed("transaction.state.log.replication.factor", "3", Int(1)),
    fixed("transactional.id.expiration.ms", "604800000", Int(1)),
];

/// They have several names in Kafka, of which these go first and have no default.
const WITHOUT_DEFAULT: [&str; 4] =
    ["log.flush.interval.ms", "log.retention.ms", "log.roll.jitter.ms", "log.roll.ms"];

/// Came with Kafka 3.4; before, `transactional.id.expiration.ms` is for producers too.
const PRODUCER_ID_EXPIRATION: &str = "producer.id.expiration.ms";

const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// A broker that has no configs of its own.
pub(super) const ANY_BROKER: i32 = 0;

/// The configs that brokers of a profile have.
pub(crate) fn broker_configs(profile: Profile) -> impl Iterator<Item = BrokerConfig> {
    let has =
        move |config: &BrokerConfig| config.name != PRODUCER_ID_EXPIRATION || profile != Profile::Kafka2_8;
    let inherited = topic_configs(profile).filter(|(config, _)| !config.broker_config.is_empty());
    let inherited = inherited.map(|(config, default)| BrokerConfig {
        name: config.broker_config,
        default: Some(default).filter(|_| !WITHOUT_DEFAULT.contains(&config.broker_config)),
        form: config.form,
        dynamic: true,
    });
    BROKER_CONFIGS.iter().copied().filter(has).chain(inherited)
}

type Values = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(crate) struct BrokerConfigs {
    profile: Profile,
    fixed: Values,
    all: Values,
    each: BTreeMap<i32, Values>,
}

impl BrokerConfigs {
    /// With the settings of the brokers' properties files.
    ///
    /// # Errors
    ///
    /// Names the config that is unknown or has an invalid value.
    pub(crate) fn new(fixed: Values, profile: Profile) -> Result<Self, String> {
        let mut configs = Self { profile, ..Self::default() };
        for (name, value) in &fixed {
            // A config of a later Kafka is allowed there, and does nothing.
            let known = broker_configs(Profile::default()).find(|config| config.name == name);
            let known = known.or_else(|| configs.find(name));
            let known = known.ok_or_else(|| format!("the fake has no broker config {name}"))?;
            known.form.check(name, value, profile)?;
        }
        configs.fixed = fixed;
        if profile.quirks().eligible_leaders {
            // The controller stores it for the whole cluster, so no broker can have another value.
            let value = configs.in_force(ANY_BROKER, MIN_INSYNC_REPLICAS).unwrap_or_default().to_owned();
            configs.all.insert(MIN_INSYNC_REPLICAS.to_owned(), value);
        }
        Ok(configs)
    }

    fn find(&self, name: &str) -> Option<BrokerConfig> {
        broker_configs(self.profile).find(|config| config.name == name)
    }

    /// The values that a config has at a broker, the one in force first, and who set them.
    pub(crate) fn values(&self, broker: i32, name: &str) -> Vec<(&str, Source)> {
        let Some(config) = self.find(name) else {
            return Vec::new();
        };
        let own = self.each.get(&broker).and_then(|values| values.get(name));
        let layers = [
            own.map(|value| (value.as_str(), Source::Broker)),
            self.all.get(name).map(|value| (value.as_str(), Source::AllBrokers)),
            self.fixed.get(name).map(|value| (value.as_str(), Source::Static)),
            config.default.map(|value| (value, Source::Default)),
        ];
        layers.into_iter().flatten().collect()
    }

    /// What a list of one broker, or of all, is before words are added or taken away: its value there, or the
    /// default.
    pub(crate) fn list(&self, broker: Option<i32>, name: &str) -> Option<String> {
        let config = self.find(name).filter(|config| config.form.is_list())?;
        let values = broker.map_or(Some(&self.all), |broker| self.each.get(&broker));
        let own = values.and_then(|values| values.get(name)).cloned();
        Some(own.unwrap_or_else(|| config.default.unwrap_or_default().to_owned()))
    }

    /// The value that a config has at a broker.
    pub(super) fn in_force(&self, broker: i32, name: &str) -> Option<&str> {
        self.values(broker, name).into_iter().next().map(|(value, _)| value)
    }

    /// A number that is in force at a broker.
    pub(crate) fn number(&self, broker: i32, name: &str) -> i64 {
        let is_later = name == PRODUCER_ID_EXPIRATION && self.find(name).is_none();
        let name = if is_later { "transactional.id.expiration.ms" } else { name };
        self.in_force(broker, name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// Sets values of one broker, or of all; `None` takes one back. A name that Kafka does not know may be one
    /// of a plugin's, and is taken.
    ///
    /// # Errors
    ///
    /// Names a config that cannot be set; then none is changed.
    pub(crate) fn alter(
        &mut self,
        broker: Option<i32>,
        changes: &[(String, Option<String>)],
        validate_only: bool,
    ) -> Result<(), TopicRefused> {
        let invalid = |why| (ErrorCode::INVALID_REQUEST, why);
        let set = changes.iter().filter_map(|(name, value)| Some((self.find(name)?, value.as_ref()?)));
        let set: Vec<_> = set.collect();
        let fixed: Vec<_> =
            set.iter().filter(|(config, _)| !config.dynamic).map(|(one, _)| one.name).collect();
        if !fixed.is_empty() {
            let names = fixed.join(", ");
            return Err(invalid(format!("Cannot update these configs dynamically: [{names}]")));
        }
        for (config, value) in set {
            config.form.check(config.name, value, self.profile).map_err(invalid)?;
        }
        let min_insync = changes.iter().find(|(name, _)| name == MIN_INSYNC_REPLICAS);
        if let Some((name, value)) = min_insync.filter(|_| self.profile.quirks().eligible_leaders) {
            let why = match (broker, value) {
                (Some(_), _) => format!("Broker-level {name} cannot be altered while ELR is enabled."),
                (None, None) => format!("Cluster-level {name} cannot be removed while ELR is enabled."),
                (None, Some(_)) => String::new(),
            };
            if !why.is_empty() {
                return Err((ErrorCode::INVALID_CONFIG, why));
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
