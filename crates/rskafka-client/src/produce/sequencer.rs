//! Decides what a partition client sends: which batch next, under which sequence number and epoch, and what became of each
//! append in the end. Without idempotence it sends one batch at a time, without numbers.
//!
//! Invariants, for one partition client:
//! - A range of sequence numbers of one producer id and epoch belongs to one append for good, and an append gets other
//!   numbers only if no attempt can have written it. So the line changes a batch's header only when its numbers change.
//! - No batch is sent `max_in_flight` or more places behind the oldest unsettled one: brokers remember five batches.
//! - Until the partition has acknowledged this producer over the present lease, only the oldest unsettled append is sent
//!   and awaited: a partition that does not know a producer accepts it at any sequence number (KAFKA-15591).
//! - Every append is settled exactly once.

mod vocabulary;
mod window;

use std::collections::VecDeque;

use rskafka_protocol::ErrorCode;

pub(crate) use self::vocabulary::{
    Acknowledged, Action, Attempt, Closed, Idempotence, MAX_IN_FLIGHT, Numbers, Options, Producer, Reason,
    Settled, Verified,
};
use self::window::{Contradiction, Entry, Progress, Window};
use super::fate::Refusal;
use crate::error::Outcome;

/// The state machine of one partition client's appends.
///
/// Report events with the other methods, then call `poll` until it returns `None`.
#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    options: Options,
    window: Window,
    /// Results that `poll` has not given yet.
    results: VecDeque<(u64, Settled)>,
    producer: Option<Producer>,
    /// The next append's; beyond `i32::MAX` if the epoch has no numbers left.
    next_sequence: i64,
    /// No append gets a number of this epoch any more: some numbers will never be used, or there are none left.
    is_epoch_over: bool,
    /// An append that is surely not written, and was refused as out of sequence. Appends behind it cannot be in the log under
    /// this epoch.
    gap: Option<u64>,
    /// The leader's epoch when the connection was leased.
    lease: Option<i32>,
    /// Nothing more is sent over the lease.
    is_draining: bool,
    /// The first append that was not sent over the lease.
    cursor: u64,
    /// The partition surely knows the producer until then, in ms since 1970; `None` until it acknowledges over the lease.
    known_until: Option<i64>,
    last_acknowledged: Option<Acknowledged>,
    /// Whether the last acknowledged batch must be looked for before anything else is sent.
    is_verify_due: bool,
    /// The leader's epoch under which the last acknowledged batch was acknowledged or found.
    verified_under: Option<i32>,
    /// A lease, a producer id or a read was asked for.
    is_waiting: bool,
    closed: Option<Closed>,
}

impl Sequencer {
    pub(crate) fn new(options: Options) -> Self {
        let most = if options.idempotence == Idempotence::Off { 1 } else { MAX_IN_FLIGHT };
        let max_in_flight = options.max_in_flight.clamp(1, most);
        Self { options: Options { max_in_flight, ..options }, ..Self::default() }
    }

    /// Whether another append would have a place in the window. More can be admitted, but each costs time in all calls.
    pub(crate) fn has_room(&self) -> bool {
        self.window.len() < self.options.max_in_flight
    }

    /// Takes in an append of `record_count` records, and gives its number: they count up in the order of the calls.
    pub(crate) fn admit(&mut self, record_count: i32) -> Result<u64, Closed> {
        match self.closed {
            Some(closed) => Err(closed),
            None => Ok(self.window.push(record_count)),
        }
    }

    /// What to do next; `None` until something happens. `now` gives the wall clock's time, in ms since 1970, where it counts.
    pub(crate) fn poll(&mut self, now: impl Fn() -> i64) -> Option<Action> {
        loop {
            if let Some((number, settled)) = self.results.pop_front() {
                return Some(Action::Settle { number, settled });
            }
            let oldest = self.window.oldest_unsettled();
            if self.is_waiting || oldest.is_none() {
                return None;
            }
            if !self.window.has_outstanding() {
                if let Some(action) = self.needed() {
                    self.is_waiting = true;
                    return Some(action);
                }
                if self.is_epoch_over && self.window.last_in_doubt().is_none() {
                    self.begin_again();
                    continue;
                }
            }
            let number = self.next_to_send(oldest?, &now)?;
            match self.send(number) {
                Some(action) => return Some(action),
                None => self.is_epoch_over = true,
            }
        }
    }

