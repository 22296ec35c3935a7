//! Producer ids, and the epochs of transactional ids (Kafka classes `ProducerIdManager`,
//! `TransactionCoordinator` and `TransactionMetadata`).
//!
//! Invariant: a producer id is given out once; the epoch of a transactional id grows by one with each
//! asker, as long as the coordinator remembers it.

use std::collections::BTreeMap;

use rskafka_protocol::ErrorCode;

/// How many ids a broker takes from the controller at a time.
const BLOCK: i64 = 1000;
/// The last epoch that is given out: after it comes another producer id.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// A producer's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// What the coordinator knows of a transactional id.
#[derive(Debug, Clone)]
struct Owner {
    now: Identity,
    /// Before the last change of the producer id; -1 for none.
    previous_id: i64,
    /// The epoch that the last request carried; -1 if it carried none.
    last_epoch: i16,
    /// By the wall clock.
    updated_ms: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    owners: BTreeMap<String, Owner>,
    /// Each broker's next id and the end of its block.
    blocks: BTreeMap<i32, (i64, i64)>,
    next_block: i64,
}

impl Coordinator {
    /// A producer id that was never given out.
    pub(crate) fn new_id(&mut self, broker: i32) -> i64 {
        let (next, end) = self.blocks.entry(broker).or_insert((0, 0));
        if next == end {
            (*next, *end) = (self.next_block, self.next_block + BLOCK);
            self.next_block += BLOCK;
        }
        *next += 1;
        *next - 1
    }

    /// A broker that restarts has forgotten what was left of its block.
    pub(crate) fn broker_stopped(&mut self, broker: i32) {
        self.blocks.remove(&broker);
    }

    /// Gives a producer the next epoch of a transactional id; `own` is the id and epoch it sent.
    ///
    /// # Errors
    ///
    /// PRODUCER_FENCED if another producer has asked since.
    pub(crate) fn init(
        &mut self,
        broker: i32,
        transactional_id: &str,
        own: Option<Identity>,
        now_ms: i64,
    ) -> Result<Identity, ErrorCode> {
        let Some(known) = self.owners.get(transactional_id).cloned() else {
            let now = Identity { producer_id: self.new_id(broker), epoch: 0 };
            let last_epoch = -1;
            let owner = Owner { now, previous_id: -1, last_epoch, updated_ms: now_ms };
            self.owners.insert(transactional_id.to_owned(), owner);
            return Ok(now);
        };
        let is_retry_of_change =
            |own: Identity| own.producer_id == known.previous_id && own.epoch >= LAST_EPOCH;
        if own.is_some_and(|own| own.producer_id != known.now.producer_id && !is_retry_of_change(own)) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        let is_current = own.is_none_or(|own| own.epoch == known.now.epoch);
        let came_with = own.map_or(-1, |_| known.now.epoch);
        let owner = if known.now.epoch >= LAST_EPOCH && is_current {
            let now = Identity { producer_id: self.new_id(broker), epoch: 0 };
            Owner { now, previous_id: known.now.producer_id, last_epoch: came_with, updated_ms: now_ms }
        } else if is_current {
            let now = Identity { epoch: known.now.epoch + 1, ..known.now };
            Owner { now, last_epoch: came_with, updated_ms: now_ms, ..known }
        } else if own.is_some_and(|own| own.epoch == known.last_epoch) {
            // It came before, and its answer was lost.
            Owner { updated_ms: now_ms, ..known }
        } else {
            return Err(ErrorCode::PRODUCER_FENCED);
        };
        let now = owner.now;
        self.owners.insert(transactional_id.to_owned(), owner);
        Ok(now)
    }

    /// Forgets transactional ids that were not used for a long time.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.owners.retain(|_, owner| now_ms.saturating_sub(owner.updated_ms) < expiration_ms);
    }

    /// Forgets one; gives whether it was known.
    pub(crate) fn forget(&mut self, transactional_id: &str) -> bool {
        self.owners.remove(transactional_id).is_some()
    }

    /// Sets the epoch, as if a producer had asked for it that often.
    pub(crate) fn set_epoch(&mut self, transactional_id: &str, epoch: i16) -> bool {
        let Some(owner) = self.owners.get_mut(transactional_id) else {
            return false;
        };
        (owner.now.epoch, owner.last_epoch) = (epoch, -1);
        true
    }
}

/// Which of `partitions` partitions of the coordinators' topic an id belongs to: Java's hash of a string.
pub(crate) fn partition_of(id: &str, partitions: usize) -> usize {
    let hash = id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's `Utils.abs`, which keeps the sign bit out.
    (hash & i32::MAX) as usize % partitions.max(1)
}

#[cfg(test)]
mod tests;
