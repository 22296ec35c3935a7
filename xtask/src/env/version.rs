//! Versions of Apache Kafka, and what each needs.

use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use derive_more::Display;

/// The newest release that the environments were tried with.
pub(crate) const NEWEST: &str = "4.4.0";
/// All releases that the environments were tried with.
pub(crate) const TRIED: [&str; 5] = [NEWEST, "4.3.0", "4.1.0", "3.9.1", "2.8.2"];

/// A release such as 4.4.0; it names folders and Maven artifacts, so it holds nothing but numbers and dots.
#[derive(Clone, Debug, PartialEq, Eq, Display)]
#[display("{text}")]
pub(crate) struct Version {
    text: String,
    major: u32,
    minor: u32,
}

impl Version {
    /// Kafka 4 dropped Java 11.
    pub(crate) fn oldest_java(&self) -> u32 {
        if self.major >= 4 { 17 } else { 11 }
    }

    /// Before 3.5 KRaft has no SCRAM users, and before 3.3 it was not meant for use.
    pub(crate) fn needs_zookeeper(&self) -> bool {
        (self.major, self.minor) < (3, 5)
    }

    /// Kafka 4 moved from log4j 1 (reload4j) to log4j 2.
    pub(crate) fn logs_with_log4j2(&self) -> bool {
        self.major >= 4
    }

    /// Group, artifact and version of the slf4j binding. Kafka 2 comes with this one; Kafka 4 with none, and is silent without.
    pub(crate) fn logging_binding(&self) -> [&'static str; 3] {
        match self.major {
            4.. => ["org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"],
            3 => ["org.slf4j", "slf4j-reload4j", "1.7.36"],
            _ => ["org.slf4j", "slf4j-log4j12", "1.7.30"],
        }
    }

    /// The main class of the console consumer, which moved in 3.8.
    pub(crate) fn console_consumer(&self) -> &'static str {
        if (self.major, self.minor) >= (3, 8) {
            "org.apache.kafka.tools.consumer.ConsoleConsumer"
        } else {
            "kafka.tools.ConsoleConsumer"
        }
    }

    /// The same of the console producer, which moved in 4.0.
    pub(crate) fn console_producer(&self) -> &'static str {
        if self.major >= 4 { "org.apache.kafka.tools.ConsoleProducer" } else { "kafka.tools.ConsoleProducer" }
    }

    /// Before 3.7 a topic with fewer replicas than `min.insync.replicas` takes no append with acks=all.
    pub(crate) fn bounds_min_insync_by_replicas(&self) -> bool {
        (self.major, self.minor) >= (3, 7)
    }

    /// Share groups (KIP-932) keep their state in a topic of their own.
    pub(crate) fn has_share_groups(&self) -> bool {
        (self.major, self.minor) >= (4, 1)
    }
}

/// The newest.
impl Default for Version {
    fn default() -> Version {
        NEWEST.parse().expect("a constant, which the tests parse too")
    }
}

impl FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Version> {
        let numbers: Vec<Option<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
        let [Some(major), Some(minor), Some(_)] = numbers[..] else {
            bail!("{text:?} is not a version of Kafka such as {NEWEST}");
        };
        // Before 2.7 keys cannot be PEM.
        let is_known = (major, minor) >= (2, 7);
        ensure!(is_known, "Kafka {text} is too old for an environment: 2.7.0 is the oldest version");
        Ok(Version { text: text.to_owned(), major, minor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_no_plain_release_is_refused() {
        for text in ["", "4", "4.3", "4.3.0-rc1", "../4.3.0", "4.3.0.1", "2.6.3"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn java_follows_the_major_version() {
        assert_eq!(NEWEST.parse::<Version>().unwrap().oldest_java(), 17);
        assert_eq!("3.9.1".parse::<Version>().unwrap().oldest_java(), 11);
    }
}
