//! The table of failures: what each says of the data, and whether to make the call again.
//!
//! Invariant: of a write, `NotWritten` is said only where not a byte of it was sent. The codes that a broker answers to
//! an append have a table of their own, `produce/fate.rs`. `docs/outcomes.md` is rendered from both.

use rskafka_cluster::Failure;
use rskafka_cluster::transport::{CallError, CallErrorKind, CloseCause};

use super::kind::{ErrorKind, Outcome};
use Outcome::{NotWritten, Unknown};

/// A way in which a call ends without an answer that tells what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    InvalidArgument,
    ClientClosed,
    WaitedInLine,
    UnknownTopic,
    TopicRecreated,
    NoLeader,
    Unreachable,
    Refused,
    Unsupported,
    Throttled,
    TimedOutUnsent,
    EndedUnsent,
    TimedOut,
    Ended,
    InvalidAnswer,
    RuntimeGone,
    OffsetOutOfRange,
    CorruptBatch,
}

/// Each case: what became of the data, whether the same call may succeed later, what happened, and the kinds of
/// errors that it makes.
pub(crate) const CASES: &[(Case, Outcome, bool, &str, &[&str])] = &[
    (Case::InvalidArgument, NotWritten, false, "an argument makes no sense", &["InvalidArgument"]),
    (Case::ClientClosed, NotWritten, false, "the client was closed before it was sent", &["Closed"]),
    (Case::WaitedInLine, NotWritten, true, "it waited in line until its deadline", &["TimedOut"]),
    (
        Case::UnknownTopic,
        NotWritten,
        false,
        "metadata has no such topic or partition",
        &["UnknownTopicOrPartition"],
    ),
    (Case::TopicRecreated, NotWritten, false, "the topic was deleted and created again", &["TopicRecreated"]),
    (Case::NoLeader, NotWritten, true, "the partition has no leader", &["NoLeader"]),
    (
        Case::Unreachable,
        NotWritten,
        true,
        "no connection, or no metadata, for a reason that may pass",
        &["NoReachableBroker", "OtherCluster", "Connection", "TimedOut", "Broker", "InvalidAnswer"],
    ),
    (
        Case::Refused,
        NotWritten,
        false,
        "no connection, or no metadata, for a reason that stays: TLS, credentials, rights",
        &["Authentication", "NoReachableBroker", "Connection", "Broker", "InvalidAnswer"],
    ),
    (Case::Unsupported, NotWritten, false, "the broker's versions cannot carry it", &["Unsupported"]),
    (
        Case::Throttled,
        NotWritten,
        true,
        "the broker wants silence until after its deadline",
        &["Throttled", "NoReachableBroker"],
    ),
    (Case::TimedOutUnsent, NotWritten, true, "its time was over before a byte was sent", &["TimedOut"]),
    (Case::EndedUnsent, NotWritten, true, "the connection ended before a byte was sent", &["Connection"]),
    (Case::TimedOut, Unknown, true, "it was sent, and not answered in time", &["TimedOut"]),
    (Case::Ended, Unknown, true, "it was sent, and the connection ended before the answer", &["Connection"]),
    (Case::InvalidAnswer, Unknown, false, "it was sent, and the answer makes no sense", &["InvalidAnswer"]),
    (Case::RuntimeGone, Unknown, false, "it was sent, and the client's runtime ended", &["Closed"]),
    (
        Case::OffsetOutOfRange,
        NotWritten,
        false,
        "the offset to read from is not in the log",
        &["OffsetOutOfRange"],
    ),
    (Case::CorruptBatch, NotWritten, false, "a batch in the log cannot be read", &["CorruptBatch"]),
];

