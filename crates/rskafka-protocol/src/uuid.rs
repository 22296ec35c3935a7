//! Kafka's UUID: sixteen bytes, written as URL-safe base64 without padding (Kafka class `Uuid`).

use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use derive_more::{Debug, Display};

/// An identifier of a topic. The zero UUID means "none".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug, Display)]
#[display("{}", BASE64_URL_SAFE_NO_PAD.encode(_0))]
#[debug("{self}")]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "No id": what a broker that knows no topic ids answers.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is the zero UUID.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

/// Anything but the text of sixteen bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseUuidError;

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseUuidError)?;
        bytes.try_into().map(Self).map_err(|_| ParseUuidError)
    }
}
