//! The cluster as brokers describe it in answers to Metadata: brokers, topics, leaders.
//!
//! Invariant: a partition's leader epoch never decreases while the topic's id stays the same. An older answer is ignored
//! for that partition; a topic with another id replaces the known one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rskafka_protocol::messages::metadata::{MetadataResponse, MetadataResponseBroker, MetadataResponseTopic};
use rskafka_protocol::{ErrorCode, Uuid};
use rskafka_transport::{BrokerIdentity, Endpoint, MAX_SHOWN, printable};

use crate::Failure;

/// Below this version, leader epochs from brokers before Kafka 2.4 are not reliable (KAFKA-9212).
const RELIABLE_EPOCHS: i16 = 9;

/// A broker and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The broker's id.
    pub id: i32,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The rack that it is in.
    pub rack: Option<String>,
}

/// The leader of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The leading broker.
    pub broker: Broker,
    /// Its epoch; `None` if the broker did not give a reliable one.
    pub epoch: Option<i32>,
    /// The topic's id; zero if the broker knows none.
    pub topic_id: Uuid,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// The topic's name.
    pub name: String,
    /// The topic's id; zero if the broker knows none.
    pub id: Uuid,
    /// Whether the topic is Kafka's own.
    pub is_internal: bool,
    /// The partitions by index.
    pub partitions: BTreeMap<i32, Partition>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// The leader's id; `None` if there is none at the moment.
    pub leader: Option<i32>,
    /// The leader's epoch; `None` if the broker did not give a reliable one.
    pub leader_epoch: Option<i32>,
    /// Why there is no leader, if the broker says so.
    pub(crate) code: Option<ErrorCode>,
    /// The brokers that hold the partition.
    pub replicas: Vec<i32>,
    /// The brokers that are in sync with the leader.
    pub isr: Vec<i32>,
}

/// A leader named by an answer of another API (KIP-951).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderHint {
    /// The leader's id.
    pub leader_id: i32,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// Where the leader listens.
    pub endpoint: Endpoint,
}

impl LeaderHint {
    /// The leader that an answer names; `None` if it does not say who leads and where. `nodes` are the id, host and port of
    /// each broker in the answer.
    pub fn of_answer<'a>(
        leader_id: i32,
        leader_epoch: i32,
        nodes: impl IntoIterator<Item = (i32, &'a str, i32)>,
    ) -> Option<Self> {
        let (_, host, port) = nodes.into_iter().find(|(id, ..)| *id == leader_id && *id >= 0)?;
        let endpoint = Endpoint::new(host, u16::try_from(port).ok()?);
        Some(Self { leader_id, leader_epoch, endpoint })
    }
}

/// The topics of an answer by name, each with its error code if the answer has one.
pub(crate) type Topics = Vec<(String, Result<Arc<Topic>, ErrorCode>)>;

/// The cluster, according to all answers so far.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// The address that gave the last answer.
    pub(crate) asked: Option<Endpoint>,
    /// The cluster's id, from the first answer that had one.
    cluster_id: Option<String>,
    controller: Option<i32>,
    pub(crate) brokers_are_stale: bool,
    brokers: BTreeMap<i32, Broker>,
    topics: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    topic: Arc<Topic>,
    /// Whether the next lookup asks a broker.
    is_stale: bool,
}

impl Metadata {
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// The controller; `None` if it is not known, or may have changed.
    pub(crate) fn controller(&self) -> Option<&Broker> {
        self.broker(self.controller?)
    }

