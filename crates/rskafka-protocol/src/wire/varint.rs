//! Variable-length integers: seven bits a byte, least significant first; signed ones in zigzag.
//!
//! Invariant: a value of more than 5 bytes (32 bit) or 10 bytes (64 bit) is an error, and so is one that does not fit
//! its type.

use crate::encoder::Encoder;
use crate::error::{DecodeErrorKind, Failure, Parsed, fail};

/// An unsigned 32-bit integer (Kafka class `ByteUtils.readUnsignedVarint`).
#[inline]
pub(crate) fn unsigned_varint<'i, E: Failure<'i>>(input: &'i [u8]) -> Parsed<'i, u32, E> {
    let (rest, value) = unsigned(input, 5)?;
    match u32::try_from(value) {
        Ok(value) => Ok((rest, value)),
        Err(_) => fail(input, DecodeErrorKind::VarintOverflow),
    }
}

/// An unsigned 64-bit integer.
#[inline]
pub(crate) fn unsigned_varlong<'i, E: Failure<'i>>(input: &'i [u8]) -> Parsed<'i, u64, E> {
    unsigned(input, 10)
}

/// A signed 32-bit integer in zigzag.
#[inline]
pub(crate) fn varint<'i, E: Failure<'i>>(input: &'i [u8]) -> Parsed<'i, i32, E> {
    let (rest, raw) = unsigned_varint(input)?;
    Ok((rest, (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()))
}

/// A signed 64-bit integer in zigzag.
#[inline]
pub(crate) fn varlong<'i, E: Failure<'i>>(input: &'i [u8]) -> Parsed<'i, i64, E> {
    let (rest, raw) = unsigned_varlong(input)?;
    Ok((rest, (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()))
}

#[inline]
fn unsigned<'i, E: Failure<'i>>(input: &'i [u8], max_bytes: u32) -> Parsed<'i, u64, E> {
    match input {
        // Most integers are small.
        [byte @ 0..0x80, rest @ ..] => Ok((rest, u64::from(*byte))),
        [low, high @ 0..0x80, rest @ ..] => Ok((rest, u64::from(low & 0x7f) | u64::from(*high) << 7)),
        _ => unsigned_of_more_bytes(input, max_bytes),
    }
}

fn unsigned_of_more_bytes<'i, E: Failure<'i>>(input: &'i [u8], max_bytes: u32) -> Parsed<'i, u64, E> {
    let mut value = 0u64;
    let mut rest = input;
    for index in 0..max_bytes {
        let Some((&byte, after)) = rest.split_first() else {
            return fail(input, DecodeErrorKind::Truncated);
        };
        rest = after;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds the 64th bit only.
        if index == 9 && bits > 1 {
            return fail(input, DecodeErrorKind::VarintOverflow);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((rest, value));
        }
    }
    fail(input, DecodeErrorKind::VarintOverflow)
}

/// Writes an unsigned integer of up to 64 bits.
pub(crate) fn put_unsigned(value: u64, out: &mut Encoder) {
    unsigned_bytes(value, |bytes| out.put_slice(bytes));
}

/// The unsigned integer that a signed one of 64 bits, or of fewer, is written as.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The bytes that an unsigned integer takes: one for each seven bits begun, and zero has one bit.
#[inline]
pub(crate) fn unsigned_size(value: u64) -> usize {
    // A seventh of the bits, rounded up, for 1 to 64 of them.
    ((64 - (value | 1).leading_zeros()) * 9 + 64) as usize / 64
}

/// Gives the bytes of an unsigned integer to `put`.
#[inline]
pub(crate) fn unsigned_bytes(value: u64, mut put: impl FnMut(&[u8])) {
    let [first, second, third, ..] = [value, value >> 7, value >> 14].map(|bits| bits.to_le_bytes()[0]);
    match value {
        0..0x80 => put(&[first]),
        0x80..0x4000 => put(&[first | 0x80, second]),
        0x4000..0x20_0000 => put(&[first | 0x80, second | 0x80, third]),
        _ => {
            let (bytes, size) = more_unsigned_bytes(value);
            put(bytes.get(..size).unwrap_or_default());
        }
    }
}

#[cold]
fn more_unsigned_bytes(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0u8; 10];
    let mut size = 0;
    for slot in &mut bytes {
        size += 1;
        let [low, ..] = value.to_le_bytes();
        *slot = low & 0x7f;
        value >>= 7;
        if value == 0 {
            break;
        }
        *slot |= 0x80;
    }
    (bytes, size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::into_wire_error;

    fn full<T>(parsed: Parsed<'_, T>) -> Option<(&[u8], T)> {
        parsed.ok()
    }

    proptest! {
        #[test]
        fn every_integer_survives(value: u64, signed: i64, small: i32) {
            let mut out = Encoder::new();
            put_unsigned(value, &mut out);
            put_unsigned(zigzag(signed), &mut out);
            put_unsigned(zigzag(i64::from(small)), &mut out);
            put_unsigned(u64::from(value as u32), &mut out);
            let bytes = out.into_bytes();
            let (rest, read) = full(unsigned_varlong(&bytes)).unwrap();
            prop_assert_eq!(read, value);
            let (rest, read) = full(varlong(rest)).unwrap();
            prop_assert_eq!(read, signed);
            let (rest, read) = full(varint(rest)).unwrap();
            prop_assert_eq!(read, small);
            let (rest, read) = full(unsigned_varint(rest)).unwrap();
            prop_assert_eq!(read, value as u32);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            // What an error is made of does not decide whether there is one.
            prop_assert_eq!(full(unsigned_varint(&bytes)), unsigned_varint::<()>(&bytes).ok());
            prop_assert_eq!(full(varint(&bytes)), varint::<()>(&bytes).ok());
            prop_assert_eq!(full(unsigned_varlong(&bytes)), unsigned_varlong::<()>(&bytes).ok());
            prop_assert_eq!(full(varlong(&bytes)), varlong::<()>(&bytes).ok());
        }
    }

    #[test]
    fn sizes_are_those_of_the_bytes() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1] {
                unsigned_bytes(value, |bytes| assert_eq!(bytes.len(), unsigned_size(value), "{value}"));
            }
        }
    }

    /// Golden vectors: what Java writes is read, and written as Java does.
    #[test]
    fn varints_are_those_of_kafka() {
        let mut checked = 0;
        for line in crate::golden::lines("varint.jsonl") {
            let bytes = crate::golden::bytes(&line["hex"]);
            let widened = |parsed: Parsed<'_, i128>| match parsed {
                Ok((rest, value)) => Ok((bytes.len() - rest.len(), value)),
                Err(error) => Err(into_wire_error(error, &[]).kind),
            };
            let kind = line["kind"].as_str().unwrap();
            let read = widened(match kind {
                "varint" => varint(&bytes).map(|(rest, value)| (rest, value.into())),
                "varlong" => varlong(&bytes).map(|(rest, value)| (rest, value.into())),
                "unsigned_varint" => unsigned_varint(&bytes).map(|(rest, value)| (rest, value.into())),
                "unsigned_varlong" => unsigned_varlong(&bytes).map(|(rest, value)| (rest, value.into())),
                _ => panic!("unknown kind {kind}"),
            });
            checked += 1;
            let error = match line["error"].as_str() {
                Some("truncated") => Some(DecodeErrorKind::Truncated),
                Some("overflow") => Some(DecodeErrorKind::VarintOverflow),
                Some(error) => panic!("unknown error {error}"),
                None if line["lossy"] == true => Some(DecodeErrorKind::VarintOverflow),
                None => None,
            };
            if let Some(error) = error {
                assert_eq!(read, Err(error), "{line}");
                continue;
            }
            let value =
                line["value"].as_i64().map_or_else(|| line["value"].as_u64().unwrap().into(), i128::from);
            let size = line["read_bytes"].as_u64().map_or(bytes.len(), |size| size as usize);
            assert_eq!(read, Ok((size, value)), "{line}");
            if line["odd"] != true {
                let mut out = Encoder::new();
                let is_signed = kind == "varint" || kind == "varlong";
                put_unsigned(if is_signed { zigzag(value as i64) } else { value as u64 }, &mut out);
                assert_eq!(out.into_bytes(), bytes, "{line}");
            }
        }
        assert!(checked > 100, "{checked} vectors were checked");
    }

    #[test]
    fn too_many_bytes_are_an_overflow() {
        let kind = |result: Parsed<'_, u64>| into_wire_error(result.unwrap_err(), &[]).kind;
        assert_eq!(kind(unsigned_varlong(&[0xff; 11])), DecodeErrorKind::VarintOverflow);
        assert_eq!(kind(unsigned_varlong(&[0xff; 3])), DecodeErrorKind::Truncated);
        let bytes = [0xff, 0xff, 0xff, 0xff, 0x1f];
        assert_eq!(
            into_wire_error(unsigned_varint(&bytes).unwrap_err(), &[]).kind,
            DecodeErrorKind::VarintOverflow
        );
    }
}
