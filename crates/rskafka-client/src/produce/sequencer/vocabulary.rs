//! What the sequencer is told, and what it tells the line to do.

use std::time::Duration;

use rskafka_cluster::Failure;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::produce::PartitionProduceResponse;

use super::super::fate::{self, Refusal};
use crate::error::{Case, Error, ErrorKind, Outcome};

/// How many batches of a producer a broker remembers, to recognise them when they are sent again.
pub(crate) const MAX_IN_FLIGHT: usize = 5;

/// What the user chooses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// From 1 to [`MAX_IN_FLIGHT`].
    pub(crate) max_in_flight: usize,
    pub(crate) idempotence: Idempotence,
    /// After an append that failed, nothing is sent behind it until `resume`.
    pub(crate) stop_on_failure: bool,
    /// How long after a batch's timestamp the partition surely still knows its producer: less than the broker's
    /// `producer.id.expiration.ms`.
    pub(crate) known_for: Duration,
}

impl Options {
    /// Until when the partition surely knows the producer of a batch with this timestamp.
    pub(super) fn known_until(&self, timestamp: i64) -> i64 {
        timestamp.saturating_add(i64::try_from(self.known_for.as_millis()).unwrap_or(i64::MAX))
    }
}

/// How brokers recognise a batch that is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Idempotence {
    /// By sequence numbers, which begin again at 0 in the next epoch. It fences late copies of the one before.
    #[default]
    Epochs,
    /// By sequence numbers, which begin again at 0 with a new producer id. It fences nothing: for brokers that do not
    /// compare epochs.
    ProducerIds,
    /// Not at all: one batch is in flight at a time, and none that may be written is sent again.
    Off,
}

/// A producer id with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// By what brokers recognise a batch, together with the number of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) producer: Producer,
    pub(crate) base_sequence: i32,
}

/// An acknowledged batch: where it must be as long as the log keeps its promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) base_offset: i64,
    pub(crate) numbers: Numbers,
}

/// What the line has to do. It tells the result by the method named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Find the leader and lease a connection to it, after a pause if the last attempt failed: `leased` or `not_done`.
    Lease,
    /// Ask any broker for a producer id: `obtained` or `not_done`.
    ObtainProducerId,
    /// Read at this offset whether the batch is still there: `verified` or `not_done`.
    Verify(Acknowledged),
    /// Send this append over the present lease, behind all that was sent over it: `attempt_ended`. Without idempotence it
    /// has no `numbers`.
    Send { number: u64, numbers: Option<Numbers> },
    /// Give the append's caller this result.
    Settle { number: u64, settled: Settled },
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Written { base_offset: i64 },
    Failed { outcome: Outcome, reason: Reason },
}

/// Why an append failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A broker refused it, and would again.
    Refused(ErrorCode),
    /// Its last attempt had no answer, and another would have none.
    Unanswered,
    /// The line gave it up.
    GivenUp,
    /// It was acknowledged without an offset.
    NoOffset,
    /// The broker does not know it, or has forgotten it.
    OutOfSequence,
    /// No append is admitted any more.
    Closed(Closed),
}

/// How an attempt to send an append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// With success. The timestamp, in ms, is the time of the append if the broker sets it, else the batch's largest.
    Acknowledged { base_offset: Option<i64>, timestamp: i64 },
    /// With an error code.
    Refused(ErrorCode),
    /// Without an answer: `NotWritten` if surely not a byte was sent.
    Unanswered { outcome: Outcome, is_transient: bool },
}

impl Attempt {
    /// An attempt that came to nothing before a byte was sent.
    pub(crate) const NEVER_SENT: Self = Self::Unanswered { outcome: Outcome::NotWritten, is_transient: true };

    /// An attempt that was answered. `max_timestamp` is the batch's.
    pub(crate) fn answered(answer: &PartitionProduceResponse, max_timestamp: i64) -> Self {
        if !answer.error_code.is_ok() {
            return Self::Refused(answer.error_code);
        }
        let log_append_time = Some(answer.log_append_time_ms).filter(|time| *time >= 0);
        Self::Acknowledged {
            base_offset: Some(answer.base_offset).filter(|offset| *offset >= 0),
            timestamp: log_append_time.unwrap_or(max_timestamp),
        }
    }

    /// Whether the partition lacks what comes before it, as far as it knows.
    pub(crate) fn is_out_of_sequence(self) -> bool {
        matches!(self, Self::Refused(code) if Refusal::of(code) == Refusal::OutOfSequence)
    }

    /// An attempt that has no answer for the partition.
    pub(crate) fn failed(failure: &Failure) -> Self {
        match failure {
            Failure::Code { code, .. } => Self::Refused(*code),
            failure => {
                // After an answer that cannot be read, the batch itself may be good.
                let was_sent = matches!(failure, Failure::Call { source } if source.was_sent());
                let is_transient = failure.is_transient() || was_sent;
                Self::Unanswered { outcome: fate::of_failure(failure), is_transient }
            }
        }
    }
}

/// What was read where the last acknowledged batch was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verified {
    /// The batch, or nothing, because the log begins behind it now.
    Kept,
    /// Another batch, or the end of the log: acknowledged records are lost, this one the first as far as is known.
    Lost { first_lost: i64 },
    /// The client has no right to read.
    Unreadable,
}

/// Why no append is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The append with this number failed: until `resume`.
    Stopped { behind: u64 },
    /// Acknowledged records were lost: for good.
    Truncated { first_lost: i64 },
}

impl Closed {
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Stopped { .. } => Error::new(Case::Stopped, ErrorKind::Stopped),
            Self::Truncated { first_lost } => Error::truncated(first_lost),
        }
    }
}
