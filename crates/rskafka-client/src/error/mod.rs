//! Errors: what happened, where, what became of the data, and what to do.
//!
//! Invariant: an error never holds a secret.

mod kind;
mod table;

use std::fmt;
use std::sync::Arc;

pub use rskafka_cluster::transport::BoxError;
use rskafka_cluster::transport::{Nature, WithCauses};
use rskafka_cluster::{Attempts, Broker, Failed, Failure, Location};
use rskafka_protocol::records::BatchHeader;
use rskafka_protocol::{ApiKey, ErrorCode};

pub use self::kind::{ErrorClass, ErrorKind, Outcome};
#[cfg(test)]
pub(crate) use self::table::CASES;
pub(crate) use self::table::Case;

/// The client's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// [`kind`](Self::kind) distinguishes what a caller may want to handle. The message names broker, API, topic and
/// partition, and [`source`](std::error::Error::source) has the cause.
#[derive(Clone, derive_more::Debug)]
#[debug("{}", WithCauses(self))]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    outcome: Outcome,
    is_retriable: bool,
    is_timeout: bool,
    api: Option<ApiKey>,
    location: Location,
    attempts: u32,
    /// The last attempt's failure. Its text is part of this error's, so its source is this error's source.
    failure: Option<Failure>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    in_doubt: Option<InDoubt>,
}

/// By what an append that may be written can be found in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InDoubt {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
    /// It lies behind this offset.
    pub(crate) after: i64,
    /// Whether brokers refuse a batch of an earlier epoch.
    pub(crate) compares_epochs: bool,
    /// A broker said that it is in the log, and not where.
    pub(crate) is_written: bool,
}

impl InDoubt {
    pub(crate) fn of(header: &BatchHeader) -> Self {
        let BatchHeader { producer_id, producer_epoch, base_sequence, record_count, .. } = *header;
        let (after, compares_epochs, is_written) = (0, false, false);
        Self { producer_id, producer_epoch, base_sequence, record_count, after, compares_epochs, is_written }
    }
}

impl Error {
    /// An error of the client itself, not of a request.
    pub(crate) fn new(case: Case, kind: ErrorKind) -> Self {
        let (outcome, is_retriable, ..) = *case.row();
        let inner = Inner {
            is_timeout: kind == ErrorKind::TimedOut,
            kind,
            outcome,
            is_retriable,
            api: None,
            location: Location::default(),
            attempts: 0,
            failure: None,
            source: None,
            in_doubt: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// An argument that makes no sense.
    pub(crate) fn invalid(what: &'static str) -> Self {
        Self::new(Case::InvalidArgument, ErrorKind::InvalidArgument(what))
    }

    /// What was acknowledged or read is gone, from this offset on.
    pub(crate) fn truncated(divergence_offset: i64) -> Self {
        Self::new(Case::LogTruncated, ErrorKind::LogTruncated { divergence_offset })
    }

    /// A call to the cluster that failed; `outcome` says what that means for the data.
    pub(crate) fn of_cluster(failure: Failure, attempts: &Attempts, outcome: Outcome) -> Self {
        let out_of_time = attempts.out_of_time;
        let (case, kind) = Case::of_failure(&failure);
        let is_late = out_of_time && kind == ErrorKind::Connection;
        let mut error = Self::new(case, if is_late { ErrorKind::TimedOut } else { kind });
        let inner = &mut *error.inner;
        if let Failure::Code { code, .. } = &failure {
            inner.is_retriable = code.is_retriable();
        }
        inner.is_retriable |= out_of_time;
        inner.is_timeout = out_of_time || failure.nature() == Nature::TimedOut;
        (inner.api, inner.location, inner.attempts) =
            (Some(attempts.api), attempts.location.clone(), attempts.count);
        (inner.outcome, inner.failure) = (outcome, Some(failure));
        error
    }

    /// A call that writes nothing, and failed.
    pub(crate) fn of_read(Failed { failure, attempts }: Failed) -> Self {
        Self::of_cluster(failure, &attempts, Outcome::NotWritten)
    }

    /// Names the API, topic and partition, as far as the error does not do so yet.
    pub(crate) fn located(mut self, api: Option<ApiKey>, topic: &str, partition: Option<i32>) -> Self {
        let Inner { api: named, location, .. } = &mut *self.inner;
        *named = named.or(api);
        location.partition = location.partition.or(partition);
        location.topic.get_or_insert_with(|| topic.to_owned());
        self
    }

    pub(crate) fn with_broker(mut self, broker: &Broker) -> Self {
        self.inner.location.broker = Some(broker.id);
        self.inner.location.endpoint = Some(broker.endpoint.clone());
        self
    }

    pub(crate) fn with_case(mut self, case: Case, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        (self.inner.outcome, self.inner.is_retriable, ..) = *case.row();
        self
    }

    options! {
        pub(crate) fn with_outcome(outcome: Outcome) => inner.outcome = outcome;
        pub(crate) fn with_doubt(doubt: InDoubt) => inner.in_doubt = Some(doubt);
        pub(crate) fn with_source(source: impl Into<BoxError>) => inner.source = Some(source.into().into());
    }

    pub(crate) fn in_doubt(&self) -> Option<InDoubt> {
        self.inner.in_doubt
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// What became of the data. For calls that write nothing: [`Outcome::NotWritten`].
    pub fn outcome(&self) -> Outcome {
        self.inner.outcome
    }

    /// What to do about it, for callers that do not need the kind.
    pub fn class(&self) -> ErrorClass {
        let Inner { kind, outcome, is_retriable, .. } = &*self.inner;
        match outcome {
            Outcome::Unknown => ErrorClass::InDoubt,
            Outcome::NotWritten if *is_retriable => ErrorClass::Retry,
            Outcome::NotWritten if kind.is_fatal() => ErrorClass::Fatal,
            Outcome::NotWritten => ErrorClass::Refused,
        }
    }

    /// Whether the same call may succeed later. If the outcome of a produce is unknown, repeating it may write the records
    /// twice.
    pub fn is_retriable(&self) -> bool {
        self.inner.is_retriable
    }

    /// Whether the time ran out.
    pub fn is_timeout(&self) -> bool {
        self.inner.is_timeout
    }

    /// The error code that the broker answered, if it did: the last one, if several brokers were asked.
    pub fn code(&self) -> Option<ErrorCode> {
        self.inner.failure.as_ref().and_then(Failure::code)
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
        if *outcome == Outcome::Unknown && !matches!(kind, ErrorKind::NoOutput { .. }) {
            write!(f, " (it is not known whether it took effect)")?;
        }
        if let Some(advice) = kind.advice(*outcome, *api) {
            write!(f, "; {advice}")?;
        }
        match failure {
            Some(Failure::Code { message: Some(message), .. }) => write!(f, ": {message}"),
            Some(Failure::NoReachableBroker { causes }) => write!(f, "{causes}"),
            Some(Failure::NoLeader { code: Some(code) }) => write!(f, ": the broker answered {code}"),
            // The kind says the same.
            Some(Failure::Code { .. } | Failure::Metadata { .. } | Failure::UnknownTopic) => Ok(()),
            Some(Failure::TopicRecreated | Failure::NoLeader { code: None } | Failure::Closed) => Ok(()),
            // The source says more.
            Some(Failure::Open { .. } | Failure::Call { .. }) | None => Ok(()),
            Some(failure) => write!(f, ": {failure}"),
        }
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