    /// The lease that was asked for is there. `leader_epoch` is -1 if it is not known.
    pub(crate) fn leased(&mut self, leader_epoch: i32) {
        self.is_waiting = false;
        self.is_draining = false;
        self.lease = Some(leader_epoch);
        self.cursor = 0;
        self.known_until = None;
        let is_new_leader = leader_epoch < 0 || self.verified_under != Some(leader_epoch);
        self.is_verify_due |= is_new_leader && self.last_acknowledged.is_some();
    }

    /// Frees the memory of appends that are settled.
    pub(crate) fn free(&mut self) {
        self.window.free();
        self.results.shrink_to_fit();
    }

    /// Nothing more is sent over the present lease: its connection ended or is to be replaced, or a later epoch of the
    /// leader became known.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// The producer id that was asked for is there.
    pub(crate) fn obtained(&mut self, producer: Producer) {
        self.is_waiting = false;
        self.producer = Some(producer);
    }

    /// What was asked for has been read.
    pub(crate) fn verified(&mut self, verified: Verified) {
        self.is_waiting = false;
        self.is_verify_due = false;
        self.verified_under = self.lease;
        if let Verified::Lost { first_lost } = verified {
            // An append that was never sent has revealed nothing.
            let revealed_by = self.window.find_unsettled(0, |entry| entry.base_sequence.is_some());
            self.truncated(first_lost, revealed_by);
        }
    }

    /// What was asked for cannot be had now. The next `poll` asks for it again, if there is still an append for it.
    pub(crate) fn not_done(&mut self) {
        self.is_waiting = false;
    }

    /// Whether a producer id would be asked for.
    pub(crate) fn lacks_producer(&self) -> bool {
        self.is_idempotent() && self.producer.is_none()
    }

    /// A producer id that was not asked for.
    pub(crate) fn offer(&mut self, producer: Producer) {
        if self.lacks_producer() {
            self.producer = Some(producer);
        }
    }

    /// An attempt has ended. Without an answer it ends only when its connection is closed, so that nothing behind it
    /// can still be answered. Returns whether the append is to be sent again.
    pub(crate) fn attempt_ended(&mut self, number: u64, attempt: Attempt) -> bool {
        self.window.set_outstanding(number, false);
        match attempt {
            Attempt::Acknowledged { base_offset, timestamp } => {
                self.acknowledged(number, base_offset, timestamp)
            }
            Attempt::Refused(code) => self.refused(number, code),
            Attempt::Unanswered { outcome, is_transient } => {
                self.is_draining = true;
                if let Some(entry) = self.window.unsettled_mut(number) {
                    entry.fate.note(outcome);
                }
                if !is_transient || (!self.is_idempotent() && outcome == Outcome::Unknown) {
                    self.fail(number, Reason::Unanswered);
                }
            }
        }
        if let Some(behind) = self.window.unsettled_mut(number).and_then(|entry| entry.stopped_behind) {
            self.fail(number, Reason::Closed(Closed::Stopped { behind }));
        }
        if !self.window.has_outstanding() {
            self.give_up_behind_gap();
        }
        self.window.trim();
        self.window.unsettled_mut(number).is_some()
    }

    /// Whether the brokers compare epochs: counts when the present epoch ends.
    pub(crate) fn set_compares_epochs(&mut self, compares_epochs: bool) {
        if self.options.idempotence != Idempotence::Off {
            let compares = if compares_epochs { Idempotence::Epochs } else { Idempotence::ProducerIds };
            self.options.idempotence = compares;
        }
    }

    /// Whether this append must not be sent now, though that was asked for: the lease is over, or an append before it failed.
    pub(crate) fn is_held_back(&mut self, number: u64) -> bool {
        let is_stopped = |entry: &mut Entry| entry.stopped_behind.is_some();
        self.is_draining || self.window.unsettled_mut(number).is_none_or(is_stopped)
    }

    /// Whether this append is the oldest that is not settled.
    pub(crate) fn is_oldest(&self, number: u64) -> bool {
        self.window.oldest_unsettled() == Some(number)
    }

    /// The offset behind which appends that were not sent yet come to lie, and whether brokers compare epochs.
    pub(crate) fn floor(&self) -> (i64, bool) {
        let acknowledged = self.last_acknowledged.map_or(0, |acknowledged| acknowledged.base_offset);
        (acknowledged, self.options.idempotence == Idempotence::Epochs)
    }

