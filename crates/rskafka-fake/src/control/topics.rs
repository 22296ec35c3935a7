//! Commands on topics.

use std::collections::BTreeMap;

use rskafka_protocol::Uuid;

use crate::cluster::FakeCluster;
use crate::state::{ControlError, TopicRequest};

/// Topics.
impl FakeCluster {
    /// Creates a topic without a client. Gives its id.
    ///
    /// # Errors
    ///
    /// What a client would be refused with.
    pub fn create_topic(
        &self,
        name: &str,
        num_partitions: i32,
        replication_factor: i16,
    ) -> Result<Uuid, ControlError> {
        self.create_topic_with(name, num_partitions, replication_factor, [])
    }

    /// Creates a topic with configs of its own, e.g. `("message.timestamp.type", "LogAppendTime")`.
    ///
    /// # Errors
    ///
    /// What a client would be refused with.
    pub fn create_topic_with<'a>(
        &self,
        name: &str,
        num_partitions: i32,
        replication_factor: i16,
        configs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Uuid, ControlError> {
        let configs = configs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let configs: BTreeMap<_, _> = configs.collect();
        let name = name.to_owned();
        let request =
            TopicRequest { name, num_partitions, replication_factor, assignments: Vec::new(), configs };
        self.shared.with(|state, _| state.create_topic(request))
    }

    /// Deletes a topic and its records. A topic created again under the name has another id.
    ///
    /// # Errors
    ///
    /// There is no such topic.
    pub fn delete_topic(&self, name: &str) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.delete_topic(name))
    }

    /// Deletes a topic and creates it again, empty, with as many partitions at the same brokers and the same
    /// configs. Returns its new id.
    ///
    /// # Errors
    ///
    /// There is no such topic.
    pub fn recreate_topic(&self, name: &str) -> Result<Uuid, ControlError> {
        self.shared.with(|state, _| state.recreate_topic(name))
    }

    /// A topic's id.
    ///
    /// # Errors
    ///
    /// There is no such topic.
    pub fn topic_id(&self, name: &str) -> Result<Uuid, ControlError> {
        let id = self.shared.with(|state, _| state.topic(name).map(|topic| topic.id));
        id.ok_or_else(|| ControlError::UnknownTopic { topic: name.to_owned() })
    }

    /// A topic's own configs; the defaults are not among them.
    ///
    /// # Errors
    ///
    /// There is no such topic.
    pub fn topic_configs(&self, name: &str) -> Result<BTreeMap<String, String>, ControlError> {
        let configs = self.shared.with(|state, _| state.topic(name).map(|topic| topic.configs.clone()));
        configs.ok_or_else(|| ControlError::UnknownTopic { topic: name.to_owned() })
    }
}
