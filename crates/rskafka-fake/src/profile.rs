//! The broker that the cluster imitates: the versions it advertises, and how it differs from the newest Apache
//! Kafka.
//!
//! Invariant: all differences between profiles are in the tables of this file.

use std::fmt;
use std::str::FromStr;

use rskafka_protocol::{ApiKey, VersionRange};

use crate::state::Rules;

/// A broker to imitate.
///
/// The three of Apache Kafka are compared with the real ones. Redpanda (24.3) and Azure Event Hubs are made
/// from what is known of them, and were not compared with real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Apache Kafka 2.8 with ZooKeeper: only the controller creates and deletes topics, and topic ids are
    /// in Metadata only.
    Kafka2_8,
    /// Apache Kafka 3.9.
    Kafka3_9,
    /// Apache Kafka 4.4.
    #[default]
    Kafka4_4,
    /// Redpanda 24.3: no flexible Produce and no DescribeCluster; the epoch of an idempotent batch is not
    /// checked, the sequence numbers of a batch may not wrap around, and aborted transactions come in any
    /// order. If too few replicas are in sync, the leader appends before it refuses. Unknown topic configs are
    /// ignored, including the bounds of timestamps. A compacted topic accepts records without a key. No answer
    /// has the time of an append.
    Redpanda,
    /// Azure Event Hubs: no topic ids, no leader epochs, gzip as the only compression. It closes the connection
    /// on an ApiVersions request that is too new.
    EventHubs,
}

/// How a profile differs from the newest Apache Kafka.
#[derive(Debug)]
pub(crate) struct Quirks {
    /// Kafka with ZooKeeper: only the controller changes topics, others answer NOT_CONTROLLER. Requests to change
    /// topics or configs are checked less, and in another order.
    pub(crate) zookeeper: bool,
    /// Metadata gives topics an id.
    pub(crate) topic_ids: bool,
    /// `min.insync.replicas` above the number of replicas counts as that number (KIP-966).
    pub(crate) min_isr_capped: bool,
    /// Nothing is committed while fewer than `min.insync.replicas` are in sync (KIP-966).
    pub(crate) commits_min_isr_only: bool,
    /// An append with acks=all for which too few are in sync is refused before it is written. Raft, which
    /// Redpanda replicates by, writes it at the leader and waits for the others.
    pub(crate) refuses_below_min_isr: bool,
    /// Eligible leader replicas are on (KIP-966): while there is no leader no replica is in sync, and
    /// `min.insync.replicas` is set for all brokers.
    pub(crate) eligible_leaders: bool,
    /// Aborted transactions come in the order of their end.
    pub(crate) aborted_in_order: bool,
    pub(crate) only_gzip: bool,
    /// An ApiVersions request that is too new gets an answer.
    pub(crate) answers_new_api_versions: bool,
    /// The least that `segment.bytes` may be.
    pub(crate) min_segment_bytes: i64,
    /// ListOffsets answers a partition that the request has twice once.
    pub(crate) list_offsets_merges: bool,
    /// A batch that claims log append time is accepted, and stored with create time.
    pub(crate) takes_log_append_time: bool,
    /// A topic config that it does not know is an error.
    pub(crate) refuses_unknown_configs: bool,
    /// A compacted topic takes no record without a key.
    pub(crate) compaction_needs_keys: bool,
    /// The answer to Produce tells which time the records got in a topic of log append time.
    pub(crate) tells_append_time: bool,
    /// ListOffsets treats negative numbers that it does not know as timestamps.
    pub(crate) negative_times: bool,
    pub(crate) producers: Rules,
}

const KAFKA: Quirks = Quirks {
    zookeeper: false,
    topic_ids: true,
    min_isr_capped: true,
    commits_min_isr_only: true,
    refuses_below_min_isr: true,
    eligible_leaders: true,
    aborted_in_order: true,
    only_gzip: false,
    answers_new_api_versions: true,
    min_segment_bytes: 1_048_576,
    list_offsets_merges: true,
    takes_log_append_time: true,
    refuses_unknown_configs: true,
    compaction_needs_keys: true,
    tells_append_time: true,
    negative_times: false,
    producers: Rules { fences: true, wraps: true },
};
const KAFKA_3_9: Quirks =
    Quirks { eligible_leaders: false, min_segment_bytes: 14, list_offsets_merges: false, ..KAFKA };