impl Case {
    /// What became of the data.
    pub(crate) fn outcome(self) -> Outcome {
        self.row().map_or(Unknown, |row| row.1)
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_retriable(self) -> bool {
        self.row().is_some_and(|row| row.2)
    }

    fn row(self) -> Option<&'static (Case, Outcome, bool, &'static str, &'static [&'static str])> {
        CASES.iter().find(|row| row.0 == self)
    }

    /// The case that an error of this kind stands for, if nothing else is known of it.
    pub(crate) fn of_kind(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidArgument(_) => Self::InvalidArgument,
            ErrorKind::NoReachableBroker | ErrorKind::OtherCluster => Self::Unreachable,
            ErrorKind::UnknownTopicOrPartition => Self::UnknownTopic,
            ErrorKind::TopicRecreated => Self::TopicRecreated,
            ErrorKind::NoLeader => Self::NoLeader,
            ErrorKind::OffsetOutOfRange { .. } => Self::OffsetOutOfRange,
            ErrorKind::CorruptBatch { .. } => Self::CorruptBatch,
            ErrorKind::Broker(code) if code.is_retriable() => Self::Unreachable,
            ErrorKind::Broker(_) | ErrorKind::Authentication => Self::Refused,
            ErrorKind::Unsupported => Self::Unsupported,
            ErrorKind::Connection => Self::Ended,
            ErrorKind::InvalidAnswer => Self::InvalidAnswer,
            ErrorKind::Throttled => Self::Throttled,
            ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::Closed => Self::ClientClosed,
        }
    }

    /// The case of an attempt that ended without an answer.
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Call { source } => Self::of_call(source),
            Failure::UnknownTopic | Failure::UnknownPartition => Self::UnknownTopic,
            Failure::TopicRecreated => Self::TopicRecreated,
            Failure::NoLeader => Self::NoLeader,
            Failure::Closed | Failure::RuntimeGone => Self::ClientClosed,
            Failure::DeadlineBeforeSend => Self::WaitedInLine,
            // Of what follows, nothing was asked but which cluster it is.
            failure if failure.is_throttled() => Self::Throttled,
            Failure::Open { .. }
            | Failure::StillConnecting { .. }
            | Failure::Identity { .. }
            | Failure::Metadata { .. }
            | Failure::OtherCluster { .. }
            | Failure::OtherBroker { .. }
            | Failure::UnknownBroker { .. }
            | Failure::NoReachableBroker { .. } => {
                if failure.is_transient() {
                    Self::Unreachable
                } else {
                    Self::Refused
                }
            }
            _ => Self::InvalidAnswer,
        }
    }

    fn of_call(error: &CallError) -> Self {
        match (error.kind(), error.was_sent()) {
            (CallErrorKind::UnsupportedVersion { .. } | CallErrorKind::Encode { .. }, false) => {
                Self::Unsupported
            }
            (CallErrorKind::Throttled { .. }, false) => Self::Throttled,
            (CallErrorKind::TimedOut { .. }, false) => Self::TimedOutUnsent,
            (_, false) => Self::EndedUnsent,
            (CallErrorKind::TimedOut { .. }, true) => Self::TimedOut,
            (CallErrorKind::Closed { source }, true) if matches!(**source, CloseCause::RuntimeGone) => {
                Self::RuntimeGone
            }
            (_, true) if error.is_invalid_answer() => Self::InvalidAnswer,
            (_, true) => Self::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use rskafka_protocol::ErrorCode;

    use super::*;

    #[test]
    fn every_case_is_listed_once_in_order() {
        for (index, (case, ..)) in CASES.iter().enumerate() {
            assert_eq!(*case as usize, index, "{case:?} is out of order");
        }
        assert_eq!(CASES.len(), Case::CorruptBatch as usize + 1);
    }

    fn kinds() -> Vec<ErrorKind> {
        vec![
            ErrorKind::InvalidArgument("x"),
            ErrorKind::NoReachableBroker,
            ErrorKind::UnknownTopicOrPartition,
            ErrorKind::TopicRecreated,
            ErrorKind::NoLeader,
            ErrorKind::OffsetOutOfRange { offset: 1, log_start: 2, log_end: 3 },
            ErrorKind::CorruptBatch { base_offset: None },
            ErrorKind::Broker(ErrorCode::NOT_CONTROLLER),
            ErrorKind::Broker(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            ErrorKind::Connection,
            ErrorKind::Authentication,
            ErrorKind::OtherCluster,
            ErrorKind::Unsupported,
            ErrorKind::InvalidAnswer,
            ErrorKind::Throttled,
            ErrorKind::TimedOut,
            ErrorKind::Closed,
        ]
    }

    fn name(kind: &ErrorKind) -> String {
        format!("{kind:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn each_kind_of_error_is_in_its_row() {
        for kind in kinds() {
            let row = Case::of_kind(&kind).row().unwrap();
            assert!(row.4.contains(&name(&kind).as_str()), "{kind:?} is not in the row of {:?}", row.0);
        }
        for (case, .., named) in CASES {
            for named in *named {
                assert!(kinds().iter().any(|kind| name(kind) == *named), "{case:?} names {named}");
            }
        }
    }
}
