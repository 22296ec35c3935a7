//! Arrays.
//!
//! Invariant: an array reserves memory for at most as many of its smallest elements as the remaining bytes can hold,
//! and no array within it reserves for the same bytes again.

use nom::number::complete::be_i32;

use super::text::{length, put_length};
use super::{Cx, Layout, Wire};
use crate::encoder::Encoder;
use crate::error::{DecodeErrorKind, EncodeError, Parsed, PathSegment, at, fail};

impl<T: Wire + Clone + std::fmt::Debug + 'static> Wire for Vec<T> {
    const STRUCT: Option<&'static crate::schema::StructSchema> = T::STRUCT;
    const TYPE_NAME: &'static str = T::TYPE_NAME;
    const IS_ARRAY: bool = true;

    fn min_size(layout: Layout) -> usize {
        if layout.flexible { 1 } else { 4 }
    }

    fn write_nullable(value: Option<&Self>, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
        put_length(value.map(Self::len), layout, out)?;
        value.into_iter().flatten().try_for_each(|element| element.write(layout, out))
    }

    fn parse_nullable<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Option<Self>> {
        let (mut rest, length) = length(cx.layout, input, be_i32)?;
        let Some(length) = length else { return Ok((rest, None)) };
        let least = T::min_size(cx.layout).max(1);
        if length > rest.len() / least {
            return fail(input, DecodeErrorKind::InvalidLength(i64::try_from(length).unwrap_or(i64::MAX)));
        }
        let mut elements = Self::with_capacity(length);
        for index in 0..length {
            // Leaves the later elements their smallest size.
            let others = (length - index - 1) * least;
            let own = rest.get(..rest.len().saturating_sub(others)).unwrap_or_default();
            let (after, element) = T::parse(cx, own).map_err(|error| at(error, PathSegment::Index(index)))?;
            elements.push(element);
            rest = rest.get(own.len().saturating_sub(after.len())..).unwrap_or_default();
        }
        Ok((rest, Some(elements)))
    }

    #[cfg(test)]
    fn arbitrary(layout: Layout, choices: &mut super::Choices) -> Self {
        let length = choices.below(3);
        (0..length).map(|_| T::arbitrary(layout, choices)).collect()
    }
}
