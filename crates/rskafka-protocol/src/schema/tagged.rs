//! Tagged fields (KIP-482): a count, then tag, size and value of each.
//!
//! Invariant: skipping an unknown tag takes no memory; a field equal to its default is not written.

use nom::bytes::complete::take;

use super::Field;
use crate::encoder::Encoder;
use crate::error::{DecodeErrorKind, EncodeError, Parsed, PathSegment, WireError, at, fail};
use crate::wire::varint::{put_unsigned, unsigned_varint};
use crate::wire::{Cx, Layout, Wire};

/// Gathers the tagged fields of one struct, in ascending order of their tags.
pub(crate) struct TaggedFields {
    layout: Layout,
    count: u64,
    fields: Encoder,
}

impl TaggedFields {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, count: 0, fields: Encoder::new() }
    }

    pub(crate) fn add<T: Wire + PartialEq>(
        &mut self,
        tag: u32,
        value: &T,
        field: &Field,
        default: impl FnOnce() -> T,
    ) -> Result<(), EncodeError> {
        let is_default = *value == default();
        if !self.layout.flexible || !field.spec.has(self.layout.version) {
            return field.check_absent(is_default, self.layout);
        }
        if is_default {
            return Ok(());
        }
        field.check_null(value.is_null(), self.layout)?;
        let mut encoded = Encoder::new();
        value.write(self.layout, &mut encoded)?;
        self.count += 1;
        put_unsigned(u64::from(tag), &mut self.fields);
        put_unsigned(encoded.len() as u64, &mut self.fields);
        self.fields.append(encoded);
        Ok(())
    }

    pub(crate) fn encode(self, out: &mut Encoder) {
        if self.layout.flexible {
            put_unsigned(self.count, out);
            if self.count > 0 {
                out.append(self.fields);
            }
        }
    }
}

/// Reads the tagged fields at the end of a struct; `known` is given each tag with its bytes.
pub(crate) fn decode_tagged<'i>(
    cx: &Cx<'_>,
    input: &'i [u8],
    known: &mut dyn FnMut(u32, &'i [u8]) -> Result<(), nom::Err<Box<WireError<'i>>>>,
) -> Parsed<'i, ()> {
    if !cx.layout.flexible {
        return Ok((input, ()));
    }
    let read = |input: &'i [u8], known: &mut dyn FnMut(u32, &'i [u8]) -> _| {
        let (mut rest, count) = unsigned_varint(input)?;
        for _ in 0..count {
            let (after, tag) = unsigned_varint(rest)?;
            let (after, size) = unsigned_varint(after)?;
            let (after, bytes) = take(size)(after)?;
            known(tag, bytes)?;
            rest = after;
        }
        Ok((rest, ()))
    };
    read(input, known).map_err(|error| at(error, PathSegment::Field("tagged_fields")))
}

/// Reads the value of a known tag.
pub(crate) fn decode_tag<'i, T: Wire>(
    cx: &Cx<'_>,
    bytes: &'i [u8],
    field: &Field,
    value: &mut T,
) -> Result<(), nom::Err<Box<WireError<'i>>>> {
    // In this version the tag is unknown.
    if !field.spec.has(cx.layout.version) {
        return Ok(());
    }
    let parsed = T::parse(cx, bytes).and_then(|(rest, decoded)| match rest {
        [] => Ok((rest, decoded)),
        _ => fail(rest, DecodeErrorKind::TrailingBytes(rest.len())),
    });
    let (_, decoded) = parsed.map_err(|error| at(error, PathSegment::Field(field.name)))?;
    *value = decoded;
    Ok(())
}
