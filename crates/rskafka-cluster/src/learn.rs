//! What an answer, or the lack of one, says of the cluster.

use rskafka_protocol::ErrorCode;

use crate::{Cluster, Failure, LeaderHint, Target};

/// What an attempt that failed has shown.
#[derive(Debug, Clone)]
pub struct Learned {
    /// Why it failed.
    pub failure: Failure,
    /// Whether the broker may not be the one to ask.
    pub is_stale: bool,
    /// The leader that the broker named instead.
    pub leader: Option<LeaderHint>,
}

impl Learned {
    /// An error code of an answer.
    pub fn of_code(code: ErrorCode, message: Option<&str>, leader: Option<LeaderHint>) -> Self {
        let failure = Failure::Code { code, message: message.map(str::to_owned) };
        // An epoch that the broker does not know yet may also be one of a topic that was deleted and created again.
        let is_stale = code.is_stale_metadata() || code == ErrorCode::UNKNOWN_LEADER_EPOCH;
        Self { failure, is_stale, leader }
    }

    /// An attempt without an answer: the broker may be gone, and another lead.
    pub fn of_failure(failure: Failure) -> Self {
        let is_stale = failure.is_transient() || failure.is_unanswered();
        Self { failure, is_stale, leader: None }
    }

    /// An answer that does not have what was asked for.
    pub fn missing() -> Self {
        Self { failure: Failure::MissingInAnswer, is_stale: false, leader: None }
    }
}

impl Cluster {
    /// Takes in what an attempt has shown: a leader named instead, or that what is known is out of date. Returns
    /// whether the next attempt knows better where to go.
    pub fn learn<T: Target>(&self, target: T, route: &T::Route, learned: &Learned) -> bool {
        target.learn(self, route, learned)
    }
}
