//! What a stream has fetched and not given out yet, and where it fetches next.
//!
//! Invariant: what is fetched next continues what was fetched last, and nothing is fetched while there are as many bytes as
//! may be read ahead. Plain: no connection, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::OutOfRange;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::fetch::{Fetched, FetchedBatch, IsolationLevel, Position, ReadUnder};

/// The pause after an answer that did not come further although it was no long wait.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct ReadAhead {
    room: usize,
    until: i64,
    on_out_of_range: OutOfRange,
    isolation: IsolationLevel,
    /// Where the next fetch begins; `None` until the start is known.
    next: Option<Position>,
    /// The broker that answered last, and the leader epoch.
    pub(super) read_under: Option<ReadUnder>,
    /// The same of the first answer, and the leader epoch of its first batch.
    begun_under: Option<(ReadUnder, Option<i32>)>,
    buffered: VecDeque<Part>,
    held: usize,
    /// The log's end according to the last answer, as far as this reader may read.
    end: Option<i64>,
    /// What all answers had: bytes, and offsets that they covered.
    pub(super) read: (u64, u64),
    pause_until: Option<Instant>,
    error: Option<Error>,
    has_ended: bool,
    /// After what was given out.
    position: Option<Position>,
}

#[derive(Debug)]
enum Part {
    Batch(FetchedBatch),
    /// The end of an answer, and how many bytes it holds.
    End(Position, usize),
}

/// What a stream can do now.
#[derive(Debug)]
pub(super) enum Given {
    Batch(Box<FetchedBatch>),
    Error(Error),
    End,
    /// Nothing before the next answer.
    Wait,
}

impl ReadAhead {
    pub(super) fn new(room: usize, on_out_of_range: OutOfRange, isolation: IsolationLevel) -> Self {
        Self {
            room,
            until: i64::MAX,
            on_out_of_range,
            isolation,
            next: None,
            read_under: None,
            begun_under: None,
            buffered: VecDeque::new(),
            held: 0,
            end: None,
            read: (0, 0),
            pause_until: None,
            error: None,
            has_ended: false,
            position: None,
        }
    }

    /// Ends before this offset.
    pub(super) fn end_at(&mut self, until: i64) {
        self.until = until;
    }

    pub(super) fn until(&self) -> i64 {
        self.until
    }

    /// Continues at a position, whatever was fetched before.
    pub(super) fn restart(&mut self, position: Position) {
        self.buffered.clear();
        (self.held, self.pause_until, self.error, self.has_ended) = (0, None, None, false);
        (self.next, self.position) = (Some(position), Some(position));
        (self.read_under, self.begun_under) = (None, None);
    }

    /// Where the next fetch begins; `None` until the start is known.
    pub(super) fn next(&self) -> Option<Position> {
        self.next
    }

    pub(super) fn pause_until(&self) -> Option<Instant> {
        self.pause_until
    }

    /// Whether to fetch now, if no fetch is under way.
    pub(super) fn wants_more(&self) -> bool {
        let is_done = self.next.is_some_and(|next| next.offset >= self.until);
        !is_done && !self.has_ended && self.error.is_none() && self.held < self.room
    }

    /// Takes in an answer to a fetch that began at `from`, at the moment `asked`.
    pub(super) fn fetched(&mut self, from: Position, fetched: Fetched, asked: Instant) {
        let next = fetched.next();
        let is_further = next.offset > from.offset;
        self.pause_until = (!is_further).then(|| asked + PAUSE);
        self.end = Some(match self.isolation {
            IsolationLevel::ReadUncommitted => fetched.high_watermark(),
            IsolationLevel::ReadCommitted => fetched.last_stable_offset().unwrap_or(fetched.high_watermark()),
        });
        self.position.get_or_insert(from);
        self.next = Some(next);
        self.read_under = Some(fetched.read_under);
        let first_epoch = fetched.batches().first().and_then(FetchedBatch::leader_epoch);
        self.begun_under.get_or_insert((fetched.read_under, first_epoch));
        self.read.0 += fetched.encoded_size() as u64;
        self.read.1 += next.offset.abs_diff(from.offset);
        let memory = fetched.batches().iter().map(FetchedBatch::memory).sum();
        self.held += memory;
        self.buffered.extend(fetched.into_batches().map(Part::Batch));
        self.buffered.push_back(Part::End(next, memory));
    }

    /// Takes in the failure of a fetch.
    pub(super) fn failed(&mut self, error: Error) {
        let nearest = match *error.kind() {
            ErrorKind::OffsetOutOfRange { offset, log_start, log_end } => {
                Some(offset.clamp(log_start, log_end))
            }
            ErrorKind::LogTruncated { divergence_offset } => Some(divergence_offset),
            _ => None,
        };
        if let (Some(offset), Some(next), OutOfRange::Continue) =
            (nearest, &mut self.next, self.on_out_of_range)
        {
            (next.offset, next.leader_epoch) = (offset, None);
        }
        self.has_ended = match error.kind() {
            ErrorKind::LogTruncated { .. } => false,
            ErrorKind::InvalidArgument(_) | ErrorKind::OtherTopic => true,
            _ => error.class() == ErrorClass::Fatal,
        };
        // Closing the client is how one ends a stream that has no end of its own.
        if *error.kind() != ErrorKind::Closed || self.until < i64::MAX {
            self.error = Some(error);
        }
    }

    /// Whether this continues what `before` has read, under the same leader.
    pub(super) fn continues(&self, before: &Self) -> bool {
        let last_epoch = before.position.and_then(|position| position.leader_epoch);
        self.begun_under.is_some_and(|(begun_under, first_epoch)| {
            let is_known = begun_under.1.is_some() || first_epoch == last_epoch;
            before.read_under == Some(begun_under) && is_known
        })
    }

    /// Takes out what comes next.
    pub(super) fn take(&mut self) -> Given {
        while let Some(part) = self.buffered.pop_front() {
            match part {
                Part::Batch(batch) => {
                    let position = self.position.as_mut();
                    if let Some(position) = position {
                        (position.offset, position.leader_epoch) =
                            (batch.next_offset(), batch.leader_epoch());
                    }
                    return Given::Batch(Box::new(batch));
                }
                Part::End(position, memory) => {
                    self.held -= memory;
                    self.position = Some(position);
                }
            }
        }
        if let Some(error) = self.error.take() {
            self.position = self.next.or(self.position);
            return Given::Error(error);
        }
        let is_done = self.next.is_some_and(|next| next.offset >= self.until);
        if is_done || self.has_ended { Given::End } else { Given::Wait }
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    /// The log's end, as far as it is known and may be read.
    pub(super) fn end(&self) -> Option<i64> {
        self.end
    }
}
