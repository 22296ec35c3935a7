//! What a stream has fetched and not given out yet, and where it fetches next.
//!
//! Invariant: what is fetched next continues what was fetched last, and nothing is fetched while there are as many bytes as
//! may be read ahead. Plain: no connection, no clock.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use rskafka_protocol::ErrorCode;
use tokio::time::Instant;

use super::OutOfRange;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::fetch::{Fetched, FetchedBatch, IsolationLevel, Position, ReadUnder};

/// How long after a failure, or an answer without progress (for which a broker waits itself as a rule), the next fetch begins at
/// the earliest.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    room: usize,
    /// It ends before this offset.
    pub(super) until: i64,
    on_out_of_range: OutOfRange,
    isolation: IsolationLevel,
    /// Where the next fetch begins; `None` until the start is known.
    pub(super) next: Option<Position>,
    /// The broker that answered last, and the leader epoch.
    pub(super) read_under: Option<ReadUnder>,
    /// The same of the first answer, and the leader epoch of its first batch.
    pub(super) begun_under: Option<(ReadUnder, Option<i32>)>,
    buffered: VecDeque<Part>,
    held: usize,
    /// According to the last answer: up to where this reader may read, and the high watermark. `None` before the first answer.
    pub(crate) ends: Option<(i64, i64)>,
    /// What all answers had: bytes, and offsets that they covered.
    pub(crate) read: (u64, u64),
    /// The size of the last batch.
    last_size: usize,
    pub(super) pause_until: Option<Instant>,
    /// To be given out.
    pub(super) error: Option<Error>,
    /// By an error.
    pub(super) has_ended: bool,
    /// After what was given out.
    pub(super) position: Option<Position>,
}

#[derive(Debug)]
enum Part {
    Batch(FetchedBatch),
    /// The end of an answer, and how many bytes it holds.
    End(Position, usize),
}

impl ReadAhead {
    pub(super) fn new(room: usize, on_out_of_range: OutOfRange, isolation: IsolationLevel) -> Self {
        Self { room, until: i64::MAX, on_out_of_range, isolation, ..Self::default() }
    }

    /// Continues at a position, whatever was fetched before; after the pause that is due.
    pub(super) fn restart(&mut self, position: Position) {
        self.buffered.clear();
        (self.held, self.last_size, self.error, self.has_ended) = (0, 0, None, false);
        (self.next, self.position) = (Some(position), Some(position));
        (self.read_under, self.begun_under) = (None, None);
    }

    /// Whether to fetch now, if no fetch is under way.
    pub(super) fn wants_more(&self) -> bool {
        !self.is_done() && !self.has_ended && self.error.is_none() && self.held < self.room
    }

    /// How many bytes the next fetch asks for: `most`, or less. The broker cuts off the batch that does not fit, and sends it again
    /// next time. So where only one fits, no more is asked for; one that is larger comes whole all the same (KIP-74).
    pub(super) fn wanted_bytes(&self, most: usize) -> usize {
        if self.last_size > most / 2 { most.min(self.last_size) } else { most }
    }

    /// Takes in an answer to a fetch that began at `from`, at the moment `asked`.
    pub(super) fn fetched(&mut self, from: Position, fetched: Fetched, asked: Instant) {
        let next = fetched.next();
        self.pause_until = (next.offset <= from.offset).then(|| asked + PAUSE);
        let high_watermark = fetched.high_watermark();
        let stable = fetched.last_stable_offset().filter(|_| self.isolation == IsolationLevel::ReadCommitted);
        self.ends = Some((stable.unwrap_or(high_watermark), high_watermark));
        self.position.get_or_insert(from);
        self.next = Some(next);
        self.read_under = Some(fetched.read_under);
        self.begun_under.get_or_insert((fetched.read_under, fetched.first_epoch));
        self.read.0 += fetched.passed_bytes as u64;
        self.read.1 += next.offset.abs_diff(from.offset);
        self.last_size = fetched.batches().last().map_or(0, FetchedBatch::encoded_size);
        // Each batch keeps the whole answer in memory.
        let answer = if fetched.batches().is_empty() { 0 } else { fetched.encoded_size() };
        let memory =
            fetched.batches().iter().fold(answer, |sum, batch| sum.saturating_add(batch.decompressed()));
        self.held += memory;
        self.buffered.extend(fetched.into_batches().map(Part::Batch));
        self.buffered.push_back(Part::End(next, memory));
    }