const KAFKA_2_8: Quirks = Quirks {
    zookeeper: true,
    min_isr_capped: false,
    commits_min_isr_only: false,
    takes_log_append_time: false,
    negative_times: true,
    ..KAFKA_3_9
};
const REDPANDA: Quirks = Quirks {
    refuses_below_min_isr: false,
    eligible_leaders: false,
    aborted_in_order: false,
    refuses_unknown_configs: false,
    compaction_needs_keys: false,
    tells_append_time: false,
    producers: Rules { fences: false, wraps: false },
    ..KAFKA
};
const EVENT_HUBS: Quirks = Quirks {
    commits_min_isr_only: false,
    eligible_leaders: false,
    topic_ids: false,
    only_gzip: true,
    answers_new_api_versions: false,
    ..KAFKA
};

type Range = Option<(i16, i16)>;
const NONE: Range = None;

const fn to(min: i16, max: i16) -> Range {
    Some((min, max))
}

/// What is advertised, in the order of the profiles.
const VERSIONS: &[(ApiKey, [Range; 5])] = &[
    (ApiKey::PRODUCE, [to(0, 9), to(0, 11), to(0, 13), to(0, 7), to(0, 7)]),
    (ApiKey::FETCH, [to(0, 12), to(0, 17), to(4, 18), to(4, 11), to(4, 6)]),
    (ApiKey::LIST_OFFSETS, [to(0, 6), to(0, 9), to(1, 11), to(0, 4), to(0, 7)]),
    (ApiKey::METADATA, [to(0, 11), to(0, 12), to(0, 13), to(0, 8), to(0, 5)]),
    (ApiKey::FIND_COORDINATOR, [to(0, 3), to(0, 6), to(0, 6), to(0, 3), to(0, 1)]),
    (ApiKey::SASL_HANDSHAKE, [to(0, 1), to(0, 1), to(0, 1), to(0, 1), to(0, 1)]),
    (ApiKey::API_VERSIONS, [to(0, 3), to(0, 4), to(0, 5), to(0, 3), to(0, 3)]),
    (ApiKey::CREATE_TOPICS, [to(0, 7), to(0, 7), to(2, 7), to(0, 6), to(0, 3)]),
    (ApiKey::DELETE_TOPICS, [to(0, 6), to(0, 6), to(1, 6), to(0, 5), to(0, 3)]),
    (ApiKey::DELETE_RECORDS, [to(0, 2), to(0, 2), to(0, 2), to(0, 2), NONE]),
    (ApiKey::INIT_PRODUCER_ID, [to(0, 4), to(0, 5), to(0, 5), to(0, 3), to(0, 1)]),
    (ApiKey::OFFSET_FOR_LEADER_EPOCH, [to(0, 4), to(0, 4), to(2, 4), to(0, 4), NONE]),
    (ApiKey::DESCRIBE_CONFIGS, [to(0, 4), to(0, 4), to(1, 4), to(0, 4), to(0, 2)]),
    (ApiKey::SASL_AUTHENTICATE, [to(0, 2), to(0, 2), to(0, 2), to(0, 2), to(0, 1)]),
    (ApiKey::CREATE_PARTITIONS, [to(0, 3), to(0, 3), to(0, 3), to(0, 3), to(0, 1)]),
    (ApiKey::INCREMENTAL_ALTER_CONFIGS, [to(0, 1), to(0, 1), to(0, 1), to(0, 1), NONE]),
    (ApiKey::DESCRIBE_CLUSTER, [to(0, 0), to(0, 1), to(0, 2), NONE, NONE]),
    (ApiKey::DESCRIBE_PRODUCERS, [to(0, 0), to(0, 0), to(0, 0), to(0, 0), NONE]),
];

impl Profile {
    /// All of them, the oldest Kafka first.
    pub const ALL: [Self; 5] =
        [Self::Kafka2_8, Self::Kafka3_9, Self::Kafka4_4, Self::Redpanda, Self::EventHubs];

    /// The name on a command line, e.g. `kafka-4.4`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka2_8 => "kafka-2.8",
            Self::Kafka3_9 => "kafka-3.9",
            Self::Kafka4_4 => "kafka-4.4",
            Self::Redpanda => "redpanda",
            Self::EventHubs => "event-hubs",
        }
    }

    /// The APIs and their versions as they are advertised.
    pub(crate) fn versions(self) -> impl Iterator<Item = (ApiKey, VersionRange)> {
        let range = move |(api_key, ranges): &(ApiKey, [Range; 5])| {
            let (min, max) = ranges[self as usize]?;
            Some((*api_key, VersionRange { min, max }))
        };
        VERSIONS.iter().filter_map(range)
    }

    pub(crate) fn quirks(self) -> &'static Quirks {
        match self {
            Self::Kafka2_8 => &KAFKA_2_8,
            Self::Kafka3_9 => &KAFKA_3_9,
            Self::Kafka4_4 => &KAFKA,
            Self::Redpanda => &REDPANDA,
            Self::EventHubs => &EVENT_HUBS,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|profile| profile.name() == name);
        known
            .ok_or_else(|| format!("no profile {name:?}: there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}