    /// Why no append is admitted.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// The time of an append is over, or what it needs cannot be had. It is not sent again.
    pub(crate) fn give_up(&mut self, number: u64) {
        self.fail(number, Reason::GivenUp);
        self.window.trim();
    }

    /// Whether an attempt to send this append has not ended.
    pub(crate) fn is_outstanding(&self, number: u64) -> bool {
        self.window.get(number).is_some_and(|entry| entry.is_outstanding)
    }

    /// Appends are admitted again after one failed. Those outstanding behind it are not sent again all the same.
    pub(crate) fn resume(&mut self) {
        self.closed = self.closed.filter(|closed| matches!(closed, Closed::Truncated { .. }));
    }

    /// What is needed before anything can be sent, while nothing is outstanding.
    fn needed(&self) -> Option<Action> {
        if self.is_draining || self.lease.is_none() {
            return Some(Action::Lease);
        }
        if let (true, Some(acknowledged)) = (self.is_verify_due, self.last_acknowledged) {
            return Some(Action::Verify(acknowledged));
        }
        self.lacks_producer().then_some(Action::ObtainProducerId)
    }

    fn is_idempotent(&self) -> bool {
        self.options.idempotence != Idempotence::Off
    }

    fn next_to_send(&self, oldest: u64, now: impl Fn() -> i64) -> Option<u64> {
        if self.is_draining {
            return None;
        }
        let (number, _) = self.window.unsettled_from(self.cursor).next()?;
        if number - oldest >= self.options.max_in_flight as u64 {
            return None;
        }
        // Once an epoch is over, appends are sent again only up to the last one that may be written: if that one is in the
        // log, so are those before it.
        if self.is_epoch_over && self.window.last_in_doubt() < Some(number) {
            return None;
        }
        let is_alone = !self.window.has_outstanding() && number == oldest;
        let is_known = || self.known_until.is_some_and(|known_until| now() < known_until);
        (is_alone || is_known()).then_some(number)
    }

    /// `None` if the epoch has not enough numbers left.
    fn send(&mut self, number: u64) -> Option<Action> {
        let numbers = match self.producer {
            Some(producer) => Some(Numbers { producer, base_sequence: self.base_sequence(number)? }),
            None => None,
        };
        self.window.set_outstanding(number, true);
        self.cursor = number + 1;
        Some(Action::Send { number, numbers })
    }

    fn base_sequence(&mut self, number: u64) -> Option<i32> {
        let entry = self.window.unsettled_mut(number)?;
        if entry.base_sequence.is_none() {
            // Kafka accepts a batch whose numbers wrap to 0, and Redpanda does not: numbers never wrap here.
            let end = self.next_sequence + i64::from(entry.record_count);
            entry.base_sequence = Some(i32::try_from(self.next_sequence).ok().filter(|_| end <= 1 << 31)?);
            self.next_sequence = end;
        }
        entry.base_sequence
    }

    /// Ends an epoch in which nothing is outstanding or in doubt. What is surely not written gets new numbers.
    fn begin_again(&mut self) {
        self.is_epoch_over = false;
        self.gap = None;
        (self.next_sequence, self.cursor) = (0, 0);
        self.known_until = None;
        self.window.entries_mut().for_each(|entry| entry.base_sequence = None);
        // After the last epoch, as without epochs, another producer id is asked for.
        let next_epoch = |Producer { id, epoch }| Some(Producer { id, epoch: epoch.checked_add(1)? });
        let before = self.producer.filter(|_| self.options.idempotence == Idempotence::Epochs);
        self.producer = before.and_then(next_epoch);
    }

