//! Topic configs: the names that Kafka knows, their defaults, and those the fake acts on.
//!
//! Invariant: a topic's settings are parsed once, when its configs are set; what cannot be parsed is
//! refused there.

use std::collections::BTreeMap;

use self::ConfigValue::{AnyOf, Bool, Int, List, Long, OneOf, Ratio, SegmentBytes, Text};
use super::broker_configs::{ANY_BROKER, BrokerConfigs};
use crate::profile::Profile;

/// What a config's value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConfigValue {
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits, not below the given one.
    Int(i64),
    /// A whole number of 32 bits, not below what a segment must have at least.
    SegmentBytes,
    /// A whole number of 64 bits, not below the given one.
    Long(i64),
    /// A decimal number from 0 to 1.
    Ratio,
    /// Any text.
    Text,
    /// Any comma-separated list.
    List,
    /// A comma-separated list of some of these.
    AnyOf(&'static [&'static str]),
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// A topic config that Kafka knows (Kafka class `TopicConfig`).
#[derive(Debug)]
pub(crate) struct TopicConfig {
    pub(crate) name: &'static str,
    defaults: Defaults,
    pub(crate) form: ConfigValue,
    /// The broker config that a topic without its own has its value from; empty if there is none.
    pub(crate) broker_config: &'static str,
}

/// In Kafka 2.8, 3.9 and 4.4; `None` where there is no such config.
type Defaults = [Option<&'static str>; 3];

const fn same(default: &'static str) -> Defaults {
    [Some(default); 3]
}

const fn since_3_9(default: &'static str) -> Defaults {
    [None, Some(default), Some(default)]
}

const fn since_4(default: &'static str) -> Defaults {
    [None, None, Some(default)]
}

const fn until_3_9(default: &'static str) -> Defaults {
    [Some(default), Some(default), None]
}

const fn config(
    name: &'static str,
    defaults: Defaults,
    form: ConfigValue,
    broker_config: &'static str,
) -> TopicConfig {
    TopicConfig { name, defaults, form, broker_config }
}

impl TopicConfig {
    /// `None` if brokers of that profile have no such config.
    pub(crate) fn default(&self, profile: Profile) -> Option<&'static str> {
        match profile {
            Profile::Kafka2_8 => self.defaults[0],
            Profile::Kafka3_9 => self.defaults[1],
            Profile::Redpanda if NOT_OF_REDPANDA.contains(&self.name) => None,
            Profile::Kafka4_4 | Profile::Redpanda | Profile::EventHubs => self.defaults[2],
        }
    }
}

