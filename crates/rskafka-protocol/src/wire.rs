//! The form on the wire of each Rust type that a field can have, in both directions.
//!
//! Invariant: only the version's flexible bit decides whether lengths are compact; decoding takes memory in
//! proportion to the bytes given, never to a length that they claim.

mod collections;
mod numbers;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod varint;

#[cfg(test)]
pub(crate) use self::tests::Choices;

use bytes::Bytes;
use nom::number::complete::be_i8;

use crate::encoder::Encoder;
use crate::error::{DecodeErrorKind, EncodeError, Parsed, fail};

/// What a decoder knows beside its input.
#[derive(Clone, Copy)]
pub(crate) struct Cx<'f> {
    /// The whole body; payloads are slices of it and share its memory.
    pub(crate) frame: &'f Bytes,
    pub(crate) layout: Layout,
}

/// What decides the form of a message on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) version: i16,
    /// Compact lengths and tagged fields (KIP-482).
    pub(crate) flexible: bool,
}

/// A type that can be a field.
///
/// A type gives `write` and `parse`, or, if its length can say that it is null, `write_nullable` and
/// `parse_nullable`. Of any other type a null has a byte in front: -1 for null, 1 for a value (KIP-893).
pub(crate) trait Wire: Sized {
    /// The fields, for a struct of the listing.
    const STRUCT: Option<&'static crate::schema::StructSchema> = None;

    /// Whether a value can be null.
    const NULLABLE: bool = false;

    /// The name in Kafka's schemas, of an array's elements.
    const TYPE_NAME: &'static str;

    /// Whether it is an array.
    const IS_ARRAY: bool = false;

    /// The fewest bytes that a value can take.
    fn min_size(layout: Layout) -> usize;

    /// The fewest bytes that a value or null can take.
    fn min_nullable_size(layout: Layout) -> usize {
        Self::min_size(layout)
    }

    fn write(&self, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), layout, out)
    }

    fn parse<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Self> {
        match Self::parse_nullable(cx, input)? {
            (rest, Some(value)) => Ok((rest, value)),
            (_, None) => fail(input, DecodeErrorKind::UnexpectedNull),
        }
    }

    fn write_nullable(value: Option<&Self>, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
        let Some(value) = value else {
            out.put_slice(&(-1i8).to_be_bytes());
            return Ok(());
        };
        out.put_slice(&[1]);
        value.write(layout, out)
    }

    fn parse_nullable<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Option<Self>> {
        match be_i8(input)? {
            (rest, ..0) => Ok((rest, None)),
            (rest, _) => Self::parse(cx, rest).map(|(rest, value)| (rest, Some(value))),
        }
    }

    /// Whether the value is null.
    fn is_null(&self) -> bool {
        false
    }

    /// The throttle time, of a message that has one.
    fn throttle_mut(&mut self) -> Option<&mut i32> {
        None
    }

    /// How long the client must be silent after a message.
    fn silence_ms(&self, _version: i16) -> u32 {
        0
    }

    /// Values that version `layout.version` can carry.
    #[cfg(test)]
    fn arbitrary(layout: Layout, choices: &mut Choices) -> Self;
}

impl<T: Wire + Clone + std::fmt::Debug + 'static> Wire for Option<T> {
    const STRUCT: Option<&'static crate::schema::StructSchema> = T::STRUCT;
    const NULLABLE: bool = true;
    const TYPE_NAME: &'static str = T::TYPE_NAME;
    const IS_ARRAY: bool = T::IS_ARRAY;

    fn min_size(layout: Layout) -> usize {
        T::min_nullable_size(layout)
    }

    fn write(&self, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), layout, out)
    }

    fn parse<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Self> {
        T::parse_nullable(cx, input)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }

    #[cfg(test)]
    fn arbitrary(layout: Layout, choices: &mut Choices) -> Self {
        if choices.takes_null() { None } else { Some(T::arbitrary(layout, choices)) }
    }
}
