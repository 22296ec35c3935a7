//! The order of requests and answers on one connection, without socket or clock.
//!
//! Requests wait in line; at most `max_in_flight` of them are on the wire at once; answers come in the order
//! of the requests, as Kafka promises. No request begins while a broker has asked for silence (KIP-219), nor
//! between an answer's arrival and the moment at which it is known whether it asks for silence.
//!
//! Invariant: every request that was pushed is given back exactly once. Of one that is given back as unsent no
//! byte of [`Pipeline::output`] was taken.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::deadline::Deadline;

/// The requests of a connection, each with a `T` for its caller.
#[derive(Debug)]
pub(crate) struct Pipeline<T> {
    entries: VecDeque<Entry<T>>,
    /// How many entries at the front have begun: at least one byte of each was taken.
    begun: usize,
    max_in_flight: usize,
    /// No entry's deadline is earlier. It may be that of an entry that is gone.
    earliest: Option<Deadline>,
    /// Until when no request may begin (KIP-219).
    silent_until: Option<Instant>,
    /// An answer was taken, and it is not known yet whether it asks for silence.
    is_judging: bool,
}

#[derive(Debug)]
struct Entry<T> {
    correlation_id: i32,
    timing: Timing,
    deadline: Deadline,
    unwritten: VecDeque<Bytes>,
    ticket: T,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// From the moment at which it may begin.
    pub(crate) attempt: Duration,
    /// The latest moment, silences included.
    pub(crate) limit: Deadline,
}

impl Timing {
    /// The deadline of a request that may begin at `start`.
    pub(crate) fn from(self, start: Instant) -> Deadline {
        self.limit.min(Deadline::after(start, self.attempt))
    }
}

/// An answer with another correlation id than that of the oldest request in flight.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unexpected {
    pub(crate) expected: Option<i32>,
}

/// A request that ends because its connection does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended<T> {
    pub(crate) ticket: T,
    pub(crate) sent: bool,
    pub(crate) deadline_is_over: bool,
}

