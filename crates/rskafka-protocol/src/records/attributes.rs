//! The attribute bits of a batch.
//!
//! Invariant: unknown bits are kept.

use super::Compression;

const CODEC: i16 = 0b111;

/// A bit of a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Flag {
    /// The timestamps are the broker's: it appended the batch at one time for all records.
    LogAppendTime = 1 << 3,
    /// The batch is part of a transaction.
    Transactional = 1 << 4,
    /// The batch holds control records, which are not for users.
    Control = 1 << 5,
    /// The base timestamp is the time from which tombstones may be removed (KIP-534).
    DeleteHorizon = 1 << 6,
}

/// The attributes of a batch, bit by bit as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[must_use]
pub struct Attributes(pub i16);

impl Attributes {
    /// How the records are compressed; the codec's number if Kafka has no such codec.
    ///
    /// # Errors
    ///
    /// The codec's number.
    pub fn compression(self) -> Result<Compression, u8> {
        let codec = u8::try_from(self.0 & CODEC).unwrap_or(u8::MAX);
        Compression::ALL.get(usize::from(codec)).copied().ok_or(codec)
    }

    /// The same with another codec.
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !CODEC | compression.codec())
    }

    /// Whether the flag is set.
    pub fn has(self, flag: Flag) -> bool {
        self.0 & flag as i16 != 0
    }

    /// The same with the flag set, or not.
    pub fn with(self, flag: Flag, on: bool) -> Self {
        Self(if on { self.0 | flag as i16 } else { self.0 & !(flag as i16) })
    }
}
