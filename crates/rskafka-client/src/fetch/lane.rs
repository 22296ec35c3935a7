//! What fetches of one reader share: a connection, the replica that is read from, and memory.
//!
//! Invariant: after a replica has failed, or did not have the offset, the leader is read from for as long as metadata may be old.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka_cluster::Lane;
use rskafka_cluster::transport::lock;
use rskafka_protocol::records::Decompressor;
use tokio::time::Instant;

use crate::core::Core;

/// About what a fetch holds when it is decompressed.
const FETCH_BYTES: usize = 2 * 1024 * 1024;
/// How long an answer of the leader about the nearest replica holds (Java: `metadata.max.age.ms`).
const MAX_AGE: Duration = Duration::from_secs(300);
/// After as long without a fetch, nothing is known of the topic.
const IDLE: Duration = Duration::from_secs(1);

/// In the place of a replica: the leader is read from.
pub(crate) const LEADER: i32 = -1;

/// The connection of one reader, and what it remembers from one fetch to the next.
#[derive(Debug)]
pub(crate) struct FetchLane {
    pub(crate) lane: Lane,
    rack: String,
    /// The replica that the leader named as the nearest one (KIP-392); negative if there is none.
    pub(crate) replica: AtomicI32,
    moments: Mutex<Moments>,
    pub(crate) decompressor: Arc<Mutex<Decompressor>>,
}

#[derive(Debug, Default)]
struct Moments {
    /// When the leader named the replica.
    named: Option<Instant>,
    /// When a replica was found to have failed.
    left: Option<Instant>,
    /// The last answer.
    answered: Option<Instant>,
}

impl FetchLane {
    /// For a reader that holds so many bytes at once. With a rack, brokers may name a replica there to be read from.
    pub(crate) fn new(core: &Core, rack: Option<String>, bytes: usize) -> Self {
        let decompressor = Decompressor::with_limit(core.limits.max_decompressed_bytes);
        Self {
            lane: Lane::default(),
            rack: rack.unwrap_or_default(),
            replica: AtomicI32::new(LEADER),
            moments: Mutex::default(),
            decompressor: Arc::new(Mutex::new(decompressor.keeping(bytes.saturating_add(FETCH_BYTES)))),
        }
    }

    /// Call it before each request. Has the leader name a replica again if it did so long ago, and notes it if the replica has
    /// failed since.
    pub(crate) fn look_at_age(&self, now: Instant) {
        let mut moments = lock(&self.moments);
        let has_failed = self.replica.load(Ordering::Relaxed) < 0;
        if has_failed && moments.named.take().is_some() {
            moments.left = Some(now);
        }
        let is_old = |moment: &mut Instant| now.saturating_duration_since(*moment) >= MAX_AGE;
        if moments.named.take_if(is_old).is_some() {
            self.replica.store(LEADER, Ordering::Relaxed);
        }
        moments.left.take_if(is_old);
    }

    /// The rack to name in a request: none while another replica than the leader need not be asked for.
    pub(crate) fn rack(&self) -> &str {
        let moments = lock(&self.moments);
        if moments.named.is_some() || moments.left.is_some() { "" } else { &self.rack }
    }

    /// Takes in that the leader named a replica, or [`LEADER`]. Returns whether the replica is read from next: it is not if it was
    /// asked.
    pub(crate) fn prefer(&self, replica: i32, now: Instant) -> bool {
        lock(&self.moments).named = Some(now);
        self.replica.swap(replica, Ordering::Relaxed) < 0
    }

    /// Notes that an answer came. Returns whether the one before it is so long ago that the topic may have been deleted and created
    /// again meanwhile: a fetch under way would have failed.
    pub(crate) fn answered(&self, now: Instant) -> bool {
        let last = lock(&self.moments).answered.replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) > IDLE)
    }
}
