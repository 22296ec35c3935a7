//! Commands on who leads a partition and who holds it.

use crate::cluster::FakeCluster;
use crate::state::ControlError;

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

    /// Makes a broker the leader of a partition that it holds in sync. Returns the new leader epoch.
    ///
    /// # Errors
    ///
    /// There is no such partition or broker, or the broker does not run, does not hold the partition or is
    /// not in sync.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<i32, ControlError> {
        self.shared.with(|state, _| state.move_leader(topic, partition, broker, false))
    }

    /// Makes a broker the leader of a partition that it holds, in sync or not. Records that it lacks are lost, in the other
    /// copies too. Returns the new leader epoch.
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

    /// Makes a broker's copy of a partition stop following the leader. While that copy counts as in sync, nothing is
    /// committed: appends with acks=all wait, and readers do not see them.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the broker does not hold it.
    pub fn hold_replica(&self, topic: &str, partition: i32, broker: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.hold_replica(topic, partition, broker, true))
    }

    /// Makes the copy follow again. It is in sync at once.
    ///
    /// # Errors
    ///
    /// As [`FakeCluster::hold_replica`].
    pub fn release_replica(&self, topic: &str, partition: i32, broker: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.hold_replica(topic, partition, broker, false))
    }

    /// Removes a copy that does not follow from the ISR, as the leader does after `replica.lag.time.max.ms`.
    ///
    /// # Errors
    ///
    /// There is no such partition, the broker does not hold it, or it follows and would be back at once.
    pub fn shrink_isr(&self, topic: &str, partition: i32, broker: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.shrink_isr(topic, partition, broker))
    }
}
