//! Which connections wait for which partitions (Kafka class `DelayedOperationPurgatory`).
//!
//! Invariant: a connection is listed for a partition only while its request waits; waking one
//! too often does no harm, because it checks again.

use std::collections::{BTreeMap, BTreeSet};

use rskafka_protocol::Uuid;

use super::ConnectionId;

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    by_partition: BTreeMap<(Uuid, i32), BTreeSet<ConnectionId>>,
    by_connection: BTreeMap<ConnectionId, Vec<(Uuid, i32)>>,
    woken: Vec<ConnectionId>,
}

impl Waiting {
    /// Lists a connection until [`Waiting::leave`].
    pub(crate) fn enter(&mut self, connection: ConnectionId, partitions: Vec<(Uuid, i32)>) {
        self.leave(connection);
        for &partition in &partitions {
            self.by_partition.entry(partition).or_default().insert(connection);
        }
        self.by_connection.insert(connection, partitions);
    }

    pub(crate) fn leave(&mut self, connection: ConnectionId) {
        for partition in self.by_connection.remove(&connection).unwrap_or_default() {
            if let Some(connections) = self.by_partition.get_mut(&partition) {
                connections.remove(&connection);
                if connections.is_empty() {
                    self.by_partition.remove(&partition);
                }
            }
        }
    }

    /// Something happened to a partition.
    pub(crate) fn wake(&mut self, topic: Uuid, partition: i32) {
        if let Some(connections) = self.by_partition.get(&(topic, partition)) {
            self.woken.extend(connections);
        }
    }

    /// The connections to wake, in a fixed order.
    pub(crate) fn take_woken(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.woken)
    }
}
