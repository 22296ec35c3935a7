//! Why a connection could not be opened.
//!
//! Invariant: the error names the broker and the phase, and each address that was tried with its cause.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rskafka_protocol::ErrorCode;
use snafu::Snafu;

use super::{CallError, ProxyError, SaslError, TlsError, WithCauses};
use crate::dial::AddressFailure;
use crate::endpoint::Endpoint;

/// A connection that could not be opened. Clones share the cause.
#[derive(Clone)]
pub struct OpenError {
    endpoint: Endpoint,
    kind: Arc<OpenErrorKind>,
}

impl OpenError {
    pub(crate) fn new(endpoint: Endpoint, kind: OpenErrorKind) -> Self {
        Self { endpoint, kind: Arc::new(kind) }
    }

    /// The broker.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What went wrong.
    pub fn kind(&self) -> &OpenErrorKind {
        &self.kind
    }

    /// Whether time ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(*self.kind, OpenErrorKind::TimedOut { .. })
    }

    /// Whether another attempt may go better without a change of configuration or credentials.
    pub fn is_transient(&self) -> bool {
        match &*self.kind {
            OpenErrorKind::Proxy { source, .. } => source.is_transient(),
            OpenErrorKind::Tls { source } => source.is_transient(),
            OpenErrorKind::Sasl { source } => source.is_transient(),
            OpenErrorKind::Negotiate { source } => source.is_transient(),
            // Other brokers can be asked (KIP-1242).
            OpenErrorKind::Refused { code } => {
                code.is_retriable() || *code == ErrorCode::REBOOTSTRAP_REQUIRED
            }
            OpenErrorKind::TlsExpected { .. } => false,
            OpenErrorKind::Resolve { .. }
            | OpenErrorKind::NoAddress
            | OpenErrorKind::Connect { .. }
            | OpenErrorKind::Connector { .. }
            | OpenErrorKind::TimedOut { .. } => true,
        }
    }

    /// Whether the client could not prove who it is: going on to try could lock its account.
    pub fn is_authentication(&self) -> bool {
        matches!(&*self.kind, OpenErrorKind::Sasl { source } if !source.is_transient())
    }

    /// How far it got.
    pub fn phase(&self) -> Phase {
        match &*self.kind {
            OpenErrorKind::Resolve { .. } | OpenErrorKind::NoAddress => Phase::Resolve,
            OpenErrorKind::Connect { .. } | OpenErrorKind::Connector { .. } => Phase::Connect,
            OpenErrorKind::Proxy { .. } => Phase::Proxy,
            OpenErrorKind::Tls { .. } => Phase::Tls,
            OpenErrorKind::Negotiate { .. }
            | OpenErrorKind::TlsExpected { .. }
            | OpenErrorKind::Refused { .. } => Phase::Negotiate,
            OpenErrorKind::Sasl { .. } => Phase::Sasl,
            OpenErrorKind::TimedOut { phase, .. } => *phase,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open a connection to broker {}: {}", self.endpoint, self.kind)
    }
}

impl fmt::Debug for OpenError {
    /// The message with its causes: what `unwrap`, and `main`, show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", WithCauses(self))
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.kind)
    }
}

/// Why a connection could not be opened.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The name has no known address.
    #[snafu(display("the name cannot be resolved"))]
    Resolve {
        /// The resolver's failure.
        source: io::Error,
    },
    /// The resolver gave an empty list.
    #[snafu(display("the name has no address"))]
    NoAddress,
    /// No address could be reached.
    #[snafu(display("no address can be reached ({})", Listed(failures)))]
    Connect {
        /// One cause per address, in the order in which they failed.
        failures: Vec<AddressFailure>,
    },
    /// The environment's connector failed.
    #[snafu(display("the connector failed"))]
    Connector {
        /// Its failure.
        source: io::Error,
    },
    /// The proxy does not lead to the broker.
    #[snafu(display("no way through proxy {proxy}"))]
    Proxy {
        /// The proxy.
        proxy: Endpoint,
        /// What went wrong.
        source: ProxyError,
    },
    /// There is no TLS session with the broker.
    #[snafu(display("no TLS session"))]
    Tls {
        /// What went wrong.
        source: TlsError,
    },
    /// The client speaks plaintext to a port that expects TLS.
    #[snafu(display("the port expects TLS: connect with TLS, or to a plaintext port"))]
    TlsExpected {
        /// What came instead of the broker's versions.
        source: CallError,
    },
    /// The client could not prove who it is.
    #[snafu(display("authentication failed"))]
    Sasl {
        /// What went wrong.
        source: SaslError,
    },
    /// The broker's versions could not be asked.
    #[snafu(display("the versions cannot be negotiated"))]
    Negotiate {
        /// What became of the request.
        source: CallError,
    },
    /// The broker answered with an error.
    #[snafu(display("the broker refuses to tell its versions: {code}"))]
    Refused {
        /// The broker's error code.
        code: ErrorCode,
    },
    /// Time ran out.
    #[snafu(display("timed out after {after:?} while {phase}{}", match failures.as_slice() {
        [] => String::new(),
        failures => format!(" ({})", Listed(failures)),
    }))]
    TimedOut {
        /// What was being done.
        phase: Phase,
        /// The time it took.
        after: Duration,
        /// Addresses that failed, or did not answer in time.
        failures: Vec<AddressFailure>,
    },
}

impl OpenErrorKind {
    /// Time ran out in `phase`. The caller fills in how long the opening took.
    pub(crate) fn timed_out(phase: Phase, failures: Vec<AddressFailure>) -> Self {
        Self::TimedOut { phase, after: Duration::ZERO, failures }
    }

    pub(crate) fn with_elapsed(self, elapsed: Duration) -> Self {
        match self {
            Self::TimedOut { phase, failures, .. } => Self::TimedOut { phase, after: elapsed, failures },
            other => other,
        }
    }
}

struct Listed<'a>(&'a [AddressFailure]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, AddressFailure { address, error }) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
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
    /// The proxy is asked for the way to the broker.
    Proxy,
    /// The TLS handshake is under way, or the client certificate for it is being fetched.
    Tls,
    /// The broker is asked for its versions.
    Negotiate,
    /// The client proves who it is, or the credentials for it are being fetched.
    Sasl,
}

/// How far the opening of a connection has come, for others than the one that opens it. Clones show the same.
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

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Proxy => "asking the proxy for the way",
            Self::Tls => "doing the TLS handshake",
            Self::Negotiate => "negotiating versions",
            Self::Sasl => "authenticating",
        })
    }
}
