//! The handle's commands on topics, partitions, faults and the record of requests.
//!
//! Invariant: a command takes effect before it returns; requests served later see it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use rskafka_protocol::Uuid;

use crate::bug::{Bug, Planted};
use crate::cluster::FakeCluster;
use crate::fault::{ByteFault, Fault, FaultId};
use crate::received::ReceivedRequest;
use crate::state::{ControlError, TopicRequest};
use crate::stored::StoredLog;

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

/// Partitions.
impl FakeCluster {
    /// The broker that leads a partition; `None` while none of those in sync runs.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<Option<i32>, ControlError> {
        self.shared.with(|state, _| Ok(state.partition(topic, partition)?.leader))
    }

    /// A partition's leader epoch: it grows by one with each change of leader.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> Result<i32, ControlError> {
        self.shared.with(|state, _| Ok(state.partition(topic, partition)?.leader_epoch))
    }

    /// Makes a broker the leader of a partition that it holds in sync. Gives the leader epoch from then on.
    ///
    /// # Errors
    ///
    /// There is no such partition or broker, or the broker does not run, does not hold the partition or is
    /// not in sync.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<i32, ControlError> {
        self.shared.with(|state, _| state.move_leader(topic, partition, broker, false))
    }

    /// Makes a broker the leader of a partition that it holds, in sync or not: what it does not have is
    /// lost, in the other copies too. Gives the leader epoch from then on.
    ///
    /// # Errors
    ///
    /// There is no such partition or broker, or the broker does not run or does not hold the partition.
    pub fn elect_unclean(&self, topic: &str, partition: i32, broker: i32) -> Result<i32, ControlError> {
        self.shared.with(|state, _| state.move_leader(topic, partition, broker, true))
    }

    /// The brokers in sync with a partition.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn isr(&self, topic: &str, partition: i32) -> Result<Vec<i32>, ControlError> {
        self.shared.with(|state, _| Ok(state.partition(topic, partition)?.isr.clone()))
    }

    /// Has a broker's copy of a partition not follow the leader any more. As long as it is in sync, nothing
    /// is committed without it: appends with acks=all wait, and readers do not see them.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the broker does not hold it.
    pub fn hold_replica(&self, topic: &str, partition: i32, broker: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.hold_replica(topic, partition, broker, true))
    }

    /// Has it follow again: it is in sync at once.
    ///
    /// # Errors
    ///
    /// As [`FakeCluster::hold_replica`].
    pub fn release_replica(&self, topic: &str, partition: i32, broker: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.hold_replica(topic, partition, broker, false))
    }

    /// Takes a copy that does not follow out of those in sync, as the leader does after
    /// `replica.lag.time.max.ms`.
    ///
    /// # Errors
    ///
    /// There is no such partition, the broker does not hold it, or it follows and would be back at once.
    pub fn shrink_isr(&self, topic: &str, partition: i32, broker: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.shrink_isr(topic, partition, broker))
    }

    /// Has a stopped broker's copy of a partition lose its last batches, as when a machine dies with what it
    /// had not written to its disk.
    ///
    /// # Errors
    ///
    /// There is no such partition, the broker does not hold it, or it runs.
    pub fn lose_tail(
        &self,
        topic: &str,
        partition: i32,
        broker: i32,
        batches: usize,
    ) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.lose_tail(topic, partition, broker, batches))
    }

    /// Has a partition lose the batches at or above `offset` in all its copies, as an unclean election
    /// does. Gives the leader epoch from then on.
    ///
    /// # Errors
    ///
    /// There is no such partition, it has no leader, or the offset is not in its log.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) -> Result<i32, ControlError> {
        self.shared.with(|state, _| state.truncate(topic, partition, offset))
    }

    /// Has every copy of a partition forget who wrote: as after `producer.id.expiration.ms`.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn forget_producers(&self, topic: &str, partition: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.forget_producers(topic, partition))
    }

    /// Has the coordinator forget a transactional id: as after `transactional.id.expiration.ms`. Gives
    /// whether it knew it.
    pub fn forget_transactional_id(&self, transactional_id: &str) -> bool {
        self.shared.with(|state, _| state.coordinator.forget(transactional_id))
    }

    /// Goes on with this epoch for a transactional id, as if it had been asked for that often. Gives whether
    /// the id was known.
    pub fn set_producer_epoch(&self, transactional_id: &str, epoch: i16) -> bool {
        self.shared.with(|state, _| state.coordinator.set_epoch(transactional_id, epoch))
    }

    /// Drops what the topics' `retention.ms` and `retention.bytes` do not keep, by whole batches; brokers
    /// do it every `log.retention.check.interval.ms`, 5 minutes.
    pub fn apply_retention(&self) {
        self.shared.with(|state, now| state.apply_retention(now));
    }

    /// Makes `before_offset` the first offset of a partition, as retention or DeleteRecords does.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the offset is beyond its end.
    pub fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before_offset: i64,
    ) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.delete_records(topic, partition, before_offset))
    }

    /// What a partition holds at this moment: the leader's copy, or the last leader's.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn log(&self, topic: &str, partition: i32) -> Result<StoredLog, ControlError> {
        self.shared.with(|state, _| {
            let found = state.partition(topic, partition)?.latest().map(StoredLog::of);
            found.ok_or_else(|| ControlError::NoLeader { topic: topic.to_owned(), partition })
        })
    }

    /// What a broker's copy of a partition holds at this moment.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the broker does not hold it.
    pub fn log_at(&self, topic: &str, partition: i32, broker: i32) -> Result<StoredLog, ControlError> {
        self.shared.with(|state, _| {
            let found = state.partition(topic, partition)?.replica(broker).map(StoredLog::of);
            found.ok_or_else(|| ControlError::NotReplica { broker, topic: topic.to_owned(), partition })
        })
    }
}

