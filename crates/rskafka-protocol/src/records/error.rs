//! What can be wrong with record batches.
//!
//! Invariant: an error names the batch by its position in the set and by its base offset.

use derive_more::{Display, From};
use snafu::Snafu;

use super::Compression;
use crate::DecodeErrorKind;

/// A batch that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("record batch with base offset {base_offset} (byte {position} of the set): {kind}"))]
#[non_exhaustive]
pub struct BatchError {
    /// Where the batch begins in the set given to [`batches`](super::batches), in bytes.
    pub position: usize,
    /// The base offset that the batch claims. It is outside of the CRC.
    pub base_offset: i64,
    /// What is wrong.
    pub kind: BatchErrorKind,
}

impl BatchError {
    #[cold]
    pub(super) fn new(position: usize, base_offset: i64, kind: impl Into<BatchErrorKind>) -> Self {
        Self { position, base_offset, kind: kind.into() }
    }
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, From)]
#[non_exhaustive]
pub enum BatchErrorKind {
    /// It is damaged.
    #[display("corrupt: {_0}")]
    Corrupt(Corruption),
    /// It may be valid, but this build cannot read it.
    #[display("unsupported: {_0}")]
    Unsupported(Unsupported),
    /// Its records, decompressed, would be larger than the limit of this many bytes.
    #[display("too large: more than {_0} bytes of records when decompressed")]
    #[from(skip)]
    TooLarge(usize),
}

/// How a batch is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
#[non_exhaustive]
pub enum Corruption {
    /// The length is negative, or less than a header has.
    #[display("invalid batch length {_0}")]
    Length(i32),
    /// The bytes do not give the CRC that the batch states.
    #[display("the batch states crc {stored:#010x}, but its bytes give {computed:#010x}")]
    Crc {
        /// As stated.
        stored: u32,
        /// As computed from the bytes.
        computed: u32,
    },
    /// The base offset or the last offset delta is negative, or their sum is not an offset.
    #[display("invalid base offset or last offset delta ({last_offset_delta})")]
    Offsets {
        /// As stated.
        last_offset_delta: i32,
    },
    /// The number of records is negative.
    #[display("invalid record count {_0}")]
    RecordCount(i32),
    /// The compressed records are malformed or cut off.
    #[display("the {_0} stream is damaged")]
    Stream(Compression),
    /// Bytes are left over after the last record.
    #[display("{_0} bytes are left over after the last record")]
    TrailingBytes(usize),
    /// A record's bytes are malformed.
    #[display("record {index}: {kind}")]
    Record {
        /// The record's position in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        kind: DecodeErrorKind,
    },
    /// A record's offset is not above that of the one before, or beyond the batch's last offset.
    #[display("record {index}: invalid offset delta {offset_delta}")]
    RecordOffset {
        /// The record's position in the batch, from 0.
        index: i32,
        /// Its offset, relative to the base offset.
        offset_delta: i32,
    },
    /// A compressed message (magic 0 or 1) has no messages in it, or some of another format, or ones that
    /// are compressed themselves, or more of them than offsets.
    #[display("a compressed message does not hold messages of its format")]
    Wrapper,
    /// The offset of a message (magic 0 or 1) is negative, or not above that of the one before.
    #[display("message {index}: invalid offset {offset}")]
    MessageOffset {
        /// The message's position in its wrapper, from 0.
        index: i32,
        /// As stated.
        offset: i64,
    },
}

/// What this build cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
#[non_exhaustive]
pub enum Unsupported {
    /// A format that is not known.
    #[display("batch format (magic) {_0}")]
    Magic(i8),
    /// A codec number that Kafka does not have.
    #[display("unknown codec {_0}")]
    Codec(u8),
    /// A codec that this build cannot use.
    #[display("compression {_0}")]
    Compression(Compression),
}