    /// The broker with this id; `None` if it is not known, or may have moved.
    pub(crate) fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.get(&id).filter(|_| !self.brokers_are_stale)
    }

    /// A partition's leader; `None` if nothing is known of the topic, or it may be out of date.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Result<Option<Leader>, Failure> {
        let Some(entry) = self.topics.get(topic).filter(|entry| !entry.is_stale) else { return Ok(None) };
        let found = entry.topic.partitions.get(&partition).ok_or(Failure::UnknownPartition)?;
        let broker = found.leader.and_then(|id| self.brokers.get(&id));
        let broker = broker.ok_or(Failure::NoLeader { code: found.code })?.clone();
        let topic_id = entry.topic.id;
        Ok(Some(Leader { broker, epoch: found.leader_epoch, topic_id }))
    }

    /// Whether nothing that is known contradicts this leader.
    pub(crate) fn leads(&self, topic: &str, partition: i32, leader: &Leader) -> bool {
        let Some(topic) = self.topics.get(topic).map(|entry| &entry.topic) else { return false };
        let id = leader.broker.id;
        let is_led = topic
            .partitions
            .get(&partition)
            .is_some_and(|known| (known.leader, known.leader_epoch) == (Some(id), leader.epoch));
        is_led && topic.id == leader.topic_id && self.brokers.get(&id) == Some(&leader.broker)
    }

    /// Makes the next lookup of `topic` ask again.
    pub(crate) fn mark_stale(&mut self, topic: &str) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.is_stale = true;
        }
    }

    /// Forgets `topic`, which the client has deleted.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Fails if an answer names another cluster than the first answer did. Answers below version 2 have no cluster id.
    pub(crate) fn check_cluster(&mut self, answered: Option<&str>) -> Result<(), Failure> {
        let Some(found) = answered else { return Ok(()) };
        let expected = self.cluster_id.get_or_insert_with(|| found.to_owned());
        if expected == found {
            return Ok(());
        }
        let [expected, found] = [expected.as_str(), found].map(|id| printable(id, MAX_SHOWN));
        Err(Failure::OtherCluster { expected, found })
    }

    /// The broker that is expected to listen at an address: `broker` if that is given. `None` before the cluster's
    /// id is known, and for an address that no broker has.
    pub(crate) fn identity(&self, endpoint: &Endpoint, broker: Option<i32>) -> Option<BrokerIdentity> {
        let cluster_id = self.cluster_id.clone()?;
        let broker_id = broker.or_else(|| Some(self.broker_at(endpoint)?.id))?;
        Some(BrokerIdentity { cluster_id, broker_id })
    }

    /// The broker that listens at an address, as far as is known.
    pub(crate) fn broker_at(&self, endpoint: &Endpoint) -> Option<&Broker> {
        self.brokers().find(|broker| broker.endpoint == *endpoint)
    }

    /// Forgets everything but the cluster's id: a client stays with one cluster for its life.
    pub(crate) fn forget(&mut self) {
        *self = Self { cluster_id: self.cluster_id.take(), ..Self::default() };
    }

    /// Takes in an answer, with what `topics_of` gives for it; returns what is known of each of its topics now. A list of
    /// all topics only updates known ones: the client may use few of them, and never forgets one.
    pub(crate) fn apply(
        &mut self,
        response: &MetadataResponse,
        mut topics: Topics,
        is_list_of_all: bool,
    ) -> Topics {
        // A broker that has just started may know no broker yet.
        if !response.brokers.is_empty() {
            self.brokers = response.brokers.iter().filter_map(broker_of).collect();
            self.controller = Some(response.controller_id).filter(|id| *id >= 0);
            self.brokers_are_stale = false;
        }
        for (name, answered) in &mut topics {
            match answered {
                Ok(topic) => self.apply_topic(topic, is_list_of_all),
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                    self.topics.remove(name);
                }
                Err(_) => {}
            }
        }
        topics
    }

    fn apply_topic(&mut self, topic: &mut Arc<Topic>, only_if_known: bool) {
        let known = self.topics.get(&topic.name);
        let is_wanted = !only_if_known || known.is_some();
        if let Some(known) = known.filter(|known| known.topic.id == topic.id) {
            Arc::make_mut(topic).keep_newer(&known.topic);
        }
        if is_wanted {
            self.topics.insert(topic.name.clone(), Entry { topic: topic.clone(), is_stale: false });
        }
    }

    /// Takes in a leader that a broker named instead of itself. Returns whether it is newer than the known one; if not,
    /// the topic is marked stale.
    pub(crate) fn apply_hint(
        &mut self,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
        hint: &LeaderHint,
    ) -> bool {
        let LeaderHint { leader_id: id, leader_epoch, ref endpoint } = *hint;
        let Some(entry) = self.topics.get_mut(topic) else { return false };
        // Epochs of a topic that was deleted and created again cannot be compared.
        let is_same = entry.topic.id == topic_id;
        let is_older = |epoch| is_same && epoch < leader_epoch;
        let known = Arc::make_mut(&mut entry.topic).partitions.get_mut(&partition);
        let Some(known) = known.filter(|known| known.leader_epoch.is_some_and(is_older)) else {
            entry.is_stale = true;
            return false;
        };
        (known.leader, known.leader_epoch) = (Some(id), Some(leader_epoch));
        let rack = self.brokers.get(&id).and_then(|broker| broker.rack.clone());
        self.brokers.insert(id, Broker { id, endpoint: endpoint.clone(), rack });
        true
    }
}

impl Topic {
    /// Takes over each partition of which more is known than this answer says.
    fn keep_newer(&mut self, known: &Self) {
        for (index, partition) in &mut self.partitions {
            // `None` is less than any epoch, but says nothing.
            if let Some(known) = known.partitions.get(index)
                && partition.leader_epoch.is_some()
                && known.leader_epoch > partition.leader_epoch
            {
                partition.clone_from(known);
            }
        }
    }
}

fn broker_of(answer: &MetadataResponseBroker) -> Option<(i32, Broker)> {
    let endpoint = Endpoint { host: answer.host.clone(), port: u16::try_from(answer.port).ok()? };
    Some((answer.node_id, Broker { id: answer.node_id, endpoint, rack: answer.rack.clone() }))
}

/// The topics of an answer, before they are compared with what is known. It may be a long list, so do this without a lock.
pub(crate) fn topics_of(version: i16, topics: Vec<MetadataResponseTopic>) -> Topics {
    let named = topics.into_iter().filter_map(|topic| {
        // Only a topic asked for by its id can lack a name.
        let name = topic.name.clone()?;
        // A new topic without any leader has LEADER_NOT_AVAILABLE here.
        let answered = topic.error_code.ok().map(|()| Arc::new(topic_of(version, &name, topic)));
        Some((name, answered))
    });
    named.collect()
}

fn topic_of(version: i16, name: &str, answer: MetadataResponseTopic) -> Topic {
    let partitions = answer.partitions.into_iter().map(|partition| {
        let has_epoch = partition.leader_epoch >= 0 && version >= RELIABLE_EPOCHS;
        let known = Partition {
            leader: Some(partition.leader_id).filter(|id| *id >= 0),
            leader_epoch: has_epoch.then_some(partition.leader_epoch),
            code: partition.error_code.ok().err().filter(|_| partition.leader_id < 0),
            replicas: partition.replica_nodes,
            isr: partition.isr_nodes,
        };
        (partition.partition_index, known)
    });
    Topic {
        name: name.to_owned(),
        id: answer.topic_id,
        is_internal: answer.is_internal,
        partitions: partitions.collect(),
    }
}

#[cfg(test)]
mod tests;
