//! gzip: one or more members, one after the other.

use std::io::Write;

use bytes::{BufMut, BytesMut};
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Codec, Failure, Output, Result};

pub(super) const CODEC: Codec = Codec { decompress, compress };

fn decompress(input: &[u8], _magic: i8, out: &mut Output) -> Result {
    out.append_all(MultiGzDecoder::new(input))
}

fn compress(bytes: &[u8], level: Option<i32>, out: &mut BytesMut) -> Result {
    let level = match level.map(u32::try_from) {
        None => Compression::default(),
        Some(Ok(level)) => Compression::new(level),
        Some(Err(_)) => return Err(Failure::Damaged),
    };
    let mut encoder = GzEncoder::new(out.writer(), level);
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.map(drop).map_err(|_| Failure::Damaged)
}
