//! The codecs' streams: what turns them into records' bytes, and back.
//!
//! Invariant: no output grows beyond its limit, and all of an input is used.

#[cfg(feature = "compression-gzip")]
mod gzip;
#[cfg(feature = "compression-lz4")]
mod lz4;
mod output;
#[cfg(feature = "compression-snappy")]
mod snappy;
#[cfg(feature = "compression-zstd")]
mod zstd;

use bytes::BytesMut;

pub(super) use self::output::Output;
use super::Compression;

type Result<T = ()> = std::result::Result<T, Failure>;

/// What a codec can do.
#[derive(Clone, Copy)]
pub(super) struct Codec {
    /// Appends what a whole input holds to the output. The number is the magic byte of the batch.
    pub(super) decompress: fn(&[u8], i8, &mut Output) -> Result,
    /// Appends one stream. The level is one of [`Compression::levels`], or the codec's own choice.
    pub(super) compress: fn(&[u8], Option<i32>, &mut BytesMut) -> Result,
}

/// The codec of a compression, if this build has it.
pub(super) fn of(compression: Compression) -> Option<Codec> {
    match compression {
        Compression::None => None,
        #[cfg(feature = "compression-gzip")]
        Compression::Gzip => Some(gzip::CODEC),
        #[cfg(feature = "compression-snappy")]
        Compression::Snappy => Some(snappy::CODEC),
        #[cfg(feature = "compression-lz4")]
        Compression::Lz4 => Some(lz4::CODEC),
        #[cfg(feature = "compression-zstd")]
        Compression::Zstd => Some(zstd::CODEC),
        #[allow(unreachable_patterns, reason = "with all features there is none left")]
        _ => None,
    }
}

/// Why a codec stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The stream is damaged. When compressing: the codec fails.
    Damaged,
    /// The output would pass its limit.
    TooLarge,
}

/// Appends at most `size` bytes, which `write` puts at the front of the room that it is given.
#[cfg(any(feature = "compression-lz4", feature = "compression-snappy"))]
fn put_with(
    out: &mut BytesMut,
    size: usize,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Result<usize> {
    let start = out.len();
    out.resize(start.saturating_add(size), 0);
    let written = out.get_mut(start..).and_then(write).ok_or(Failure::Damaged)?;
    out.truncate(start.saturating_add(written));
    Ok(written)
}
