//! What became of an append, judged by all its attempts.
//!
//! Invariant: `NotWritten` is said only of batches that surely are not in the log: never sent, or refused with a code that
//! Kafka answers before it appends. Everything else, and each code that is not listed, is `Unknown`.

use rskafka_cluster::Failure;
use rskafka_protocol::ErrorCode;

use crate::error::{Case, Outcome};
use Outcome::{NotWritten, Unknown};

/// The codes that brokers answer to Produce. Whether to try again is Kafka's decision: [`ErrorCode::is_retriable`].
const CODES: &[(ErrorCode, Outcome, &str)] = &[
    (ErrorCode::UNKNOWN_SERVER_ERROR, Unknown, "the broker does not say what failed, or when"),
    (ErrorCode::CORRUPT_MESSAGE, NotWritten, "the checksum is compared before the append"),
    (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Unknown, "can come after the append, while awaiting acks=all"),
    (ErrorCode::NOT_LEADER_OR_FOLLOWER, Unknown, "can come after the append, while awaiting acks=all"),
    (ErrorCode::REQUEST_TIMED_OUT, Unknown, "the leader has appended; the replicas took too long"),
    (ErrorCode::MESSAGE_TOO_LARGE, NotWritten, "the size is compared before the append"),
    (ErrorCode::INVALID_TOPIC_EXCEPTION, NotWritten, "checked before the append"),
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
    (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, Unknown, "an earlier copy is written, at an unknown offset"),
    (ErrorCode::INVALID_PRODUCER_EPOCH, Unknown, "an earlier copy may be written"),
    (ErrorCode::KAFKA_STORAGE_ERROR, Unknown, "the disk may have failed after the append"),
    (ErrorCode::UNKNOWN_PRODUCER_ID, Unknown, "an earlier copy may be written and forgotten"),
    (ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, NotWritten, "checked before the append"),
    (ErrorCode::INVALID_RECORD, NotWritten, "checked before the append"),
    (ErrorCode::PRODUCER_FENCED, Unknown, "an earlier copy may be written"),
    (ErrorCode::UNKNOWN_TOPIC_ID, Unknown, "can come after the append, while awaiting acks=all"),
    (ErrorCode::INCONSISTENT_TOPIC_ID, Unknown, "can come after the append, while awaiting acks=all"),
];

/// What became of an append, judged by all its attempts: if a later one is refused, an earlier one without an answer may
/// still have been written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fate {
    may_be_written: bool,
}

impl Fate {
    /// Takes in an error code that the broker answered. Returns whether the append may be sent again.
    pub(crate) fn refused(&mut self, code: ErrorCode) -> bool {
        self.may_be_written |= of_code(code) == Unknown;
        code.is_retriable() && !self.may_be_written
    }

    /// Takes in the refusal of an attempt with a sequence number.
    pub(crate) fn refused_in_sequence(&mut self, code: ErrorCode) -> Refusal {
        let refusal = Refusal::of(code);
        // These codes say that this attempt appended nothing, and leave open what an earlier one did.
        let appended_nothing = matches!(refusal, Refusal::OutOfSequence | Refusal::EpochOver);
        self.note(if appended_nothing { NotWritten } else { of_code(code) });
        refusal
    }

    /// Takes in what else is known of an append with a sequence number: `Unknown` if it may be written, e.g. by an attempt
    /// that has no answer.
    pub(crate) fn note(&mut self, attempt: Outcome) {
        self.may_be_written |= attempt == Unknown;
    }

    /// What became of it, if it is not sent again.
    pub(crate) fn outcome(self) -> Outcome {
        if self.may_be_written { Unknown } else { NotWritten }
    }
}

/// What a refusal means for an append with a sequence number. Unlike one without, it may be sent again though it may be
/// written: the broker recognises the batches that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The same batch may be accepted later.
    Passing,
    /// The batch does not follow the last one that the broker knows of this producer, or it was written earlier, and the
    /// broker has forgotten that.
    OutOfSequence,
    /// The broker knows a later epoch of this producer.
    EpochOver,
    /// The batch was written, at an unknown offset (Kafka 0.11).
    Written,
    /// The same batch would be refused again.
    Lasting,
}

impl Refusal {
    pub(crate) fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => Self::OutOfSequence,
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => Self::EpochOver,
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Self::Written,
            code if code.is_retriable() => Self::Passing,
            _ => Self::Lasting,
        }
    }
}

/// What became of an append that the broker answered with `code`.
fn of_code(code: ErrorCode) -> Outcome {
    CODES.iter().find(|(listed, ..)| *listed == code).map_or(Unknown, |(_, outcome, _)| *outcome)
}

