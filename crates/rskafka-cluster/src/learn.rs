//! What an attempt says of the cluster, and what that means for the next one.

use rskafka_protocol::ErrorCode;
use rskafka_transport::{MAX_SHOWN, printable};
use tokio::time::Instant;

use crate::{Attempts, Class, Cluster, Failure, LeaderHint, Target};

/// What an attempt that failed has shown, and whether the request may be sent again: it has done nothing yet, or may be
/// applied twice.
pub type NotDone = (Learned, bool);

/// What an attempt that failed has shown.
#[derive(Debug, Clone)]
pub struct Learned {
    /// Why it failed.
    pub failure: Failure,
    /// The leader that the broker named instead of itself.
    pub leader: Option<LeaderHint>,
}

impl Learned {
    /// From an error code in an answer.
    pub fn of_code(code: ErrorCode, message: Option<&str>, leader: Option<LeaderHint>) -> Self {
        let message = message.map(|text| printable(text, MAX_SHOWN));
        Self { failure: Failure::Code { code, message }, leader }
    }

    /// From an attempt without a usable answer.
    pub fn of_failure(failure: Failure) -> Self {
        Self { failure, leader: None }
    }

    /// The same, and whether another attempt may succeed.
    pub fn of_attempt(failure: Failure) -> NotDone {
        let may_repeat = failure.is_transient();
        (Self::of_failure(failure), may_repeat)
    }

    /// By the error code answered: `value`, unless there is an error.
    ///
    /// # Errors
    ///
    /// What the error code shows.
    pub fn judged<T>(
        code: ErrorCode,
        message: Option<&str>,
        leader: Option<LeaderHint>,
        value: T,
    ) -> Result<T, NotDone> {
        code.ok().map(|()| value).map_err(|code| (Self::of_code(code, message, leader), code.is_retriable()))
    }

    /// Whether the request may have gone to the wrong broker.
    pub fn is_stale(&self) -> bool {
        match self.failure {
            // The broker also answers UNKNOWN_LEADER_EPOCH when the topic was deleted and created again.
            Failure::Code { code, .. } => code.is_stale_metadata() || code == ErrorCode::UNKNOWN_LEADER_EPOCH,
            // The broker may be gone, and another may lead.
            ref failure => failure.is_transient() || failure.is_unanswered(),
        }
    }
}

impl Cluster {
    /// Ends an attempt that failed: takes in what it says of the cluster. Returns when the next one may begin, or the
    /// failure of the whole call. `may_repeat` says whether the request may be sent again.
    ///
    /// # Errors
    ///
    /// The failure, if the call may not be repeated or no time is left.
    pub fn learn<T: Target>(
        &self,
        target: T,
        route: &T::Route,
        (learned, may_repeat): NotDone,
        attempts: &mut Attempts,
    ) -> Result<Instant, Failure> {
        let is_unsent = may_repeat && learned.failure.is_unsent_close();
        // A connection that ended while it was idle says nothing about the broker.
        let says_nothing = is_unsent && attempts.retry.is_at_once(Class::Unsent);
        let knows_where = !says_nothing && target.learn(self, route, &learned);
        let class = match may_repeat {
            false => Class::Lasting,
            true if is_unsent => Class::Unsent,
            true if knows_where => Class::Redirected,
            true => Class::Passing,
        };
        if class == Class::Passing && attempts.count > 1 && attempts.location.topic.is_some() {
            // The broker that named this leader may have old metadata.
            self.doubt_asked();
        }
        let failure = learned.failure;
        tracing::debug!(attempts = attempts.count, %failure, ?class, "an attempt has failed");
        let moment = attempts.failed(failure, class, self.env())?;
        // If nothing was sent to a broker, this was no attempt.
        attempts.count = attempts.count.saturating_sub(u32::from(says_nothing));
        Ok(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_message_is_shown_without_control_characters_and_cut() {
        let message = format!("no\x1b[2J\n{}", "x".repeat(5000));
        let learned = Learned::of_code(ErrorCode::INVALID_CONFIG, Some(&message), None);
        let shown = learned.failure.to_string();
        assert!(shown.contains("no[2Jxxx"), "{shown}");
        assert!(shown.len() < MAX_SHOWN + 100 && !shown.contains(char::is_control), "{shown}");
    }
}
