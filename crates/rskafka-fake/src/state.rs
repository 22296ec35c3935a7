//! The cluster as plain data: brokers, topics and what waits for them.
//!
//! Invariant: no socket, no task and no clock; the same calls with the same times give the same state.

mod batch;
mod broker;
mod broker_configs;
mod configs;
mod control;
mod coordinator;
mod epochs;
mod internal;
mod isolated;
mod life;
mod log;
mod old_metadata;
mod partition;
mod producers;
mod quotas;
mod replica;
mod time;
mod topic;
mod transactions;
mod waiting;
mod writing;

pub(crate) use self::batch::{Received as ReceivedBatch, Refusal};
pub(crate) use self::broker::{Broker, Endpoint};
pub(crate) use self::broker_configs::{BrokerConfig, BrokerConfigs, Source, broker_configs};
pub(crate) use self::configs::{TopicConfig, TopicSettings, topic_config, topic_configs};
pub use self::control::ControlError;
pub(crate) use self::coordinator::{Coordinator, Identity, partition_of};
pub(crate) use self::internal::{CONSUMER_OFFSETS, InternalTopic, TRANSACTION_STATE, is_internal};
pub(crate) use self::isolated::Isolated;
pub(crate) use self::life::Life;
pub(crate) use self::log::{Found, Span};
pub(crate) use self::old_metadata::OldMetadata;
pub(crate) use self::partition::Partition;
pub(crate) use self::producers::{Producer, Rules, Sequenced};
pub(crate) use self::quotas::{Limited, Quotas};
pub(crate) use self::replica::Replica;
pub(crate) use self::topic::{NewTopic, Topic, TopicRefused, TopicRequest, check_name};
pub(crate) use self::transactions::Aborted;
pub(crate) use self::waiting::Waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use rskafka_protocol::{ErrorCode, Uuid};

use crate::fault::Faults;
use crate::profile::Profile;
use crate::random::Random;
use crate::received::Received;

/// The number of a connection, unique in the life of a cluster.
pub(crate) type ConnectionId = u64;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) cluster_id: String,
    pub(crate) profile: Profile,
    /// In ascending order of their ids.
    pub(crate) brokers: Vec<Broker>,
    /// How many bytes of records a partition keeps if its topic does not say; `None` for all.
    retained_bytes: Option<usize>,
    pub(crate) faults: Faults,
    pub(crate) received: Received,
    pub(crate) waiting: Waiting,
    pub(crate) configs: BrokerConfigs,
    pub(crate) coordinator: Coordinator,
    pub(crate) quotas: Quotas,
    /// How long the cluster takes a crashed broker for alive.
    pub(crate) crashes_missed_after: Duration,
    pub(crate) old_metadata: OldMetadata,
    pub(crate) isolated: Isolated,
    upkeep: time::Upkeep,
    topics: BTreeMap<String, Topic>,
    names: BTreeMap<Uuid, String>,
    random: Random,
}

impl State {
    pub(crate) fn new(
        seed: u64,
        profile: Profile,
        brokers: Vec<Broker>,
        retained_bytes: Option<usize>,
        configs: BrokerConfigs,
        received: Received,
    ) -> Self {
        let mut random = Random::new(seed);
        Self {
            cluster_id: random.uuid().to_string(),
            profile,
            brokers,
            retained_bytes,
            faults: Faults::new(seed),
            received,
            waiting: Waiting::default(),
            configs,
            coordinator: Coordinator::default(),
            quotas: Quotas::default(),
            crashes_missed_after: Duration::ZERO,
            old_metadata: OldMetadata::default(),
            isolated: Isolated::default(),
            upkeep: time::Upkeep::default(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            random,
        }
    }

    pub(crate) fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }

