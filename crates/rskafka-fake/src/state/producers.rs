//! What a replica remembers of producers (Kafka classes `ProducerStateManager`,
//! `ProducerStateEntry` and `ProducerAppendInfo`).
//!
//! Invariant: of each producer at most the last five batches of its current epoch; a sequence number
//! follows the one before it, or the batch is refused.

use std::collections::{BTreeMap, VecDeque};

use rskafka_protocol::ErrorCode;
use rskafka_protocol::records::{BatchHeader, Flag};

/// How many batches are remembered of a producer.
const BATCHES: usize = 5;

/// The part of a batch's header that concerns its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) transactional: bool,
    /// The batch ends a transaction, which was committed or not.
    pub(crate) marker: Option<bool>,
}

impl Origin {
    /// `None` for a batch without producer id.
    pub(crate) fn of(header: &BatchHeader) -> Option<Self> {
        (header.producer_id >= 0).then(|| Self {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            transactional: header.attributes.has(Flag::Transactional),
            marker: None,
        })
    }
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    batches: VecDeque<Remembered>,
    /// Of its last batch, by that batch's own clock.
    pub(crate) last_timestamp: i64,
    /// The first offset of its transaction under way.
    pub(crate) transaction_start: Option<i64>,
}

impl Producer {
    /// -1 if no batch of this epoch is remembered.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequenced {
    Append,
    /// It was appended before.
    Duplicate(Remembered),
}

/// How brokers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// An epoch that is over is refused; otherwise it is judged by its sequence alone.
    pub(crate) fences: bool,
    /// A batch may go over the end of the sequence numbers.
    pub(crate) wraps: bool,
}

/// The producers of one replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

impl Producers {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(&id, producer)| (id, producer))
    }

    /// Whether a client's batch is next in its producer's sequence.
    ///
    /// # Errors
    ///
    /// INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER.
    pub(crate) fn check(&self, batch: &Origin, rules: Rules) -> Result<Sequenced, ErrorCode> {
        if !rules.wraps && batch.first_sequence > batch.last_sequence {
            return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        // A producer that is not known is taken at any sequence (from 2.5 on).
        let Some(known) = self.by_id.get(&batch.producer_id) else {
            return Ok(Sequenced::Append);
        };
        let is_old = batch.epoch < known.epoch;
        if batch.epoch == known.epoch || (is_old && !rules.fences) {
            let is_same = |known: &&Remembered| {
                known.first_sequence == batch.first_sequence && known.last_sequence == batch.last_sequence
            };
            if let Some(duplicate) = known.batches.iter().find(is_same) {
                return Ok(Sequenced::Duplicate(*duplicate));
            }
        }
        if is_old && rules.fences {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        let expected = match batch.epoch > known.epoch {
            true => 0,
            // From `i32::MAX` it wraps to 0.
            false => known.last_sequence().wrapping_add(1) & i32::MAX,
        };
        match batch.first_sequence == expected {
            true => Ok(Sequenced::Append),
            false => Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        }
    }

    /// A batch was appended, by a client or from the leader.
    pub(crate) fn appended(
        &mut self,
        batch: &Origin,
        base_offset: i64,
        last_offset: i64,
        max_timestamp: i64,
    ) {
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.epoch,
            batches: VecDeque::with_capacity(1),
            last_timestamp: max_timestamp,
            transaction_start: None,
        });
        if producer.epoch < batch.epoch {
            producer.epoch = batch.epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = max_timestamp;
        if batch.marker.is_some() {
            producer.transaction_start = None;
            return;
        }
        if producer.batches.len() == BATCHES {
            producer.batches.pop_front();
        }
        let Origin { first_sequence, last_sequence, .. } = *batch;
        producer.batches.push_back(Remembered {
            first_sequence,
            last_sequence,
            base_offset,
            last_offset,
            max_timestamp,
        });
        if batch.transactional {
            producer.transaction_start.get_or_insert(base_offset);
        }
    }

    /// Forgets those whose last batch is as old as this, by the batch's own clock, and that have no
    /// transaction under way.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        let is_kept = |producer: &Producer| {
            producer.transaction_start.is_some()
                || now_ms.saturating_sub(producer.last_timestamp) < expiration_ms
        };
        self.by_id.retain(|_, producer| is_kept(producer));
    }

    /// What a snapshot holds: of each producer the last batch only.
    pub(crate) fn snapshot(&self) -> Self {
        let mut snapshot = self.clone();
        for producer in snapshot.by_id.values_mut() {
            producer.batches.drain(..producer.batches.len().saturating_sub(1));
        }
        snapshot
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }
}

#[cfg(test)]
mod tests;
