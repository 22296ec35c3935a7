//! Which broker a request belongs to, and how that broker is found.

use std::sync::atomic::{AtomicI32, Ordering};

use rskafka_protocol::{ErrorCode, Uuid};
use rskafka_transport::Deadline;
use tokio::time::timeout_at;

use crate::{Broker, Causes, Class, Cluster, Failure, Leader, Learned, Location, Retry, refresh};

/// Which broker a request belongs to: [`LeaderOf`] a partition, or a [`Node`].
pub trait Target: Copy + Send + Sync {
    /// What is known of the broker.
    type Route: Send + Sync;

    /// The broker of a route.
    fn broker(route: &Self::Route) -> &Broker;

    /// Looks the broker up in the known metadata; `None` if metadata has to be asked for. After that, `is_fresh` is set, and
    /// a broker that is still not known is an error.
    ///
    /// # Errors
    ///
    /// With `is_fresh`, why the broker is not known.
    fn look_up(self, cluster: &Cluster, is_fresh: bool) -> Result<Option<Self::Route>, Failure>;

    /// Takes in what an attempt says of the cluster. Returns whether the leader is now known, so that the next
    /// attempt need not wait.
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
    /// The topic's id; zero to accept any topic of this name.
    pub topic_id: Uuid,
    /// The replica to ask instead, by its broker's id (KIP-392); negative for the leader, as after each failure.
    pub replica: Option<&'a AtomicI32>,
}

/// A broker, whatever partitions it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// The controller, or a broker that forwards requests to it.
    Controller,
    /// Any broker, preferably one with an open connection.
    Any,
    /// The broker with this id.
    Id(i32),
}

impl Target for LeaderOf<'_> {
    type Route = Leader;

    fn broker(route: &Leader) -> &Broker {
        &route.broker
    }

    fn look_up(self, cluster: &Cluster, _: bool) -> Result<Option<Leader>, Failure> {
        let metadata = cluster.metadata();
        let mut found = metadata.leader(self.topic, self.partition)?;
        let replica = self.replica.and_then(|replica| metadata.broker(replica.load(Ordering::Relaxed)));
        if let (Some(leader), Some(replica)) = (&mut found, replica) {
            leader.broker = replica.clone();
        }
        let id = found.as_ref().map_or(Uuid::ZERO, |leader| leader.topic_id);
        let is_other_topic = !self.topic_id.is_zero() && !id.is_zero() && id != self.topic_id;
        if is_other_topic { Err(Failure::TopicRecreated) } else { Ok(found) }
    }

    fn learn(self, cluster: &Cluster, route: &Leader, learned: &Learned) -> bool {
        if let Some(replica) = self.replica {
            replica.store(-1, Ordering::Relaxed);
        }
        match &learned.leader {
            Some(hint) => cluster.change_metadata(|metadata| {
                metadata.apply_hint(self.topic, route.topic_id, self.partition, hint)
            }),
            None => {
                if learned.is_stale() {
                    cluster.mark_stale(self.topic);
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

    fn broker(route: &Broker) -> &Broker {
        route
    }

    fn look_up(self, cluster: &Cluster, is_fresh: bool) -> Result<Option<Broker>, Failure> {
        let candidates = cluster.candidates();
        let metadata = cluster.metadata();
        let any = || candidates.iter().rev().find_map(|endpoint| metadata.broker_at(endpoint));
        let found = match self {
            Self::Any => any(),
            Self::Id(id) => metadata.broker(id),
            // With KRaft, each broker forwards requests to the controller.
            Self::Controller => metadata.controller().or_else(|| any().filter(|_| is_fresh)),
        };
        match (found, self) {
            // A broker that is down is not in the metadata until it is back.
            (None, Self::Id(id)) if is_fresh => Err(Failure::UnknownBroker { id }),
            (None, _) if is_fresh => Err(Failure::NoReachableBroker { causes: Causes::default() }),
            (found, _) => Ok(found.cloned()),
        }
    }

    fn learn(self, cluster: &Cluster, _: &Broker, learned: &Learned) -> bool {
        // A controller whose quota is exceeded is still the controller.
        if learned.failure.code() != Some(ErrorCode::THROTTLING_QUOTA_EXCEEDED) {
            // The next lookup of the controller, or of a broker by its id, asks again.
            cluster.change_metadata(|metadata| metadata.brokers_are_stale = true);
        }
        false
    }

    fn location(self) -> Location {
        Location::default()
    }
}

impl Cluster {
    /// The broker that requests to `target` go to, asked for if it is not known. Waits while there is none; a topic
    /// or partition that brokers do not know, or give another id, is waited for only for the configured patience. Cancel safe.
    pub(crate) async fn route<T: Target>(&self, target: T, deadline: Deadline) -> Result<T::Route, Failure> {
        let patience = Deadline::after(self.env().now(), self.config().unknown_topic_patience).min(deadline);
        let location = target.location();
        let topic = location.topic.as_deref();
        let mut retry = Retry::new(self.config().backoff);
        loop {
            let failure = match self.look_up_or_ask(target, topic, deadline).await {
                Ok(Some(route)) => return Ok(route),
                // Another task has just marked the topic stale.
                Ok(None) => continue,
                Err(failure) => failure,
            };
            let until = match failure {
                // Also another id: a broker that lags behind may give the one of before.
                Failure::UnknownTopic | Failure::UnknownPartition | Failure::TopicRecreated => patience,
                _ if failure.is_transient() => deadline,
                _ => return Err(failure),
            };
            let next = retry.failed(Class::Passing, self.env().now(), until, self.env().random());
            let Some(moment) = next else { return Err(failure) };
            self.pause_until(moment).await;
            self.doubt_asked();
            topic.iter().for_each(|topic| self.mark_stale(topic));
        }
    }

    async fn look_up_or_ask<T: Target>(
        &self,
        target: T,
        topic: Option<&str>,
        deadline: Deadline,
    ) -> Result<Option<T::Route>, Failure> {
        if let Some(route) = target.look_up(self, false)? {
            return Ok(Some(route));
        }
        let locked = timeout_at(deadline.instant(), self.inner.refreshing.lock()).await;
        let _one_at_a_time = locked.map_err(|_| Failure::DeadlineBeforeSend)?;
        // The task that refreshed before this one may have found it.
        if let Some(route) = target.look_up(self, false)? {
            return Ok(Some(route));
        }
        let topics = self.ask_any(&refresh::request(Some(topic.as_slice())), deadline).await?;
        if let Some(topic) = topic {
            refresh::find(topics, topic)?;
        }
        target.look_up(self, true)
    }
}
