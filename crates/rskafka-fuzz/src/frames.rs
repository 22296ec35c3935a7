//! Frames in a stream that arrives in any pieces.
//!
//! Invariant: the same frames come out however the bytes are cut, and a claimed length never takes more
//! memory than the limit.

use bytes::BytesMut;
use rskafka_protocol::frame::{FrameError, LENGTH_PREFIX, take_frame};

use crate::memory;

/// The largest frame.
const LIMIT: usize = 4096;

/// Checks a stream. The first byte says how many bytes follow that are the lengths of the pieces.
pub fn check(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let Some((pieces, stream)) = rest.split_at_checked(usize::from(*count)) else { return };
    let (expected, error) = frames(stream);

    // The frames, the buffer before and after it grows, and what is given out.
    let limit = 4 * (LIMIT + LENGTH_PREFIX) + 4 * stream.len() + 1024 + 64 * expected.len();
    memory::at_most(limit, || {
        let mut buffer = BytesMut::new();
        let mut expected = expected.iter();
        let mut pieces = pieces.iter().cycle();
        let mut stream = stream;
        loop {
            let size = pieces.next().map_or(stream.len(), |size| usize::from(*size).max(1));
            let (piece, rest) = stream.split_at(size.min(stream.len()));
            stream = rest;
            buffer.extend_from_slice(piece);
            loop {
                match take_frame(&mut buffer, LIMIT) {
                    Ok(Some(frame)) => assert_eq!(Some(&frame.as_ref()), expected.next()),
                    Ok(None) => break,
                    Err(found) => {
                        assert_eq!((Some(found), expected.next()), (error, None));
                        return;
                    }
                }
            }
            if stream.is_empty() {
                assert_eq!((error, expected.next()), (None, None), "a frame or an error was not seen");
                return;
            }
        }
    });
}

/// The frames of a whole stream, and what it breaks with.
fn frames(mut stream: &[u8]) -> (Vec<&[u8]>, Option<FrameError>) {
    let mut frames = Vec::new();
    while let Some((prefix, rest)) = stream.split_first_chunk::<LENGTH_PREFIX>() {
        let length = i32::from_be_bytes(*prefix);
        let size = match usize::try_from(length) {
            Ok(size) if size > LIMIT => {
                return (frames, Some(FrameError::TooLarge { length, limit: LIMIT }));
            }
            Ok(size) if size >= LENGTH_PREFIX => size,
            _ => return (frames, Some(FrameError::InvalidLength { length })),
        };
        let Some((frame, rest)) = rest.split_at_checked(size) else { break };
        frames.push(frame);
        stream = rest;
    }
    (frames, None)
}
