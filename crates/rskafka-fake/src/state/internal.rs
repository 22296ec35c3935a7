//! Internal topics: those in which Kafka keeps what it needs itself.
//!
//! Invariant: the fake keeps nothing in them; they exist so that clients meet them.

use super::{NewTopic, State, TopicRequest, partition_of};

/// A topic whose partitions' leaders are coordinators.
pub(crate) struct InternalTopic {
    name: &'static str,
    /// The broker configs that say how many partitions and replicas it has.
    partitions: &'static str,
    replicas: &'static str,
    compression: &'static str,
}

/// Looks after groups.
pub(crate) const CONSUMER_OFFSETS: InternalTopic = InternalTopic {
    name: "__consumer_offsets",
    partitions: "offsets.topic.num.partitions",
    replicas: "offsets.topic.replication.factor",
    compression: "producer",
};

/// Looks after transactional ids.
pub(crate) const TRANSACTION_STATE: InternalTopic = InternalTopic {
    name: "__transaction_state",
    partitions: "transaction.state.log.num.partitions",
    replicas: "transaction.state.log.replication.factor",
    compression: "uncompressed",
};

/// Whether clients may not write to a topic of that name (Kafka class `Topic`).
pub(crate) fn is_internal(name: &str) -> bool {
    [CONSUMER_OFFSETS.name, TRANSACTION_STATE.name, "__share_group_state"].contains(&name)
}

impl State {
    /// The broker that looks after a group or a transactional id; `None` if there is none.
    pub(crate) fn coordinator_of(&self, topic: &InternalTopic, id: &str) -> Option<i32> {
        let partitions = usize::try_from(self.configs.number(0, topic.partitions)).unwrap_or(1);
        let first = partition_of(id, partitions) % self.brokers.len().max(1);
        let (before, after) = self.brokers.split_at_checked(first)?;
        after.iter().chain(before).find(|broker| broker.is_listed()).map(|broker| broker.id)
    }

    /// Creates an internal topic unless it is there, with as many of its replicas as there are brokers.
    pub(crate) fn create_internal(&mut self, topic: &InternalTopic) {
        if self.topic(topic.name).is_some() {
            return;
        }
        let ids: Vec<i32> = self.brokers.iter().map(|broker| broker.id).collect();
        let replicas = usize::try_from(self.configs.number(0, topic.replicas)).unwrap_or(1).min(ids.len());
        let partitions = 0..self.configs.number(0, topic.partitions) as i32;
        let place = |partition| {
            let first = partition as usize;
            (partition, (first..first + replicas).map(|place| ids[place % ids.len()]).collect())
        };
        let (compaction, size) = (("cleanup.policy", "compact"), ("segment.bytes", "104857600"));
        let configs = [compaction, ("compression.type", topic.compression), size];
        let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = TopicRequest {
            name: topic.name.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: partitions.map(place).collect(),
            configs: configs.into(),
        };
        if let Ok(new) = NewTopic::check(request, self, &[]) {
            self.insert_topic(new);
        }
    }
}
