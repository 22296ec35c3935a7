//! What a failed produce did to the log.
//!
//! Invariant: `NotWritten` is said only of batches that surely are not in the log: never sent, or
//! refused with a code of the table below. All else is `Unknown`.

use rskafka_cluster::Failure;
use rskafka_protocol::ErrorCode;

/// What a failed call did to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was written, and nothing will be.
    NotWritten,
    /// It is not known whether it was written, or will be.
    Unknown,
}

/// The codes that Kafka answers to Produce only before it appends to the log.
///
/// Deliberately missing: `NOT_LEADER_OR_FOLLOWER`, `UNKNOWN_TOPIC_OR_PARTITION` and
/// `KAFKA_STORAGE_ERROR` can, with acks=all, come after the leader's own append, and
/// `NOT_ENOUGH_REPLICAS_AFTER_APPEND` and `REQUEST_TIMED_OUT` always do.
const BEFORE_THE_APPEND: &[ErrorCode] = &[
    ErrorCode::CORRUPT_MESSAGE,
    ErrorCode::MESSAGE_TOO_LARGE,
    ErrorCode::INVALID_TOPIC_EXCEPTION,
    ErrorCode::RECORD_LIST_TOO_LARGE,
    ErrorCode::NOT_ENOUGH_REPLICAS,
    ErrorCode::INVALID_REQUIRED_ACKS,
    ErrorCode::TOPIC_AUTHORIZATION_FAILED,
    ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
    ErrorCode::INVALID_TIMESTAMP,
    ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
    ErrorCode::POLICY_VIOLATION,
    ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
    ErrorCode::INVALID_RECORD,
];

impl Outcome {
    /// The outcome of a produce that the broker refused with `code`.
    pub fn of_code(code: ErrorCode) -> Self {
        if BEFORE_THE_APPEND.contains(&code) { Self::NotWritten } else { Self::Unknown }
    }

    /// The outcome of a produce of which one attempt ended in `failure`.
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        match failure {
            // The topic or partition was missing in the metadata: no request was made.
            Failure::UnknownTopic | Failure::UnknownPartition | Failure::TopicRecreated => Self::NotWritten,
            Failure::Code { code, .. } => Self::of_code(*code),
            failure if failure.is_unanswered() => Self::Unknown,
            _ => Self::NotWritten,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Outcome::of_code(code), Outcome::Unknown, "{code}");
        }
    }
}
