//! What the task waits for on behalf of the line: a lease, a producer id, a look at the log; and what comes of it.
//!
//! Invariant: each errand ends in exactly one of `leased`, `obtained`, `verified`, `failed`, `give_up`, `replaced` or
//! `lease_ended`. A warm-up ends by its own deadline, whatever becomes of the appends beside it.

use std::mem;
use std::sync::Arc;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Attempts, Failure, Leader, Learned, Lease};
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::append::Sending;
use super::super::line::Line;
use super::super::sequencer::{Closed, Verified};
use super::{Held, State, after_pause};
use crate::error::{Case, Error, ErrorKind, Outcome, Result};

/// On whose behalf the task waits: the oldest append's, or that of callers of `warm_up`.
#[derive(Debug)]
pub(crate) struct Errand {
    number: Option<u64>,
    pub(crate) attempts: Attempts,
    pub(crate) deadline: Deadline,
    pub(crate) not_before: Option<Instant>,
}

/// A connection and a producer id are wanted before there is an append.
#[derive(Debug)]
pub(super) struct WarmUp {
    attempts: Attempts,
    deadline: Deadline,
    pub(super) callers: Vec<oneshot::Sender<Result<()>>>,
}

impl State {
    pub(crate) fn warm_up(&mut self, line: &Line, deadline: Deadline, caller: oneshot::Sender<Result<()>>) {
        if let Some(closed @ Closed::Truncated { .. }) = self.sequencer.closed() {
            return self.warmed_up.push((caller, Err(line.refused(closed))));
        }
        let cluster = &line.partition.core.cluster;
        let attempts = || cluster.attempts(ApiKey::PRODUCE, line.partition.target(), deadline);
        let new = || Box::new(WarmUp { attempts: attempts(), deadline, callers: Vec::new() });
        let warm_up = self.warm_up.get_or_insert_with(new);
        warm_up.callers.push(caller);
        self.take_lease_up();
        self.sequencer.warm_up();
    }

    /// On whose behalf the task waits. Without an append there is nothing to wait for.
    pub(crate) fn errand(&mut self) -> Option<Errand> {
        let of_append =
            |oldest: &Sending| (Some(oldest.number), oldest.attempts.clone(), oldest.append.deadline);
        let of_warm_up = |warm_up: &WarmUp| (None, warm_up.attempts.clone(), warm_up.deadline);
        let waiting = self.window.front().map(of_append).or_else(|| self.warm_up.as_deref().map(of_warm_up));
        let Some((number, attempts, deadline)) = waiting else {
            self.sequencer.not_done();
            return None;
        };
        Some(Errand { number, attempts, deadline, not_before: self.not_before.take() })
    }

    pub(crate) fn leased(&mut self, line: &Line, mut errand: Errand, leader: &Leader, lease: Lease) {
        if !self.is_latest(leader) && leader.epoch.is_some() && !leader.topic_id.is_zero() {
            // Metadata of a broker that lags behind: this leader may have lost what a later one has acknowledged.
            let learned = Learned::of_code(ErrorCode::FENCED_LEADER_EPOCH, None, None);
            return self.failed(line, errand, leader, (learned, true));
        }
        if leader.epoch > self.latest_epoch {
            self.latest_epoch = leader.epoch;
            errand.attempts.restart_pauses();
        }
        if let Some(oldest) = self.keep_attempts(errand) {
            oldest.has_begun = true;
        }
        // Kafka has this API from 2.8 on. What has not, may be a broker that does not compare epochs (Redpanda).
        let compares_epochs = lease.has_version(ApiKey::DESCRIBE_CLUSTER, 0);
        self.sequencer.set_compares_epochs(compares_epochs && !line.options.takes_new_ids);
        self.sequencer.leased(leader.epoch.unwrap_or(-1));
        let (leader, weak) = (Arc::new(leader.clone()), lease.connection.downgrade());
        self.lease = Some(Held { leader, lease: Some(lease), weak, is_fresh: true });
    }

    /// Whether no later leader is known to have been leased than this.
    pub(crate) fn is_latest(&self, leader: &Leader) -> bool {
        leader.epoch >= self.latest_epoch
    }

