//! SaslAuthenticate: one step of a SASL exchange (KIP-152).
//!
//! Invariant: what the exchange carries may be a password or a proof of one, so `Debug` does not show it.

use bytes::Bytes;

use crate::encoder::Encoder;
use crate::error::Parsed;
use crate::schema::schema;
use crate::wire::{Cx, Layout, Wire};
use crate::{EncodeError, ErrorCode};

schema! {
    /// One message of the client.
    pub struct SaslAuthenticateRequest (SaslAuthenticate = 36, versions 0..=2, flexible 2..) {
        /// The message, as the mechanism wants it.
        auth_bytes: AuthBytes,
    }

    /// The broker's answer.
    pub struct SaslAuthenticateResponse (SaslAuthenticate = 36, versions 0..=2, flexible 2..) {
        /// The outcome of this step.
        error_code: ErrorCode,
        /// Why the client was refused.
        error_message: Option<String> = Some(String::new()),
        /// The message, as the mechanism wants it.
        auth_bytes: AuthBytes,
        /// In the last answer of an exchange, how long the session lasts (KIP-368); 0 for without limit.
        session_lifetime_ms: i64 [1.., ignorable],
    }
}

/// A message of a SASL mechanism; `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq, Default, derive_more::From, derive_more::Debug)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[from(forward)]
#[debug("[{} bytes, not shown]", _0.len())]
pub struct AuthBytes(pub Bytes);

impl Wire for AuthBytes {
    fn type_name() -> String {
        Bytes::type_name()
    }

    fn min_size(layout: Layout) -> usize {
        Bytes::min_size(layout)
    }

    fn write(&self, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
        self.0.write(layout, out)
    }

    fn parse<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Self> {
        Bytes::parse(cx, input).map(|(rest, bytes)| (rest, Self(bytes)))
    }

    #[cfg(test)]
    fn arbitrary(layout: Layout, choices: &mut crate::wire::Choices) -> Self {
        Self(Bytes::arbitrary(layout, choices))
    }
}
