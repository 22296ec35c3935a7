//! LZ4 frames, one or more.
//!
//! This module reads and writes the frame itself, so that blocks are decompressed straight into the output. Blocks
//! may refer to earlier ones of their frame ("linked"); Java neither writes nor reads that.

use bytes::{BufMut, BytesMut};
use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};
use nom::bytes::complete::{tag, take};
use nom::combinator::cond;
use nom::number::complete::{le_u8, le_u32, le_u64};
use nom::{IResult, Parser};
use twox_hash::XxHash32;

use super::{Codec, Failure, Output, Result, put_with};

pub(super) const CODEC: Codec = Codec { decompress, compress };

type Parsed<'i, T> = IResult<&'i [u8], T, ()>;

const FRAME_MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
/// Instead of a block's size: the end of the frame.
const END_MARK: u32 = 0;
/// In a block's size: the block is not compressed.
const STORED: u32 = 1 << 31;
/// What one compressed byte can become at most: a length is continued by bytes of up to 255.
const MAX_RATIO: usize = 255;
/// How far back a block may refer to.
const DICTIONARY_SIZE: usize = 64 * 1024;

fn decompress(input: &[u8], magic: i8, out: &mut Output) -> Result {
    let mut rest = decompress_frame(input, magic, out)?;
    while !rest.is_empty() {
        rest = decompress_frame(rest, magic, out)?;
    }
    Ok(())
}

/// Appends a frame's content. Returns the input behind the frame.
fn decompress_frame<'i>(input: &'i [u8], magic: i8, out: &mut Output) -> Result<&'i [u8]> {
    let start = out.written().len();
    let (mut input, frame) = parsed(descriptor(input, magic))?;
    loop {
        let (rest, block) = parsed(block(input, &frame))?;
        input = rest;
        match block {
            Some(block) => append_block(block, &frame, start, out)?,
            None => break,
        }
    }
    let (rest, checksum) = parsed(cond(frame.has_content_checksum, le_u32).parse(input))?;
    let content = out.written().get(start..).unwrap_or_default();
    let is_size_right = frame.content_size.is_none_or(|size| u64::try_from(content.len()) == Ok(size));
    if is_size_right && checksum.is_none_or(|checksum| checksum == XxHash32::oneshot(0, content)) {
        return Ok(rest);
    }
    Err(Failure::Damaged)
}

fn parsed<'i, T>(result: Parsed<'i, T>) -> Result<(&'i [u8], T)> {
    result.map_err(|_| Failure::Damaged)
}

/// What a frame says of itself.
struct Descriptor {
    has_linked_blocks: bool,
    has_block_checksums: bool,
    has_content_checksum: bool,
    max_block_size: usize,
    content_size: Option<u64>,
}

fn descriptor(input: &[u8], magic: i8) -> Parsed<'_, Descriptor> {
    const VERSION: u8 = 0b1100_0000;
    const VERSION_1: u8 = 0b0100_0000;
    const INDEPENDENT_BLOCKS: u8 = 1 << 5;
    const BLOCK_CHECKSUMS: u8 = 1 << 4;
    const CONTENT_SIZE: u8 = 1 << 3;
    const CONTENT_CHECKSUM: u8 = 1 << 2;
    /// A reserved bit and the one for a dictionary, which the two sides have no way to agree on.
    const REFUSED: u8 = 0b11;

    let (fields, _) = tag(FRAME_MAGIC).parse(input)?;
    let (rest, (flags, block_size)) = (le_u8, le_u8).parse(fields)?;
    let (rest, content_size) = cond(flags & CONTENT_SIZE != 0, le_u64).parse(rest)?;
    let described = fields.get(..fields.len().saturating_sub(rest.len())).unwrap_or_default();
    let (rest, checksum) = le_u8(rest)?;

    // Clients of magic 0 took the checksum over other bytes, and Java reads that (KAFKA-3160).
    let is_checked = magic > 0;
    let [_, computed, ..] = XxHash32::oneshot(0, described).to_le_bytes();
    let max_block_size = match block_size {
        0x40 => 64 * 1024,
        0x50 => 256 * 1024,
        0x60 => 1024 * 1024,
        0x70 => 4 * 1024 * 1024,
        _ => return Err(nom::Err::Error(())),
    };
    if flags & VERSION != VERSION_1 || flags & REFUSED != 0 || (is_checked && checksum != computed) {
        return Err(nom::Err::Error(()));
    }
    let descriptor = Descriptor {
        has_linked_blocks: flags & INDEPENDENT_BLOCKS == 0,
        has_block_checksums: flags & BLOCK_CHECKSUMS != 0,
        has_content_checksum: flags & CONTENT_CHECKSUM != 0,
        max_block_size,
        content_size,
    };
    Ok((rest, descriptor))
}

/// The next block, and whether it is stored without compression; `None` at the end of the frame.
fn block<'i>(input: &'i [u8], frame: &Descriptor) -> Parsed<'i, Option<(&'i [u8], bool)>> {
    let (rest, head) = le_u32(input)?;
    if head == END_MARK {
        return Ok((rest, None));
    }
    let (rest, bytes) = take(head & !STORED).parse(rest)?;
    let (rest, checksum) = cond(frame.has_block_checksums, le_u32).parse(rest)?;
    if checksum.is_some_and(|checksum| checksum != XxHash32::oneshot(0, bytes)) {
        return Err(nom::Err::Error(()));
    }
    Ok((rest, Some((bytes, head & STORED != 0))))
}

/// Appends a block of the frame whose content begins at `start` of the output.
fn append_block(
    (bytes, is_stored): (&[u8], bool),
    frame: &Descriptor,
    start: usize,
    out: &mut Output,
) -> Result {
    if bytes.len() > frame.max_block_size {
        return Err(Failure::Damaged);
    }
    let size = match is_stored {
        true => bytes.len(),
        false => bytes.len().saturating_mul(MAX_RATIO).min(frame.max_block_size),
    };
    out.append(size, |done, room| {
        if is_stored {
            room.get_mut(..bytes.len())?.copy_from_slice(bytes);
            return Some(bytes.len());
        }
        if !frame.has_linked_blocks {
            return decompress_into(bytes, room).ok();
        }
        let dictionary = done.get(start.max(done.len().saturating_sub(DICTIONARY_SIZE))..)?;
        decompress_into_with_dict(bytes, room, dictionary).ok()
    })?;
    Ok(())
}

/// What Java writes: version 1, independent blocks of up to 64 KiB, no checksum but the descriptor's.
const DESCRIPTOR: &[u8] = &[0x60, 0x40, 0x82];
const BLOCK_SIZE: usize = 64 * 1024;

fn compress(bytes: &[u8], _level: Option<i32>, out: &mut BytesMut) -> Result {
    out.put_slice(FRAME_MAGIC);
    out.put_slice(DESCRIPTOR);
    let mut table = CompressTable::large();
    for block in bytes.chunks(BLOCK_SIZE) {
        put_with(out, get_maximum_output_size(block.len()).saturating_add(4), |room| {
            let (head, room) = room.split_first_chunk_mut()?;
            let mut size = compress_into_with_table(block, room, &mut table).ok()?;
            let mut stored = 0;
            if size >= block.len() {
                size = block.len();
                stored = STORED;
                room.get_mut(..size)?.copy_from_slice(block);
            }
            *head = (u32::try_from(size).ok()? | stored).to_le_bytes();
            size.checked_add(4)
        })?;
    }
    out.put_u32_le(END_MARK);
    Ok(())
}
