//! Why a proxy does not lead to the broker.
//!
//! Invariant: the proxy's password is in no error.

use snafu::Snafu;

use super::OpenErrorKind;

/// Why a SOCKS5 proxy does not lead to the broker.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ProxyError {
    /// There is no connection to the proxy itself.
    #[snafu(display("the proxy cannot be reached: check its address, and that it runs"))]
    Unreachable {
        /// What went wrong on the way to it.
        source: Box<OpenErrorKind>,
    },
    /// The proxy wants a user and a password, or another kind of authentication than these.
    #[snafu(display("the proxy wants authentication that it was not given: set user and password"))]
    AuthenticationRequired,
    /// The proxy refuses user and password.
    #[snafu(display("the proxy refuses user and password"))]
    AuthenticationFailed,
    /// User or password cannot be sent.
    #[snafu(display("user and password for the proxy must each have 1 to 255 bytes"))]
    InvalidCredentials,
    /// The proxy may not connect to the broker.
    #[snafu(display("the proxy's rules do not allow a connection to the broker"))]
    NotAllowed,
    /// The proxy cannot do what it is asked for.
    #[snafu(display("the proxy cannot do this: {reason}"))]
    Unsupported {
        /// What the proxy's answer means.
        reason: &'static str,
    },
    /// The proxy has no connection to the broker.
    #[snafu(display("the proxy cannot connect to the broker: {reason}"))]
    Refused {
        /// What the proxy's answer means.
        reason: &'static str,
    },
    /// The broker's name is too long for the protocol.
    #[snafu(display("the broker's name has more than 255 bytes, which SOCKS5 cannot carry"))]
    InvalidTarget,
    /// The peer's bytes are not SOCKS5.
    #[snafu(display("what listens there is no SOCKS5 proxy: check its address"))]
    NotSocks5,
    /// The connection to the proxy ended.
    #[snafu(display("the connection to the proxy ended"))]
    Closed {
        /// How.
        source: std::io::Error,
    },
}

impl ProxyError {
    /// Whether another attempt may go better without a change of configuration.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. } | Self::Closed { .. })
    }
}
