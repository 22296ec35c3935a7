//! Zstandard: one or more frames, one after the other.
//!
//! The whole input is decompressed at once. A stream would need memory for a window besides: up to 128 MiB if the
//! frame says so.

use std::io::{self, Write};

use bytes::{BufMut, BytesMut};
use zstd::stream::write;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
use zstd::zstd_safe::{DCtx, decompress_bound, is_error_kind};

use super::{Codec, Failure, Output, Result};

pub(super) const CODEC: Codec = Codec { decompress, compress };

fn decompress(input: &[u8], _magic: i8, out: &mut Output) -> Result {
    // By the sizes in the headers of frames and blocks.
    let bound = decompress_bound(input).map_err(|_| Failure::Damaged)?;
    let mut context = DCtx::try_create().ok_or(Failure::Damaged)?;
    out.fill(usize::try_from(bound).unwrap_or(usize::MAX), |buffer| {
        let written = context.decompress(buffer, input);
        written.map_err(|code| match is_error_kind(code, ZSTD_error_dstSize_tooSmall) {
            true => Failure::TooLarge,
            false => Failure::Damaged,
        })
    })
}

fn compress(bytes: &[u8], level: Option<i32>, out: &mut BytesMut) -> Result {
    write_frame(bytes, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL), out).map_err(|_| Failure::Damaged)
}

fn write_frame(bytes: &[u8], level: i32, out: &mut BytesMut) -> io::Result<()> {
    let mut encoder = write::Encoder::new(out.writer(), level)?;
    // With the size known, neither side takes a larger window.
    encoder.set_pledged_src_size(u64::try_from(bytes.len()).ok())?;
    encoder.write_all(bytes)?;
    encoder.finish()?;
    Ok(())
}
