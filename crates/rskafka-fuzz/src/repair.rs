//! Makes what encloses a record right, so that changes within it are reached.
//!
//! Invariant: a set that was written properly stays as it is; else lengths reach to the end of what is
//! there, and CRCs fit.

const HEADER_SIZE: usize = 61;
const LENGTH: usize = 8;
const LENGTH_END: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
const CRC_END: usize = 21;
const ATTRIBUTES: usize = 21;
const RECORD_COUNT: usize = 57;

/// The set with its batch lengths, the length of each batch's last record, and its CRCs put right.
pub fn repaired(mut set: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(set.len());
    while let Some(header) = set.first_chunk::<HEADER_SIZE>() {
        if header[MAGIC] != 2 {
            break;
        }
        let size = usize::try_from(int32(header, LENGTH)).unwrap_or_default().saturating_add(LENGTH_END);
        let (batch, rest) = set.split_at(size.max(HEADER_SIZE).min(set.len()));
        put_batch(header, &batch[HEADER_SIZE..], &mut out);
        set = rest;
    }
    out.extend_from_slice(set);
    out
}

/// A batch without records, with this payload.
pub fn with_payload(batch: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.len() + payload.len());
    put_batch(batch.first_chunk().expect("a whole header"), payload, &mut out);
    out
}

fn put_batch(header: &[u8; HEADER_SIZE], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(header);
    let is_compressed = header[ATTRIBUTES + 1] & 7 != 0;
    if is_compressed {
        out.extend_from_slice(payload);
    } else {
        put_records(int32(header, RECORD_COUNT), payload, out);
    }
    let batch = &mut out[start..];
    let length = (batch.len() - LENGTH_END) as i32;
    batch[LENGTH..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_END..]);
    batch[CRC..CRC_END].copy_from_slice(&crc.to_be_bytes());
}

/// The last record, or the first that is too long, reaches to the end.
fn put_records(count: i32, mut payload: &[u8], out: &mut Vec<u8>) {
    for index in 1..=count {
        let Some((length, body)) = length(payload) else { break };
        if index == count || length > body.len() {
            put_length(body.len(), out);
            out.extend_from_slice(body);
            return;
        }
        let (record, rest) = payload.split_at(payload.len() - body.len() + length);
        out.extend_from_slice(record);
        payload = rest;
    }
    out.extend_from_slice(payload);
}

/// A record's length, which is a varint in zigzag, and what follows it. A negative one is too long.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut raw = 0usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        raw |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = if raw & 1 == 0 { raw >> 1 } else { usize::MAX };
            return Some((length, &bytes[index + 1..]));
        }
    }
    None
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    let mut raw = length << 1;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

fn int32(bytes: &[u8], at: usize) -> i32 {
    bytes[at..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes))
}
