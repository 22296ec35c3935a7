//! CreateTopics: new topics, with partitions, replicas and configs.

use crate::schema::schema;
use crate::{ErrorCode, Uuid};

schema! {
    /// Creates topics. To be sent to the controller; with KRaft, any broker passes it on.
    pub struct CreateTopicsRequest (CreateTopics = 19, versions 2..=7, flexible 5..) {
        /// The topics to create.
        topics: Vec<CreatableTopic>,
        /// How long the controller may wait for the topics to be usable.
        timeout_ms: i32 = 60_000,
        /// Whether to check the request only.
        validate_only: bool [1..],
    }

    /// A topic to create.
    pub struct CreatableTopic {
        /// The topic's name.
        name: String,
        /// The number of partitions; -1 for the broker's default (KIP-464) or with assignments.
        num_partitions: i32,
        /// The number of replicas; -1 for the broker's default (KIP-464) or with assignments.
        replication_factor: i16,
        /// Which brokers hold which partition; empty to let the controller choose.
        assignments: Vec<CreatableReplicaAssignment>,
        /// The topic's own configs.
        configs: Vec<CreatableTopicConfig>,
    }

    /// The brokers that are to hold one partition.
    pub struct CreatableReplicaAssignment {
        /// The partition's index.
        partition_index: i32,
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>,
    }

    /// A config of a topic to create.
    pub struct CreatableTopicConfig {
        /// The config's name.
        name: String,
        /// The config's value.
        value: Option<String> = Some(String::new()),
    }

    /// What became of the topics.
    pub struct CreateTopicsResponse (CreateTopics = 19, versions 2..=7, flexible 5..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [2.., ignorable, client_waits 3..],
        /// One entry for each topic.
        topics: Vec<CreatableTopicResult>,
    }

    /// What became of one topic.
    pub struct CreatableTopicResult {
        /// The topic's name.
        name: String,
        /// The new topic's id (KIP-516).
        topic_id: Uuid [7.., ignorable],
        /// The outcome for this topic.
        error_code: ErrorCode,
        /// Why it was not created.
        error_message: Option<String> [1.., ignorable] = Some(String::new()),
        /// The number of partitions; -1 if unknown.
        num_partitions: i32 [5.., ignorable] = -1,
        /// The number of replicas; -1 if unknown.
        replication_factor: i16 [5.., ignorable] = -1,
        /// The configs in force; null if the asker may not see them.
        configs: Option<Vec<CreatableTopicConfigs>> [5.., ignorable] = Some(Vec::new()),
    } tagged {
        /// Why configs are missing.
        0 => topic_config_error_code: ErrorCode [5.., ignorable],
    }

    /// A config in force.
    pub struct CreatableTopicConfigs {
        /// The config's name.
        name: String [5..],
        /// The config's value; null if it is sensitive.
        value: Option<String> [5..] = Some(String::new()),
        /// Whether it cannot be changed.
        read_only: bool [5..],
        /// Where the value comes from.
        config_source: i8 [5.., ignorable] = -1,
        /// Whether it is sensitive.
        is_sensitive: bool [5..],
    }
}
