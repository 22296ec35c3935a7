//! Finds the frames in a direction of a connection.
//!
//! Invariant: pure; the frames found do not depend on how the bytes were cut into pieces.

use bytes::{Bytes, BytesMut};

/// A length, and enough behind it to know what it is: a request's key, version and correlation id.
pub(super) const HEADER: usize = 12;
const LENGTH: usize = 4;

/// Takes a direction's bytes, and keeps those of a frame until it is whole.
#[derive(Debug, Default)]
pub(super) struct Frames(BytesMut);

/// A whole frame, with its length prefix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a>(pub(super) &'a [u8]);

impl Frames {
    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes bytes; gives each frame that they complete.
    pub(super) fn take(&mut self, bytes: &[u8], mut complete: impl FnMut(Frame<'_>)) {
        self.0.extend_from_slice(bytes);
        while let Some(size) = self.size().filter(|size| *size <= self.0.len()) {
            complete(Frame(&self.0.split_to(size)));
        }
    }

    fn size(&self) -> Option<usize> {
        (self.0.len() >= LENGTH).then(|| LENGTH + u32_at(&self.0, 0) as usize)
    }
}

impl Frame<'_> {
    pub(super) fn request(&self) -> Request {
        Request::of(self.0)
    }

    /// The correlation id, if the frame is an answer.
    pub(super) fn answers(&self) -> u32 {
        u32_at(self.0, 4)
    }

    /// What stands behind the length.
    pub(super) fn body(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.get(LENGTH..).unwrap_or_default())
    }

    /// Whether an answer without tagged fields in its header begins with the error code NONE.
    pub(super) fn begins_with_ok(&self) -> bool {
        self.i32_behind_header(false).is_some_and(|number| number >> 16 == 0)
    }

    /// The number that an answer begins with, behind its correlation id and, in a flexible version, an empty list of
    /// tagged fields.
    pub(super) fn i32_behind_header(&self, is_flexible: bool) -> Option<i32> {
        let at = LENGTH + 4 + usize::from(is_flexible);
        (self.0.len() >= at + 4).then(|| u32_at(self.0, at).cast_signed())
    }
}

/// What a request's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: u32,
}

impl Request {
    pub(crate) fn of(header: &[u8]) -> Self {
        let both = u32_at(header, 4);
        let (key, version) = ((both >> 16) as u16, both as u16);
        Self { key: key.cast_signed(), version: version.cast_signed(), correlation_id: u32_at(header, 8) }
    }
}

pub(crate) fn u32_at(header: &[u8], at: usize) -> u32 {
    let bytes = header.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[..], body].concat()
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_come(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            pieces in prop::collection::vec(1usize..30, 1..20),
        ) {
            let frames: Vec<Vec<u8>> = bodies.iter().map(|body| frame(body)).collect();
            let bytes = frames.concat();
            let mut rest = &bytes[..];
            let mut found = Vec::new();
            let mut scan = Frames::default();
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                scan.take(now, |frame| found.push(frame.0.to_vec()));
                rest = later;
            }
            prop_assert_eq!(found, frames);
            prop_assert!(scan.is_between());
        }
    }

    #[test]
    fn a_request_says_its_key_version_and_correlation_id() {
        let mut found = Vec::new();
        let bytes = frame(&[0, 1, 0, 17, 1, 2, 3, 4, 99]);
        Frames::default().take(&bytes, |frame| found.push(frame.request()));
        assert_eq!(found, [Request { key: 1, version: 17, correlation_id: 0x0102_0304 }]);
    }
}
