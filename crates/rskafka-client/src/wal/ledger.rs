//! What one writer has appended under its claim, and what became of it. No I/O, no clock.
//!
//! Invariants:
//! - Batches are judged in the order of their sequences, none before all earlier ones are settled.
//! - A batch counts if it was acknowledged right behind the last one that counts, or was found counting by the rule.
//! - A sequence belongs to one batch for good. Only that batch is sent again under it.

use std::collections::VecDeque;

use super::fence::{Damage, Fence, Kind, Mark, Reading, Stamp, Verdict};

/// The appends of one writer. The claim is the first, with sequence 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ledger {
    /// Everything before its offset is known.
    reading: Reading,
    term: u64,
    writer: u64,
    /// The sequence of the first entry below.
    first: u64,
    unsettled: VecDeque<Entry>,
    /// How many of them, from the first on, are not held.
    sent: usize,
    /// How many of them are to be sent again.
    again: usize,
    /// Results that nobody has taken yet; the first has the sequence `first - results.len()`.
    results: VecDeque<Settled>,
    end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Entry {
    state: State,
    /// A copy of it may be in the log, or come into it.
    may_be_written: bool,
    /// Where dead copies of it were read. A broker may acknowledge the same one again.
    dead: Vec<i64>,
    /// How many of these were known when it was sent again last.
    resent_for: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum State {
    /// To be sent when its turn comes.
    #[default]
    Held,
    Sent,
    Answered(Answer),
}

/// How an attempt ended, as the partition client tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// It is in the log, with these offsets: from, and up to but not including.
    Acknowledged(i64, i64),
    /// It is in the log, and nobody told where.
    Written,
    /// It failed, and may be sent again: the partition client did not send it, or could not tell whether it is written.
    Again { may_be_written: bool },
    /// It failed for good: it was refused, or its time is over.
    Failed { may_be_written: bool },
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Settled {
    /// It counts, at these offsets: from, and up to but not including.
    Counts(i64, i64),
    /// It never counts.
    NotWritten,
    /// It may count.
    Unknown,
}

/// Why a writer appends nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// Another claim counted, at this offset.
    Fenced { term: u64, offset: i64 },
    /// An append failed; `is_lost` if it is not known whether it counts.
    Failed { is_lost: bool },
    /// What was acknowledged at this offset is not there.
    Truncated { offset: i64 },
}

impl Ledger {
    /// A claim to be made behind what was read; `None` if there is no further term.
    pub(crate) fn claim(reading: Reading, writer: u64) -> Option<Self> {
        let term = reading.fence.term.checked_add(1)?;
        let (unsettled, results) = (VecDeque::from([Entry::default()]), VecDeque::new());
        Some(Self { reading, term, writer, first: 0, unsettled, sent: 0, again: 0, results, end: None })
    }

    pub(crate) fn reading(&self) -> Reading {
        self.reading
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// The sequence that the next append gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.first + self.unsettled.len() as u64
    }

    /// The header's value of the batch with this sequence.
    pub(crate) fn stamp(&self, kind: Kind, sequence: u64) -> Stamp {
        Stamp { kind, term: self.term, writer: self.writer, sequence }
    }

    /// What the next append's reader would need, once that append with `sequence` counts.
    pub(crate) fn fence_after(&self, sequence: u64) -> Fence {
        Fence { term: self.term, writer: self.writer, next_sequence: sequence + 1 }
    }

    /// Takes in an append, which gets `next_sequence`. Not after the end.
    pub(crate) fn append(&mut self) {
        self.unsettled.push_back(Entry::default());
    }

    /// The next append to be sent, behind all that were sent. Nothing new is sent before what failed was sent again.
    pub(crate) fn send(&mut self) -> Option<u64> {
        if self.end.is_some() || self.again > 0 {
            return None;
        }
        self.unsettled.get_mut(self.sent)?.state = State::Sent;
        self.sent += 1;
        Some(self.first + self.sent as u64 - 1)
    }

    /// The answer to an append that was sent.
    pub(crate) fn answered(&mut self, sequence: u64, answer: Answer) {
        let Some(entry) = self.entry(sequence) else { return };
        entry.state = State::Answered(answer);
        entry.may_be_written |= match answer {
            Answer::Acknowledged(..) | Answer::Written => true,
            Answer::Again { may_be_written } | Answer::Failed { may_be_written } => may_be_written,
        };
        self.again += usize::from(matches!(answer, Answer::Again { .. }));
        self.advance();
    }

    /// Passes the next batch of the log. The first one to be read is at the offset of [`reading`](Self::reading).
    pub(crate) fn read(&mut self, offsets: (i64, i64), mark: Mark) -> Result<Verdict, Damage> {
        let verdict = self.reading.pass(offsets, mark)?;
        let Mark::Stamp(Stamp { term, writer, sequence, .. }) = mark else { return Ok(verdict) };
        let is_ours = (term, writer) == (self.term, self.writer);
        match verdict {
            Verdict::Claim | Verdict::Entry if is_ours => {
                let is_next = !self.unsettled.is_empty() && sequence == self.first;
                // Also after the end: nobody else reads this batch as one whose outcome is not known.
                if is_next {
                    self.settle(Settled::Counts(offsets.0, offsets.1));
                } else if self.end.is_none() {
                    return Err(Damage::NotOurs);
                }
            }
            Verdict::Claim if term >= self.term => self.end_by(End::Fenced { term, offset: offsets.0 }),
            Verdict::Dead(_) if is_ours => {
                if let Some(entry) = self.entry(sequence) {
                    entry.dead.push(offsets.0);
                }
            }
            _ => {}
        }
        self.advance();
        Ok(verdict)
    }

