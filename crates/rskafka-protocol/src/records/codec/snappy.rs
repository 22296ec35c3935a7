//! Snappy, as Java's xerial library frames it, or as one plain block.
//!
//! xerial's stream is a header of 16 bytes, then blocks with their length in front; several streams may follow each
//! other. A block states its decompressed size; a size that the format cannot reach is an error.

use bytes::{BufMut, BytesMut};
use nom::Parser;
use nom::bytes::complete::{tag, take};
use nom::multi::length_data;
use nom::number::complete::be_u32;
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Codec, Failure, Output, Result, put_with};
use crate::error::Parsed;

pub(super) const CODEC: Codec = Codec { decompress, compress };

const STREAM_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// The version written, and the oldest that can read it.
const VERSIONS: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 1];
/// What xerial puts into a block.
const BLOCK_SIZE: usize = 32 * 1024;
/// What one compressed byte can become at most: a copy of 64 bytes takes 3.
const MAX_RATIO: usize = 22;

fn decompress(input: &[u8], _magic: i8, out: &mut Output) -> Result {
    if !input.starts_with(STREAM_MAGIC) {
        return append_block(input, out);
    }
    let mut rest = input;
    while !rest.is_empty() {
        rest = match stream_header(rest) {
            Ok((rest, ())) => rest,
            Err(_) => {
                let block = length_data::<_, (), _>(be_u32).parse(rest);
                let (rest, block) = block.map_err(|_| Failure::Damaged)?;
                append_block(block, out)?;
                rest
            }
        };
    }
    Ok(())
}

/// Passes over the versions: there never was another format.
fn stream_header(input: &[u8]) -> Parsed<'_, ()> {
    let (rest, _) = (tag(STREAM_MAGIC), take(VERSIONS.len())).parse(input)?;
    Ok((rest, ()))
}

fn append_block(block: &[u8], out: &mut Output) -> Result {
    let size = decompress_len(block).map_err(|_| Failure::Damaged)?;
    if size > block.len().saturating_mul(MAX_RATIO) {
        return Err(Failure::Damaged);
    }
    if size > out.left() {
        return Err(Failure::TooLarge);
    }
    out.append(size, |_, room| Decoder::new().decompress(block, room).ok())?;
    Ok(())
}

fn compress(bytes: &[u8], _level: Option<i32>, out: &mut BytesMut) -> Result {
    out.put_slice(STREAM_MAGIC);
    out.put_slice(VERSIONS);
    let mut encoder = Encoder::new();
    for block in bytes.chunks(BLOCK_SIZE) {
        put_with(out, max_compress_len(block.len()).saturating_add(4), |room| {
            let (length, room) = room.split_first_chunk_mut()?;
            let size = encoder.compress(block, room).ok()?;
            *length = u32::try_from(size).ok()?.to_be_bytes();
            size.checked_add(4)
        })?;
    }
    Ok(())
}
