//! Why a connection ended.
//!
//! Invariant: a connection has one cause, shared by all requests on it.

use std::io;

use rskafka_protocol::frame::FrameError;
use rskafka_protocol::{ApiKey, DecodeError};
use snafu::Snafu;

/// Why a connection ended.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum CloseCause {
    /// This side closed it, or dropped the last handle.
    #[snafu(display("closed by this client"))]
    ByClient,
    /// This side closed it because no request was made for the idle timeout.
    #[snafu(display("closed by this client after it was idle"))]
    Idle,
    /// The SASL session is about to end, so no request may begin on it any more.
    #[snafu(display("the SASL session has ended"))]
    SessionExpired,
    /// The broker closed it between two answers.
    #[snafu(display("closed by the broker {}", match (unanswered, received_any) {
        (0, _) => "while it was idle".to_owned(),
        (_, true) => format!("with {unanswered} requests unanswered"),
        (_, false) => "before its first byte: check that the port is a Kafka listener, and whether it expects \
            TLS or another security protocol".to_owned(),
    }))]
    ByBroker {
        /// Requests on the wire that it had not answered.
        unanswered: usize,
        /// Whether it had ever sent anything.
        received_any: bool,
    },
    /// The broker closed it in the middle of an answer.
    #[snafu(display("closed by the broker in the middle of an answer, after {received} bytes of it"))]
    Truncated {
        /// The bytes of the answer that came, the length included.
        received: usize,
    },
    /// Reading failed.
    #[snafu(display("reading failed"))]
    Read {
        /// The stream's failure.
        source: io::Error,
    },
    /// Writing failed.
    #[snafu(display("writing failed"))]
    Write {
        /// The stream's failure.
        source: io::Error,
    },
    /// The peer's bytes cannot be an answer.
    #[snafu(display("{}", match source {
        FrameError::TooLarge { .. } => "the answer is larger than max_frame_bytes, or the peer is no broker",
        _ => "the peer's bytes are not a Kafka answer",
    }))]
    Frame {
        /// The length that they claim.
        source: FrameError,
    },
    /// An answer has the wrong correlation id. Answers come in the order of their requests.
    #[snafu(display("an answer with correlation id {received} came, {}", match expected {
        Some(expected) => format!("where that with {expected} was due"),
        None => "but no request is waiting for one".to_owned(),
    }))]
    UnexpectedAnswer {
        /// The correlation id in the answer.
        received: i32,
        /// The correlation id expected; `None` if no request was waiting.
        expected: Option<i32>,
    },
    /// Bytes came while no request was waiting.
    #[snafu(display("the peer sent {received} bytes that nobody asked for"))]
    Unsolicited {
        /// How many.
        received: usize,
    },
    /// A request that was sent had no answer in time.
    #[snafu(display("no answer to {api} by its deadline"))]
    Unanswered {
        /// The API of the request.
        api: ApiKey,
    },
    /// An answer could not be decoded.
    #[snafu(display("an answer to {api} could not be decoded"))]
    Undecodable {
        /// The API of the request.
        api: ApiKey,
        /// The field concerned.
        source: DecodeError,
    },
    /// The runtime on which the connection lived has ended.
    #[snafu(display("the runtime of the connection has ended"))]
    RuntimeGone,
}

impl CloseCause {
    /// Whether the peer speaks TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Frame { source } if source.is_tls())
    }
}
