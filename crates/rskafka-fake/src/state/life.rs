//! Brokers that stop, start and change their addresses, and when the cluster notices.
//!
//! Invariant: a stopped broker accepts nothing, even before the cluster notices; a broker that starts was noticed
//! to be down before.

use super::control::ControlError;
use super::{Broker, Endpoint, Partition, State, TopicSettings};
use crate::clock::Now;

/// What becomes of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Runs,
    /// It ended at once.
    Crashed,
    /// It had the time to write down what it knew.
    ShutDown,
}

impl State {
    /// Marks a broker as running or not, and lets the leaders follow; after a crash perhaps later.
    pub(crate) fn set_alive(&mut self, id: i32, life: Life, now: Now) -> Result<(), ControlError> {
        let missed_after = self.crashes_missed_after;
        let Some(broker) = self.brokers.iter_mut().find(|broker| broker.id == id) else {
            return Err(ControlError::UnknownBroker { broker: id });
        };
        let alive = life == Life::Runs;
        if broker.alive == alive {
            return Ok(());
        }
        broker.alive = alive;
        if !alive {
            let is_late = life == Life::Crashed && !missed_after.is_zero();
            broker.missed_at = is_late.then(|| now.instant + missed_after);
            self.coordinator.broker_stopped(id);
            let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.broker_stopped(id, life == Life::ShutDown));
            if !is_late {
                self.miss(id);
            }
            return Ok(());
        }
        if broker.missed_at.is_some() {
            self.miss(id);
        }
        let expiration = self.configs.number(id, "producer.id.expiration.ms");
        self.change_all(|partition, settings| {
            partition.broker_started(id, settings.unclean_election, now.wall_ms, expiration)
        });
        Ok(())
    }

    /// The cluster learns that a broker has ended.
    pub(super) fn miss(&mut self, id: i32) {
        if let Some(broker) = self.brokers.iter_mut().find(|broker| broker.id == id) {
            broker.missed_at = None;
        }
        let zookeeper = self.profile.quirks().zookeeper;
        self.change_all(|partition, settings| {
            partition.broker_missed(id, settings.unclean_election, zookeeper)
        });
    }

    /// Changes partitions. `change` returns whether it changed one; requests that wait for that partition are woken.
    fn change_all(&mut self, mut change: impl FnMut(&mut Partition, &TopicSettings) -> bool) {
        for topic in self.topics.values_mut() {
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                if change(partition, &topic.settings) {
                    self.waiting.wake(topic.id, index);
                }
            }
        }
    }

    /// Two brokers exchange their addresses.
    pub(crate) fn swap_addresses(&mut self, one: i32, other: i32) {
        let place = |id| self.brokers.iter().position(|broker| broker.id == id);
        if let (Some(one), Some(other)) = (place(one), place(other)) {
            let addresses = |broker: &Broker| (broker.endpoint.clone(), broker.advertised.clone());
            let (first, second) = (addresses(&self.brokers[one]), addresses(&self.brokers[other]));
            for (place, (endpoint, advertised)) in [(one, second), (other, first)] {
                (self.brokers[place].endpoint, self.brokers[place].advertised) = (endpoint, advertised);
            }
        }
    }

    /// Has clients told another address of a broker.
    pub(crate) fn advertise(&mut self, id: i32, endpoint: Endpoint) -> Result<(), ControlError> {
        let broker = self.brokers.iter_mut().find(|broker| broker.id == id);
        broker.ok_or(ControlError::UnknownBroker { broker: id })?.advertised = endpoint;
        Ok(())
    }
}
