//! The kinds of failures, and the coarser answers that most callers need.

use bytes::Bytes;
use derive_more::Display;
use rskafka_protocol::{ApiKey, ErrorCode};

/// What a failed call did to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was written, and nothing will be.
    NotWritten,
    /// It is not known whether it was written, or will be.
    Unknown,
}

/// What to do about an error, for callers that do not need its kind.
///
/// The [`Writer`](crate::wal::Writer) of an exclusive log has ended after all failures but those of the call itself
/// ([`InvalidArgument`](ErrorKind::InvalidArgument), [`BatchTooLarge`](ErrorKind::BatchTooLarge)), also where this says that the
/// call may be made again: see [`reclaim`](crate::wal::Writer::reclaim).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Nothing was written, and the same call may succeed later.
    Retry,
    /// It may have been written: read the log before making the call again, or accept a second copy.
    InDoubt,
    /// Nothing was written, and the same call would fail again. Other calls may succeed.
    Refused,
    /// Nothing was written, and further calls on this handle will fail too: make another client or partition client,
    /// with other credentials if they were refused.
    Fatal,
}

/// The kinds of failures.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid; no request was sent.
    #[display("invalid argument: {_0}")]
    InvalidArgument(&'static str),
    /// A batch is larger than the partition client's `max_request_bytes`; no request was sent.
    #[display("the batch has {size} bytes, and max_request_bytes is {limit}")]
    BatchTooLarge {
        /// The batch's size in bytes, encoded and compressed.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// No broker could be reached.
    #[display("no reachable broker")]
    NoReachableBroker,
    /// The topic or the partition does not exist.
    #[display("unknown topic or partition")]
    UnknownTopicOrPartition,
    /// The topic was deleted and created again: its offsets begin again at 0.
    #[display("the topic was deleted and created again")]
    TopicRecreated,
    /// The partition has no leader at the moment.
    #[display("the partition has no leader at the moment")]
    NoLeader,
    /// An append before this one failed, and the partition client has `stop_on_failure`: it appends nothing more until
    /// `resume` is called.
    #[display("an append before it failed")]
    Stopped,
    /// Records that were acknowledged to this writer, or read before this position, are no longer in the log: a replica
    /// without them was elected. A partition client whose records are lost appends nothing more.
    #[display("the log was truncated: records are lost from offset {divergence_offset} on")]
    LogTruncated {
        /// The first offset that is known to be lost. Records before it may be lost too.
        divergence_offset: i64,
    },
    /// Another writer has claimed the exclusive log: nothing that this writer appends counts any more.
    #[display(
        "another writer has claimed the log, in term {term} at offset {offset}: {:?}",
        String::from_utf8_lossy(note)
    )]
    Fenced {
        /// The term of the other writer.
        term: u64,
        /// The offset of its claim.
        offset: i64,
        /// What the other writer said of itself.
        note: Bytes,
    },
    /// Another writer's claim to the exclusive log came first.
    #[display(
        "another claim came first, in term {term} at offset {offset}: {:?}",
        String::from_utf8_lossy(note)
    )]
    ClaimLost {
        /// The term of the other writer.
        term: u64,
        /// The offset of its claim.
        offset: i64,
        /// What the other writer said of itself.
        note: Bytes,
    },
    /// A batch of an exclusive log cannot be in a whole log, or is of a format that this version does not know.
    #[display("the batch at offset {offset} cannot be judged: {what}")]
    LogDamaged {
        /// The batch's first offset.
        offset: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The topic's settings cannot keep what an exclusive log promises; the source lists what is wrong.
    #[display("the topic's settings are not safe for an exclusive log")]
    NotDurable,
    /// A position is not one in this partition: it is of another topic or partition, or from before the topic was deleted and
    /// created again.
    #[display("the position is of another log")]
    OtherTopic,
    /// The offset asked for is not in the log, which reaches from `log_start` up to, but not
    /// including, `log_end`.
    #[display("offset {offset} is not in the log, which has offsets {log_start}..{log_end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The log's first offset.
        log_start: i64,
        /// The offset that the next record will get.
        log_end: i64,
    },
    /// A record batch in the log cannot be read.
    #[display("{} cannot be read", base_offset.map_or("a record batch".into(), |offset| format!("the record batch at offset {offset}")))]
    CorruptBatch {
        /// The batch's first offset; `None` if not even that can be told.
        base_offset: Option<i64>,
    },
    /// The broker answered with an error code.
    #[display("the broker answered {_0}")]
    Broker(ErrorCode),
    /// No connection to the broker could be opened, or it ended before the answer.
    #[display("the connection failed")]
    Connection,
    /// The broker refused the client's credentials, or the function that gives them failed.
    #[display("not authenticated")]
    Authentication,
    /// The broker's address belongs to another cluster than the client's.
    #[display("another cluster answered")]
    OtherCluster,
    /// The broker does not support a version of the API that can carry the request.
    #[display("the broker's versions cannot carry the request")]
    Unsupported,
    /// The broker's answer is not what was asked for.
    #[display("the broker's answer cannot be used")]
    InvalidAnswer,
    /// The client exceeds a quota, and the broker throttles it until after the call's deadline.
    #[display("throttled by the broker")]
    Throttled,
    /// The time ran out.
    #[display("no time left")]
    TimedOut,
    /// The client was closed.
    #[display("the client is closed")]
    Closed,
    /// The batch producer was closed.
    #[display("the batch producer is closed")]
    ProducerClosed,
    /// The aggregator of a batch producer failed or panicked; the source says how. The batch was not sent.
    #[display("the aggregator of the batch failed")]
    Aggregator,
    /// The batch was written at `base_offset`, but its aggregator failed or panicked when it was asked for the caller's
    /// output; the source says how.
    #[display("the batch is written at offset {base_offset}, and its aggregator gave no output for it")]
    NoOutput {
        /// The offset of the batch's first record.
        base_offset: i64,
    },
}