    /// Takes in the failure of a fetch. It may have been refused at once, so the next one waits.
    pub(super) fn failed(&mut self, error: Error, now: Instant) {
        (self.last_size, self.pause_until) = (0, Some(now + PAUSE));
        let nearest = match *error.kind() {
            ErrorKind::OffsetOutOfRange { offset, log_start, log_end } => {
                Some(offset.min(log_end).max(log_start))
            }
            ErrorKind::LogTruncated { divergence_offset } => Some(divergence_offset),
            // The offset is in the log, and the broker cannot place the epoch.
            ErrorKind::Broker(ErrorCode::OFFSET_OUT_OF_RANGE) => self.next.map(|next| next.offset),
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

    /// Whether it continues what was read up to a position, under the same leader.
    pub(super) fn continues(&self, (before, read_under): &(Position, Option<ReadUnder>)) -> bool {
        self.begun_under.is_some_and(|(begun_under, first_epoch)| {
            let is_known = begun_under.1.is_some() || first_epoch == before.leader_epoch;
            *read_under == Some(begun_under) && is_known
        })
    }

    /// Takes out what the stream gives next; pending if there is nothing before the next answer.
    pub(super) fn take(&mut self) -> Poll<Option<Result<FetchedBatch>>> {
        while let Some(part) = self.buffered.pop_front() {
            match part {
                Part::Batch(batch) => {
                    if let Some(position) = &mut self.position {
                        // What the last batch has beyond the end is not given out.
                        position.offset = batch.next_offset().min(self.until);
                        position.leader_epoch = batch.leader_epoch();
                    }
                    return Poll::Ready(Some(Ok(batch)));
                }
                Part::End(position, memory) => {
                    self.held -= memory;
                    self.position = Some(Position { offset: position.offset.min(self.until), ..position });
                }
            }
        }
        if let Some(error) = self.error.take() {
            self.position = self.next.or(self.position);
            return Poll::Ready(Some(Err(error)));
        }
        if self.is_done() || self.has_ended { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Whether everything before its end was read.
    pub(super) fn is_done(&self) -> bool {
        self.next.is_some_and(|next| next.offset >= self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Case;

    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn after_a_failure_as_much_is_asked_for_as_may_be() {
        let mut ahead = ReadAhead::new(1, OutOfRange::Error, IsolationLevel::default());
        for (last, wanted) in [(0, 100), (50, 100), (51, 51), (100, 100), (200, 100)] {
            ahead.last_size = last;
            assert_eq!(ahead.wanted_bytes(100), wanted);
        }
        // A broker without KIP-74 may have cut off a batch that is larger than the last one.
        ahead.last_size = 60;
        ahead.failed(Error::new(Case::CorruptBatch, ErrorKind::CorruptBatch { base_offset: None }), now());
        assert_eq!(ahead.wanted_bytes(100), 100);
    }

    #[test]
    fn bounds_that_contradict_each_other_do_no_harm() {
        let mut ahead = ReadAhead::new(1, OutOfRange::Continue, IsolationLevel::default());
        let kind = ErrorKind::OffsetOutOfRange { offset: 1, log_start: 5, log_end: 3 };
        ahead.failed(Error::new(Case::OffsetOutOfRange, kind), now());
        assert!(matches!(ahead.take(), Poll::Ready(Some(Err(_)))));
    }
}
