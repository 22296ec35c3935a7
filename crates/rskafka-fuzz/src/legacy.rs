//! Message sets of magic 0 and 1, and sets that are compressed in a message.
//!
//! Invariant: as for record sets; a wrapper gives the messages in it.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::records::read;

/// In the first byte: the set is compressed into one message.
pub const WRAPPED: u8 = 1;
/// In the first byte: the wrapper is of magic 1, else of 0.
const MAGIC_1: u8 = 2;
/// In the first byte: the wrapper says the offset of the last message in it.
const HAS_OFFSET: u8 = 4;

/// Checks a set. The first byte says whether it is wrapped.
pub fn check(data: &[u8]) {
    let Some((mode, set)) = data.split_first() else { return };
    let repaired = repaired(set);
    if mode & WRAPPED == 0 {
        read(&Bytes::copy_from_slice(set));
        read(&repaired.into());
    } else {
        read(&wrapped(*mode, &repaired).into());
    }
}

const OFFSET_END: usize = 8;
const LENGTH_END: usize = 12;
const CRC_END: usize = 16;

/// The set with each message's CRC put right, and the last one's length too.
fn repaired(mut set: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(set.len());
    while let Some(head) = set.first_chunk::<CRC_END>() {
        let [.., a, b, c, d] = head[..LENGTH_END] else { break };
        let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let size = length.saturating_add(LENGTH_END).clamp(CRC_END, set.len());
        let (message, rest) = set.split_at(size);
        put_message(&head[..OFFSET_END], &message[CRC_END..], &mut out);
        set = rest;
    }
    out.extend_from_slice(set);
    out
}

fn put_message(offset: &[u8], covered: &[u8], out: &mut Vec<u8>) {
    let length = (covered.len() + CRC_END - LENGTH_END) as i32;
    out.extend_from_slice(offset);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(covered).to_be_bytes());
    out.extend_from_slice(covered);
}

fn wrapped(mode: u8, set: &[u8]) -> Vec<u8> {
    const GZIP: u8 = 1;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(set).expect("memory takes all");
    let value = encoder.finish().expect("memory takes all");

    let magic = u8::from(mode & MAGIC_1 != 0);
    let mut covered = vec![magic, GZIP];
    if magic == 1 {
        covered.extend_from_slice(&1234i64.to_be_bytes());
    }
    covered.extend_from_slice(&(-1i32).to_be_bytes());
    covered.extend_from_slice(&(value.len() as i32).to_be_bytes());
    covered.extend_from_slice(&value);

    let offset = if mode & HAS_OFFSET == 0 { 0i64 } else { 1000 };
    let mut out = Vec::new();
    put_message(&offset.to_be_bytes(), &covered, &mut out);
    out
}
