//! The output of every encoder: it copies small fields into one buffer and links large payloads in.
//!
//! Invariant: the bytes of a [`Frame`], in order, are one complete request or response with its length
//! in front; a payload of [`LINK_FROM`] bytes or more is never copied.

use bytes::{BufMut, Bytes, BytesMut};
use derive_more::Debug;

use crate::error::EncodeError;

/// From this size on a payload is linked instead of copied: another entry in a vectored write costs
/// about as much as a copy of this many bytes.
const LINK_FROM: usize = 4096;

/// Gathers the fields of one message. `Debug` shows its length only: among the fields may be a password.
#[derive(Default, Debug)]
#[debug("Encoder({} bytes)", self.len())]
pub struct Encoder {
    copied: BytesMut,
    /// Payloads, each with the position in `copied` at which it belongs, in ascending order.
    linked: Vec<(usize, Bytes)>,
    linked_len: usize,
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty encoder for a [`Frame`]: room for the length is kept in front.
    pub fn for_frame() -> Self {
        // Enough for most requests, also for an append of a small record.
        let mut encoder = Self { copied: BytesMut::with_capacity(512), ..Self::default() };
        encoder.put_slice(&[0; 4]);
        encoder
    }

    /// The bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.copied.len() + self.linked_len
    }

    /// Appends a copy of `bytes`.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.copied.put_slice(bytes);
    }

    /// Appends `bytes`, by link if it is large.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < LINK_FROM {
            self.put_slice(bytes);
        } else {
            self.linked_len += bytes.len();
            self.linked.push((self.copied.len(), bytes.clone()));
        }
    }

    /// Appends all that `other` holds.
    pub(crate) fn append(&mut self, other: Self) {
        let shift = self.copied.len();
        self.linked_len += other.linked_len;
        self.linked.extend(other.linked.into_iter().map(|(position, bytes)| (position + shift, bytes)));
        self.copied.put_slice(&other.copied);
    }

    /// The bytes in one piece, copied if payloads were linked.
    pub fn into_bytes(self) -> Bytes {
        Frame { size: self.len(), chunks: self.into_chunks() }.to_bytes()
    }

    /// Ends an encoder made by [`Encoder::for_frame`].
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLong`] if the length does not fit into 31 bits.
    pub fn into_frame(mut self) -> Result<Frame, EncodeError> {
        let length = self.len().saturating_sub(4);
        let prefix = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        if let Some(room) = self.copied.get_mut(..4) {
            room.copy_from_slice(&prefix.to_be_bytes());
        }
        Ok(Frame { size: self.len(), chunks: self.into_chunks() })
    }

    fn into_chunks(self) -> Vec<Bytes> {
        let mut copied = self.copied.freeze();
        let mut chunks = Vec::with_capacity(2 * self.linked.len() + 1);
        let mut taken = 0;
        for (position, bytes) in self.linked {
            let before = copied.split_to(position - taken);
            taken = position;
            if !before.is_empty() {
                chunks.push(before);
            }
            chunks.push(bytes);
        }
        if !copied.is_empty() {
            chunks.push(copied);
        }
        chunks
    }
}

/// One request or response ready for the socket: the length and what it counts, in chunks for a
/// vectored write. `Debug` shows its length only.
#[derive(Clone, Debug)]
#[debug("Frame({size} bytes)")]
pub struct Frame {
    chunks: Vec<Bytes>,
    size: usize,
}

impl Frame {
    /// The bytes on the wire, the length prefix included.
    pub fn size_in_bytes(&self) -> usize {
        self.size
    }

    /// The chunks, in order.
    pub fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }

    /// The frame in one piece, by copy.
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.size);
        self.chunks.iter().for_each(|chunk| whole.put_slice(chunk));
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_payloads_are_linked_and_small_ones_copied() {
        for (size, is_linked) in [(LINK_FROM - 1, false), (LINK_FROM, true)] {
            let payload = Bytes::from(vec![7; size]);
            let mut within = Encoder::new();
            within.put_slice(b"c");
            within.put_bytes(&payload);
            let mut encoder = Encoder::for_frame();
            encoder.put_slice(b"ab");
            encoder.append(within);
            encoder.put_slice(b"d");
            assert_eq!(encoder.len(), 4 + 4 + size);

            let frame = encoder.into_frame().unwrap();
            let length = (4 + size as u32).to_be_bytes();
            assert_eq!(frame.to_bytes(), [&length[..], b"abc", &payload, b"d"].concat());
            let shares = |chunk: &Bytes| chunk.as_ptr() == payload.as_ptr();
            assert_eq!(frame.into_chunks().iter().any(shares), is_linked);
        }
    }
}
