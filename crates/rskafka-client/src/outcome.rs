//! What a failed produce did to the log, and whether to make it again: one table.
//!
//! Invariant: `NotWritten` is said only of batches that surely are not in the log: never sent, or refused
//! with a code that Kafka answers before it appends. All else, and each code that is not listed, is
//! `Unknown`. `docs/outcomes.md` is rendered from here.

use rskafka_cluster::Failure;
use rskafka_cluster::transport::{CallError, CallErrorKind};
use rskafka_protocol::ErrorCode;

/// What a failed call did to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was written, and nothing will be.
    NotWritten,
    /// It is not known whether it was written, or will be.
    Unknown,
}

use Outcome::{NotWritten, Unknown};

/// The codes that brokers answer to Produce. Whether to try again is Kafka's own word:
/// [`ErrorCode::is_retriable`].
const CODES: &[(ErrorCode, Outcome, &str)] = &[
    (ErrorCode::UNKNOWN_SERVER_ERROR, Unknown, "anything may have gone wrong, at any time"),
    (ErrorCode::CORRUPT_MESSAGE, NotWritten, "the checksum is compared before the append"),
    (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Unknown, "also while acks=all is waited for, after the append"),
    (ErrorCode::NOT_LEADER_OR_FOLLOWER, Unknown, "also while acks=all is waited for, after the append"),
    (ErrorCode::REQUEST_TIMED_OUT, Unknown, "the leader has appended; the replicas took too long"),
    (ErrorCode::MESSAGE_TOO_LARGE, NotWritten, "the size is compared before the append"),
    (ErrorCode::INVALID_TOPIC_EXCEPTION, NotWritten, "there is no such log"),
    (ErrorCode::RECORD_LIST_TOO_LARGE, NotWritten, "the size is compared before the append"),
    (ErrorCode::NOT_ENOUGH_REPLICAS, NotWritten, "the replicas are counted before the append"),
    (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, Unknown, "the leader has appended, and may yet lose it"),
    (ErrorCode::INVALID_REQUIRED_ACKS, NotWritten, "checked before the append"),
    (ErrorCode::TOPIC_AUTHORIZATION_FAILED, NotWritten, "checked before the append"),
    (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, NotWritten, "checked before the append"),
    (ErrorCode::INVALID_TIMESTAMP, NotWritten, "checked before the append"),
    (ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT, NotWritten, "checked before the append"),
    (ErrorCode::POLICY_VIOLATION, NotWritten, "checked before the append"),
    (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, Unknown, "an earlier copy may be written and forgotten"),
    (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, Unknown, "an earlier copy is written, nobody knows where"),
    (ErrorCode::INVALID_PRODUCER_EPOCH, Unknown, "an earlier copy may be written"),
    (ErrorCode::KAFKA_STORAGE_ERROR, Unknown, "the disk may have failed after the append"),
    (ErrorCode::UNKNOWN_PRODUCER_ID, Unknown, "an earlier copy may be written and forgotten"),
    (ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, NotWritten, "checked before the append"),
    (ErrorCode::INVALID_RECORD, NotWritten, "checked before the append"),
    (ErrorCode::PRODUCER_FENCED, Unknown, "an earlier copy may be written"),
    (ErrorCode::UNKNOWN_TOPIC_ID, Unknown, "also while acks=all is waited for, after the append"),
    (ErrorCode::INCONSISTENT_TOPIC_ID, Unknown, "also while acks=all is waited for, after the append"),
];

/// A way in which a call ends without an answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
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
}

/// Each ending, with whether the same call may succeed later.
const ENDINGS: &[(Ending, Outcome, bool, &str)] = &[
    (Ending::InvalidArgument, NotWritten, false, "an argument makes no sense"),
    (Ending::ClientClosed, NotWritten, false, "the client was closed before it was sent"),
    (Ending::WaitedInLine, NotWritten, true, "it waited in line until its deadline"),
    (Ending::UnknownTopic, NotWritten, false, "metadata has no such topic or partition"),
    (Ending::TopicRecreated, NotWritten, false, "the topic was deleted and created again"),
    (Ending::NoLeader, NotWritten, true, "the partition has no leader"),
    (Ending::Unreachable, NotWritten, true, "no connection, or no metadata, for a reason that may pass"),
    (
        Ending::Refused,
        NotWritten,
        false,
        "no connection, or no metadata, for a reason that stays: TLS, credentials, rights",
    ),
    (Ending::Unsupported, NotWritten, false, "the broker's versions cannot carry it"),
    (Ending::Throttled, NotWritten, true, "the broker wants silence until after its deadline"),
    (Ending::TimedOutUnsent, NotWritten, true, "its time was over before a byte was sent"),
    (Ending::EndedUnsent, NotWritten, true, "the connection ended before a byte was sent"),
    (Ending::TimedOut, Unknown, true, "it was sent, and not answered in time"),
    (Ending::Ended, Unknown, true, "it was sent, and the connection ended before the answer"),
    (Ending::InvalidAnswer, Unknown, false, "it was sent, and the answer makes no sense"),
    (Ending::RuntimeGone, Unknown, false, "it was sent, and the client's runtime ended"),
];

