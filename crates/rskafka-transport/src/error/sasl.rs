//! Why a broker does not know who the client is.
//!
//! Invariant: no password and no token is in an error.

use rskafka_protocol::ErrorCode;
use snafu::Snafu;

use super::{BoxError, CallError};
use crate::versions::UnsupportedVersion;

/// Why SASL authentication failed.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum SaslError {
    /// The caller's function that gives the credentials failed.
    #[snafu(display("there are no credentials: the function that gives them failed"))]
    Credentials {
        /// Its failure.
        source: BoxError,
    },
    /// The token that the caller's function gave had expired already.
    #[snafu(display("the token given has expired already: check the function that gives it"))]
    TokenExpired,
    /// The credentials cannot be sent by the mechanism.
    #[snafu(display("the credentials cannot be used with {mechanism}: {problem}"))]
    InvalidCredentials {
        /// The mechanism's name.
        mechanism: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// The broker is too old: it has no SaslAuthenticate, or no versions that this client speaks.
    #[snafu(display("the broker is too old for SASL as this client speaks it (Kafka 1.0)"))]
    UnsupportedVersion {
        /// The ranges of both sides.
        source: UnsupportedVersion,
    },
    /// The broker does not offer the mechanism.
    #[snafu(display("the broker does not offer {mechanism}, but {}: choose another mechanism or port",
        if offered.is_empty() { "none".to_owned() } else { offered.join(", ") }))]
    UnsupportedMechanism {
        /// The mechanism's name.
        mechanism: &'static str,
        /// What it offers.
        offered: Vec<String>,
    },
    /// The listener does not use SASL.
    #[snafu(display("the port does not expect SASL: choose another port, or connect without SASL"))]
    NotExpected,
    /// The broker refuses the credentials.
    #[snafu(display("the broker refuses the credentials ({code}{}): check user and password, or the token, for {mechanism}",
        message.as_ref().map(|text| format!(": {text}")).unwrap_or_default()))]
    Refused {
        /// The mechanism's name.
        mechanism: &'static str,
        /// The broker's error code.
        code: ErrorCode,
        /// What the broker says.
        message: Option<String>,
    },
    /// The broker's part of a SCRAM exchange is not what it should be; it may not be the broker that it is
    /// taken for.
    #[cfg(feature = "sasl")]
    #[snafu(display("the broker did not pass {mechanism}"))]
    Scram {
        /// The mechanism's name.
        mechanism: &'static str,
        /// What is wrong.
        source: rskafka_protocol::scram::ScramError,
    },
    /// The broker's answer does not belong into the exchange.
    #[snafu(display("the broker's answer is none that {mechanism} has"))]
    UnexpectedAnswer {
        /// The mechanism's name.
        mechanism: &'static str,
    },
    /// A request of the exchange has no answer.
    #[snafu(display("the exchange broke off"))]
    Call {
        /// What became of the request.
        source: CallError,
    },
    /// The operating system has no random numbers.
    #[snafu(display("there are no random numbers to be had"))]
    Random {
        /// The operating system's failure.
        source: std::io::Error,
    },
    /// The runtime of the client has ended.
    #[snafu(display("the runtime of the connection has ended"))]
    RuntimeGone,
}

impl SaslError {
    /// Whether another attempt may go better without other credentials.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Call { source } => source.is_transient(),
            Self::Refused { code, .. } => code.is_retriable(),
            _ => false,
        }
    }
}
