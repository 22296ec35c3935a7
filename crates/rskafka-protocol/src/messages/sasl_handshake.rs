//! SaslHandshake: agrees on a SASL mechanism. SaslAuthenticate requests follow (KIP-152).

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Chooses a mechanism. Version 0, after which tokens go without any header, is not spoken.
    pub struct SaslHandshakeRequest (SaslHandshake = 17, versions 1..=1, flexible none) {
        /// The mechanism's name, e.g. `SCRAM-SHA-512`.
        mechanism: String,
    }

    /// Whether the broker takes the mechanism.
    pub struct SaslHandshakeResponse (SaslHandshake = 17, versions 1..=1, flexible none) {
        /// The outcome; `UNSUPPORTED_SASL_MECHANISM` if the broker does not offer the mechanism.
        error_code: ErrorCode,
        /// The mechanisms that the broker offers.
        mechanisms: Vec<String>,
    }
}
