//! Why a call has no usable answer.
//!
//! Invariant: the error says whether a byte of the request may have been sent; if in doubt, it says yes.

use std::sync::Arc;
use std::time::Duration;

use rskafka_protocol::{ApiKey, DecodeError, EncodeError};
use snafu::Snafu;

use super::{CloseCause, Nature};
use crate::endpoint::Endpoint;
use crate::versions::UnsupportedVersion;

/// A request without a usable answer.
#[derive(Debug, Clone, derive_more::Display)]
#[display("{api} request to broker {endpoint} failed: {kind}{}", if *sent { "" } else { " (not sent)" })]
pub struct CallError {
    endpoint: Endpoint,
    api: ApiKey,
    sent: bool,
    kind: Arc<CallErrorKind>,
}

impl CallError {
    pub(crate) fn new(endpoint: Endpoint, api: ApiKey, sent: bool, kind: CallErrorKind) -> Self {
        Self { endpoint, api, sent, kind: Arc::new(kind) }
    }

    /// What went wrong.
    pub fn kind(&self) -> &CallErrorKind {
        &self.kind
    }

    /// Whether the broker may have received the request or a part of it. `false` only if no byte was handed to the
    /// socket.
    pub fn was_sent(&self) -> bool {
        self.sent
    }

    /// What to do about it.
    pub fn nature(&self) -> Nature {
        match &*self.kind {
            CallErrorKind::UnsupportedVersion { .. } | CallErrorKind::Encode { .. } => Nature::Lasting,
            CallErrorKind::Throttled { .. } => Nature::Throttled,
            CallErrorKind::TimedOut { .. } => Nature::TimedOut,
            // An unsent request had no part in it.
            _ if self.sent && self.is_invalid_answer() => Nature::InvalidAnswer,
            _ => Nature::Transient,
        }
    }

    /// Whether the peer sent bytes that are not a broker's answers, be it to this request or to an earlier one.
    pub(crate) fn is_invalid_answer(&self) -> bool {
        match &*self.kind {
            CallErrorKind::Decode { .. } => true,
            CallErrorKind::Closed { source } => matches!(
                **source,
                CloseCause::Frame { .. }
                    | CloseCause::UnexpectedAnswer { .. }
                    | CloseCause::Unsolicited { .. }
            ),
            _ => false,
        }
    }

    /// Whether the broker closed the connection after the request, without a byte of an answer.
    pub fn is_closed_by_broker(&self) -> bool {
        use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
        self.sent
            && self.close_cause().is_some_and(|cause| match &**cause {
                CloseCause::ByBroker { .. } => true,
                // The last is the end of TLS without a close message.
                CloseCause::Read { source } => {
                    matches!(source.kind(), ConnectionReset | ConnectionAborted | UnexpectedEof)
                }
                _ => false,
            })
    }

    /// Why the connection ended, if that is the reason.
    pub fn close_cause(&self) -> Option<&Arc<CloseCause>> {
        match &*self.kind {
            CallErrorKind::Closed { source } => Some(source),
            _ => None,
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.kind)
    }
}

/// Why a call has no usable answer.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// Both sides have no version of the API in common. The connection stays open.
    #[snafu(display("the API cannot be used"))]
    UnsupportedVersion {
        /// The ranges of both sides.
        source: UnsupportedVersion,
    },
    /// The request cannot be written in the version negotiated. The connection stays open.
    #[snafu(display("the request cannot be encoded"))]
    Encode {
        /// The field concerned.
        source: EncodeError,
    },
    /// There is no place in the connection's queue, or no room for the request's bytes, and
    /// [`Connection::submit`](crate::Connection::submit) does not wait. The connection stays open.
    #[snafu(display("the connection's queue is full"))]
    Full,
    /// The deadline passed. If the request was sent, the connection ends.
    #[snafu(display("timed out after {after:?}"))]
    TimedOut {
        /// The time from the call to its end.
        after: Duration,
    },
    /// The broker has asked for silence on this connection (KIP-219) until after the call's deadline. The
    /// connection stays open.
    #[snafu(display(
        "throttled: the broker asks for silence for another {left:?}, beyond the call's deadline; allow more \
        time, or raise the client's quota"
    ))]
    Throttled {
        /// How long the silence still lasts.
        left: Duration,
    },
    /// The connection ended, or had ended before.
    #[snafu(display("the connection has ended"))]
    Closed {
        /// Why it ended; the same for all calls on it.
        source: Arc<CloseCause>,
    },
    /// The answer is not what it should be. The connection ends.
    #[snafu(display("the answer cannot be decoded"))]
    Decode {
        /// The field concerned.
        source: DecodeError,
    },
}