/// What became of an append of which one attempt ended in `failure`.
pub(crate) fn of_failure(failure: &Failure) -> Outcome {
    match failure {
        Failure::Code { code, .. } => of_code(*code),
        failure => Case::of_failure(failure).0.row().0,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::error::CASES;

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/outcomes.md");

    fn rendered() -> String {
        let mut text = String::from(
            "# What a failed call did to the log\n\n\
             If `Error::outcome()` is `NotWritten`, the records are not in the log and will not be: you can safely \
             produce them again. If it is `Unknown`, they may be in the log, now or later: read the log first, or accept \
             that producing them again may write a second copy. `Error::is_retriable()` says whether the same call may \
             succeed later, and `Error::class()` what to do.\n\n\
             The outcome is judged over all attempts: if one of them may have written the records, a later refusal does \
             not make them unwritten. The client sends a batch again until the delivery timeout, because brokers recognise \
             a batch that they have. With `idempotence(false)` they do not: then it is sent again only if it surely was not \
             written.\n\n\
             In an exclusive log, `NotWritten` means that the records do not count, and never will: the bytes of a writer that \
             was overtaken may lie in the log, where readers pass over them.\n\n\
             This page is rendered from the tables in `crates/rskafka-client/src`, `produce/fate.rs` and \
             `error/table.rs`: `UPDATE_DOCS=1 cargo test -p rskafka-client the_document`.\n\n\
             ## The broker answered with a code\n\n\
             To a produce; `kind()` is `Broker`, but `UnknownTopicOrPartition` for UNKNOWN_TOPIC_OR_PARTITION.\n\n\
             | code | outcome | retriable | because |\n|---|---|---|---|\n",
        );
        let yes_or_no = |is| if is { "yes" } else { "no" };
        for (code, outcome, why) in CODES {
            let again = yes_or_no(code.is_retriable());
            let _ = writeln!(text, "| {code} | `{outcome:?}` | {again} | {why} |");
        }
        text.push_str("| any other | `Unknown` | as in Kafka's own client | the code is not known to come before the append |\n\n");
        text.push_str(
            "## There was no answer\n\n| what happened | outcome | retriable | `kind()` |\n|---|---|---|---|\n",
        );
        // Codes have the table above.
        for (outcome, is_retriable, what, kinds) in CASES.iter().filter(|row| *row != Case::Code.row()) {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
            let (again, kinds) = (yes_or_no(*is_retriable), kinds.join(", "));
            let _ = writeln!(text, "| {what} | `{outcome:?}` | {again} | {kinds} |");
        }
        text.push_str(
            "\nCalls that write nothing always have the outcome `NotWritten`.\n\n\
             The client notices by the topic's id that a topic was deleted and created again. Below version 13, Produce \
             names the topic, not its id: appends are written to the new topic until the client asks for metadata \
             again. Below version 10, Metadata has no topic ids (Redpanda 24.3, Event Hubs): there the client cannot \
             notice it at all.\n",
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
            assert_eq!(of_code(code), Unknown, "{code}");
        }
    }

    /// What an attempt with a sequence number came to, and whether it may have written the batch.
    fn attempt_in_sequence() -> impl Strategy<Value = (Option<ErrorCode>, bool)> {
        let refused = prop::sample::select(CODES).prop_map(|(code, outcome, _)| {
            let says_only_that_it_did_not_append = matches!(
                code,
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                    | ErrorCode::UNKNOWN_PRODUCER_ID
                    | ErrorCode::INVALID_PRODUCER_EPOCH
                    | ErrorCode::PRODUCER_FENCED
            );
            (Some(code), outcome == Unknown && !says_only_that_it_did_not_append)
        });
        prop_oneof![4 => refused, 1 => any::<bool>().prop_map(|was_sent| (None, was_sent))]
    }

    proptest! {
        #[test]
        fn one_attempt_that_may_have_written_makes_the_whole_append_unknown(
            attempts in prop::collection::vec(attempt_in_sequence(), 0..6),
        ) {
            let mut fate = Fate::default();
            for (code, may_be_written) in &attempts {
                match code {
                    Some(code) => {
                        fate.refused_in_sequence(*code);
                    }
                    None => fate.note(if *may_be_written { Unknown } else { NotWritten }),
                }
            }
            let may_be_written = attempts.iter().any(|(_, may_be_written)| *may_be_written);
            prop_assert_eq!(fate.outcome(), if may_be_written { Unknown } else { NotWritten });
        }
    }

    #[test]
    fn every_code_is_listed_once_in_order() {
        for (index, (code, ..)) in CODES.iter().enumerate() {
            assert!(CODES[..index].iter().all(|(other, ..)| other < code), "{code} is out of order");
        }
    }
}
