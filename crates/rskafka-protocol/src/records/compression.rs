//! The codecs a batch's records can be compressed with.
//!
//! Invariant: every codec of Kafka is a variant in every build; using one whose feature is off is an `Unsupported`
//! error.

use std::ops::RangeInclusive;

use derive_more::Display;

use super::codec;

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Display)]
#[display("{}", self.name())]
#[non_exhaustive]
#[repr(i16)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    ///
    /// Needs the feature `compression-gzip`.
    Gzip,
    /// Snappy, in the framing of Java's xerial library.
    ///
    /// Needs the feature `compression-snappy`.
    Snappy,
    /// LZ4 frames.
    ///
    /// Needs the feature `compression-lz4`.
    Lz4,
    /// Zstandard (KIP-110; Produce version 7 and Fetch version 10 on).
    ///
    /// Needs the feature `compression-zstd`.
    Zstd,
}

impl Compression {
    /// Every variant, in the order of their codec numbers, which begin with 0.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's name, as in the setting `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this build of the crate can read and write the codec.
    pub fn is_supported(self) -> bool {
        self == Self::None || codec::of(self).is_some()
    }

    /// The levels of the codec, from fast to small; `None` if it has none.
    ///
    /// The same as in Kafka's `compression.gzip.level` and `compression.zstd.level`. LZ4 has no levels
    /// here: it is written the fast way.
    pub fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::None | Self::Snappy | Self::Lz4 => None,
            Self::Gzip => Some(1..=9),
            Self::Zstd => Some(-131_072..=22),
        }
    }

    pub(super) fn codec(self) -> i16 {
        self as i16
    }
}
