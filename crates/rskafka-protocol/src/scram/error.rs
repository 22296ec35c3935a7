//! What ends a SCRAM exchange.
//!
//! Invariant: neither a secret nor bytes of the peer that could hold one are in an error.

use std::fmt;

use snafu::Snafu;

/// An exchange that failed. It cannot be resumed.
#[derive(Clone, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum ScramError {
    /// The user name given is empty or has a NUL, which SCRAM cannot carry.
    #[snafu(display("the user name is empty or has a NUL"))]
    InvalidUsername,
    /// The nonce given is empty or has more than printable ASCII without commas.
    #[snafu(display("the nonce is not made of printable ASCII without commas"))]
    InvalidNonce,
    /// The salt given is empty.
    #[snafu(display("the salt is empty"))]
    InvalidSalt,
    /// The bytes are not the message expected.
    #[snafu(display("invalid {message} message: {problem}"))]
    InvalidMessage {
        /// The message expected, e.g. `server-first`.
        message: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The iterations are outside of [`ITERATIONS`](super::ITERATIONS).
    #[snafu(display("{iterations} iterations are not within {:?}", super::ITERATIONS))]
    Iterations {
        /// The number asked for.
        iterations: u32,
    },
    /// The peer's nonce is not this exchange's.
    #[snafu(display("the nonce is not that of this exchange"))]
    NonceMismatch,
    /// The client asks for channel binding, which Kafka does not have, or does not repeat its own header.
    #[snafu(display("channel binding is not supported"))]
    ChannelBinding,
    /// The client wants to act as another user than the one it proves to be.
    #[snafu(display("the client asks to act as another user"))]
    AuthorizationId,
    /// The server refused the client.
    #[snafu(display("the server refused: {reason}"))]
    Refused {
        /// The server's word, e.g. `invalid-proof`.
        reason: String,
    },
    /// The client does not know the password.
    #[snafu(display("the client's proof is wrong"))]
    WrongProof,
    /// The server does not know the password: it is not the one it is taken for.
    #[snafu(display("the server's signature is wrong"))]
    WrongSignature,
}

impl fmt::Debug for ScramError {
    /// The message: what `unwrap` and `main` show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