/// Raft elects no other leader; and bounds of timestamps are the broker's, and for alerts only.
const NOT_OF_REDPANDA: [&str; 3] =
    ["message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "unclean.leader.election.enable"];

const LONG_MAX: &str = "9223372036854775807";

/// Kafka's topic configs, in the order of their names.
const CONFIGS: &[TopicConfig] = &[
    config("cleanup.policy", same("delete"), AnyOf(&["compact", "delete"]), "log.cleanup.policy"),
    config("compression.gzip.level", since_3_9("-1"), Int(-1), "compression.gzip.level"),
    config("compression.lz4.level", since_3_9("9"), Int(1), "compression.lz4.level"),
    config("compression.type", same("producer"), COMPRESSION_TYPES, "compression.type"),
    config("compression.zstd.level", since_3_9("3"), Int(-131_072), "compression.zstd.level"),
    config("delete.retention.ms", same("86400000"), Long(0), "log.cleaner.delete.retention.ms"),
    config("errors.deadletterqueue.group.enable", since_4("false"), Bool, ""),
    config("file.delete.delay.ms", same("60000"), Long(0), "log.segment.delete.delay.ms"),
    config("flush.messages", same(LONG_MAX), Long(1), "log.flush.interval.messages"),
    config("flush.ms", same(LONG_MAX), Long(0), "log.flush.interval.ms"),
    config("follower.replication.throttled.replicas", same(""), List, ""),
    config("index.interval.bytes", same("4096"), Int(0), "log.index.interval.bytes"),
    config("leader.replication.throttled.replicas", same(""), List, ""),
    config("local.retention.bytes", since_3_9("-2"), Long(-2), "log.local.retention.bytes"),
    config("local.retention.ms", since_3_9("-2"), Long(-2), "log.local.retention.ms"),
    config("max.compaction.lag.ms", same(LONG_MAX), Long(1), "log.cleaner.max.compaction.lag.ms"),
    config("max.decompressed.message.bytes", since_4("2147483639"), Int(1), "max.decompressed.message.bytes"),
    config("max.message.bytes", same("1048588"), Int(0), "message.max.bytes"),
    config("message.downconversion.enable", until_3_9("true"), Bool, "log.message.downconversion.enable"),
    config(
        "message.format.version",
        [Some("2.8-IV1"), Some("3.0-IV1"), None],
        Text,
        "log.message.format.version",
    ),
    config(
        "message.timestamp.after.max.ms",
        [None, Some(LONG_MAX), Some("3600000")],
        Long(0),
        "log.message.timestamp.after.max.ms",
    ),
    config(
        "message.timestamp.before.max.ms",
        since_3_9(LONG_MAX),
        Long(0),
        "log.message.timestamp.before.max.ms",
    ),
    config(
        "message.timestamp.difference.max.ms",
        until_3_9(LONG_MAX),
        Long(0),
        "log.message.timestamp.difference.max.ms",
    ),
    config(
        "message.timestamp.type",
        same("CreateTime"),
        OneOf(&["CreateTime", "LogAppendTime"]),
        "log.message.timestamp.type",
    ),
    config("min.cleanable.dirty.ratio", same("0.5"), Ratio, "log.cleaner.min.cleanable.ratio"),
    config("min.compaction.lag.ms", same("0"), Long(0), "log.cleaner.min.compaction.lag.ms"),
    config("min.insync.replicas", same("1"), Int(1), "min.insync.replicas"),
    config("preallocate", same("false"), Bool, "log.preallocate"),
    config("remote.copy.lag.bytes", since_4("-1"), Long(-1), "log.remote.copy.lag.bytes"),
    config("remote.copy.lag.ms", since_4("0"), Long(-1), "log.remote.copy.lag.ms"),
    config("remote.log.copy.disable", since_3_9("false"), Bool, ""),
    config("remote.log.delete.on.disable", since_3_9("false"), Bool, ""),
    config("remote.storage.enable", since_3_9("false"), Bool, ""),
    config("retention.bytes", same("-1"), Long(-1), "log.retention.bytes"),
    config("retention.ms", same("604800000"), Long(-1), "log.retention.ms"),
    config("segment.bytes", same("1073741824"), SegmentBytes, "log.segment.bytes"),
    config("segment.index.bytes", same("10485760"), Int(4), "log.index.size.max.bytes"),
    config("segment.jitter.ms", same("0"), Long(0), "log.roll.jitter.ms"),
    config("segment.ms", same("604800000"), Long(1), "log.roll.ms"),
    config("unclean.leader.election.enable", same("false"), Bool, "unclean.leader.election.enable"),
];

const COMPRESSION_TYPES: ConfigValue =
    ConfigValue::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

impl ConfigValue {
    /// The type's number on the wire (KIP-569).
    pub(crate) fn wire_type(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::Text | Self::OneOf(_) => 2,
            Self::Int(_) | Self::SegmentBytes => 3,
            Self::Long(_) => 5,
            Self::Ratio => 6,
            Self::List | Self::AnyOf(_) => 7,
        }
    }

    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::List | Self::AnyOf(_))
    }

    /// Whether a config may have this value.
    ///
    /// # Errors
    ///
    /// Says why not, as Kafka does.
    pub(super) fn check(self, name: &str, value: &str, profile: Profile) -> Result<(), String> {
        let invalid =
            |shown: &str, why: &str| Err(format!("Invalid value {shown} for configuration {name}: {why}"));
        let whole = |kind: &str, least: i64, number: Option<i64>| match number {
            None => invalid(value, &format!("Not a number of type {kind}")),
            Some(number) if number < least => invalid(value, &format!("Value must be at least {least}")),
            Some(_) => Ok(()),
        };
        let one_of = |words: &[&str], word| match words.contains(&word) {
            true => Ok(()),
            false => invalid(word, &format!("String must be one of: {}", words.join(", "))),
        };
        match self {
            Self::Bool if matches!(value, "true" | "false") => Ok(()),
            Self::Bool => invalid(value, "Expected value to be either true or false"),
            Self::Int(least) => whole("INT", least, value.parse::<i32>().ok().map(i64::from)),
            Self::SegmentBytes => Self::Int(profile.quirks().min_segment_bytes).check(name, value, profile),
            Self::Long(least) => whole("LONG", least, value.parse().ok()),
            Self::Ratio => match value.parse::<f64>() {
                Ok(0.0..=1.0) => Ok(()),
                Ok(number) if number > 1.0 => invalid(&format!("{number:?}"), "Value must be no more than 1"),
                Ok(number) => invalid(&format!("{number:?}"), "Value must be at least 0"),
                Err(_) => invalid(value, "Not a number of type DOUBLE"),
            },
            Self::Text | Self::List => Ok(()),
            Self::AnyOf(words) => value.split(',').try_for_each(|word| one_of(words, word.trim())),
            Self::OneOf(words) => one_of(words, value),
        }
    }
}

