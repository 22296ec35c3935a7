//! Reads a set of batches, as a fetch answers it or a produce carries it.
//!
//! Invariant: every batch returned is whole and has the right CRC; none is skipped; only the last may be cut off.

use bytes::Bytes;
use nom::number::complete::be_i64;

use super::header::{LENGTH_END, MAGIC};
use super::{Batch, BatchError, BatchErrorKind, Corruption, Decompressor, Unsupported, legacy};

/// The batches of a records field.
///
/// A batch that is cut off ends the iteration without an error, because a broker stops at the number of bytes asked
/// for; [`Batches::leftover`] then says how many bytes of it there are. An error ends the iteration too: the
/// bytes behind a damaged batch cannot be trusted.
///
/// Messages of the formats before Kafka 0.11 (magic 0 and 1) are given as batches too: see
/// [`Batch::magic`].
///
/// A compressed batch is decompressed when its records are asked for: up to [`Decompressor::DEFAULT_LIMIT`]
/// bytes, or to another [limit](Batches::with_decompression_limit), or by [`Batch::decompress`]. A compressed
/// message of the older formats is decompressed at once, up to the same limit, and then copied.
pub fn batches(records: &Bytes) -> Batches {
    Batches { set: records.clone(), position: 0, failed: false, limit: Decompressor::DEFAULT_LIMIT }
}

/// An iterator over the batches of a set: see [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    set: Bytes,
    position: usize,
    failed: bool,
    /// For the decompression of each batch.
    limit: usize,
}

impl Batches {
    /// The same with another limit for the size in bytes of a batch's records when they are decompressed.
    #[must_use]
    pub fn with_decompression_limit(self, bytes: usize) -> Self {
        Self { limit: bytes, ..self }
    }

    /// The number of bytes not given out. At the end of an iteration without error that is the length
    /// of the batch that was cut off; 0 if there is none.
    pub fn leftover(&self) -> usize {
        self.set.len().saturating_sub(self.position)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = self.set.get(self.position..).unwrap_or_default();
        let item = match frame(rest) {
            Ok(None) => return None,
            Ok(Some((magic, size))) => {
                let bytes = self.set.slice(self.position..self.position.saturating_add(size));
                match magic {
                    MAGIC => Batch::parse(bytes, self.position, self.limit),
                    _ => legacy::parse(bytes, self.position, self.limit),
                }
            }
            Err(kind) => {
                let base_offset = be_i64::<_, ()>(rest).map_or(0, |(_, offset)| offset);
                Err(BatchError::new(self.position, base_offset, kind))
            }
        };
        match &item {
            Ok(batch) => self.position = self.position.saturating_add(batch.size_in_bytes()),
            Err(_) => self.failed = true,
        }
        Some(item)
    }
}

/// Where the magic byte is: behind the leader's epoch, or the CRC of older formats.
const MAGIC_AT: usize = 16;
/// The least length of a batch of any format: a message of magic 0.
const MIN_LENGTH: i32 = 14;
/// The same of magic 1, which has a timestamp.
const MIN_LENGTH_V1: i32 = 22;
/// The same of magic 2: a header without records.
const MIN_LENGTH_V2: i32 = 49;

/// The magic byte and the size of the batch, or message of magic 0 or 1, that the bytes begin with; `None` if they
/// end before it does.
fn frame(rest: &[u8]) -> Result<Option<(i8, usize)>, BatchErrorKind> {
    let Some(length) = rest.get(LENGTH_END - 4..).and_then(|rest| rest.first_chunk()) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    let invalid = Corruption::Length(length);
    if length < MIN_LENGTH {
        return Err(invalid.into());
    }
    let Some(magic) = rest.get(MAGIC_AT).map(|magic| magic.cast_signed()) else { return Ok(None) };
    let least = match magic {
        0 => MIN_LENGTH,
        1 => MIN_LENGTH_V1,
        MAGIC => MIN_LENGTH_V2,
        _ => return Err(Unsupported::Magic(magic).into()),
    };
    let size = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH_END));
    let size = size.filter(|_| length >= least).ok_or(invalid)?;
    Ok((size <= rest.len()).then_some((magic, size)))
}
