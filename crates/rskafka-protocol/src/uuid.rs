//! Kafka's UUID: sixteen bytes, written as URL-safe base64 without padding (Kafka class `Uuid`).

use std::fmt;

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
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        // 128 bits are 21 sextets and two bits that begin a 22nd.
        for sextet in 0..22i32 {
            let shift = 122 - 6 * sextet;
            let index = if shift >= 0 { bits >> shift } else { bits << -shift } & 0x3f;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'A');
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