impl ErrorKind {
    /// Whether further calls over the same handle fail as well.
    pub(super) fn is_fatal(&self) -> bool {
        let is_of_log =
            matches!(self, Self::LogTruncated { .. } | Self::LogDamaged { .. } | Self::Fenced { .. });
        let is_closed = matches!(self, Self::Closed | Self::ProducerClosed);
        is_of_log || is_closed || matches!(self, Self::TopicRecreated | Self::Authentication)
    }

    /// What a user can do about it, if the causes do not say so.
    pub(super) fn advice(&self, outcome: Outcome, api: Option<ApiKey>) -> Option<&'static str> {
        let is_of = |wanted| api == Some(wanted);
        Some(match self {
            Self::UnknownTopicOrPartition => {
                "create it, or check its name, the partition's number and the right to describe it"
            }
            Self::BatchTooLarge { .. } => {
                "produce fewer records at a time, or raise the limit here and at the topic"
            }
            Self::TopicRecreated => "make another partition client: offsets begin again at 0",
            Self::NoLeader => "try again later, and check the brokers that hold its replicas",
            Self::Stopped => "deal with the append that failed, then call resume(), or reclaim() of a Writer",
            Self::LogTruncated { .. } if is_of(ApiKey::FETCH) => "undo what was read from there, and read on",
            Self::LogTruncated { .. } => "read the log again, then make another partition client",
            Self::Fenced { .. } => "claim the log again, or let the other writer have it",
            Self::ClaimLost { .. } => "read on and claim again, or let the other writer have it",
            Self::LogDamaged { .. } => {
                "use a later version of the client, or else restore the log from a backup"
            }
            Self::NotDurable => "change the settings, or accept the risks by name with accept_risks()",
            Self::OtherTopic => "read the log from its start, or use the partition that the position is of",
            Self::Broker(code) => match (*code, api?) {
                (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, ApiKey::INIT_PRODUCER_ID) => {
                    "grant WRITE on the topic (before Kafka 2.8: IDEMPOTENT_WRITE on the cluster), or use idempotence(false)"
                }
                (ErrorCode::TOPIC_AUTHORIZATION_FAILED, ApiKey::PRODUCE) => "grant WRITE on the topic",
                (ErrorCode::TOPIC_AUTHORIZATION_FAILED, ApiKey::FETCH) => "grant READ on the topic",
                _ => return None,
            },
            Self::Unsupported if is_of(ApiKey::INIT_PRODUCER_ID) => "use idempotence(false)",
            Self::OffsetOutOfRange { .. } => {
                "read from an offset within, or from OffsetAt::Earliest; an exclusive log only from a stored position"
            }
            Self::CorruptBatch { .. } => {
                "read on after it, or repair the log from a replica; if it is too large, raise max_decompressed_bytes"
            }
            Self::Unsupported => "use a broker that has a version in common with this client",
            Self::TimedOut => match outcome {
                Outcome::NotWritten => "try again, or allow more time",
                Outcome::Unknown if is_of(ApiKey::PRODUCE) => "read the log before you produce it again",
                Outcome::Unknown => "look whether it did before you try again",
            },
            Self::Closed => "build another client",
            Self::ProducerClosed => "build another batch producer",
            _ => return None,
        })
    }
}