/// The configs that brokers of a profile have, with their defaults.
pub(crate) fn topic_configs(profile: Profile) -> impl Iterator<Item = (&'static TopicConfig, &'static str)> {
    CONFIGS.iter().filter_map(move |config| Some((config, config.default(profile)?)))
}

/// A config by its name.
pub(crate) fn topic_config(profile: Profile, name: &str) -> Option<(&'static TopicConfig, &'static str)> {
    topic_configs(profile).find(|(config, _)| config.name == name)
}

/// The configs that the fake acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    pub(crate) max_message_bytes: usize,
    pub(crate) log_append_time: bool,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) min_insync_replicas: usize,
    /// `None` to keep everything.
    pub(crate) retention_bytes: Option<usize>,
    /// `None` to keep everything.
    pub(crate) retention_ms: Option<i64>,
    pub(crate) unclean_election: bool,
    pub(crate) compacted: bool,
    /// Whether old records may be deleted.
    pub(crate) deletes: bool,
}

impl TopicSettings {
    /// Whether a topic may have these configs.
    ///
    /// # Errors
    ///
    /// Names the config that is unknown or has an invalid value.
    pub(crate) fn check(configs: &BTreeMap<String, String>, profile: Profile) -> Result<(), String> {
        for (name, value) in configs {
            let Some((config, _)) = topic_config(profile, name) else {
                if profile.quirks().refuses_unknown_configs {
                    return Err(format!("Unknown topic config name: {name}"));
                }
                continue;
            };
            config.form.check(name, value, profile)?;
        }
        Ok(())
    }

    /// The settings that follow from a topic's own configs, which were checked, those of the brokers, and the defaults.
    pub(crate) fn of(
        configs: &BTreeMap<String, String>,
        of_brokers: &BrokerConfigs,
        profile: Profile,
    ) -> Self {
        let values = Values { own: configs, of_brokers, profile };
        // Until 3.9 one bound was for both sides.
        let difference = values.bound("message.timestamp.difference.max.ms");
        Self {
            max_message_bytes: values.number("max.message.bytes").try_into().unwrap_or(usize::MAX),
            log_append_time: values.text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: difference.min(values.bound("message.timestamp.before.max.ms")),
            timestamp_after_max_ms: difference.min(values.bound("message.timestamp.after.max.ms")),
            min_insync_replicas: values.number("min.insync.replicas").try_into().unwrap_or(usize::MAX),
            retention_bytes: usize::try_from(values.number("retention.bytes")).ok(),
            retention_ms: Some(values.number("retention.ms")).filter(|time| *time >= 0),
            unclean_election: values.text("unclean.leader.election.enable") == "true",
            deletes: values.text("cleanup.policy").contains("delete"),
            compacted: values.text("cleanup.policy").contains("compact"),
        }
    }
}

/// A topic's configs over those of the brokers, over the defaults.
struct Values<'a> {
    own: &'a BTreeMap<String, String>,
    of_brokers: &'a BrokerConfigs,
    profile: Profile,
}

impl Values<'_> {
    /// Empty for a config that the profile does not have.
    fn text(&self, name: &str) -> &str {
        let Some((config, default)) = topic_config(self.profile, name) else {
            return "";
        };
        let of_brokers = || self.of_brokers.in_force(ANY_BROKER, config.broker_config);
        self.own.get(name).map(String::as_str).or_else(of_brokers).unwrap_or(default)
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// A number that bounds something; without such a config nothing is.
    fn bound(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_the_form_that_their_row_states() {
        for profile in Profile::ALL {
            for (TopicConfig { name, form, .. }, default) in topic_configs(profile) {
                form.check(name, default, profile).unwrap();
            }
        }
        assert!(CONFIGS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn configs_that_kafka_would_refuse_are_refused() {
        let parse = |name: &str, value: &str| {
            let configs = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            TopicSettings::check(&configs, Profile::Kafka4_4)?;
            Ok::<_, String>(TopicSettings::of(&configs, &BrokerConfigs::default(), Profile::Kafka4_4))
        };
        assert!(parse("retention.msec", "1").unwrap_err().contains("retention.msec"));
        assert!(parse("min.insync.replicas", "0").is_err());
        assert!(parse("cleanup.policy", "compact,delete").is_ok_and(|settings| settings.compacted));
        assert!(
            parse("message.timestamp.type", "LogAppendTime").is_ok_and(|settings| settings.log_append_time)
        );
    }
}
