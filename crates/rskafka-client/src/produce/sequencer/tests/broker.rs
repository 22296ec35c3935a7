//! A model of a partition and of what its leader knows of producers, as Apache Kafka does it.

use rskafka_protocol::ErrorCode;

use super::super::{Acknowledged, Numbers, Producer, Verified};

/// A batch as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) number: u64,
    /// What an idempotent producer sends.
    pub(super) numbers: Option<Numbers>,
    pub(super) record_count: i32,
}

/// A batch in the log. Another writer's has no `batch`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) batch: Option<Batch>,
    pub(super) base_offset: i64,
    record_count: i32,
}

/// What a partition does with a producer that it does not know, at a sequence number above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Accepted,
    Refused(ErrorCode),
}

/// What a new leader knows of each producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    FiveBatches,
    /// It was restarted: snapshots hold no more.
    LastBatch,
    Nothing,
}

#[derive(Debug)]
struct Known {
    id: i64,
    epoch: i16,
    /// The places in the log of its last batches, five at most, all of this epoch.
    places: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) log: Vec<Stored>,
    /// How many batches of the log all replicas have.
    pub(super) committed: usize,
    pub(super) unknown: Unknown,
    pub(super) compares_epochs: bool,
    known: Vec<Known>,
}

impl Partition {
    pub(super) fn new(unknown: Unknown, compares_epochs: bool) -> Self {
        Self { log: Vec::new(), committed: 0, unknown, compares_epochs, known: Vec::new() }
    }

    pub(super) fn end(&self) -> i64 {
        self.log.last().map_or(0, |stored| stored.base_offset + i64::from(stored.record_count))
    }

    pub(super) fn append_foreign(&mut self, record_count: i32) {
        let base_offset = self.end();
        self.log.push(Stored { batch: None, base_offset, record_count });
    }

    /// Appends a batch, or finds it. Gives its place in the log.
    pub(super) fn append(&mut self, batch: Batch) -> Result<usize, ErrorCode> {
        let Some(numbers) = batch.numbers else { return Ok(self.push(batch)) };
        let Numbers { producer: Producer { id, epoch }, base_sequence } = numbers;
        let compares_epochs = self.compares_epochs;
        let Some(known) = self.known.iter().find(|known| known.id == id) else {
            return match self.unknown {
                Unknown::Refused(code) if base_sequence != 0 => Err(code),
                _ => Ok(self.push(batch)),
            };
        };
        if compares_epochs && epoch < known.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if compares_epochs && epoch > known.epoch {
            return if base_sequence == 0 { Ok(self.push(batch)) } else { Err(OUT_OF_ORDER) };
        }
        let stored =
            |place: &&usize| self.log[**place].batch.is_some_and(|stored| is_same_range(stored, batch));
        if let Some(place) = known.places.iter().find(stored) {
            return Ok(*place);
        }
        match known.places.last().and_then(|place| self.log[*place].batch) {
            Some(last) if last.end() == Some(base_sequence) => Ok(self.push(batch)),
            _ => Err(OUT_OF_ORDER),
        }
    }

    fn push(&mut self, batch: Batch) -> usize {
        let place = self.log.len();
        let base_offset = self.end();
        self.log.push(Stored { batch: Some(batch), base_offset, record_count: batch.record_count });
        self.learn(batch, place);
        place
    }

    fn learn(&mut self, batch: Batch, place: usize) {
        let Some(Numbers { producer: Producer { id, epoch }, .. }) = batch.numbers else { return };
        let known = match self.known.iter_mut().position(|known| known.id == id) {
            Some(index) => &mut self.known[index],
            None => {
                self.known.push(Known { id, epoch, places: Vec::new() });
                self.known.last_mut().unwrap()
            }
        };
        if known.epoch != epoch {
            known.epoch = epoch;
            known.places.clear();
        }
        if known.places.len() == 5 {
            known.places.remove(0);
        }
        known.places.push(place);
    }

    /// A replica becomes the leader whose log has `length` batches of the old one's.
    pub(super) fn change_leader(&mut self, length: usize, memory: Memory) {
        self.log.truncate(length);
        self.committed = self.committed.min(length);
        self.known.clear();
        if memory == Memory::Nothing {
            return;
        }
        for place in 0..self.log.len() {
            if let Some(batch) = self.log[place].batch {
                self.learn(batch, place);
            }
        }
        if memory == Memory::LastBatch {
            for known in &mut self.known {
                known.places.drain(..known.places.len() - 1);
            }
        }
    }

    pub(super) fn forget_producers(&mut self) {
        self.known.clear();
    }

    pub(super) fn find(&self, number: u64) -> Option<&Stored> {
        self.log.iter().find(|stored| stored.batch.is_some_and(|batch| batch.number == number))
    }

    pub(super) fn verify(&self, acknowledged: Acknowledged) -> Verified {
        let Acknowledged { base_offset, numbers } = acknowledged;
        let is_there = self.log.iter().any(|stored| {
            stored.base_offset == base_offset
                && stored.batch.is_some_and(|batch| batch.numbers == Some(numbers))
        });
        match is_there {
            true => Verified::Kept,
            false => Verified::Lost { first_lost: base_offset.min(self.end()) },
        }
    }
}

const OUT_OF_ORDER: ErrorCode = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;

impl Batch {
    /// The sequence number behind its last.
    fn end(&self) -> Option<i32> {
        self.numbers?.base_sequence.checked_add(self.record_count)
    }
}

fn is_same_range(one: Batch, other: Batch) -> bool {
    let first = |batch: Batch| batch.numbers.map(|numbers| numbers.base_sequence);
    first(one) == first(other) && one.record_count == other.record_count
}
