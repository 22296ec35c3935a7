//! The CRC-32 of gzip and of old messages.
//!
//! Invariant: the same as zlib's. One byte at a time is fast enough for what nobody writes any more.

/// The polynomial, with its bits reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What each value of a byte does to a CRC.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut rest: &mut [u32] = &mut table;
    let mut byte = 0u32;
    while let Some((slot, after)) = rest.split_first_mut() {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        *slot = crc;
        byte += 1;
        rest = after;
    }
    table
};

pub(super) fn of(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        let [lowest, ..] = crc.to_le_bytes();
        let change = TABLE.get(usize::from(lowest ^ byte)).copied().unwrap_or_default();
        (crc >> 8) ^ change
    });
    !crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_crc_of_the_usual_check_is_right() {
        assert_eq!(super::of(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::of(b""), 0);
    }
}