    pub(crate) fn verified(&mut self, line: &Line, verified: Verified) {
        if verified == Verified::Unreadable && !mem::replace(&mut self.has_warned, true) {
            let (topic, partition) = (&*line.partition.topic, line.partition.index);
            tracing::warn!(
                topic,
                partition,
                "whether acknowledged records are still in the log cannot be checked: their loss may go unnoticed; the client needs READ, and a broker with leader epochs and ListOffsets 5"
            );
        }
        self.sequencer.verified(verified);
    }

    /// What the task has waited for failed at the leader. It is tried again over another lease, if that may help.
    pub(crate) fn failed(
        &mut self,
        line: &Line,
        mut errand: Errand,
        leader: &Leader,
        learned: (Learned, bool),
    ) {
        self.sequencer.drain();
        match line.learn(leader, learned, &mut errand.attempts) {
            Ok(moment) => {
                self.not_before = Some(moment);
                self.keep_attempts(errand);
                self.not_done();
            }
            Err(failure) => self.give_up(line, errand, Some(failure)),
        }
    }

    /// Gives up the append or the warm-up that waited. `failure` is `None` if its time is over.
    pub(crate) fn give_up(&mut self, line: &Line, mut errand: Errand, failure: Option<Failure>) {
        if failure.is_some() && errand.attempts.out_of_time {
            // Appends behind it may end soon as well: without a pause, each of them would ask all brokers at once.
            self.not_before = Some(after_pause(line, 1));
        }
        errand.attempts.out_of_time |= failure.is_none();
        let number = errand.number;
        self.not_done();
        let oldest = self.keep_attempts(errand);
        let Some(number) = number else {
            let failure = failure.unwrap_or(Failure::DeadlineBeforeSend);
            self.end_warm_up(|attempts| Error::of_cluster(failure.clone(), attempts, Outcome::NotWritten));
            return self.not_done();
        };
        if let Some(oldest) = oldest {
            oldest.failure = failure.or_else(|| oldest.failure.take());
            self.sequencer.give_up(number);
        }
    }

    /// The error of a caller of `warm_up` whose time is over.
    pub(crate) fn late_warm_up(&mut self) -> Error {
        let attempts = self.warm_up.as_mut().map(|warm_up| {
            warm_up.attempts.out_of_time = true;
            &warm_up.attempts
        });
        attempts.map_or_else(
            || Error::new(Case::WaitedInLine, ErrorKind::TimedOut),
            |attempts| Error::of_cluster(Failure::DeadlineBeforeSend, attempts, Outcome::NotWritten),
        )
    }

    pub(super) fn end_warm_up(&mut self, error: impl Fn(&Attempts) -> Error) {
        let Some(warm_up) = self.warm_up.take() else { return };
        let WarmUp { attempts, callers, .. } = *warm_up;
        self.warmed_up.extend(callers.into_iter().map(|caller| (caller, Err(error(&attempts)))));
    }

    /// Takes the attempts back. Returns the append that they are of.
    fn keep_attempts(&mut self, Errand { number, attempts, .. }: Errand) -> Option<&mut Sending> {
        let Some(number) = number else {
            self.warm_up.iter_mut().for_each(|warm_up| warm_up.attempts = attempts.clone());
            return None;
        };
        let oldest = self.window.front_mut().filter(|oldest| oldest.number == number)?;
        oldest.attempts = attempts;
        Some(oldest)
    }

    /// The answer is overdue, and another broker leads.
    pub(crate) fn replaced(&mut self, errand: Errand) {
        self.keep_attempts(errand);
        self.lease_ended();
    }

    /// The lease ended before it was used.
    pub(crate) fn lease_ended(&mut self) {
        self.sequencer.drain();
        self.not_done();
    }

    /// What the task was to have is not had. A warm-up still wants it, also after an append that wanted it has failed.
    fn not_done(&mut self) {
        self.sequencer.not_done();
        if self.warm_up.is_some() {
            self.sequencer.warm_up();
        }
    }
}
