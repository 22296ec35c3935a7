//! Decompresses batches up to a limit, reusing memory.
//!
//! Invariant: memory is reused only when nobody holds the records that were in it.

use bytes::Bytes;

use super::codec::{self, Failure, Output};
use super::{BatchErrorKind, Compression, Corruption, Unsupported};

/// Decompresses batches, one after the other: see [`Batch::decompress`](super::Batch::decompress).
///
/// It keeps the memory of the last batches, and reuses it once such a batch and all
/// [slices](super::Batch::slice) of it are dropped: 2 MiB of it, or as much as [`keeping`](Decompressor::keeping) says.
///
/// ```
/// use rskafka_protocol::records::{Decompressor, batches};
///
/// # let set = bytes::Bytes::new();
/// let mut decompressor = Decompressor::with_limit(8 * 1024 * 1024);
/// for batch in batches(&set) {
///     let batch = batch?;
///     batch.decompress(&mut decompressor)?;
///     for record in batch.records() {
///         println!("{:?}", record?.value);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Decompressor {
    limit: usize,
    /// The memory of batches, the newest first.
    kept: Vec<Bytes>,
    /// How many bytes to keep.
    most_kept: usize,
}

impl Default for Decompressor {
    /// One with the default limit.
    fn default() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }
}

impl Decompressor {
    /// The limit if none is given: 128 MiB, about a hundred times the largest uncompressed batch that a broker
    /// accepts by default (`message.max.bytes`).
    pub const DEFAULT_LIMIT: usize = 128 * 1024 * 1024;

    /// One that refuses batches whose records are larger than `limit` bytes when decompressed.
    ///
    /// Decompressing takes at most that much memory, half as much again where the allocator cannot grow
    /// it in place, and 256 KiB for the codec.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), most_kept: 2 * 1024 * 1024 }
    }

    /// The same with so many bytes of memory kept for batches to come, also of several that are in use at once.
    #[must_use]
    pub fn keeping(self, bytes: usize) -> Self {
        Self { most_kept: bytes, ..self }
    }

    /// The limit of a batch's records when they are decompressed, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn decompress(
        &mut self,
        compression: Compression,
        magic: i8,
        bytes: &[u8],
    ) -> Result<Bytes, BatchErrorKind> {
        let codec = codec::of(compression).ok_or(Unsupported::Compression(compression))?;
        let unused = self.kept.iter().position(Bytes::is_unique);
        let buffer = unused.map_or_else(Vec::new, |index| self.kept.remove(index).into());
        let mut output = Output::new(buffer, bytes.len(), self.limit);
        (codec.decompress)(bytes, magic, &mut output).map_err(|failure| match failure {
            Failure::Damaged => Corruption::Stream(compression).into(),
            Failure::TooLarge => BatchErrorKind::TooLarge(self.limit),
        })?;
        let payload = Bytes::from(output.into_bytes());
        let mut room = self.most_kept.saturating_sub(payload.len());
        // The newest ones, which may still be in the processor's cache.
        self.kept.retain(|kept| {
            let fits = kept.len() <= room;
            room = room.saturating_sub(kept.len());
            fits
        });
        if payload.len() <= self.most_kept {
            self.kept.insert(0, payload.clone());
        }
        Ok(payload)
    }
}
