//! Commands on what partitions hold and remember.

use bytes::Bytes;

use crate::cluster::FakeCluster;
use crate::state::ControlError;
use crate::stored::StoredLog;

/// Records.
impl FakeCluster {
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

    /// Removes the batches at or above `offset` from all copies of a partition, as an unclean election does. Returns the
    /// new leader epoch.
    ///
    /// # Errors
    ///
    /// There is no such partition, it has no leader, or the offset is not in its log.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) -> Result<i32, ControlError> {
        self.shared.with(|state, _| state.truncate(topic, partition, offset))
    }

    /// Makes every copy of a partition forget its producers, as after `producer.id.expiration.ms`.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn forget_producers(&self, topic: &str, partition: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.forget_producers(topic, partition))
    }

    /// Makes the coordinator forget a transactional id, as after `transactional.id.expiration.ms`. Returns whether it
    /// knew the id.
    pub fn forget_transactional_id(&self, transactional_id: &str) -> bool {
        self.shared.with(|state, _| state.coordinator.forget(transactional_id))
    }

    /// Sets the epoch of a transactional id, as if a producer had asked for it that often. Returns whether the id was
    /// known.
    pub fn set_producer_epoch(&self, transactional_id: &str, epoch: i16) -> bool {
        self.shared.with(|state, _| state.coordinator.set_epoch(transactional_id, epoch))
    }

    /// Drops the batches that the topics' `retention.ms` and `retention.bytes` no longer keep. Brokers also do this
    /// themselves every `log.retention.check.interval.ms`, 5 minutes.
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

    /// Appends records to a partition that belong to a transaction of a producer, by id and epoch: they are
    /// not committed until [`FakeCluster::end_transaction`]. Gives their first offset.
    ///
    /// # Errors
    ///
    /// There is no such partition, it has no leader, or there are no values.
    pub fn append_in_transaction(
        &self,
        topic: &str,
        partition: i32,
        producer: (i64, i16),
        values: impl IntoIterator<Item = impl Into<Bytes>>,
    ) -> Result<i64, ControlError> {
        let values: Vec<Bytes> = values.into_iter().map(Into::into).collect();
        self.shared.with(|state, now| state.append_in_transaction((topic, partition), producer, &values, now))
    }

    /// Ends a producer's transaction in a partition, by a marker in its log. Gives the marker's offset.
    ///
    /// # Errors
    ///
    /// There is no such partition, or it has no leader.
    pub fn end_transaction(
        &self,
        topic: &str,
        partition: i32,
        producer: (i64, i16),
        committed: bool,
    ) -> Result<i64, ControlError> {
        self.shared.with(|state, now| state.end_transaction((topic, partition), producer, committed, now))
    }

    /// Compacts a partition, with any `cleanup.policy`: of records with the same key the last is kept,
    /// those without key are dropped, and so are batches that become empty. Offsets stay as they were.
    ///
    /// # Errors
    ///
    /// There is no such partition, or it has no leader.
    pub fn compact(&self, topic: &str, partition: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.compact(topic, partition))
    }
}
