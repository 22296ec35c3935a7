//! Reads frames from a connection.
//!
//! Invariant: it holds no more memory than the largest frame allowed and one read. A large frame is read straight into
//! the memory that its decoded payloads share.

use std::io;

use bytes::{Bytes, BytesMut};
use rskafka_protocol::frame::{FrameError, LENGTH_PREFIX, take_frame};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room for a read while the next frame's length is unknown: enough for the answers to all appends in flight. Kept
/// small because each of a thousand connections has it.
const READ_AHEAD: usize = 4 * 1024;

/// A buffer that grew beyond this for one answer is not kept for the next ones. Below it, memory that the
/// decoded answer has given back is used again, which saves page faults.
const KEEP: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    limit: usize,
    received_any: bool,
}

impl FrameReader {
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit, received_any: false }
    }

    /// Reads once; zero is the end of the stream. Nothing is lost if the future is dropped.
    pub(crate) async fn fill(&mut self, read: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        // With its length known, a frame has all its room already.
        let spare = self.buffer.capacity() - self.buffer.len();
        if self.buffer.len() < LENGTH_PREFIX && spare < READ_AHEAD / 4 {
            self.buffer.reserve(READ_AHEAD);
        }
        let count = read.read_buf(&mut self.buffer).await?;
        self.received_any |= count > 0;
        Ok(count)
    }

    /// The next whole frame, without its length.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let frame = take_frame(&mut self.buffer, self.limit)?;
        if self.buffer.is_empty() && frame.as_ref().is_some_and(|frame| frame.len() > KEEP) {
            self.buffer = BytesMut::new();
        }
        Ok(frame)
    }

    /// The bytes that are not yet a whole frame.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the peer has ever sent a byte.
    pub(crate) fn received_any(&self) -> bool {
        self.received_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes().to_vec();
        bytes.resize(LENGTH_PREFIX + length, 1);
        bytes
    }

    async fn read_frame(reader: &mut FrameReader, bytes: &[u8]) -> Bytes {
        let mut stream = bytes;
        loop {
            if let Some(frame) = reader.next_frame().unwrap() {
                return frame;
            }
            assert!(reader.fill(&mut stream).await.unwrap() > 0);
        }
    }

    #[tokio::test]
    async fn the_memory_of_a_frame_that_was_given_back_is_used_again() {
        let mut reader = FrameReader::new(usize::MAX);
        let first = read_frame(&mut reader, &frame_of(1 << 20)).await;
        let address = first.as_ptr();
        drop(first);
        let second = read_frame(&mut reader, &frame_of(1 << 20)).await;
        assert_eq!(second.as_ptr(), address);
        let third = read_frame(&mut reader, &frame_of(1 << 20)).await;
        assert_ne!(third.as_ptr(), address, "the second is still in use");
    }

    #[tokio::test]
    async fn many_small_answers_are_read_at_once_and_a_connection_holds_no_more_than_that() {
        let mut reader = FrameReader::new(usize::MAX);
        let many = frame_of(56).repeat(10 * 64);
        let (mut stream, mut reads) = (&many[..], 0);
        while reader.fill(&mut stream).await.unwrap() > 0 {
            reads += 1;
            assert!(reader.buffer.capacity() <= READ_AHEAD);
            while reader.next_frame().unwrap().is_some() {}
        }
        assert!(reads <= 11, "{reads}");
    }

    #[tokio::test]
    async fn an_unusually_large_buffer_is_given_back() {
        let mut reader = FrameReader::new(usize::MAX);
        drop(read_frame(&mut reader, &frame_of(KEEP + 1)).await);
        let mut stream = &frame_of(10)[..];
        reader.fill(&mut stream).await.unwrap();
        assert!(reader.buffer.capacity() <= 2 * READ_AHEAD);
    }

    #[tokio::test]
    async fn a_claimed_length_reserves_no_more_than_itself() {
        let mut reader = FrameReader::new(1 << 20);
        let mut stream = &frame_of(1 << 20)[..10];
        reader.fill(&mut stream).await.unwrap();
        assert!(reader.next_frame().unwrap().is_none());
        assert!(reader.buffer.capacity() <= (1 << 20) + 2 * READ_AHEAD);
        assert_eq!(reader.pending(), 10);
    }
}
