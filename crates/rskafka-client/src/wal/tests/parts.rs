//! What a world is made of.

use super::super::fence::{Kind, Mark, Reading, Stamp};
use super::super::ledger::Ledger;

/// A batch in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    /// From, and up to but not including.
    pub(super) offsets: (i64, i64),
    pub(super) mark: Mark,
    /// Under which claim it was really written, whatever its header says; 0 for what is not ours.
    pub(super) author: u8,
    /// Which call of that writer wrote it: its claim is 0.
    pub(super) call: usize,
}

/// Batches on their way: each may be delivered at any time, any number of times, or never.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Network {
    /// Sorted, each but once.
    pub(super) requests: Vec<Request>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) author: u8,
    pub(super) call: usize,
    pub(super) stamp: Stamp,
    /// Its answer is waited for. Of what was sent before, nobody remembers which attempt it was.
    is_current: bool,
    /// The attempt whose answer is waited for has brought a copy into the log.
    is_delivered: bool,
}

/// An append that was called not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Never {
    pub(super) author: u8,
    pub(super) call: usize,
    /// How far the process that said so had read the log.
    pub(super) known_to: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) stored: Point,
    /// How many entries it knows of all that count, its own included.
    pub(super) entries: u8,
    /// What it appended under earlier claims, and does not know what became of.
    pub(super) unknown: Vec<Unknown>,
    /// The log's end was cut below what it knows.
    pub(super) is_cut: bool,
    /// It has noticed that it cannot read on.
    pub(super) is_halted: bool,
}

#[allow(clippy::large_enum_variant, reason = "most processes are writers")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Reader(Reading),
    Writer(Writer),
}

/// A claim, and what is appended under it. Calls are numbered from the claim, which is 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Writer {
    pub(super) ledger: Ledger,
    pub(super) author: u8,
    /// What the ledger gave each call.
    pub(super) sequences: Vec<u64>,
    /// Calls that were sent, and not answered.
    pub(super) in_flight: Vec<usize>,
    /// Calls without a result.
    pub(super) open: Vec<usize>,
    /// The greatest offset of an acknowledgement.
    pub(super) acknowledged_to: i64,
}

/// A stored position, with what is known there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Point {
    pub(super) reading: Reading,
    pub(super) entries: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Unknown {
    pub(super) author: u8,
    pub(super) call: usize,
    pub(super) stamp: Stamp,
}

impl Batch {
    pub(super) fn is(&self, author: u8, call: usize) -> bool {
        (self.author, self.call) == (author, call)
    }
}

impl Network {
    pub(super) fn send(&mut self, author: u8, call: usize, stamp: Stamp) {
        self.put(Request { author, call, stamp, is_current: true, is_delivered: false });
    }

    /// Which batch comes into the log. Its request stays: there may be another copy of it.
    pub(super) fn deliver(&mut self, request: usize) -> (u8, usize, Stamp) {
        let request = &mut self.requests[request];
        request.is_delivered |= request.is_current;
        (request.author, request.call, request.stamp)
    }

    /// Whether the attempt whose answer is waited for is in the log.
    pub(super) fn is_delivered(&self, author: u8, call: usize) -> bool {
        self.current(author, call).is_some_and(|at| self.requests[at].is_delivered)
    }

    /// Nobody waits for an answer any more. What is not surely taken out may still be delivered.
    pub(super) fn end_attempt(&mut self, author: u8, call: usize, is_taken_out: bool) {
        let Some(at) = self.current(author, call) else { return };
        let ended = self.requests.remove(at);
        if !is_taken_out {
            self.put(Request { is_current: false, is_delivered: false, ..ended });
        }
    }

    fn current(&self, author: u8, call: usize) -> Option<usize> {
        let is_meant =
            |request: &Request| request.is_current && (request.author, request.call) == (author, call);
        self.requests.iter().position(is_meant)
    }

    fn put(&mut self, request: Request) {
        let key = |request: &Request| (request.author, request.call, request.is_current);
        if let Err(place) = self.requests.binary_search_by_key(&key(&request), key) {
            self.requests.insert(place, request);
        }
    }
}

impl Process {
    pub(super) fn new() -> Self {
        Self {
            role: Role::Reader(Reading::default()),
            stored: Point::default(),
            entries: 0,
            unknown: Vec::new(),
            is_cut: false,
            is_halted: false,
        }
    }

    pub(super) fn reading(&self) -> Reading {
        match &self.role {
            Role::Reader(reading) => *reading,
            Role::Writer(writer) => writer.ledger.reading(),
        }
    }

    /// After a crash: it has nothing but the position.
    pub(super) fn started_at(&self, point: Point) -> Self {
        Self {
            role: Role::Reader(point.reading),
            entries: point.entries,
            unknown: Vec::new(),
            stored: self.stored,
            ..*self
        }
    }

    /// The greatest offset that it knows something of.
    pub(super) fn knows_to(&self) -> i64 {
        let acknowledged_to = match &self.role {
            Role::Reader(_) => 0,
            Role::Writer(writer) => writer.acknowledged_to,
        };
        self.reading().next_offset.max(self.stored.reading.next_offset).max(acknowledged_to)
    }
}

impl Writer {
    pub(super) fn new(ledger: Ledger, author: u8) -> Self {
        let (sequences, open) = (vec![0], vec![0]);
        Self { ledger, author, sequences, in_flight: Vec::new(), open, acknowledged_to: 0 }
    }

    pub(super) fn stamp(&self, call: usize) -> Stamp {
        let kind = match call {
            0 => Kind::Claim,
            _ if call % 3 == 2 => Kind::Barrier,
            _ => Kind::Entry,
        };
        self.ledger.stamp(kind, self.sequences[call])
    }

    /// As far as a process can tell from the header.
    pub(super) fn wrote(&self, stamp: Stamp) -> bool {
        self.ledger.stamp(stamp.kind, stamp.sequence) == stamp
    }
}

impl Unknown {
    pub(super) fn is(&self, stamp: Stamp) -> bool {
        self.stamp == stamp
    }
}
