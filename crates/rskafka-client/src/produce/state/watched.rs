//! What the watch (`watch.rs`) looks after: answers that are overdue, and appends whose time ends before their next attempt.
//!
//! Invariant: an append that has no attempt under way, and for which the task does not wait, is settled by its deadline.

use std::sync::Arc;
use std::time::Duration;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Leader, Lease};
use tokio::time::Instant;

use super::super::append::Sending;
use super::super::line::Line;
use super::super::watch;
use super::State;

/// The task of `watch.rs`.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When it looks; `None` if there is none.
    pub(super) next: Option<Instant>,
    /// When an answer was overdue.
    looked_at: Option<Instant>,
}

/// What the watch needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Start,
    /// It is to look earlier than it meant to.
    Wake,
}

impl State {
    /// Whether the caller has to start the watch, or to wake it.
    pub(crate) fn wants_watch(&mut self, patience: Duration) -> Option<Wanted> {
        let next = self.next_look(patience)?;
        let wanted = match self.watch.next {
            None => Wanted::Start,
            Some(planned) if next < planned => Wanted::Wake,
            Some(_) => return None,
        };
        self.watch.next = Some(next);
        Some(wanted)
    }

    /// When the watch is to look next: when an answer is overdue, and when the time of an append is over that has no attempt
    /// under way.
    fn next_look(&self, patience: Duration) -> Option<Instant> {
        let overdue = self.in_flight.front().map(|oldest| {
            let overdue = Deadline::after(oldest.sent_at, patience).instant();
            self.watch.looked_at.map_or(overdue, |looked_at| overdue.max(looked_at + watch::PAUSE))
        });
        let late = self.waiting().map(|sending| sending.append.deadline.instant()).min();
        overdue.into_iter().chain(late).min()
    }

    /// The appends without an attempt under way. The task ends that for which it waits.
    fn waiting(&self) -> impl Iterator<Item = &Sending> {
        let all = if self.window.len() > self.in_flight.len() { self.window.len() } else { 0 };
        let waiting = self.window.iter().take(all).skip(usize::from(self.has_task));
        waiting.filter(|sending| !self.sequencer.is_outstanding(sending.number))
    }

    /// The leader that owes an answer for longer than `patience`, and the connection to it.
    pub(crate) fn overdue(&mut self, now: Instant, patience: Duration) -> Option<(Arc<Leader>, Lease)> {
        let oldest = self.in_flight.front()?;
        if !Deadline::after(oldest.sent_at, patience).is_over(now) {
            return None;
        }
        self.watch.looked_at = Some(now);
        Some((oldest.leader.clone(), self.lease.as_ref()?.lease.clone()?))
    }

    /// When the watch looks next; `None` ends it.
    pub(crate) fn watched(&mut self, patience: Duration) -> Option<Instant> {
        self.watch.next = self.next_look(patience);
        if self.watch.next.is_none() {
            self.watch.looked_at = None;
            if self.is_idle() {
                self.free();
                // The next append leases again, from what is known. Without an epoch, that would be taken for a new leader.
                if self.lease.take_if(|held| held.leader.epoch.is_some()).is_some() {
                    self.sequencer.drain();
                }
            }
        }
        self.watch.next
    }

    /// Gives up the appends whose time is over, but not those with an attempt under way: that ends by itself. Returns whether
    /// there were any.
    pub(super) fn give_up_late(&mut self, line: &Line) -> bool {
        let mut has_settled = false;
        while let Some(number) = self.late(line) {
            has_settled = true;
            if let Some(sending) = self.window.iter_mut().find(|sending| sending.number == number) {
                sending.attempts.out_of_time = true;
            }
            self.sequencer.give_up(number);
            self.follow(line);
        }
        has_settled
    }

    fn late(&self, line: &Line) -> Option<u64> {
        let mut waiting = self.waiting().peekable();
        waiting.peek()?;
        let now = line.partition.core.cluster.env().now();
        waiting.find(|sending| sending.append.deadline.is_over(now)).map(|sending| sending.number)
    }
}
