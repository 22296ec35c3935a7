//! What the cluster does from time to time: retention, forgetting old producers, and noticing crashed
//! brokers.
//!
//! Invariant: each happens at the first access to the state after its time.

use std::time::Duration;

use tokio::time::Instant;

use super::{Broker, State};
use crate::clock::Now;

/// When each check is next made; `None` before the first.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    retention: Option<Instant>,
    producers: Option<Instant>,
    transactional_ids: Option<Instant>,
}

impl State {
    /// Does what time has brought: notices crashes, expires producers, applies retention.
    pub(crate) fn keep_up(&mut self, now: Now) {
        let is_missed = |broker: &&Broker| broker.missed_at.is_some_and(|at| at <= now.instant);
        while let Some(id) = self.brokers.iter().find(is_missed).map(|broker| broker.id) {
            self.miss(id);
        }
        if self.is_due(now, "log.retention.check.interval.ms", |upkeep| &mut upkeep.retention) {
            self.apply_retention(now);
        }
        if self.is_due(now, "producer.id.expiration.check.interval.ms", |upkeep| &mut upkeep.producers) {
            self.expire_producers(now);
        }
        let interval = "transaction.remove.expired.transaction.cleanup.interval.ms";
        if self.is_due(now, interval, |upkeep| &mut upkeep.transactional_ids) {
            self.expire_transactional_ids(now);
        }
    }

    fn is_due(
        &mut self,
        now: Now,
        interval: &str,
        due: impl FnOnce(&mut Upkeep) -> &mut Option<Instant>,
    ) -> bool {
        let due = due(&mut self.upkeep);
        if due.is_some_and(|due| now.instant < due) {
            return false;
        }
        // The intervals are the same at every broker, as they cannot be changed while it runs.
        let interval = self.configs.number(0, interval).unsigned_abs();
        due.replace(now.instant + Duration::from_millis(interval)).is_some()
    }

    /// Drops what is older or more than its topic keeps.
    pub(crate) fn apply_retention(&mut self, now: Now) {
        for topic in self.topics.values_mut() {
            let settings = &topic.settings;
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                let Some(leader) = partition.leading_mut() else {
                    continue;
                };
                let start = leader.log.start_offset();
                if let Some(age) = settings.retention_ms {
                    leader.log.retain_since(now.wall_ms.saturating_sub(age), leader.high_watermark);
                }
                if let Some(bytes) = settings.retention_bytes {
                    leader.log.retain_bytes(bytes, leader.high_watermark);
                }
                if leader.log.start_offset() > start {
                    partition.replicate();
                    self.waiting.wake(topic.id, index);
                }
            }
        }
    }

    /// Has every replica forget producers whose last batch is too old.
    pub(crate) fn expire_producers(&mut self, now: Now) {
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            for replica in partition.replicas.iter_mut().filter(|replica| replica.alive) {
                let expiration = self.configs.number(replica.broker, "producer.id.expiration.ms");
                replica.producers.expire(now.wall_ms, expiration);
            }
        }
    }

    /// Has the coordinator forget transactional ids that were not used for a long time.
    pub(crate) fn expire_transactional_ids(&mut self, now: Now) {
        let expiration = self.configs.number(0, "transactional.id.expiration.ms");
        self.coordinator.expire(now.wall_ms, expiration);
    }
}
