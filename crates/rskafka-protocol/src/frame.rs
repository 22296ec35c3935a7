//! Frames: the length in front of every request and response.
//!
//! Invariant: a buffer grows to at most twice the configured limit (growing may double it), whatever length is
//! claimed.

use bytes::{Buf, Bytes, BytesMut};
use snafu::Snafu;

/// The bytes of the length prefix.
pub const LENGTH_PREFIX: usize = 4;

/// A length prefix that no frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is negative, or too short for any header.
    #[snafu(display("invalid frame length {length}{}", hint(*length)))]
    InvalidLength {
        /// The length claimed.
        length: i32,
    },
    /// The frame is larger than the limit.
    #[snafu(display("frame of {length} bytes is larger than the limit of {limit}{}", hint(*length)))]
    TooLarge {
        /// The length claimed.
        length: i32,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// The shortest frame: a correlation id.
const MIN_FRAME: usize = 4;

/// Takes a whole frame from the front of `buffer`, without its length prefix.
///
/// `Ok(None)` means that bytes are missing. Once the length is known, `buffer` has room for the whole frame.
///
/// # Errors
///
/// [`FrameError`] if the length is negative, too short for a correlation id, or above `limit`. What follows cannot be read: close
/// the connection.
pub fn take_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_PREFIX>() else { return Ok(None) };
    let claimed = i32::from_be_bytes(*prefix);
    let length = match usize::try_from(claimed) {
        Ok(length) if length > limit => return Err(FrameError::TooLarge { length: claimed, limit }),
        Ok(length) if length >= MIN_FRAME => length,
        _ => return Err(FrameError::InvalidLength { length: claimed }),
    };
    let missing = (LENGTH_PREFIX + length).saturating_sub(buffer.len());
    if missing > 0 {
        buffer.reserve(missing);
        return Ok(None);
    }
    buffer.advance(LENGTH_PREFIX);
    Ok(Some(buffer.split_to(length).freeze()))
}

impl FrameError {
    /// Whether the bytes begin as TLS does: an alert or a handshake message, version 3.x.
    pub fn is_tls(&self) -> bool {
        let (Self::InvalidLength { length } | Self::TooLarge { length, .. }) = self;
        matches!(length.to_be_bytes(), [0x15 | 0x16, 3, 0..=4, _])
    }
}

/// What a peer that is not a Kafka broker may be, by its first four bytes.
fn hint(length: i32) -> &'static str {
    match &length.to_be_bytes() {
        b"HTTP" => " (the peer speaks HTTP: check host and port)",
        _ if (FrameError::InvalidLength { length }).is_tls() => " (the peer speaks TLS)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_arrive(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 4..50), 0..8),
            step in 1usize..20,
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                stream.extend_from_slice(&(body.len() as i32).to_be_bytes());
                stream.extend_from_slice(body);
            }
            let mut buffer = BytesMut::new();
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take_frame(&mut buffer, 100).unwrap() {
                    found.push(frame.to_vec());
                }
            }
            prop_assert_eq!(found, bodies);
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_frame_as_large_as_the_limit_is_taken_into_room_made_at_once() {
        let mut buffer = BytesMut::from(&[0, 0, 3, 0xe8][..]);
        assert_eq!(take_frame(&mut buffer, 1000), Ok(None));
        assert!(buffer.capacity() >= 1004);
        buffer.resize(1004, 7);
        assert_eq!(take_frame(&mut buffer, 1000), Ok(Some(vec![7; 1000].into())));
    }

    #[test]
    fn impossible_lengths_are_errors_that_name_the_likely_peer() {
        let error = |prefix: &[u8]| take_frame(&mut BytesMut::from(prefix), 1000).unwrap_err();
        assert_eq!(error(&[0xff; 4]), FrameError::InvalidLength { length: -1 });
        assert_eq!(error(&[0, 0, 0, 3]), FrameError::InvalidLength { length: 3 });
        assert_eq!(error(&[0, 0, 4, 0]), FrameError::TooLarge { length: 1024, limit: 1000 });
        assert!(error(b"HTTP/1.1 400").to_string().ends_with("(the peer speaks HTTP: check host and port)"));
        assert!(error(&[0x15, 3, 3, 0, 2, 2, 80]).to_string().ends_with("(the peer speaks TLS)"));
    }
}
