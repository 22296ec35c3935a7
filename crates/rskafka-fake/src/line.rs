//! One direction of a connection: how many bytes may go through, and when.
//!
//! Invariant: no socket and no clock; a byte at which something is to happen is never passed before it did.

use std::time::Duration;

use tokio::time::Instant;

use crate::fault::FaultId;
use crate::fault::{ByteAction, ByteFaults, Direction, Reached};
use crate::state::ConnectionId;

/// What the bytes may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many may go through, at least one.
    Pass(u64),
    /// One may, with these bits turned over.
    Flip(u8),
    /// None may before that time; `None` before something changes.
    Hold(Option<Instant>),
    /// The connection ends.
    End { reset: bool },
}

/// A direction of a connection.
#[derive(Debug)]
pub(crate) struct Line {
    reached: Reached,
    /// Up to where nothing happens, if no fault is injected or taken back.
    free_until: u64,
    flip: Option<u8>,
    held: Option<(FaultId, Option<Instant>)>,
    slow: Option<Slow>,
    ended: Option<Step>,
}

#[derive(Debug)]
struct Slow {
    fault: FaultId,
    bytes_per_second: u64,
    since: Instant,
    passed: u64,
}

impl Slow {
    /// How many bytes may go through by now.
    fn allowed(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.since).as_nanos();
        let allowed = nanos * u128::from(self.bytes_per_second) / 1_000_000_000;
        u64::try_from(allowed).unwrap_or(u64::MAX).saturating_sub(self.passed)
    }

    /// When the next byte may.
    fn next(&self) -> Instant {
        let nanos = u128::from(self.passed + 1) * 1_000_000_000;
        let nanos = nanos.div_ceil(u128::from(self.bytes_per_second));
        self.since + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Line {
    pub(crate) fn new(connection: ConnectionId, broker: i32, direction: Direction) -> Self {
        let reached = Reached { connection, broker, direction, bytes: 0 };
        Self { reached, free_until: 0, flip: None, held: None, slow: None, ended: None }
    }

    /// How many bytes may go through without asking, if no fault was injected or taken back since the
    /// last [`Line::step`].
    pub(crate) fn free(&self) -> u64 {
        self.free_until.saturating_sub(self.reached.bytes)
    }

    /// Bytes have gone through.
    pub(crate) fn passed(&mut self, bytes: u64) {
        self.reached.bytes += bytes;
        if bytes > 0 {
            self.flip = None;
        }
        if let Some(slow) = &mut self.slow {
            slow.passed += bytes;
        }
    }

    pub(crate) fn reached(&self) -> &Reached {
        &self.reached
    }

    /// What may happen next.
    pub(crate) fn step(&mut self, now: Instant, faults: &mut ByteFaults) -> Step {
        while let Some((fault, action)) = faults.strike(&self.reached) {
            tracing::debug!(?fault, ?action, reached = ?self.reached, "byte fault");
            match action {
                ByteAction::End { reset } => self.ended = Some(Step::End { reset }),
                ByteAction::Hold(time) => {
                    self.held = Some((fault, time.and_then(|time| now.checked_add(time))));
                }
                ByteAction::Slow { bytes_per_second } => {
                    self.slow = Some(Slow { fault, bytes_per_second, since: now, passed: 0 });
                }
                ByteAction::Flip(mask) => self.flip = Some(self.flip.unwrap_or(0) ^ mask),
            }
        }
        if let Some(ended) = self.ended {
            return ended;
        }
        self.held =
            self.held.filter(|(fault, until)| faults.has(*fault) && until.is_none_or(|until| until > now));
        self.slow = self.slow.take().filter(|slow| faults.has(slow.fault));
        self.free_until = 0;
        if let Some((_, until)) = self.held {
            return Step::Hold(until);
        }
        let mut room = faults.next(&self.reached).map_or(u64::MAX, |next| next - self.reached.bytes);
        if let Some(slow) = &self.slow {
            room = room.min(slow.allowed(now));
            if room == 0 {
                return Step::Hold(Some(slow.next()));
            }
        }
        if let Some(mask) = self.flip {
            return Step::Flip(mask);
        }
        if self.slow.is_none() {
            self.free_until = self.reached.bytes.saturating_add(room);
        }
        Step::Pass(room)
    }
}

#[cfg(test)]
mod tests;
