//! Why a connection could not be opened.
//!
//! Invariant: no password, token or key is in an error.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka_protocol::ErrorCode;

use derive_more::{Debug, Display};

use super::{BoxError, CallError, Nature, WithCauses};
use crate::endpoint::Endpoint;
use crate::lock;

/// A connection that could not be opened. Clones share the cause.
///
/// The message says what is wrong and, where the configuration is to blame, how to mend it.
#[derive(Clone, Display, Debug)]
#[display("cannot open a connection to broker {endpoint}: {}", failure.text)]
#[debug("{}", WithCauses(self))]
pub struct OpenError {
    endpoint: Endpoint,
    phase: Phase,
    failure: Arc<Failure>,
}

impl OpenError {
    pub(crate) fn new(endpoint: &Endpoint, phase: Phase, failure: Failure) -> Self {
        Self { endpoint: endpoint.clone(), phase, failure: Arc::new(failure) }
    }

    /// The step that failed.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What to do about it.
    pub fn nature(&self) -> Nature {
        self.failure.nature
    }

    /// The code with which the broker refused to tell its versions, or refused the login, if it did.
    pub fn code(&self) -> Option<ErrorCode> {
        self.failure.code
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

impl Failure {
    pub(crate) fn new(nature: Nature, text: impl Into<Cow<'static, str>>) -> Self {
        Self { nature, code: None, text: text.into(), source: None }
    }

    pub(crate) fn lasting(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Nature::Lasting, text)
    }

    /// A request that was part of the opening failed. `lasting` is its nature if the same would happen again.
    pub(crate) fn call(text: &'static str, source: CallError, lasting: Nature) -> Self {
        let nature = Some(source.nature()).filter(|nature| nature.is_transient()).unwrap_or(lasting);
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
    pub(crate) fn within(self, what: impl std::fmt::Display) -> Self {
        Self { text: format!("{what}: {}", self.text).into(), ..self }
    }
}

/// A step of opening a connection. Displays as what is being done.
#[derive(Debug, Display, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The name's addresses are looked up.
    #[display("resolving the name")]
    Resolve,
    /// The addresses are tried, or the environment's connector is at work.
    #[display("connecting")]
    Connect,
    /// The proxy is asked to connect to the broker.
    #[display("connecting through the proxy")]
    Proxy,
    /// The TLS handshake, and before it the caller's function that gives the client certificate.
    #[display("doing the TLS handshake")]
    Tls,
    /// The broker is asked for its versions.
    #[display("negotiating versions")]
    Negotiate,
    /// The SASL exchange, and before it the caller's function that gives the credentials.
    #[display("authenticating")]
    Sasl,
}

/// How far the opening of a connection has come. Clones show the same, so that other tasks can see it.
#[derive(Debug, Clone, Default)]
pub struct OpenProgress {
    steps: Arc<Mutex<Steps>>,
}

#[derive(Debug, Default)]
struct Steps {
    phase: Option<Phase>,
    /// The addresses that failed, each with its cause, in the order in which they failed.
    failures: Vec<String>,
    /// Addresses that have not answered yet.
    trying: Vec<SocketAddr>,
}

impl OpenProgress {
    /// The step under way; `None` before the first and after the last.
    pub fn phase(&self) -> Option<Phase> {
        lock(&self.steps).phase
    }

    pub(crate) fn enter(&self, phase: Phase) {
        lock(&self.steps).phase = Some(phase);
    }

    pub(crate) fn restart(&self, phase: Option<Phase>) {
        *lock(&self.steps) = Steps { phase, ..Steps::default() };
    }

    pub(crate) fn try_address(&self, address: SocketAddr) {
        lock(&self.steps).trying.push(address);
    }

    pub(crate) fn failed(&self, address: SocketAddr, error: &io::Error) {
        let Steps { failures, trying, .. } = &mut *lock(&self.steps);
        trying.retain(|trying| *trying != address);
        failures.push(format!("{address}: {error}"));
    }

    /// Forgets the addresses that were tried, and gives those that failed.
    pub(crate) fn forget_addresses(&self) -> Vec<String> {
        let mut steps = lock(&self.steps);
        steps.trying.clear();
        std::mem::take(&mut steps.failures)
    }

    /// The failure of an opening that ran out of time: how long it took, its step, and what became of each address.
    pub(crate) fn timed_out(&self, phase: Phase, elapsed: Duration) -> Failure {
        let Steps { failures, trying, .. } = &*lock(&self.steps);
        let silent = trying.iter().map(|address| format!("{address}: no answer in time"));
        let failures: Vec<_> = failures.iter().cloned().chain(silent).collect();
        let tried = if failures.is_empty() { String::new() } else { format!(" ({})", failures.join("; ")) };
        Failure::new(Nature::TimedOut, format!("timed out after {elapsed:?} while {phase}{tried}"))
    }
}
