//! SaslAuthenticate: one step of a SASL exchange (KIP-152).
//!
//! Invariant: what the exchange carries may be a password or a proof of one, so `Debug` does not show it.

use bytes::Bytes;

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// One message of the client.
    pub struct SaslAuthenticateRequest (SaslAuthenticate = 36, versions 0..=2, flexible 2..) {
        /// The message, as the mechanism wants it; `Debug` shows its length only.
        #[debug("[{} bytes, not shown]", auth_bytes.len())]
        auth_bytes: Bytes,
    }

    /// The broker's answer.
    pub struct SaslAuthenticateResponse (SaslAuthenticate = 36, versions 0..=2, flexible 2..) {
        /// The outcome of this step.
        error_code: ErrorCode,
        /// Why the client was refused.
        error_message: Option<String> = Some(String::new()),
        /// The message, as the mechanism wants it; `Debug` shows its length only.
        #[debug("[{} bytes, not shown]", auth_bytes.len())]
        auth_bytes: Bytes,
        /// In the last answer of an exchange, how long the session lasts (KIP-368); 0 for without limit.
        session_lifetime_ms: i64 [1.., ignorable],
    }
}
