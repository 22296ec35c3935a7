//! What can be wrong with record batches.
//!
//! Invariant: an error names the batch by its position in the set and by its base offset.

use std::fmt;

use snafu::Snafu;

use super::Compression;
use crate::DecodeErrorKind;

/// A batch that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("record batch with base offset {base_offset} (byte {position} of the set): {kind}"))]
pub struct BatchError {
    position: usize,
    base_offset: i64,
    kind: BatchErrorKind,
}

impl BatchError {
    #[cold]
    pub(super) fn new(position: usize, base_offset: i64, kind: impl Into<BatchErrorKind>) -> Self {
        Self { position, base_offset, kind: kind.into() }
    }

    /// Where the batch begins in the set given to [`batches`](super::batches), in bytes.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The base offset that the batch claims. It is outside of the CRC.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// What is wrong.
    pub fn kind(&self) -> &BatchErrorKind {
        &self.kind
    }

    /// Whether the batch is damaged, rather than of a kind that is not supported, or too large.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind, BatchErrorKind::Corrupt(_))
    }
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchErrorKind {
    /// It is damaged.
    Corrupt(Corruption),
    /// It may be valid, but this build cannot read it.
    Unsupported(Unsupported),
    /// Its records, decompressed, would be larger than the limit of this many bytes.
    TooLarge(usize),
}

impl fmt::Display for BatchErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(corruption) => write!(f, "corrupt: {corruption}"),
            Self::Unsupported(unsupported) => write!(f, "unsupported: {unsupported}"),
            Self::TooLarge(limit) => {
                write!(f, "too large: more than {limit} bytes of records when decompressed")
            }
        }
    }
}

impl From<Corruption> for BatchErrorKind {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

impl From<Unsupported> for BatchErrorKind {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

/// How a batch is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// The length is negative, or less than a header has.
    Length(i32),
    /// The bytes do not give the CRC that the batch states.
    Crc {
        /// As stated.
        stored: u32,
        /// As computed from the bytes.
        computed: u32,
    },
    /// The base offset or the last offset delta is negative, or their sum is not an offset.
    Offsets {
        /// As stated.
        last_offset_delta: i32,
    },
    /// The number of records is negative.
    RecordCount(i32),
    /// The compressed records are malformed or cut off.
    Stream(Compression),
    /// Bytes are left over after the last record.
    TrailingBytes(usize),
    /// A record's bytes are malformed.
    Record {
        /// The record's position in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        kind: DecodeErrorKind,
    },
    /// A record's offset is not above that of the one before, or beyond the batch's last offset.
    RecordOffset {
        /// The record's position in the batch, from 0.
        index: i32,
        /// Its offset, relative to the base offset.
        offset_delta: i32,
    },
    /// A compressed message (magic 0 or 1) has no messages in it, or some of another format, or ones that
    /// are compressed themselves, or more of them than offsets.
    Wrapper,
    /// The offset of a message (magic 0 or 1) is negative, or not above that of the one before.
    MessageOffset {
        /// The message's position in its wrapper, from 0.
        index: i32,
        /// As stated.
        offset: i64,
    },
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "invalid batch length {length}"),
            Self::Crc { stored, computed } => {
                write!(f, "the batch states crc {stored:#010x}, but its bytes give {computed:#010x}")
            }
            Self::Offsets { last_offset_delta } => {
                write!(f, "invalid base offset or last offset delta ({last_offset_delta})")
            }
            Self::RecordCount(count) => write!(f, "invalid record count {count}"),
            Self::Stream(compression) => write!(f, "the {compression} stream is damaged"),
            Self::TrailingBytes(count) => write!(f, "{count} bytes are left over after the last record"),
            Self::Record { index, kind } => write!(f, "record {index}: {kind}"),
            Self::RecordOffset { index, offset_delta } => {
                write!(f, "record {index}: invalid offset delta {offset_delta}")
            }
            Self::Wrapper => write!(f, "a compressed message does not hold messages of its format"),
            Self::MessageOffset { index, offset } => write!(f, "message {index}: invalid offset {offset}"),
        }
    }
}

/// What this build cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// A format that is not known.
    Magic(i8),
    /// A codec number that Kafka does not have.
    Codec(u8),
    /// A codec that this build cannot use.
    Compression(Compression),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(magic) => write!(f, "batch format (magic) {magic}"),
            Self::Codec(codec) => write!(f, "unknown codec {codec}"),
            Self::Compression(compression) => write!(f, "compression {compression}"),
        }
    }
}
