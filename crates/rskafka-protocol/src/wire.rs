//! The protocol's field types: how each Rust type stands on the wire, in both directions.
//!
//! Invariant: whether a length is compact follows the version's flexible bit alone; what decodes is
//! bounded by the bytes that are there, never by a length that is only claimed.

mod collections;
mod numbers;
pub(crate) mod text;
pub(crate) mod varint;

use bytes::Bytes;

use crate::encoder::Encoder;
use crate::error::{EncodeError, Parsed};

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
pub(crate) trait Wire: Sized {
    /// The fields, for a struct of the listing.
    const STRUCT: Option<&'static crate::schema::StructSchema> = None;

    /// Whether a value can be null.
    const NULLABLE: bool = false;

    /// The type's name in Kafka's schemas.
    fn type_name() -> String;

    /// The fewest bytes that a value can take.
    fn min_size(layout: Layout) -> usize;

    fn write(&self, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError>;

    fn parse<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Self>;

    /// Whether the value is null.
    fn is_null(&self) -> bool {
        false
    }

    #[cfg(feature = "json")]
    fn json(&self, layout: Layout) -> serde_json::Value;

    /// Values that version `layout.version` can carry.
    #[cfg(test)]
    fn arbitrary(layout: Layout) -> proptest::strategy::BoxedStrategy<Self>;
}

/// A type whose null has a form on the wire; `Option` of it can be a field.
pub(crate) trait NullableWire: Wire {
    /// The fewest bytes that a value or null can take.
    fn min_nullable_size(layout: Layout) -> usize {
        Self::min_size(layout)
    }

    fn write_nullable(value: Option<&Self>, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError>;

    fn parse_nullable<'i>(cx: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Option<Self>>;
}

impl<T: NullableWire + std::fmt::Debug + 'static> Wire for Option<T>
where
    T: Clone,
{
    const STRUCT: Option<&'static crate::schema::StructSchema> = T::STRUCT;
    const NULLABLE: bool = true;

    fn type_name() -> String {
        T::type_name()
    }

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

    #[cfg(feature = "json")]
    fn json(&self, layout: Layout) -> serde_json::Value {
        self.as_ref().map_or(serde_json::Value::Null, |value| value.json(layout))
    }

    #[cfg(test)]
    fn arbitrary(layout: Layout) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::strategy::Strategy;
        proptest::option::of(T::arbitrary(layout)).boxed()
    }
}
