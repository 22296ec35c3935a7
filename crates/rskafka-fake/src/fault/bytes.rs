//! Faults that strike at a byte of a connection: at which one, and what happens there.
//!
//! Invariant: a fault strikes a connection at most once. The cluster's seed decides what is left to chance.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::FaultId;
use crate::random::Random;
use crate::state::ConnectionId;

/// A fault of a connection, given to
/// [`FakeCluster::inject_bytes`](crate::FakeCluster::inject_bytes).
///
/// Made by what happens, then by the byte at which it happens: of those that the broker receives or of
/// those that it sends, below TLS if there is any. Bytes count from a connection's beginning, and in one
/// that is open already from the injection. Without narrowing, the first connection of all that gets to
/// that byte is struck, once.
///
/// ```
/// use std::time::Duration;
/// use rskafka_fake::ByteFault;
///
/// // The next connection that sends a request of more than 100 bytes is reset in its middle.
/// let reset = ByteFault::reset().after_received(100);
/// // Every answer of broker 2 comes at one byte a second.
/// let slow = ByteFault::slow(1).after_sent(0).at_broker(2).always();
/// // Somewhere in the first 10 kB, each connection's answers stop for a minute.
/// let stall = ByteFault::stall(Duration::from_secs(60)).after_sent_within(0..10_000).always();
/// ```
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is injected"]
pub struct ByteFault {
    pub(super) action: ByteAction,
    pub(super) direction: Direction,
    pub(super) place: Range<u64>,
    pub(super) broker: Option<i32>,
    pub(super) skip: u64,
    /// `None` without end.
    pub(super) times: Option<u64>,
}

/// Which of a connection's two ways, as the broker sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Received,
    Sent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteAction {
    /// The connection ends, by a reset if it is TCP and that is asked for.
    End { reset: bool },
    /// Nothing more goes through for this time, or until the fault is taken back.
    Hold(Option<Duration>),
    /// From here on at most this many bytes go through in a second.
    Slow { bytes_per_second: u64 },
    /// These bits of the next byte are flipped.
    Flip(u8),
}

impl ByteFault {
    fn new(action: ByteAction) -> Self {
        let (direction, place) = (Direction::Received, 0..1);
        Self { action, direction, place, broker: None, skip: 0, times: Some(1) }
    }

    /// The connection ends as if the broker had closed it.
    pub fn cut() -> Self {
        Self::new(ByteAction::End { reset: false })
    }

    /// The connection is reset (TCP RST). An in-memory pipe has no reset, so it is dropped.
    pub fn reset() -> Self {
        Self::new(ByteAction::End { reset: true })
    }

    /// No byte goes through for this time. The other direction is not affected.
    pub fn stall(time: Duration) -> Self {
        Self::new(ByteAction::Hold(Some(time)))
    }

    /// No byte goes through until the fault is removed. The other direction is not affected.
    pub fn freeze() -> Self {
        Self::new(ByteAction::Hold(None))
    }

    /// Bytes go through one after the other, so many a second, until the fault is taken back. With 0 none
    /// does, as with [`ByteFault::freeze`].
    pub fn slow(bytes_per_second: u64) -> Self {
        Self::new(match bytes_per_second {
            0 => ByteAction::Hold(None),
            bytes_per_second => ByteAction::Slow { bytes_per_second },
        })
    }

    /// The bits of `mask` are flipped in one byte.
    pub fn flip(mask: u8) -> Self {
        Self::new(ByteAction::Flip(mask))
    }

    /// It happens when the broker has received `bytes` bytes. This is the default, with 0.
    pub fn after_received(mut self, bytes: u64) -> Self {
        self.direction = Direction::Received;
        self.place = bytes..bytes.saturating_add(1);
        self
    }

    /// It happens when the broker has sent `bytes` bytes.
    pub fn after_sent(self, bytes: u64) -> Self {
        Self { direction: Direction::Sent, ..self.after_received(bytes) }
    }

    /// It happens at a random byte of the range, of those received; at another one in each connection.
    pub fn after_received_within(mut self, bytes: Range<u64>) -> Self {
        self.direction = Direction::Received;
        self.place = bytes;
        self
    }

    /// It happens at a random byte of the range, of those sent; at another one in each connection.
    pub fn after_sent_within(self, bytes: Range<u64>) -> Self {
        Self { direction: Direction::Sent, ..self.after_received_within(bytes) }
    }
}

/// How far a direction of a connection has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    pub(crate) connection: ConnectionId,
    pub(crate) broker: i32,
    pub(crate) direction: Direction,
    pub(crate) bytes: u64,
}

/// The byte faults that are injected, oldest first.
#[derive(Debug)]
pub(crate) struct ByteFaults {
    pub(super) injected: Vec<Injected>,
    seed: u64,
}

#[derive(Debug)]
pub(super) struct Injected {
    pub(super) id: FaultId,
    fault: ByteFault,
    pub(super) struck: u64,
    /// The connections that it struck or let pass.
    met: BTreeSet<ConnectionId>,
    /// How far connections were that were open when it was injected.
    from: BTreeMap<ConnectionId, u64>,
}

impl Injected {
    /// The byte at which it meets a connection, if it does.
    fn place(&self, reached: &Reached, seed: u64) -> Option<u64> {
        let ByteFault { direction, broker, times, place, .. } = &self.fault;
        let is_spent = times.is_some_and(|times| self.struck >= times);
        let is_other = *direction != reached.direction || broker.is_some_and(|id| id != reached.broker);
        if is_spent || is_other || self.met.contains(&reached.connection) {
            return None;
        }
        let width = place.end.saturating_sub(place.start).max(1);
        let chance = match width {
            1 => 0,
            width => Random::new(seed ^ self.id.0 << 32 ^ reached.connection).next_u64() % width,
        };
        let from = self.from.get(&reached.connection).copied().unwrap_or(0);
        Some(from.saturating_add(place.start).saturating_add(chance))
    }
}

impl ByteFaults {
    pub(super) fn new(seed: u64) -> Self {
        Self { injected: Vec::new(), seed }
    }

    /// Adds a fault; `open` is how far the connections are that are open.
    pub(crate) fn inject(&mut self, id: FaultId, fault: ByteFault, open: &[Reached]) {
        let open = open.iter().filter(|reached| reached.direction == fault.direction);
        let from = open.map(|reached| (reached.connection, reached.bytes)).collect();
        self.injected.push(Injected { id, fault, struck: 0, met: BTreeSet::new(), from });
    }

    /// The next byte at which something may happen.
    pub(crate) fn next(&self, reached: &Reached) -> Option<u64> {
        self.injected.iter().filter_map(|injected| injected.place(reached, self.seed)).min()
    }

    /// What happens now. To be asked again until nothing does.
    pub(crate) fn strike(&mut self, reached: &Reached) -> Option<(FaultId, ByteAction)> {
        for injected in &mut self.injected {
            if injected.place(reached, self.seed).is_none_or(|place| place > reached.bytes) {
                continue;
            }
            injected.met.insert(reached.connection);
            if injected.fault.skip > 0 {
                injected.fault.skip -= 1;
                continue;
            }
            injected.struck += 1;
            return Some((injected.id, injected.fault.action));
        }
        None
    }

    /// Whether a fault was not taken back.
    pub(crate) fn has(&self, id: FaultId) -> bool {
        self.injected.iter().any(|injected| injected.id == id)
    }

    /// A connection has ended.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        for injected in &mut self.injected {
            injected.met.remove(&connection);
            injected.from.remove(&connection);
        }
    }
}
