//! Reads a set of batches, as a fetch answers it or a produce carries it.
//!
//! Invariant: a batch is given only whole and with its CRC verified; nothing is skipped; only the tail
//! of a set may be cut off.

use std::iter::FusedIterator;

use bytes::Bytes;
use nom::number::complete::{be_i8, be_i32, be_i64};

use super::header::{HEADER_SIZE, LENGTH_END, MAGIC};
use super::{Batch, BatchError, BatchErrorKind, Corruption, Decompressor, Unsupported};
use crate::error::Parsed;

/// The batches of a records field.
///
/// A batch that is cut off ends the iteration without an error: a broker sends as many bytes as were
/// asked for. [`Batches::leftover`] then gives the length of what is there of it. An error ends the
/// iteration too, as the bytes behind a damaged batch are in doubt.
///
/// A compressed batch is decompressed when its records are asked for: up to [`Decompressor::DEFAULT_LIMIT`]
/// bytes, or to another [limit](Batches::with_decompression_limit), or by [`Batch::decompress`].
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
            Framing::Cut => return None,
            Framing::Whole(size) => {
                let bytes = self.set.slice(self.position..self.position.saturating_add(size));
                Batch::parse(bytes, self.position, self.limit)
            }
            Framing::Broken(kind) => {
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

impl FusedIterator for Batches {}

/// What stands at the front of the bytes left.
enum Framing {
    /// A part of a batch, or nothing.
    Cut,
    /// A batch of this many bytes.
    Whole(usize),
    /// No batch, or not one of this format.
    Broken(BatchErrorKind),
}

/// The least length of a batch of any format: a message of magic 0.
const MIN_LENGTH: i32 = 14;
/// The least length of a batch of this format.
const MIN_LENGTH_V2: usize = HEADER_SIZE - LENGTH_END;

fn frame(rest: &[u8]) -> Framing {
    let (length, magic) = match length_and_magic(rest) {
        (Some(length), _) if length < MIN_LENGTH => {
            return Framing::Broken(Corruption::Length(length).into());
        }
        (Some(length), Some(magic)) => (length, magic),
        _ => return Framing::Cut,
    };
    if magic != MAGIC {
        return Framing::Broken(Unsupported::Magic(magic).into());
    }
    let size = match usize::try_from(length) {
        Ok(size) if size >= MIN_LENGTH_V2 => size.saturating_add(LENGTH_END),
        _ => return Framing::Broken(Corruption::Length(length).into()),
    };
    if size > rest.len() { Framing::Cut } else { Framing::Whole(size) }
}

/// The batch length and the magic byte, as far as the bytes go.
fn length_and_magic(rest: &[u8]) -> (Option<i32>, Option<i8>) {
    let length = |rest| -> Parsed<'_, i32> {
        let (rest, _base_offset) = be_i64(rest)?;
        be_i32(rest)
    };
    let Ok((rest, length)) = length(rest) else {
        return (None, None);
    };
    let magic = |rest| -> Parsed<'_, i8> {
        // The leader's epoch, or the CRC of older formats.
        let (rest, _) = be_i32(rest)?;
        be_i8(rest)
    };
    (Some(length), magic(rest).ok().map(|(_, magic)| magic))
}