/// What is to be said of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) outcome: Outcome,
    /// Whether the same call may succeed later.
    pub(crate) is_retriable: bool,
}

impl Judgement {
    /// Of a produce that was answered with `code`.
    pub(crate) fn of_code(code: ErrorCode) -> Self {
        let row = CODES.iter().find(|(listed, ..)| *listed == code);
        let outcome = row.map_or(Unknown, |(_, outcome, _)| *outcome);
        Self { outcome, is_retriable: code.is_retriable() }
    }

    pub(crate) fn of_ending(ending: Ending) -> Self {
        let row = ENDINGS.iter().find(|(listed, ..)| *listed == ending);
        let (outcome, is_retriable) = row.map_or((Unknown, false), |row| (row.1, row.2));
        Self { outcome, is_retriable }
    }

    /// Of a produce of which one attempt ended in `failure`.
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Code { code, .. } => Self::of_code(*code),
            failure => Self::of_ending(Ending::of_failure(failure)),
        }
    }
}

impl Ending {
    fn of_failure(failure: &Failure) -> Self {
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
            (_, true) if error.is_invalid_answer() => Self::InvalidAnswer,
            (_, true) => Self::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/outcomes.md");

    fn rendered() -> String {
        let mut text = String::from(
            "# What a failed produce did to the log\n\n\
             `Error::outcome()` is `NotWritten` where the records surely are not in the log and will not be, else \
             `Unknown`. `Error::is_retriable()` says whether the same call may succeed later; where the outcome \
             is unknown, making it again may write a second copy. The client itself sends a produce again only \
             where the outcome is `NotWritten` and it is retriable.\n\n\
             This page is rendered from the table in `crates/rskafka-client/src/outcome.rs`: \
             `UPDATE_DOCS=1 cargo test -p rskafka-client outcome`.\n\n\
             ## The broker answered with a code\n\n\
             | code | outcome | retriable | because |\n|---|---|---|---|\n",
        );
        let yes_or_no = |is| if is { "yes" } else { "no" };
        for (code, outcome, why) in CODES {
            let again = yes_or_no(code.is_retriable());
            let _ = writeln!(text, "| {code} | `{outcome:?}` | {again} | {why} |");
        }
        text.push_str("| any other | `Unknown` | as Kafka's own client has it | not known |\n\n");
        text.push_str("## There was no answer\n\n| what happened | outcome | retriable |\n|---|---|---|\n");
        for (_, outcome, is_retriable, what) in ENDINGS {
            let _ = writeln!(text, "| {what} | `{outcome:?}` | {} |", yes_or_no(*is_retriable));
        }
        text.push_str(
            "\nThat a topic was created again is seen by its id. Produce below version 13 goes by the name, so that \
             what is sent before the next look at metadata is written to the new topic; where Metadata has no topic \
             ids (below version 10, as at Redpanda 24.3 and Event Hubs), all is.\n",
        );
        text
    }

    #[test]
    fn the_document_shows_the_table() {
        let rendered = rendered();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(DOCUMENT, &rendered).unwrap();
        }
        let written = std::fs::read_to_string(DOCUMENT).unwrap();
        assert!(written == rendered, "run it with UPDATE_DOCS=1");
    }

    #[test]
    fn codes_that_can_follow_an_append_are_never_called_not_written() {
        for code in [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::UNKNOWN_SERVER_ERROR,
            ErrorCode(12_345),
        ] {
            assert_eq!(Judgement::of_code(code).outcome, Unknown, "{code}");
        }
    }

    #[test]
    fn every_code_and_every_ending_is_listed_once() {
        for (index, (code, ..)) in CODES.iter().enumerate() {
            assert!(CODES[..index].iter().all(|(other, ..)| other < code), "{code} is out of order");
        }
        for (index, (ending, ..)) in ENDINGS.iter().enumerate() {
            assert_eq!(*ending as usize, index, "{ending:?} is out of order");
        }
        assert_eq!(ENDINGS.len(), Ending::RuntimeGone as usize + 1);
    }
}