    /// Up to which offset the log must be read before the oldest append can be judged.
    pub(crate) fn wants_read_to(&self) -> Option<i64> {
        match self.unsettled.front()?.state {
            State::Answered(Answer::Acknowledged(_, next)) if self.end.is_none() => {
                Some(next).filter(|next| *next > self.reading.next_offset)
            }
            State::Answered(Answer::Written) if self.end.is_none() => Some(i64::MAX),
            _ => None,
        }
    }

    /// Whether the oldest append waits for more than its own answer: for the log to be read, or for its turn to be sent.
    pub(crate) fn is_held_up(&self) -> bool {
        self.end.is_none() && self.unsettled.front().is_some_and(|oldest| oldest.state != State::Sent)
    }

    /// The oldest append cannot be judged, or sent, in its time.
    pub(crate) fn give_up(&mut self) {
        self.end_by(End::Failed { is_lost: true });
        self.advance();
    }

    pub(crate) fn has_settled(&self) -> bool {
        !self.results.is_empty()
    }

    /// What became of the oldest append whose result was not taken yet, and its sequence.
    pub(crate) fn take_settled(&mut self) -> Option<(u64, Settled)> {
        let sequence = self.first - self.results.len() as u64;
        Some((sequence, self.results.pop_front()?))
    }

    fn entry(&mut self, sequence: u64) -> Option<&mut Entry> {
        let index = sequence.checked_sub(self.first)?;
        self.unsettled.get_mut(usize::try_from(index).ok()?)
    }

    fn settle(&mut self, settled: Settled) {
        let state = self.unsettled.pop_front().map(|entry| entry.state);
        self.again -= usize::from(matches!(state, Some(State::Answered(Answer::Again { .. }))));
        self.sent = self.sent.saturating_sub(1);
        self.first += 1;
        self.results.push_back(settled);
    }

    /// Judges what can be judged now.
    fn advance(&mut self) {
        while let Some(front) = self.unsettled.front_mut() {
            if let Some(end) = self.end {
                let Some(settled) = front.at_end(end) else { return };
                self.settle(settled);
                continue;
            }
            let at = self.reading.next_offset;
            let State::Answered(answer) = front.state else { return };
            match answer {
                Answer::Acknowledged(base, next) if base == at => self.counts(base, next),
                Answer::Acknowledged(base, _) if base > at => return,
                // It landed out of turn.
                Answer::Acknowledged(base, _) if front.dead.contains(&base) => self.out_of_turn(),
                Answer::Written if front.dead.len() == front.resent_for => return,
                // One copy of it did, perhaps not the last: another one does no harm.
                Answer::Written => self.out_of_turn(),
                Answer::Acknowledged(base, _) => self.end_by(End::Truncated { offset: base }),
                Answer::Failed { .. } => {
                    let is_lost = front.may_be_written;
                    self.end_by(End::Failed { is_lost });
                }
                Answer::Again { .. } => return self.hold_all(),
            }
        }
    }

    fn out_of_turn(&mut self) {
        if let Some(front) = self.unsettled.front_mut() {
            front.resent_for = front.dead.len();
            front.state = State::Answered(Answer::Again { may_be_written: true });
            self.again += 1;
        }
    }

    /// The oldest append is to be sent again, and all behind it must come behind it in the log, also what was sent before.
    fn hold_all(&mut self) {
        if self.unsettled.iter().all(|entry| entry.state != State::Sent) {
            self.unsettled.iter_mut().for_each(|entry| entry.state = State::Held);
            (self.sent, self.again) = (0, 0);
        }
    }

    /// The oldest append was acknowledged where the log was read up to.
    fn counts(&mut self, base: i64, next: i64) {
        let kind = if self.first == 0 { Kind::Claim } else { Kind::Entry };
        let stamp = self.stamp(kind, self.first);
        match self.reading.pass((base, next), Mark::Stamp(stamp)) {
            Ok(Verdict::Entry | Verdict::Claim) => self.settle(Settled::Counts(base, next)),
            // Not while the rule's state is this writer's: a claim that overtook it would have ended it.
            _ => self.end_by(End::Failed { is_lost: true }),
        }
    }

    fn end_by(&mut self, end: End) {
        self.end.get_or_insert(end);
    }
}

impl Entry {
    /// What became of an append that was not settled when the writer ended; `None` before its answer.
    fn at_end(&self, end: End) -> Option<Settled> {
        match (end, self.state) {
            // Nothing of an older term counts, and nothing behind a batch that is not in the log.
            (End::Fenced { .. } | End::Failed { is_lost: false }, _) => Some(Settled::NotWritten),
            (_, State::Sent) => None,
            _ if self.may_be_written => Some(Settled::Unknown),
            _ => Some(Settled::NotWritten),
        }
    }
}
