//! The one error type of the client: what happened, where, what became of the data, and what to do.
//!
//! Invariant: an error never holds a secret.

mod kind;
mod table;

use std::fmt;

use rskafka_cluster::transport::WithCauses;
use rskafka_cluster::{Failure, Location};
use rskafka_protocol::{ApiKey, ErrorCode};

pub use self::kind::{ErrorClass, ErrorKind, Outcome};
#[cfg(test)]
pub(crate) use self::table::CASES;
pub(crate) use self::table::Case;

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
    outcome: Outcome,
    is_retriable: bool,
    is_timeout: bool,
    api: Option<ApiKey>,
    location: Location,
    attempts: u32,
    /// The last attempt's failure; its text is part of ours, so that its source is our source.
    failure: Option<Failure>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of which no more is known than its kind.
    pub(crate) fn new(kind: ErrorKind) -> Self {
        let case = Case::of_kind(&kind);
        Self::of_case(case, kind)
    }

    /// An argument that makes no sense.
    pub(crate) fn invalid(what: &'static str) -> Self {
        Self::new(ErrorKind::InvalidArgument(what))
    }

    fn of_case(case: Case, kind: ErrorKind) -> Self {
        let inner = Inner {
            is_timeout: kind == ErrorKind::TimedOut,
            kind,
            outcome: case.outcome(),
            is_retriable: case.is_retriable(),
            api: None,
            location: Location::default(),
            attempts: 0,
            failure: None,
            source: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// A call that ended in line or with its runtime.
    pub(crate) fn of_ending(case: Case) -> Self {
        let kind = match case {
            Case::WaitedInLine | Case::TimedOut => ErrorKind::TimedOut,
            Case::ClientClosed | Case::RuntimeGone => ErrorKind::Closed,
            _ => ErrorKind::InvalidAnswer,
        };
        Self::of_case(case, kind)
    }

    /// A request to the cluster that failed; `outcome` says what that means for the data.
    pub(crate) fn of_cluster(error: rskafka_cluster::Error, outcome: Outcome) -> Self {
        let rskafka_cluster::Error { api, location, attempts, out_of_time, failure, .. } = error;
        let mut of_failure = Self::of_failure(failure, out_of_time);
        let inner = &mut *of_failure.inner;
        (inner.api, inner.location, inner.attempts, inner.outcome) =
            (Some(api), *location, attempts, outcome);
        inner.is_retriable |= out_of_time;
        of_failure
    }

    /// An answer's code for a topic.
    pub(crate) fn of_topic(code: ErrorCode) -> Self {
        let error = Self::of_failure(Failure::Code { code, message: None }, false);
        error.with_outcome(Outcome::NotWritten)
    }

    fn of_failure(failure: Failure, out_of_time: bool) -> Self {
        let is_timeout = out_of_time || failure.is_timeout();
        let mut error = Self::of_case(Case::of_failure(&failure), kind_of(&failure, is_timeout));
        if let Failure::Code { code, .. } = &failure {
            error.inner.is_retriable = code.is_retriable();
        }
        (error.inner.is_timeout, error.inner.failure) = (is_timeout, Some(failure));
        error
    }

    pub(crate) fn with_api(mut self, api: ApiKey) -> Self {
        self.inner.api.get_or_insert(api);
        self
    }

    pub(crate) fn with_partition(mut self, topic: &str, partition: i32) -> Self {
        self.inner.location.partition.get_or_insert(partition);
        self.with_topic(topic)
    }

    pub(crate) fn with_topic(mut self, topic: &str) -> Self {
        self.inner.location.topic.get_or_insert_with(|| topic.to_owned());
        self
    }

    pub(crate) fn with_broker(mut self, broker: &rskafka_cluster::Broker) -> Self {
        self.inner.location.broker = Some(broker.id);
        self.inner.location.endpoint = Some(broker.endpoint.clone());
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.inner.outcome = outcome;
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
        self.inner.outcome
    }

    /// What to do about it, for callers that need no more.
    pub fn class(&self) -> ErrorClass {
        let Inner { kind, outcome, is_retriable, .. } = &*self.inner;
        match outcome {
            Outcome::Unknown => ErrorClass::InDoubt,
            Outcome::NotWritten if *is_retriable => ErrorClass::Retry,
            Outcome::NotWritten if kind.is_fatal() => ErrorClass::Fatal,
            Outcome::NotWritten => ErrorClass::Refused,
        }
    }

    /// Whether the same call may succeed later. A produce whose outcome is unknown may then be written
    /// twice.
    pub fn is_retriable(&self) -> bool {
        self.inner.is_retriable
    }

    /// Whether it was time that ran out.
    pub fn is_timeout(&self) -> bool {
        self.inner.is_timeout
    }

    /// The error code that the broker answered, if it did.
    pub fn code(&self) -> Option<ErrorCode> {
        self.inner.failure.as_ref().and_then(code_of)
    }

    /// The API that failed.
    pub fn api(&self) -> Option<ApiKey> {
        self.inner.api
    }

    /// The broker concerned: its id and `host:port`, as far as they are known.
    pub fn broker(&self) -> Option<(Option<i32>, String)> {
        let Location { broker, endpoint, .. } = &self.inner.location;
        endpoint.as_ref().map(|endpoint| (*broker, endpoint.to_string()))
    }

    /// The topic concerned.
    pub fn topic(&self) -> Option<&str> {
        self.inner.location.topic.as_deref()
    }

    /// The partition concerned.
    pub fn partition(&self) -> Option<i32> {
        self.inner.location.partition
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }
}

fn kind_of(failure: &Failure, is_timeout: bool) -> ErrorKind {
    match failure {
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
        failure if Case::of_failure(failure) == Case::Unsupported => ErrorKind::Unsupported,
        failure if Case::of_failure(failure) == Case::RuntimeGone => ErrorKind::Closed,
        failure if failure.is_throttled() => ErrorKind::Throttled,
        failure if failure.is_invalid_answer() => ErrorKind::InvalidAnswer,
        _ if is_timeout => ErrorKind::TimedOut,
        _ => ErrorKind::Connection,
    }
}

/// The code that a broker answered: the last one's, if several were asked.
fn code_of(failure: &Failure) -> Option<ErrorCode> {
    match failure {
        Failure::NoReachableBroker { causes } => {
            causes.iter().rev().find_map(|cause| code_of(&cause.failure))
        }
        failure => failure.code(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, api, location, attempts, failure, is_timeout, outcome, .. } = &*self.inner;
        if let Some(api) = api {
            write!(f, "{api}{location}: ")?;
        }
        write!(f, "{kind}")?;
        if *attempts > 1 {
            write!(f, " after {attempts} attempts")?;
        }
        if *is_timeout && *kind != ErrorKind::TimedOut {
            write!(f, ", no time left")?;
        }
        if let Outcome::Unknown = outcome {
            write!(f, " (it is not known whether it took effect)")?;
        }
        kind.advise(f)?;
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
