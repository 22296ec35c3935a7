//! The one error type of the client.
//!
//! Invariant: every error says what happened, where (broker, API, topic, partition), what became of
//! the data, and whether to try again; it never holds a secret.

use std::fmt;

use rskafka_cluster::transport::WithCauses;
use rskafka_cluster::{Failure, Place};
use rskafka_protocol::{ApiKey, ErrorCode};

pub use crate::outcome::Outcome;
use crate::outcome::{Ending, Judgement};

/// The client's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// [`kind`](Self::kind) tells the cases apart that a caller may want to handle; the message names
/// broker, API, topic and partition, and [`source`](std::error::Error::source) leads to the causes.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    judgement: Judgement,
    is_timeout: bool,
    api: Option<ApiKey>,
    place: Place,
    attempts: u32,
    /// The last attempt's failure; its text is part of ours, so that its source is our source.
    failure: Option<Failure>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument makes no sense; nothing was asked of a broker.
    InvalidArgument(&'static str),
    /// No broker could be reached.
    NoReachableBroker,
    /// The topic or the partition does not exist.
    UnknownTopicOrPartition,
    /// The topic was deleted and created again: its offsets begin anew.
    TopicRecreated,
    /// The partition has no leader at the moment.
    NoLeader,
    /// The offset asked for is not in the log, which reaches from `log_start` up to, but not
    /// including, `log_end`.
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The log's first offset.
        log_start: i64,
        /// The offset that the next record will get.
        log_end: i64,
    },
    /// A record batch in the log cannot be read.
    CorruptBatch {
        /// The batch's first offset; `None` if not even that can be told.
        base_offset: Option<i64>,
    },
    /// The broker answered with an error code.
    Broker(ErrorCode),
    /// No connection to the broker, or none that lasted until the answer.
    Connection,
    /// The client could not prove who it is: credentials were refused, or the function that gives them failed.
    Authentication,
    /// The broker's address belongs to another cluster than the one that the client was built for.
    OtherCluster,
    /// The broker's answer is not what was asked for.
    InvalidAnswer,
    /// The broker has asked this client to be silent until after the call's deadline: a quota is exceeded.
    Throttled,
    /// The time ran out.
    TimedOut,
    /// The client was closed.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        let inner = Inner {
            kind,
            judgement: Judgement::of_ending(Ending::InvalidArgument),
            is_timeout: false,
            api: None,
            place: Place::default(),
            attempts: 0,
            failure: None,
            source: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// An argument that makes no sense.
    pub(crate) fn invalid(what: &'static str) -> Self {
        Self::new(ErrorKind::InvalidArgument(what))
    }

    /// A request to the cluster that failed; `outcome` says what that means for the data.
    pub(crate) fn of_cluster(error: rskafka_cluster::Error, outcome: Outcome) -> Self {
        let rskafka_cluster::Error { api, place, attempts, gave_up, failure, .. } = error;
        let is_timeout = gave_up || failure.is_timeout();
        let kind = match &failure {
            Failure::UnknownTopic | Failure::UnknownPartition => ErrorKind::UnknownTopicOrPartition,
            Failure::Code { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. } => {
                ErrorKind::UnknownTopicOrPartition
            }
            Failure::Code { code, .. } | Failure::Metadata { code } => ErrorKind::Broker(*code),
            Failure::OtherCluster { .. } => ErrorKind::OtherCluster,
            failure if failure.is_authentication() => ErrorKind::Authentication,
            Failure::NoReachableBroker { .. } => ErrorKind::NoReachableBroker,
            Failure::TopicRecreated => ErrorKind::TopicRecreated,
            Failure::RuntimeGone | Failure::Closed => ErrorKind::Closed,
            Failure::NoLeader => ErrorKind::NoLeader,
            failure if failure.is_throttled() => ErrorKind::Throttled,
            failure if failure.is_invalid_answer() => ErrorKind::InvalidAnswer,
            _ if is_timeout => ErrorKind::TimedOut,
            _ => ErrorKind::Connection,
        };
        let is_retriable = gave_up || Judgement::of_failure(&failure).is_retriable;
        let place = *place;
        let inner = Inner {
            kind,
            judgement: Judgement { outcome, is_retriable },
            is_timeout,
            api: Some(api),
            place,
            attempts,
            failure: Some(failure),
            source: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// A call that ended without the cluster's word.
    pub(crate) fn of_ending(ending: Ending) -> Self {
        let kind = match ending {
            Ending::WaitedInLine | Ending::TimedOut => ErrorKind::TimedOut,
            Ending::ClientClosed | Ending::RuntimeGone => ErrorKind::Closed,
            _ => ErrorKind::InvalidAnswer,
        };
        let mut error = Self::new(kind);
        error.inner.judgement = Judgement::of_ending(ending);
        error.inner.is_timeout = error.inner.kind == ErrorKind::TimedOut;
        error
    }

    pub(crate) fn with_api(mut self, api: ApiKey) -> Self {
        self.inner.api.get_or_insert(api);
        self
    }

    pub(crate) fn with_place(mut self, topic: &str, partition: i32) -> Self {
        self.inner.place.topic.get_or_insert_with(|| topic.to_owned());
        self.inner.place.partition.get_or_insert(partition);
        self
    }

    pub(crate) fn with_topic(mut self, topic: &str) -> Self {
        self.inner.place.topic.get_or_insert_with(|| topic.to_owned());
        self
    }

    pub(crate) fn with_broker(mut self, broker: &rskafka_cluster::Broker) -> Self {
        self.inner.place.broker = Some(broker.id);
        self.inner.place.endpoint = Some(broker.endpoint.clone());
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.inner.judgement.outcome = outcome;
        self
    }

    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.inner.source = Some(Box::new(source));
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// What became of the data. For calls that write nothing: [`Outcome::NotWritten`].
    pub fn outcome(&self) -> Outcome {
        self.inner.judgement.outcome
    }

    /// Whether the same call may succeed later. A produce whose outcome is unknown may then be written
    /// twice.
    pub fn is_retriable(&self) -> bool {
        self.inner.judgement.is_retriable
    }

    /// Whether it was time that ran out.
    pub fn is_timeout(&self) -> bool {
        self.inner.is_timeout
    }

    /// The error code that the broker answered, if it did.
    pub fn code(&self) -> Option<ErrorCode> {
        self.inner.failure.as_ref().and_then(Failure::code)
    }

    /// The API that failed.
    pub fn api(&self) -> Option<ApiKey> {
        self.inner.api
    }

    /// The broker concerned: its id and `host:port`, as far as they are known.
    pub fn broker(&self) -> Option<(Option<i32>, String)> {
        let Place { broker, endpoint, .. } = &self.inner.place;
        endpoint.as_ref().map(|endpoint| (*broker, endpoint.to_string()))
    }

    /// The topic concerned.
    pub fn topic(&self) -> Option<&str> {
        self.inner.place.topic.as_deref()
    }

    /// The partition concerned.
    pub fn partition(&self) -> Option<i32> {
        self.inner.place.partition
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument(what) => write!(f, "invalid argument: {what}"),
            Self::NoReachableBroker => write!(f, "no reachable broker"),
            Self::UnknownTopicOrPartition => write!(f, "unknown topic or partition"),
            Self::TopicRecreated => write!(f, "the topic was deleted and created again"),
            Self::NoLeader => write!(f, "the partition has no leader at the moment"),
            Self::OffsetOutOfRange { offset, log_start, log_end } => {
                write!(f, "offset {offset} is not in the log, which has offsets {log_start}..{log_end}")
            }
            Self::CorruptBatch { base_offset: Some(offset) } => {
                write!(f, "the record batch at offset {offset} cannot be read")
            }
            Self::CorruptBatch { base_offset: None } => write!(f, "a record batch cannot be read"),
            Self::Broker(code) => write!(f, "the broker answered {code}"),
            Self::Connection => write!(f, "no connection that lasted"),
            Self::Authentication => write!(f, "not authenticated"),
            Self::OtherCluster => write!(f, "another cluster answered"),
            Self::InvalidAnswer => write!(f, "the broker's answer cannot be used"),
            Self::Throttled => write!(f, "throttled by the broker"),
            Self::TimedOut => write!(f, "no time left"),
            Self::Closed => write!(f, "the client is closed"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, api, place, attempts, failure, is_timeout, judgement, .. } = &*self.inner;
        if let Some(api) = api {
            write!(f, "{api}{place}: ")?;
        }
        write!(f, "{kind}")?;
        if *attempts > 1 {
            write!(f, " after {attempts} attempts")?;
        }
        if *is_timeout && *kind != ErrorKind::TimedOut {
            write!(f, ", no time left")?;
        }
        if let Outcome::Unknown = judgement.outcome {
            write!(f, " (it is not known whether it took effect)")?;
        }
        // The kind says some of what the failure would say.
        match failure {
            Some(Failure::Code { message: Some(message), .. }) => write!(f, ": {message}"),
            Some(Failure::NoReachableBroker { causes }) => {
                for (index, cause) in causes.iter().enumerate() {
                    write!(f, "{} {cause}", if index == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
            Some(
                failure @ (Failure::StillConnecting { .. }
                | Failure::DeadlineBeforeSend
                | Failure::UnknownPartition
                | Failure::OtherCluster { .. }),
            ) => {
                write!(f, ": {failure}")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    /// The message with its causes: what `unwrap` shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", WithCauses(self))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match (&self.inner.source, &self.inner.failure) {
            (Some(source), _) => Some(&**source),
            (None, Some(failure)) => std::error::Error::source(failure),
            (None, None) => None,
        }
    }
}
