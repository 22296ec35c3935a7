//! A partition's copy at one broker: its log, and what it remembers of producers.
//!
//! Invariant: the producers are those of the log's batches, except those that a restart or time made it forget.

use super::log::{Log, Stored};
use super::producers::Producers;

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) broker: i32,
    /// Whether its broker runs.
    pub(crate) alive: bool,
    /// It does not fetch from the leader.
    pub(crate) held: bool,
    /// What it knows of how far all replicas in sync have come.
    pub(crate) high_watermark: i64,
    pub(crate) log: Log,
    pub(crate) producers: Producers,
    /// What its broker's last end or start left on disk, and the log's end at that time.
    snapshot: Option<(i64, Producers)>,
    /// It has followed another leader, or none, since it last compared its log.
    is_strange: bool,
}

impl Replica {
    pub(super) fn new(broker: i32, alive: bool) -> Self {
        Self {
            broker,
            alive,
            held: false,
            high_watermark: 0,
            log: Log::default(),
            producers: Producers::default(),
            snapshot: None,
            is_strange: true,
        }
    }

    /// The offset before which readers of committed data may read.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.log.last_stable_offset(self.high_watermark)
    }

    pub(crate) fn append(&mut self, batch: Stored) {
        if let Some(origin) = &batch.origin {
            self.producers.appended(origin, batch.base_offset, batch.last_offset, batch.max_timestamp);
        }
        self.log.append(batch);
    }

    /// Follows a leader: takes back what that one does not have, and takes what it has.
    pub(super) fn follow(&mut self, leader: &Self) {
        if std::mem::take(&mut self.is_strange) {
            let common = self.log.common_end(&leader.log);
            if common < self.log.end_offset() {
                self.truncate(common);
            }
        }
        if self.log.end_offset() < leader.log.start_offset() {
            // The leader's log may begin within a batch, which is taken whole.
            let first = leader.log.batches().next();
            self.log.restart_at(first.map_or(leader.log.start_offset(), |batch| batch.base_offset));
            self.producers.clear();
        }
        for batch in leader.log.batches_from(self.log.end_offset()) {
            self.append(batch.clone());
        }
        self.log.delete_before(leader.log.start_offset());
    }

    /// How far it has followed its present leader; -1 before it has begun to.
    pub(super) fn fetched_to(&self) -> i64 {
        if self.is_strange { -1 } else { self.log.end_offset() }
    }

    pub(super) fn has_another_leader(&mut self) {
        self.is_strange = true;
    }

    /// Drops the batches with records at or above `offset`.
    pub(crate) fn truncate(&mut self, offset: i64) {
        self.log.truncate(offset);
        self.high_watermark = self.high_watermark.min(self.log.end_offset());
        self.reload();
    }

    /// Its broker ends, with time to write down what it knows or not.
    pub(super) fn stop(&mut self, cleanly: bool) {
        self.alive = false;
        if cleanly {
            self.snapshot = Some((self.log.end_offset(), self.producers.snapshot()));
        }
    }

    /// Its broker starts, and reads what is on disk. After a crash too that ends in a snapshot, written when
    /// the log is recovered and then read (Kafka class `LogLoader`).
    pub(super) fn start(&mut self, now_ms: i64, expiration_ms: i64) {
        self.alive = true;
        self.is_strange = true;
        self.reload();
        self.producers = self.producers.snapshot();
        self.producers.expire(now_ms, expiration_ms);
        self.snapshot = Some((self.log.end_offset(), self.producers.clone()));
    }

    /// Rebuilds the producers from the snapshot, if the log still reaches it, and from the batches after it.
    fn reload(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        self.snapshot.take_if(|(offset, _)| *offset <= start || *offset > end);
        let (from, producers) = match &self.snapshot {
            Some((offset, producers)) => (*offset, producers.clone()),
            None => (start, Producers::default()),
        };
        self.producers = producers;
        for batch in self.log.batches_from(from) {
            if let Some(origin) = &batch.origin {
                self.producers.appended(origin, batch.base_offset, batch.last_offset, batch.max_timestamp);
            }
        }
    }
}