    fn acknowledged(&mut self, number: u64, base_offset: Option<i64>, timestamp: i64) {
        self.known_until = Some(self.options.known_until(timestamp));
        let Some(entry) = self.window.unsettled_mut(number) else { return };
        let Some(base_offset) = base_offset else {
            entry.fate.note(Outcome::Unknown);
            return self.fail(number, Reason::NoOffset);
        };
        let base_sequence = entry.base_sequence;
        match self.window.contradiction(number, base_offset).filter(|_| self.is_idempotent()) {
            Some(Contradiction::Lost { first_lost }) => return self.truncated(first_lost, Some(number)),
            Some(Contradiction::Overtaken) => {
                // It may be written a second time, and is not where its caller would look for it.
                self.is_draining = true;
                self.is_verify_due |= self.last_acknowledged.is_some();
                if let Some(entry) = self.window.unsettled_mut(number) {
                    entry.fate.note(Outcome::Unknown);
                }
                return self.fail(number, Reason::OutOfSequence);
            }
            None => {}
        }
        if let Some(entry) = self.window.unsettled_mut(number) {
            entry.progress = Progress::Written { base_offset };
        }
        self.results.push_back((number, Settled::Written { base_offset }));
        if self.window.is_last_written(number)
            && let (Some(producer), Some(base_sequence)) = (self.producer, base_sequence)
        {
            let numbers = Numbers { producer, base_sequence };
            self.last_acknowledged = Some(Acknowledged { base_offset, numbers });
            self.verified_under = self.lease;
        }
    }

    fn refused(&mut self, number: u64, code: ErrorCode) {
        let is_oldest = self.is_oldest(number);
        let Some(entry) = self.window.unsettled_mut(number) else { return self.drain() };
        if self.options.idempotence == Idempotence::Off {
            let is_sent_again = entry.fate.refused(code);
            self.is_draining = true;
            if !is_sent_again {
                self.fail(number, Reason::Refused(code));
            }
            return;
        }
        let refusal = entry.fate.refused_in_sequence(code);
        let is_in_doubt = entry.is_in_doubt();
        // After any other refusal this append is sent again, so those behind it must be too.
        self.is_draining |= refusal != Refusal::Lasting;
        match refusal {
            Refusal::Lasting => self.fail(number, Reason::Refused(code)),
            Refusal::Written => self.fail(number, Reason::NoOffset),
            Refusal::Passing => {}
            Refusal::OutOfSequence | Refusal::EpochOver if is_oldest => {
                self.is_epoch_over = true;
                self.is_verify_due |= self.last_acknowledged.is_some();
                match is_in_doubt {
                    true => self.fail(number, Reason::OutOfSequence),
                    false => self.gap = Some(number),
                }
            }
            // It is tried again behind the appends before it.
            Refusal::OutOfSequence | Refusal::EpochOver => {}
        }
    }

    /// The partition lacks the append at the gap, so it cannot have accepted those behind it.
    fn give_up_behind_gap(&mut self) {
        let Some(gap) = self.gap else { return };
        while let Some(number) = self.window.find_unsettled(gap, Entry::is_in_doubt) {
            self.fail(number, Reason::OutOfSequence);
        }
    }

    /// Settles an append that is not written as far as is known.
    fn fail(&mut self, number: u64, reason: Reason) {
        let Some(entry) = self.window.unsettled_mut(number) else { return };
        let outcome = if entry.is_outstanding { Outcome::Unknown } else { entry.fate.outcome() };
        entry.progress = Progress::Failed;
        // Its numbers are not used again, so those behind it do not follow the last one written.
        self.is_epoch_over |= entry.base_sequence.is_some();
        self.results.push_back((number, Settled::Failed { outcome, reason }));
        if self.options.stop_on_failure && !matches!(reason, Reason::Closed(_)) {
            self.stop(number);
        }
    }

    /// Sends nothing more behind this append. What is outstanding gets its answer.
    fn stop(&mut self, number: u64) {
        let behind = match self.closed {
            Some(Closed::Truncated { .. }) => return,
            Some(Closed::Stopped { behind }) => behind.min(number),
            None => number,
        };
        self.closed = Some(Closed::Stopped { behind });
        while let Some(number) = self.window.find_unsettled(behind + 1, |entry| !entry.is_outstanding) {
            self.fail(number, Reason::Closed(Closed::Stopped { behind }));
        }
        self.window.unsettled_after_mut(behind).for_each(|entry| entry.stopped_behind = Some(behind));
    }

    /// Ends the partition client: what it was told is in the log is not.
    fn truncated(&mut self, first_lost: i64, revealed_by: Option<u64>) {
        self.closed = Some(Closed::Truncated { first_lost });
        if let Some(entry) = revealed_by.and_then(|number| self.window.unsettled_mut(number)) {
            entry.fate.note(Outcome::Unknown);
        }
        while let Some(number) = self.window.oldest_unsettled() {
            self.fail(number, Reason::Closed(Closed::Truncated { first_lost }));
        }
        self.window.trim();
    }
}

#[cfg(test)]
mod tests;
