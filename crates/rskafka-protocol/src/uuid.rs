//! Kafka's UUID: sixteen bytes, written as URL-safe base64 without padding (Kafka class `Uuid`).

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// An identifier of a topic. The zero UUID means "none".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "No id": what a broker that knows no topic ids answers.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is the zero UUID.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

debug_as_display!(Uuid);