impl<T> Pipeline<T> {
    pub(crate) fn new(max_in_flight: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            begun: 0,
            max_in_flight: max_in_flight.max(1),
            earliest: None,
            silent_until: None,
            is_judging: false,
        }
    }

    /// Puts a request, made at `start` and encoded under `correlation_id`, at the end of the line. Gives it
    /// back if it could not begin before its limit.
    pub(crate) fn push(
        &mut self,
        correlation_id: i32,
        chunks: Vec<Bytes>,
        (start, timing): (Instant, Timing),
        ticket: T,
    ) -> Result<(), T> {
        let start = self.silent_until.map_or(start, |until| until.max(start));
        if self.silent_until.is_some() && timing.limit.is_over(start) {
            return Err(ticket);
        }
        let deadline = timing.from(start);
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.entries.push_back(Entry { correlation_id, timing, deadline, unwritten: chunks.into(), ticket });
        Ok(())
    }

    /// Tells until when the last answer asks for silence; requests may begin again. Gives back the requests that
    /// can no longer begin before their limit. The time of all others counts from the end of the silence, also of
    /// those already sent, because the broker reads them only then.
    pub(crate) fn judged(&mut self, silent_until: Option<Instant>) -> Vec<T> {
        self.is_judging = false;
        // A silence that ends later stays.
        let Some(until) = silent_until.filter(|until| self.silent_until.is_none_or(|later| later < *until))
        else {
            return Vec::new();
        };
        self.silent_until = Some(until);
        for entry in &mut self.entries {
            entry.deadline = entry.timing.from(until);
        }
        self.take_unbegun(|entry| entry.timing.limit.is_over(until))
    }

    /// Until when no request may begin.
    pub(crate) fn silent_until(&self) -> Option<Instant> {
        self.silent_until
    }

    /// Whether no request waits or is on the wire.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many requests have begun and have no answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.begun
    }

    /// Whether all that was pushed is written to its end.
    pub(crate) fn is_written(&self) -> bool {
        self.begun == self.entries.len() && self.entries.back().is_none_or(|last| last.unwritten.is_empty())
    }

    /// How many entries at the front have begun or may begin.
    fn window(&self) -> usize {
        let is_held = self.silent_until.is_some() || self.is_judging;
        let may_begin = if is_held { 0 } else { self.max_in_flight.min(self.entries.len()) };
        may_begin.max(self.begun)
    }

    /// The bytes to write, in order: the rest of a request that has begun, then what may begin.
    pub(crate) fn output(&self) -> impl Iterator<Item = &Bytes> {
        let window = self.entries.iter().take(self.window());
        window.skip(self.begun.saturating_sub(1)).flat_map(|entry| &entry.unwritten)
    }

    pub(crate) fn has_output(&self) -> bool {
        self.output().next().is_some()
    }

    /// Tells that the first `count` bytes of the output were taken; gives how many requests began with them.
    pub(crate) fn wrote(&mut self, mut count: usize) -> usize {
        let begun_before = self.begun;
        let mut index = self.begun.saturating_sub(1);
        while count > 0 {
            let Some(entry) = self.entries.get_mut(index) else { break };
            let Some(chunk) = entry.unwritten.front_mut() else {
                index += 1;
                continue;
            };
            let taken = count.min(chunk.len());
            chunk.advance(taken);
            count -= taken;
            if chunk.is_empty() {
                entry.unwritten.pop_front();
            }
            self.begun = self.begun.max(index + 1);
        }
        self.begun - begun_before
    }

    /// Tells that writing failed: any byte of the output may have been taken.
    pub(crate) fn write_failed(&mut self) {
        self.begun = self.window();
    }

    /// Takes out the requests that have not begun and that nobody waits for.
    pub(crate) fn skip(&mut self, is_abandoned: impl Fn(&T) -> bool) -> Vec<T> {
        self.take_unbegun(|entry| is_abandoned(&entry.ticket))
    }

    fn take_unbegun(&mut self, matches: impl Fn(&Entry<T>) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        let mut index = self.begun;
        while let Some(entry) = self.entries.get(index) {
            if !matches(entry) {
                index += 1;
            } else if let Some(entry) = self.entries.remove(index) {
                taken.push(entry.ticket);
            }
        }
        taken
    }

    /// Matches an answer with its request. No other begins until [`Self::judged`].
    pub(crate) fn answered(&mut self, correlation_id: i32) -> Result<T, Unexpected> {
        let begun = self.entries.front().filter(|_| self.begun > 0);
        let expected = begun.map(|entry| entry.correlation_id);
        // A request that is not wholly written cannot have an answer.
        if expected != Some(correlation_id) || begun.is_some_and(|entry| !entry.unwritten.is_empty()) {
            return Err(Unexpected { expected });
        }
        let entry = self.entries.pop_front().ok_or(Unexpected { expected })?;
        self.begun -= 1;
        self.is_judging = true;
        Ok(entry.ticket)
    }

    /// When to call [`Pipeline::expire`] next; possibly too early, never too late.
    pub(crate) fn wake_at(&self) -> Option<Deadline> {
        let silence = self.silent_until.filter(|_| !self.is_empty()).map(Deadline::at);
        [self.earliest, silence].into_iter().flatten().min()
    }

    /// Ends a silence that is over. Takes out the unsent requests whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<T> {
        self.silent_until = self.silent_until.filter(|until| *until > now);
        let unsent = self.take_unbegun(|entry| entry.deadline.is_over(now));
        self.earliest = self.entries.iter().map(|entry| entry.deadline).min();
        unsent
    }

    /// A sent request whose deadline has passed: the broker is stuck, and the connection must end.
    pub(crate) fn stuck(&self, now: Instant) -> Option<&T> {
        let mut sent = self.entries.iter().take(self.begun);
        sent.find(|entry| entry.deadline.is_over(now)).map(|entry| &entry.ticket)
    }

    /// Ends all requests. Also gives the rest of the one that is partly written, if there is one.
    pub(crate) fn end(&mut self, now: Instant) -> (Vec<Ended<T>>, VecDeque<Bytes>) {
        let begun = std::mem::take(&mut self.begun);
        let mut rest = VecDeque::new();
        let ended = std::mem::take(&mut self.entries).into_iter().enumerate().map(|(index, entry)| {
            let sent = index < begun;
            if sent {
                rest = entry.unwritten;
            }
            Ended { ticket: entry.ticket, sent, deadline_is_over: entry.deadline.is_over(now) }
        });
        (ended.collect(), rest)
    }
}

#[cfg(test)]
mod tests;
