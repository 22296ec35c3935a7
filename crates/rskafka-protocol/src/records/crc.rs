//! The CRC-32C of a batch, also after a change to its header.
//!
//! Invariant: all functions give the CRC of the same bytes. For large batches, a change to the header costs the same
//! at any size.

pub(super) use crc_fast::crc32_iscsi as of;
use crc_fast::{CrcAlgorithm, Digest};

/// Below this many bytes, reading the records again is cheaper than arithmetic on their CRC.
const COMBINE_FROM: usize = 16 * 1024;

/// The CRC of bytes behind those that `crc` is of.
pub(super) fn append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    // Its upper half is for CRC-64.
    (digest.finalize() & 0xffff_ffff) as u32
}

/// The CRC of the header's covered part and of the records behind it.
pub(super) fn of_both(covered: &[u8], records: &[u8]) -> u32 {
    append(of(covered), records)
}

/// The CRC of the first bytes of the records, where it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    pub(super) crc: u32,
    pub(super) bytes: usize,
}

impl Known {
    /// The CRC of the header's covered part and of all records behind it.
    pub(super) fn of(self, covered: &[u8], records: &[u8]) -> u32 {
        if self.bytes < COMBINE_FROM {
            return of_both(covered, records);
        }
        let rest = records.get(self.bytes..).unwrap_or_default();
        // The header's CRC, moved by the records' length, and theirs add up to that of both.
        shift(of(covered), records.len()) ^ append(self.crc, rest)
    }
}

/// What `crc`, the CRC with the header `before`, becomes with the header `after` of the same length.
pub(super) fn replace_header(crc: u32, before: &[u8], after: &[u8], records: &[u8]) -> u32 {
    if before == after {
        return crc;
    }
    if records.len() < COMBINE_FROM {
        return of_both(after, records);
    }
    // A CRC is linear: what differs in the header differs in the whole, moved by the records' length.
    crc ^ shift(of(before) ^ of(after), records.len())
}

/// The polynomial of CRC-32C. Bits are reflected: the highest is the coefficient of x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x^(8 * 2^k) modulo the polynomial, for each k: what 2^k bytes move a CRC by.
const BYTE_POWERS: [u32; 32] = {
    let mut powers = [0; 32];
    let mut power = 1u32 << (31 - 8);
    let mut rest: &mut [u32] = &mut powers;
    while let Some((slot, after)) = rest.split_first_mut() {
        *slot = power;
        power = multiply(power, power);
        rest = after;
    }
    powers
};

/// Moves a CRC's difference over `bytes` bytes.
fn shift(difference: u32, bytes: usize) -> u32 {
    let mut shifted = difference;
    for (k, &power) in BYTE_POWERS.iter().enumerate() {
        if bytes >> k & 1 == 1 {
            shifted = multiply(shifted, power);
        }
    }
    shifted
}

/// The product of two polynomials modulo that of CRC-32C.
const fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while a != 0 {
        // The next coefficient of `a`, from x^0 up, while `b` is multiplied by x each time.
        if a & 0x8000_0000 != 0 {
            product ^= b;
        }
        a <<= 1;
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_crc_is_that_of_another_implementation(
            length in prop_oneof![0usize..3000, 0usize..100_000],
            (start, seed) in (0usize..100, any::<u64>()),
            middle in 0.0..=1.0,
        ) {
            let mut state = seed | 1;
            let random = std::iter::from_fn(|| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                Some((state >> 56) as u8)
            });
            let bytes: Vec<u8> = random.take(start + length).collect();
            // At any place in memory: vector instructions have ways of their own for bytes that are not aligned.
            let bytes = &bytes[start..];
            let expected = crc32c::crc32c(bytes);
            prop_assert_eq!(of(bytes), expected);
            let (before, behind) = bytes.split_at((bytes.len() as f64 * middle) as usize);
            prop_assert_eq!(of_both(before, behind), expected);
        }

        #[test]
        fn replacing_a_header_gives_the_crc_of_the_new_bytes(
            before: [u8; 40],
            after: [u8; 40],
            length in prop_oneof![0usize..100, COMBINE_FROM - 2..COMBINE_FROM + 2, COMBINE_FROM..5 * COMBINE_FROM],
        ) {
            let records: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let crc = of_both(&before, &records);
            prop_assert_eq!(replace_header(crc, &before, &after, &records), of_both(&after, &records));
        }

        #[test]
        fn what_is_known_of_the_records_does_not_change_the_crc(
            covered: [u8; 40],
            length in 0usize..5 * COMBINE_FROM,
            of_length in 0.0..=1.0,
        ) {
            let records: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let bytes = (length as f64 * of_length) as usize;
            let known = Known { crc: of(&records[..bytes]), bytes };
            prop_assert_eq!(known.of(&covered, &records), of_both(&covered, &records));
        }
    }

    #[test]
    fn crcs_are_those_of_kafka() {
        let mut checked = 0;
        for line in crate::golden::lines("crc32c.jsonl") {
            let bytes = crate::golden::bytes(&line["input_hex"]);
            let (covered, records) = bytes.split_at(bytes.len() / 2);
            assert_eq!(u64::from(of_both(covered, records)), line["crc32c"], "{line}");
            checked += 1;
        }
        assert!(checked > 10, "{checked} vectors were checked");
    }
}