    /// The brokers that the cluster takes for alive.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.iter().filter(|broker| broker.is_listed())
    }

    /// The broker that is named as the controller; with KRaft any may be. -1 if there is none.
    pub(crate) fn controller(&self) -> i32 {
        self.listed().next().map_or(-1, |broker| broker.id)
    }

    /// The topics, in the order of their names.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<&Topic> {
        self.topics.get(self.names.get(&id)?)
    }

    /// The topic that a request means.
    pub(crate) fn find(&self, topic: &TopicRef) -> Result<&Topic, ErrorCode> {
        match topic {
            TopicRef::Name(name) => self.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            TopicRef::Id(id) => self.topic_by_id(*id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID),
        }
    }

    /// The partition that a request means.
    pub(crate) fn find_partition(
        &mut self,
        topic: &TopicRef,
        index: i32,
    ) -> Result<(&mut Partition, &TopicSettings), ErrorCode> {
        let name = match topic {
            TopicRef::Name(name) => name,
            TopicRef::Id(id) => self.names.get(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
        };
        let topic = self.topics.get_mut(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let partition = usize::try_from(index).ok().and_then(|index| topic.partitions.get_mut(index));
        Ok((partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?, &topic.settings))
    }

    /// Creates a topic that [`NewTopic::check`] accepted. Returns its id.
    pub(crate) fn insert_topic(&mut self, new: NewTopic) -> Uuid {
        let id = self.new_id();
        self.names.insert(id, new.name.clone());
        let mut topic = Topic::new(id, new, &self.brokers);
        topic.apply_settings(self.profile.quirks());
        self.topics.insert(topic.name.clone(), topic);
        id
    }

    /// Sets all of a topic's own configs.
    ///
    /// # Errors
    ///
    /// Names the config that is unknown or has an invalid value.
    pub(crate) fn set_topic_configs(
        &mut self,
        name: &str,
        configs: BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<(), String> {
        TopicSettings::check(&configs, self.profile)?;
        if !validate_only {
            self.apply_topic_configs(name, configs);
        }
        Ok(())
    }

    fn apply_topic_configs(&mut self, name: &str, configs: BTreeMap<String, String>) {
        let settings = self.settings(&configs);
        if let Some(topic) = self.topics.get_mut(name) {
            (topic.configs, topic.settings) = (configs, settings);
            topic.apply_settings(self.profile.quirks());
            (0..topic.partitions.len()).for_each(|index| self.waiting.wake(topic.id, index as i32));
        }
    }

    /// Sets configs of one broker, or of all; topics without their own follow.
    ///
    /// # Errors
    ///
    /// Names a config that cannot be set; then none is changed.
    pub(crate) fn set_broker_configs(
        &mut self,
        broker: Option<i32>,
        changes: &[(String, Option<String>)],
        validate_only: bool,
    ) -> Result<(), TopicRefused> {
        self.configs.alter(broker, changes, validate_only)?;
        let configs = |topic: &Topic| (topic.name.clone(), topic.configs.clone());
        let topics: Vec<_> = self.topics.values().map(configs).collect();
        topics.into_iter().for_each(|(name, configs)| self.apply_topic_configs(&name, configs));
        Ok(())
    }

    /// The settings of a topic with these configs of its own.
    fn settings(&self, configs: &BTreeMap<String, String>) -> TopicSettings {
        let mut settings = TopicSettings::of(configs, &self.configs, self.profile);
        settings.retention_bytes = settings.retention_bytes.or(self.retained_bytes);
        settings
    }

    /// Adds partitions that [`State::new_partitions`] accepted.
    pub(crate) fn add_partitions(&mut self, name: &str, assignments: Vec<Vec<i32>>) {
        let alive: Vec<i32> =
            self.brokers.iter().filter(|broker| broker.alive).map(|broker| broker.id).collect();
        if let Some(topic) = self.topics.get_mut(name) {
            let new = |brokers| Partition::new(brokers, |id| alive.contains(&id));
            topic.partitions.extend(assignments.into_iter().map(new));
            topic.apply_settings(self.profile.quirks());
        }
    }

    /// An id for a topic.
    pub(crate) fn new_id(&mut self) -> Uuid {
        self.random.uuid()
    }

    /// Removes a topic and its records, and wakes requests that wait for them.
    pub(crate) fn remove_topic(&mut self, name: &str) -> Option<Topic> {
        let topic = self.topics.remove(name)?;
        self.names.remove(&topic.id);
        for index in 0..topic.partitions.len() {
            self.waiting.wake(topic.id, index as i32);
        }
        Some(topic)
    }
}

/// How a request names a topic: by name, or by id from some version on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicRef {
    Name(String),
    Id(Uuid),
}

impl TopicRef {
    /// For a message whose `name` is replaced by `id` from version `ids_from` on.
    pub(crate) fn of(name: &str, id: Uuid, version: i16, ids_from: i16) -> Self {
        if version >= ids_from { Self::Id(id) } else { Self::Name(name.to_owned()) }
    }
}
