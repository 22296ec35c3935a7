//! The handle's commands on topics, partitions, faults and the record of requests.
//!
//! Invariant: a command takes effect before it returns; requests served later see it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use rskafka_protocol::Uuid;

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

    /// Makes a broker the leader of a partition that it holds. Gives the leader epoch from then on.
    ///
    /// # Errors
    ///
    /// There is no such partition or broker, the broker does not run or does not hold the partition.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<i32, ControlError> {
        self.shared.with(|state, _| state.move_leader(topic, partition, broker))
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

    /// What a partition holds at this moment.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn log(&self, topic: &str, partition: i32) -> Result<StoredLog, ControlError> {
        self.shared.with(|state, _| Ok(StoredLog::of(&state.partition(topic, partition)?.log)))
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
