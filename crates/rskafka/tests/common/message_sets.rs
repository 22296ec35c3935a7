//! Message sets: the formats before record batches (magic 0 and 1), as clients and brokers of their time wrote them.

/// A message: offset, timestamp, key and value.
pub type OldMessage = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

const GZIP: i8 = 1;

/// Messages that stand alone.
pub fn plain(magic: i8, messages: &[OldMessage]) -> Vec<u8> {
    messages.iter().flat_map(|message| encode(magic, 0, message)).collect()
}

/// Messages that are compressed in one, which has an offset of its own. Those of magic 1 have offsets from the first one's on.
pub fn compressed(magic: i8, offset: i64, messages: &[OldMessage]) -> Vec<u8> {
    let latest = messages.iter().map(|message| message.1).max().unwrap();
    encode(magic, GZIP, &(offset, latest, None, Some(gzip(&plain(magic, messages)))))
}

fn encode(magic: i8, attributes: i8, (offset, timestamp, key, value): &OldMessage) -> Vec<u8> {
    let mut covered = vec![magic as u8, attributes as u8];
    if magic == 1 {
        covered.extend(timestamp.to_be_bytes());
    }
    for bytes in [key, value] {
        covered.extend(bytes.as_ref().map_or(-1, |bytes| bytes.len() as i32).to_be_bytes());
        covered.extend(bytes.iter().flatten());
    }
    let (length, crc) = (covered.len() as u32 + 4, crc_32(&covered));
    [&offset.to_be_bytes(), &length.to_be_bytes()[..], &crc.to_be_bytes(), &covered].concat()
}

/// A gzip stream that has the bytes as they are (RFC 1952, and RFC 1951, 3.2.4).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap();
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let block = [&[1], &size.to_le_bytes()[..], &(!size).to_le_bytes(), bytes].concat();
    [&header[..], &block, &crc_32(bytes).to_le_bytes(), &u32::from(size).to_le_bytes()].concat()
}

fn crc_32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    !crc
}
