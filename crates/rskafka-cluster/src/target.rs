//! Which broker a request belongs to, and how it is found.

use rskafka_protocol::{ErrorCode, Uuid};
use rskafka_transport::Deadline;

use crate::metadata::LeaderLookup;
use crate::{Broker, Class, Cluster, Failure, Leader, Learned, Location, Retry, refresh};

/// Which broker a request belongs to: [`LeaderOf`] a partition, or a [`Node`].
pub trait Target: Copy + Send + Sync {
    /// Where its requests go.
    type Route: AsRef<Broker> + Send + Sync;

    /// Finds the broker; asks for metadata if it is not known. Cancel safe.
    fn route(
        self,
        cluster: &Cluster,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Self::Route, Failure>> + Send;

    /// Takes in what an answer says of the cluster. Returns whether the next attempt knows better where to go.
    fn learn(self, cluster: &Cluster, route: &Self::Route, learned: &Learned) -> bool;

    /// The topic and partition that errors name.
    fn location(self) -> Location;
}

/// The leader of a partition.
#[derive(Debug, Clone, Copy)]
pub struct LeaderOf<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's index.
    pub partition: i32,
    /// The topic's id; zero to take whichever topic has the name.
    pub topic_id: Uuid,
}

/// A broker, whatever partitions it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// The controller, or a broker that passes requests on to it.
    Controller,
    /// Any broker: one with an open connection if there is one.
    Any,
    /// The broker with this id.
    Id(i32),
}

impl LeaderOf<'_> {
    /// The leader, as far as it is known.
    pub(crate) fn known(self, cluster: &Cluster) -> Option<Leader> {
        match cluster.metadata().leader(self.topic, self.partition) {
            LeaderLookup::Leader(leader) => Some(leader).filter(|leader| self.is_led_by(leader)),
            _ => None,
        }
    }

    /// Whether the topic is still the one that is meant, as far as that can be told.
    fn is_led_by(self, leader: &Leader) -> bool {
        self.topic_id.is_zero() || leader.topic_id.is_zero() || leader.topic_id == self.topic_id
    }
}

impl Target for LeaderOf<'_> {
    type Route = Leader;

    async fn route(self, cluster: &Cluster, deadline: Deadline) -> Result<Leader, Failure> {
        let leader = cluster.leader(self.topic, self.partition, deadline).await?;
        if self.is_led_by(&leader) { Ok(leader) } else { Err(Failure::TopicRecreated) }
    }

    fn learn(self, cluster: &Cluster, route: &Leader, learned: &Learned) -> bool {
        let mut metadata = cluster.metadata();
        match &learned.leader {
            Some(hint) => metadata.apply_hint(self.topic, route.topic_id, self.partition, hint),
            None => {
                if learned.is_stale {
                    metadata.mark_stale(self.topic);
                }
                false
            }
        }
    }

    fn location(self) -> Location {
        let (topic, partition) = (Some(self.topic.to_owned()), Some(self.partition));
        Location { topic, partition, ..Location::default() }
    }
}

impl Target for Node {
    type Route = Broker;

    async fn route(self, cluster: &Cluster, deadline: Deadline) -> Result<Broker, Failure> {
        if let Some(broker) = cluster.node(self, false) {
            return Ok(broker);
        }
        let mut retry = Retry::new(cluster.config().backoff);
        loop {
            let request = refresh::no_topics();
            cluster.ask_with_retries(&request, deadline).await.map_err(|error| error.failure)?;
            if let Some(broker) = cluster.node(self, true) {
                return Ok(broker);
            }
            // A broker that is away leaves the metadata until it is back.
            let next = retry.failed(Class::Passing, cluster.env().now(), deadline, cluster.env().random());
            let Some(moment) = next else {
                return Err(match self {
                    Self::Id(id) => Failure::UnknownBroker { id },
                    Self::Controller | Self::Any => Failure::NoReachableBroker { causes: Vec::new() },
                });
            };
            cluster.pause_until(moment).await;
        }
    }

    fn learn(self, cluster: &Cluster, _: &Broker, learned: &Learned) -> bool {
        // A controller whose quota is exceeded is the controller.
        if learned.failure.code() != Some(ErrorCode::THROTTLING_QUOTA_EXCEEDED) {
            cluster.metadata().mark_brokers_stale();
        }
        false
    }

    fn location(self) -> Location {
        Location::default()
    }
}

impl Cluster {
    /// A broker, as far as it is known; `is_fresh` if metadata was just asked for.
    fn node(&self, node: Node, is_fresh: bool) -> Option<Broker> {
        let candidates = self.candidates();
        let metadata = self.metadata();
        let any = || candidates.iter().rev().find_map(|endpoint| metadata.broker_at(endpoint));
        let found = match node {
            Node::Any => any(),
            Node::Id(id) => metadata.broker(id),
            // With KRaft, each broker passes requests on to the controller.
            Node::Controller => metadata.controller().or_else(|| any().filter(|_| is_fresh)),
        };
        found.cloned()
    }

    /// The leader of a partition, asked for if it is not known. Waits while there is none. Cancel safe.
    pub async fn leader(&self, topic: &str, partition: i32, deadline: Deadline) -> Result<Leader, Failure> {
        let unknown = Deadline::after(self.env().now(), self.config().unknown_topic_patience).min(deadline);
        let mut retry = Retry::new(self.config().backoff);
        loop {
            let lookup = self.metadata().leader(topic, partition);
            let (failure, until) = match lookup {
                LeaderLookup::Leader(leader) => return Ok(leader),
                LeaderLookup::NoLeader => (Failure::NoLeader, deadline),
                LeaderLookup::NoPartition => (Failure::UnknownPartition, unknown),
                LeaderLookup::Ask => match self.refresh(topic, partition, deadline).await {
                    Ok(()) => continue,
                    Err(Failure::UnknownTopic) => (Failure::UnknownTopic, unknown),
                    Err(failure) if failure.is_transient() => (failure, deadline),
                    Err(failure) => return Err(failure),
                },
            };
            let next = retry.failed(Class::Passing, self.env().now(), until, self.env().random());
            let Some(moment) = next else {
                return Err(failure);
            };
            self.pause_until(moment).await;
            self.metadata().mark_stale(topic);
        }
    }
}
