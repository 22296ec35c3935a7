//! Why a connection could not be opened.
//!
//! Invariant: no password, token or key is in an error.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rskafka_protocol::ErrorCode;

use super::{BoxError, CallError, WithCauses};
use crate::endpoint::Endpoint;

/// A connection that could not be opened. Clones share the cause.
///
/// The message says what is wrong and, where the configuration is to blame, how to mend it.
#[derive(Clone)]
pub struct OpenError {
    endpoint: Endpoint,
    phase: Phase,
    failure: Arc<Failure>,
}

impl OpenError {
    pub(crate) fn new(endpoint: &Endpoint, phase: Phase, failure: Failure) -> Self {
        Self { endpoint: endpoint.clone(), phase, failure: Arc::new(failure) }
    }

    /// The broker.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The step that failed.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether time ran out.
    pub fn is_timeout(&self) -> bool {
        self.failure.nature == Nature::TimedOut
    }

    /// Whether another attempt may succeed without a change of configuration or credentials.
    pub fn is_transient(&self) -> bool {
        match self.failure.nature {
            Nature::Transient | Nature::TimedOut => true,
            Nature::Lasting | Nature::Authentication | Nature::InvalidAnswer => false,
        }
    }

    /// Whether the client could not authenticate. Further attempts could lock its account.
    pub fn is_authentication(&self) -> bool {
        self.failure.nature == Nature::Authentication
    }

    /// Whether the peer's bytes are not a broker's answer.
    pub fn is_invalid_answer(&self) -> bool {
        self.failure.nature == Nature::InvalidAnswer
    }

    /// The code with which the broker refused to tell its versions, or refused the login, if it did.
    pub fn code(&self) -> Option<ErrorCode> {
        self.failure.code
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open a connection to broker {}: {}", self.endpoint, self.failure.text)
    }
}

impl fmt::Debug for OpenError {
    /// The message with its causes: what `unwrap` and `main` show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", WithCauses(self))
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source.as_deref().map(|source| source as _)
    }
}

/// Why a step of opening a connection failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) nature: Nature,
    /// The code that the broker answered.
    pub(crate) code: Option<ErrorCode>,
    pub(crate) text: Cow<'static, str>,
    pub(crate) source: Option<BoxError>,
}

/// What the layers above do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Another attempt may succeed.
    Transient,
    /// The configuration, or the peer, has to change first.
    Lasting,
    Authentication,
    /// The peer's bytes are not a broker's answer.
    InvalidAnswer,
    TimedOut,
}

impl Failure {
    pub(crate) fn new(nature: Nature, text: impl Into<Cow<'static, str>>) -> Self {
        Self { nature, code: None, text: text.into(), source: None }
    }

    pub(crate) fn lasting(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Nature::Lasting, text)
    }

    /// A request that was part of the opening failed. `lasting` is its nature if the same would happen again.
    pub(crate) fn call(text: &'static str, source: CallError, lasting: Nature) -> Self {
        let nature = match () {
            () if source.is_timeout() => Nature::TimedOut,
            () if source.is_transient() => Nature::Transient,
            () => lasting,
        };
        Self::new(nature, text).because(source)
    }

    pub(crate) fn with_code(self, code: ErrorCode) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn because(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Says in front of the text what could not be done.
    #[cfg(any(feature = "sasl", feature = "socks5", feature = "tls"))]
    pub(crate) fn within(self, what: impl fmt::Display) -> Self {
        Self { text: format!("{what}: {}", self.text).into(), ..self }
    }
}

/// A step of opening a connection. Displays as what is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The name's addresses are looked up.
    Resolve,
    /// The addresses are tried, or the environment's connector is at work.
    Connect,
    /// The proxy is asked to connect to the broker.
    Proxy,
    /// The TLS handshake, and before it the caller's function that gives the client certificate.
    Tls,
    /// The broker is asked for its versions.
    Negotiate,
    /// The SASL exchange, and before it the caller's function that gives the credentials.
    Sasl,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Proxy => "connecting through the proxy",
            Self::Tls => "doing the TLS handshake",
            Self::Negotiate => "negotiating versions",
            Self::Sasl => "authenticating",
        })
    }
}

/// Lets other tasks see which step of opening a connection is under way. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct OpenProgress {
    phase: Arc<Mutex<Option<Phase>>>,
}

impl OpenProgress {
    /// The step under way; `None` before the first and after the last.
    pub fn phase(&self) -> Option<Phase> {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self, phase: Option<Phase>) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}
