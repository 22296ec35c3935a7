//! What the task waits for on behalf of the line: a lease, a producer id, a look at the log; and what comes of it.
//!
//! Invariant: each errand ends in exactly one of `leased`, `obtained`, `verified`, `failed`, `give_up`, `replaced` or
//! `lease_ended`.

use std::mem;
use std::sync::Arc;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Attempts, Failure, Leader, Learned, Lease};
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::super::append::Sending;
use super::super::line::Line;
use super::super::sequencer::Verified;
use super::{Held, State};

/// The task waits on behalf of the oldest append.
#[derive(Debug)]
pub(crate) struct Errand {
    number: u64,
    pub(crate) attempts: Attempts,
    pub(crate) deadline: Deadline,
    pub(crate) not_before: Option<Instant>,
}

impl State {
    /// On whose behalf the task waits. Without an append there is nothing to wait for.
    pub(crate) fn errand(&mut self) -> Option<Errand> {
        let Some(Sending { number, attempts, append, .. }) = self.window.front() else {
            self.sequencer.not_done();
            return None;
        };
        let (number, attempts, deadline) = (*number, attempts.clone(), append.deadline);
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
                self.sequencer.not_done();
            }
            Err(failure) => self.give_up(line, errand, Some(failure)),
        }
    }

    /// Gives up the append that waited. `failure` is `None` if its time is over.
    pub(crate) fn give_up(&mut self, line: &Line, mut errand: Errand, failure: Option<Failure>) {
        if failure.is_some() && errand.attempts.out_of_time {
            // Appends behind it may end soon as well: without a pause, each of them would ask all brokers at once.
            self.not_before = Some(line.partition.after_pause(1));
        }
        errand.attempts.out_of_time |= failure.is_none();
        self.sequencer.not_done();
        if let Some(oldest) = self.keep_attempts(errand) {
            oldest.failure = failure.or_else(|| oldest.failure.take());
            let number = oldest.number;
            self.sequencer.give_up(number);
        }
    }

    /// Takes the attempts back. Returns the append that they are of.
    fn keep_attempts(&mut self, Errand { number, attempts, .. }: Errand) -> Option<&mut Sending> {
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
        self.sequencer.not_done();
    }
}
