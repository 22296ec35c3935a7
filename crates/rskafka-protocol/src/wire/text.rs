//! Strings and byte strings, plain and compact, with their nullable forms.
//!
//! Invariant: byte strings are slices of the frame, never copies; no string is longer than Kafka takes.

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{be_i16, be_i32};

use super::varint::{put_unsigned, unsigned_varint};
use super::{Cx, Layout, Wire};
use crate::encoder::Encoder;
use crate::error::{DecodeErrorKind, EncodeError, Parsed, fail};

/// The longest string in bytes, even if its length is compact: Kafka closes the connection on a longer one.
const MAX_STRING: usize = 0x7fff;

/// Reads a length: compact, or by `plain`. `None` is null: -1, or 0 if it is compact.
pub(super) fn length<'i>(
    layout: Layout,
    input: &'i [u8],
    plain: impl FnOnce(&'i [u8]) -> Parsed<'i, i32>,
) -> Parsed<'i, Option<usize>> {
    if layout.flexible {
        let (rest, raw) = unsigned_varint(input)?;
        return Ok((rest, raw.checked_sub(1).map(|length| length as usize)));
    }
    let (rest, raw) = plain(input)?;
    match usize::try_from(raw) {
        Ok(length) => Ok((rest, Some(length))),
        Err(_) if raw == -1 => Ok((rest, None)),
        Err(_) => fail(input, DecodeErrorKind::InvalidLength(raw.into())),
    }
}

/// Writes the length of bytes or of an array: four bytes, or compact. A compact length `n` is written as `n + 1`.
pub(super) fn put_length(
    length: Option<usize>,
    layout: Layout,
    out: &mut Encoder,
) -> Result<(), EncodeError> {
    if layout.flexible {
        put_unsigned(length.map_or(0, |length| length as u64 + 1), out);
        return Ok(());
    }
    let raw =
        length.map_or(Ok(-1), |length| i32::try_from(length).map_err(|_| EncodeError::TooLong { length }))?;
    out.put_slice(&raw.to_be_bytes());
    Ok(())
}

impl Wire for String {
    const TYPE_NAME: &'static str = "string";

    fn min_size(layout: Layout) -> usize {
        if layout.flexible { 1 } else { 2 }
    }

    fn write_nullable(value: Option<&Self>, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
        let length = value.map(Self::len);
        if let Some(length) = length.filter(|length| *length > MAX_STRING) {
            return Err(EncodeError::TooLong { length });
        }
        if layout.flexible {
            put_length(length, layout, out)?;
        } else {
            let length = length.map_or(-1, |length| i16::try_from(length).unwrap_or(i16::MAX));
            out.put_slice(&length.to_be_bytes());
        }
        out.put_slice(value.map(Self::as_bytes).unwrap_or_default());
        Ok(())
    }

    fn parse_nullable<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Option<Self>> {
        let (rest, length) = length(cx.layout, input, |input| be_i16.map(i32::from).parse(input))?;
        let Some(length) = length else { return Ok((rest, None)) };
        if length > MAX_STRING {
            return fail(rest, DecodeErrorKind::InvalidLength(i64::try_from(length).unwrap_or(i64::MAX)));
        }
        let (behind, bytes) = take(length)(rest)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok((behind, Some(text.to_owned()))),
            Err(_) => fail(rest, DecodeErrorKind::InvalidUtf8),
        }
    }

    #[cfg(test)]
    fn arbitrary(_: Layout, choices: &mut super::Choices) -> Self {
        let length = choices.below(13);
        (0..length).map(|_| ['a', 'm', 'z', 'é', '日'][choices.below(5)]).collect()
    }
}

impl Wire for Bytes {
    const TYPE_NAME: &'static str = "bytes";

    fn min_size(layout: Layout) -> usize {
        if layout.flexible { 1 } else { 4 }
    }

    fn write_nullable(value: Option<&Self>, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
        put_length(value.map(Self::len), layout, out)?;
        if let Some(value) = value {
            out.put_bytes(value);
        }
        Ok(())
    }

    fn parse_nullable<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Option<Self>> {
        let (rest, length) = length(cx.layout, input, be_i32)?;
        let Some(length) = length else { return Ok((rest, None)) };
        let (rest, bytes) = take(length)(rest)?;
        // `bytes` is part of the frame: every input handed to a decoder is a slice of it.
        Ok((rest, Some(cx.frame.slice_ref(bytes))))
    }

    #[cfg(test)]
    fn arbitrary(_: Layout, choices: &mut super::Choices) -> Self {
        // One of ten is long enough to be linked into the frame instead of copied.
        if choices.below(10) == 9 {
            return vec![choices.number() as u8; 5000].into();
        }
        let length = choices.below(40);
        (0..length).map(|_| choices.number() as u8).collect()
    }
}
