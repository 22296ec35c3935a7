//! The order of requests and answers on one connection, without socket or clock.
//!
//! Requests wait in line; at most `max_in_flight` of them are on the wire at once; answers come in the order
//! of the requests, as Kafka promises.
//!
//! Invariant: every request that was pushed is given back exactly once, and one that is given back as unsent
//! never had a byte in [`Pipeline::output`] that was taken.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::deadline::Deadline;

/// The requests of a connection, each with a `T` for whoever waits for it.
#[derive(Debug)]
pub(crate) struct Pipeline<T> {
    entries: VecDeque<Entry<T>>,
    /// How many entries at the front have begun: at least one byte of each was taken.
    begun: usize,
    max_in_flight: usize,
    /// No entry's deadline is earlier. It may be that of an entry that is gone.
    earliest: Option<Deadline>,
}

#[derive(Debug)]
struct Entry<T> {
    correlation_id: i32,
    deadline: Deadline,
    unwritten: VecDeque<Bytes>,
    ticket: T,
}

/// An answer that cannot be one: its number is not the one that is due.
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
        Self { entries: VecDeque::new(), begun: 0, max_in_flight: max_in_flight.max(1), earliest: None }
    }

    /// Puts a request, encoded under `correlation_id`, at the end of the line.
    pub(crate) fn push(&mut self, correlation_id: i32, chunks: Vec<Bytes>, deadline: Deadline, ticket: T) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.entries.push_back(Entry { correlation_id, deadline, unwritten: chunks.into(), ticket });
    }

    /// Whether no request waits or is on the wire.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many requests have begun and have no answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.begun
    }

    /// The bytes to write, in order: the rest of a request that has begun, then what may begin.
    pub(crate) fn output(&self) -> impl Iterator<Item = &Bytes> {
        let window = self.entries.iter().take(self.max_in_flight.max(self.begun));
        window.skip(self.begun.saturating_sub(1)).flat_map(|entry| &entry.unwritten)
    }

    pub(crate) fn has_output(&self) -> bool {
        self.output().next().is_some()
    }

    /// Tells that the first `count` bytes of the output were taken.
    pub(crate) fn wrote(&mut self, mut count: usize) {
        let mut index = self.begun.saturating_sub(1);
        while count > 0 {
            let Some(entry) = self.entries.get_mut(index) else { return };
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
    }

    /// Tells that writing failed: any byte of the output may have been taken.
    pub(crate) fn write_failed(&mut self) {
        self.begun = self.begun.max(self.entries.len().min(self.max_in_flight));
    }

    /// Takes out the requests that have not begun and that nobody waits for.
    pub(crate) fn skip(&mut self, is_abandoned: impl Fn(&T) -> bool) {
        let mut index = self.begun;
        while let Some(entry) = self.entries.get(index) {
            if is_abandoned(&entry.ticket) {
                self.entries.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Matches an answer with its request.
    pub(crate) fn answered(&mut self, correlation_id: i32) -> Result<T, Unexpected> {
        match self.entries.front() {
            Some(entry) if self.begun > 0 => {
                // An answer to a request that is not wholly written is none.
                if entry.correlation_id != correlation_id || !entry.unwritten.is_empty() {
                    return Err(Unexpected { expected: Some(entry.correlation_id) });
                }
            }
            _ => return Err(Unexpected { expected: None }),
        }
        match self.entries.pop_front() {
            Some(entry) => {
                self.begun -= 1;
                Ok(entry.ticket)
            }
            None => Err(Unexpected { expected: None }),
        }
    }

    /// When to call [`Pipeline::expire`] next; possibly too early, never too late.
    pub(crate) fn wake_at(&self) -> Option<Deadline> {
        self.earliest
    }

    /// Takes out the requests whose time is over and of which nothing was sent.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<T> {
        let mut unsent = Vec::new();
        let mut index = self.begun;
        while let Some(entry) = self.entries.get(index) {
            if !entry.deadline.is_over(now) {
                index += 1;
            } else if let Some(entry) = self.entries.remove(index) {
                unsent.push(entry.ticket);
            }
        }
        self.earliest = self.entries.iter().map(|entry| entry.deadline).min();
        unsent
    }

    /// A request that was sent and whose time is over: the broker is stuck, and the connection must end.
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
