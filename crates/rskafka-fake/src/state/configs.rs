//! Topic configs: the names that Kafka knows, their defaults, and those the fake acts on.
//!
//! Invariant: a topic's settings are parsed once, when its configs are set; what cannot be parsed is
//! refused there.

use std::collections::BTreeMap;

/// What a config's value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConfigValue {
    /// Any text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number, not below the given one.
    AtLeast(i64),
    /// A decimal number from 0 to 1.
    Ratio,
    /// A comma-separated list of some of these.
    AnyOf(&'static [&'static str]),
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// Kafka's topic configs (Kafka class `TopicConfig`): name, default in 4.x, form.
pub(crate) const CONFIGS: &[(&str, &str, ConfigValue)] = &[
    ("cleanup.policy", "delete", ConfigValue::AnyOf(&["compact", "delete"])),
    ("compression.gzip.level", "-1", ConfigValue::AtLeast(-1)),
    ("compression.lz4.level", "9", ConfigValue::AtLeast(1)),
    ("compression.type", "producer", COMPRESSION_TYPES),
    ("compression.zstd.level", "3", ConfigValue::AtLeast(-131_072)),
    ("delete.retention.ms", "86400000", ConfigValue::AtLeast(0)),
    ("file.delete.delay.ms", "60000", ConfigValue::AtLeast(0)),
    ("flush.messages", "9223372036854775807", ConfigValue::AtLeast(1)),
    ("flush.ms", "9223372036854775807", ConfigValue::AtLeast(0)),
    ("follower.replication.throttled.replicas", "", ConfigValue::Text),
    ("index.interval.bytes", "4096", ConfigValue::AtLeast(0)),
    ("leader.replication.throttled.replicas", "", ConfigValue::Text),
    ("local.retention.bytes", "-2", ConfigValue::AtLeast(-2)),
    ("local.retention.ms", "-2", ConfigValue::AtLeast(-2)),
    ("max.compaction.lag.ms", "9223372036854775807", ConfigValue::AtLeast(1)),
    ("max.message.bytes", "1048588", ConfigValue::AtLeast(0)),
    ("message.timestamp.after.max.ms", "3600000", ConfigValue::AtLeast(0)),
    ("message.timestamp.before.max.ms", "9223372036854775807", ConfigValue::AtLeast(0)),
    ("message.timestamp.type", "CreateTime", ConfigValue::OneOf(&["CreateTime", "LogAppendTime"])),
    ("min.cleanable.dirty.ratio", "0.5", ConfigValue::Ratio),
    ("min.compaction.lag.ms", "0", ConfigValue::AtLeast(0)),
    ("min.insync.replicas", "1", ConfigValue::AtLeast(1)),
    ("preallocate", "false", ConfigValue::Bool),
    ("remote.log.copy.disable", "false", ConfigValue::Bool),
    ("remote.log.delete.on.disable", "false", ConfigValue::Bool),
    ("remote.storage.enable", "false", ConfigValue::Bool),
    ("retention.bytes", "-1", ConfigValue::AtLeast(-1)),
    ("retention.ms", "604800000", ConfigValue::AtLeast(-1)),
    // Kafka 4 refuses less than 1 MiB.
    ("segment.bytes", "1073741824", ConfigValue::AtLeast(1_048_576)),
    ("segment.index.bytes", "10485760", ConfigValue::AtLeast(4)),
    ("segment.jitter.ms", "0", ConfigValue::AtLeast(0)),
    ("segment.ms", "604800000", ConfigValue::AtLeast(1)),
    ("unclean.leader.election.enable", "false", ConfigValue::Bool),
];

const COMPRESSION_TYPES: ConfigValue =
    ConfigValue::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

impl ConfigValue {
    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Bool => matches!(value, "true" | "false"),
            Self::AtLeast(least) => value.parse::<i64>().is_ok_and(|number| number >= least),
            Self::Ratio => value.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)),
            Self::AnyOf(words) => value.split(',').all(|word| words.contains(&word.trim())),
            Self::OneOf(words) => words.contains(&value),
        }
    }
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
    pub(crate) compacted: bool,
}

impl TopicSettings {
    /// The settings that follow from a topic's own configs and the defaults.
    ///
    /// # Errors
    ///
    /// Says in words which config is not known or has a value that cannot be.
    pub(crate) fn parse(configs: &BTreeMap<String, String>) -> Result<Self, String> {
        for (name, value) in configs {
            let Some((.., form)) = CONFIGS.iter().find(|(known, ..)| known == name) else {
                return Err(format!("Unknown topic config name: {name}"));
            };
            if !form.accepts(value) {
                return Err(format!("Invalid value {value} for configuration {name}"));
            }
        }
        let values = Values(configs);
        Ok(Self {
            max_message_bytes: values.number("max.message.bytes").try_into().unwrap_or(usize::MAX),
            log_append_time: values.text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: values.number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: values.number("message.timestamp.after.max.ms"),
            min_insync_replicas: values.number("min.insync.replicas").try_into().unwrap_or(usize::MAX),
            retention_bytes: usize::try_from(values.number("retention.bytes")).ok(),
            compacted: values.text("cleanup.policy").contains("compact"),
        })
    }
}

/// A topic's configs over the defaults.
struct Values<'a>(&'a BTreeMap<String, String>);

impl Values<'_> {
    fn text(&self, name: &str) -> &str {
        let default = CONFIGS.iter().find(|(known, ..)| *known == name).map_or("", |(_, default, _)| default);
        self.0.get(name).map_or(default, String::as_str)
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_the_form_that_their_row_states() {
        for (name, default, form) in CONFIGS {
            assert!(form.accepts(default), "{name}");
        }
    }

    #[test]
    fn configs_that_kafka_would_refuse_are_refused() {
        let parse = |name: &str, value: &str| {
            TopicSettings::parse(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert!(parse("retention.msec", "1").unwrap_err().contains("retention.msec"));
        assert!(parse("min.insync.replicas", "0").is_err());
        assert!(parse("cleanup.policy", "compact,delete").is_ok_and(|settings| settings.compacted));
        assert!(
            parse("message.timestamp.type", "LogAppendTime").is_ok_and(|settings| settings.log_append_time)
        );
    }
}