/// Faults.
impl FakeCluster {
    /// Has something go wrong with requests to come: see [`Fault`].
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.shared.with(|state, _| {
            let id = state.faults.next_id();
            state.faults.requests.inject(id, fault);
            id
        })
    }

    /// Has something go wrong with the bytes of connections: see [`ByteFault`].
    pub fn inject_bytes(&self, fault: ByteFault) -> FaultId {
        self.shared.inject_bytes(fault)
    }

    /// How many requests, or connections, a fault has struck; 0 after it was taken back.
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.shared.with(|state, _| state.faults.struck(fault))
    }

    /// Takes a fault back. What it holds or slows goes on; what it has ended stays so.
    pub fn remove_fault(&self, fault: FaultId) {
        self.shared.with(|state, _| state.faults.remove(fault));
        self.shared.byte_faults_changed();
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.shared.with(|state, _| state.faults.clear());
        self.shared.byte_faults_changed();
    }
}

/// Bugs.
impl FakeCluster {
    /// Has the cluster break its promises once: see [`Bug`].
    pub fn plant(&self, bug: Bug) {
        self.shared.plant(Planted::new(bug));
    }
}

/// The record of requests.
impl FakeCluster {
    /// The requests received so far at all brokers, in the order of their arrival; of many, the newest.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.with(|state, _| state.received.iter().cloned().collect())
    }

    /// How many requests were begun and not finished by clients that then ended the connection, since the
    /// cluster's start. What the cluster itself ended does not count.
    pub fn partial_frames(&self) -> u64 {
        self.shared.partial_frames.load(Ordering::Relaxed)
    }

    /// Forgets the requests received so far.
    pub fn clear_requests(&self) {
        self.shared.with(|state, _| state.received.clear());
    }

    /// Waits until `count` requests like that have arrived, counting those that are remembered, and gives
    /// them.
    ///
    /// It waits for ever if they do not come; dropping the future is safe.
    pub async fn requests_like(
        &self,
        count: usize,
        mut is_like: impl FnMut(&ReceivedRequest) -> bool,
    ) -> Vec<ReceivedRequest> {
        loop {
            let arrival = self.shared.arrivals.notified();
            tokio::pin!(arrival);
            // From here on no arrival is missed.
            arrival.as_mut().enable();
            let found: Vec<_> = self.shared.with(|state, _| {
                state.received.iter().filter(|request| is_like(request)).take(count).cloned().collect()
            });
            if found.len() >= count {
                return found;
            }
            arrival.await;
        }
    }
}
