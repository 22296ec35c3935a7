//! The growing memory that a stream is decompressed into.
//!
//! Invariant: it never grows beyond the limit, even if the input claims a larger size.

use super::{Failure, Result};

/// Decompressed bytes, up to a limit.
#[derive(Debug)]
pub(in crate::records) struct Output {
    bytes: Vec<u8>,
    limit: usize,
}

/// What is taken from a stream at a time.
const CHUNK: usize = 64 * 1024;

impl Output {
    /// An output for `input` compressed bytes, in the memory of `buffer`, whose bytes are dropped.
    pub(in crate::records) fn new(mut buffer: Vec<u8>, input: usize, limit: usize) -> Self {
        buffer.clear();
        let mut output = Self { bytes: buffer, limit };
        if output.bytes.capacity() == 0 {
            // Records compress to about a quarter; unused room is given back.
            output.reserve(input.saturating_mul(4));
        }
        output
    }

    /// Makes room for `end` bytes in all, but for no more than the limit.
    fn reserve(&mut self, end: usize) {
        if end <= self.bytes.capacity() {
            return;
        }
        let capacity = end.max(self.bytes.capacity().saturating_mul(2));
        // Where growing means copying, the last step is not from close below the limit.
        let capacity = if capacity > self.limit / 2 { self.limit } else { capacity };
        self.bytes.reserve_exact(capacity.saturating_sub(self.bytes.len()));
    }

    /// What was written.
    pub(in crate::records) fn into_bytes(mut self) -> Vec<u8> {
        if self.bytes.capacity() / 2 > self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        self.bytes
    }
}

#[allow(dead_code, reason = "each codec needs a part of it")]
impl Output {
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes may still be written.
    pub(super) fn left(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// Appends at most `size` bytes, and gives how many.
    ///
    /// `write` is given what was written so far and the room for more; it puts bytes at the room's front
    /// and gives their number, or `None` if the input is damaged or the room too small.
    pub(super) fn append(
        &mut self,
        size: usize,
        write: impl FnOnce(&[u8], &mut [u8]) -> Option<usize>,
    ) -> Result<usize> {
        let done = self.bytes.len();
        let room = size.min(self.left());
        let end = done.saturating_add(room);
        self.reserve(end);
        self.bytes.resize(end, 0);
        let written = self.bytes.split_at_mut_checked(done).and_then(|(done, room)| write(done, room));
        let written = written.filter(|written| *written <= room);
        self.bytes.truncate(done.saturating_add(written.unwrap_or_default()));
        match written {
            Some(written) => Ok(written),
            None if room < size => Err(Failure::TooLarge),
            None => Err(Failure::Damaged),
        }
    }

    /// Appends all that `stream` gives.
    pub(super) fn append_all(&mut self, mut stream: impl std::io::Read) -> Result {
        while self.left() > 0 {
            let spare = self.bytes.capacity().saturating_sub(self.bytes.len());
            let chunk = spare.clamp(512, CHUNK).min(self.left());
            if self.append(chunk, |_, room| stream.read(room).ok())? == 0 {
                return Ok(());
            }
        }
        match stream.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Failure::TooLarge),
            Err(_) => Err(Failure::Damaged),
        }
    }

    /// Writes all of the output at once: at most `size` bytes.
    ///
    /// `write` writes as far as the buffer's capacity goes. What it does not write takes no memory yet,
    /// and is given back.
    pub(super) fn fill(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>) -> Result<usize>) -> Result {
        self.bytes.clear();
        self.bytes.reserve_exact(size.min(self.limit));
        write(&mut self.bytes)?;
        // The buffer may have been larger before.
        if self.bytes.len() > self.limit { Err(Failure::TooLarge) } else { Ok(()) }
    }
}
