//! The properties of a field in the listing, and the code that all fields share.
//!
//! Invariant: a field is on the wire only in its versions. In others it decodes to its default, and a value other than
//! the default is an encode error unless the field is ignorable.

use super::{FieldSchema, StructSchema};
use crate::encoder::Encoder;
use crate::error::{DecodeErrorKind, EncodeError, Parsed, PathSegment, at, fail};
use crate::wire::{Cx, Layout, Wire};

/// The versions and flags of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldSpec {
    pub(crate) from: i16,
    pub(crate) to: i16,
    pub(crate) nullable_from: i16,
    pub(crate) ignorable: bool,
    pub(crate) client_waits_from: Option<i16>,
}

impl FieldSpec {
    pub(crate) const fn versions(from: i16, to: i16) -> Self {
        Self { from, to, nullable_from: i16::MIN, ignorable: false, client_waits_from: None }
    }

    pub(crate) fn has(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }

    /// How long the client must be silent for this throttle time.
    pub(crate) fn silence_ms(&self, throttle_time_ms: i32, version: i16) -> u32 {
        let waits = self.client_waits_from.is_some_and(|from| version >= from);
        u32::try_from(throttle_time_ms).ok().filter(|_| waits).unwrap_or(0)
    }
}

/// A field's name with its versions and flags.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) spec: FieldSpec,
}

impl Field {
    /// Whether `value`, set or not, need not be written in a version without the field.
    pub(super) fn check_absent(&self, is_default: bool, layout: Layout) -> Result<(), EncodeError> {
        if is_default || self.spec.ignorable {
            return Ok(());
        }
        Err(EncodeError::NotInVersion { field: self.name, version: layout.version })
    }

    pub(super) fn check_null(&self, is_null: bool, layout: Layout) -> Result<(), EncodeError> {
        if is_null && layout.version < self.spec.nullable_from {
            return Err(EncodeError::UnexpectedNull { field: self.name, version: layout.version });
        }
        Ok(())
    }
}

pub(crate) fn encode_field<T: Wire + PartialEq>(
    value: &T,
    field: &Field,
    default: impl FnOnce() -> T,
    layout: Layout,
    out: &mut Encoder,
) -> Result<(), EncodeError> {
    if !field.spec.has(layout.version) {
        return field.check_absent(field.spec.ignorable || *value == default(), layout);
    }
    field.check_null(value.is_null(), layout)?;
    value.write(layout, out)
}

pub(crate) fn decode_field<'i, T: Wire>(
    cx: &Cx<'_>,
    input: &'i [u8],
    field: &Field,
    default: impl FnOnce() -> T,
) -> Parsed<'i, T> {
    if !field.spec.has(cx.layout.version) {
        return Ok((input, default()));
    }
    let parsed = T::parse(cx, input).and_then(|(rest, value)| {
        if value.is_null() && cx.layout.version < field.spec.nullable_from {
            return fail(input, DecodeErrorKind::UnexpectedNull);
        }
        Ok((rest, value))
    });
    parsed.map_err(|error| at(error, PathSegment::Field(field.name)))
}

pub(crate) fn field_min_size<T: Wire>(spec: &FieldSpec, layout: Layout) -> usize {
    if spec.has(layout.version) { T::min_size(layout) } else { 0 }
}

pub(crate) const fn field_schema<T: Wire>(
    name: &'static str,
    spec: FieldSpec,
    tag: Option<u32>,
    default: &'static str,
) -> FieldSchema {
    let fields: Option<&'static StructSchema> = T::STRUCT;
    FieldSchema {
        name,
        type_name: || format!("{}{}", if T::IS_ARRAY { "[]" } else { "" }, T::TYPE_NAME),
        fields,
        versions: (spec.from, spec.to),
        nullable_from: if T::NULLABLE { Some(spec.nullable_from) } else { None },
        ignorable: spec.ignorable,
        tag,
        default: if default.is_empty() { None } else { Some(default) },
    }
}

/// Sets a field to what its version can carry.
#[cfg(test)]
pub(crate) fn set_arbitrary<T: Wire>(
    value: &mut T,
    field: &Field,
    layout: Layout,
    choices: &mut crate::wire::Choices,
) {
    if field.spec.has(layout.version) {
        choices.allow_null(layout.version >= field.spec.nullable_from);
        *value = T::arbitrary(layout, choices);
        choices.allow_null(true);
    }
}

macro_rules! field_of {
    ($name:ident $($spec:tt)*) => {
        $crate::schema::Field {
            name: stringify!($name),
            spec: const { $crate::schema::field_spec!($($spec)*) },
        }
    };
}

macro_rules! field_spec {
    (@ $spec:expr;) => { $spec };
    (@ $spec:expr; ignorable $(, $($flags:tt)+)?) => {
        $crate::schema::field_spec!(@ $crate::schema::FieldSpec { ignorable: true, ..$spec }; $($($flags)+)?)
    };
    (@ $spec:expr; client_waits $from:literal .. $(, $($flags:tt)+)?) => {
        $crate::schema::field_spec!(@ $crate::schema::FieldSpec { client_waits_from: Some($from), ..$spec }; $($($flags)+)?)
    };
    (@ $spec:expr; nullable $from:literal .. $(, $($flags:tt)+)?) => {
        $crate::schema::field_spec!(@ $crate::schema::FieldSpec { nullable_from: $from, ..$spec }; $($($flags)+)?)
    };
    () => { $crate::schema::FieldSpec::versions(i16::MIN, i16::MAX) };
    (.. $(, $($flags:tt)+)?) => {
        $crate::schema::field_spec!(@ $crate::schema::FieldSpec::versions(i16::MIN, i16::MAX); $($($flags)+)?)
    };
    (..= $to:literal $(, $($flags:tt)+)?) => {
        $crate::schema::field_spec!(@ $crate::schema::FieldSpec::versions(i16::MIN, $to); $($($flags)+)?)
    };
    ($from:literal .. $(, $($flags:tt)+)?) => {
        $crate::schema::field_spec!(@ $crate::schema::FieldSpec::versions($from, i16::MAX); $($($flags)+)?)
    };
    ($from:literal ..= $to:literal $(, $($flags:tt)+)?) => {
        $crate::schema::field_spec!(@ $crate::schema::FieldSpec::versions($from, $to); $($($flags)+)?)
    };
}

macro_rules! field_versions {
    () => { "all" };
    ($($spec:tt)+) => { concat!("`", $(stringify!($spec), " ",)+ "`") };
}

macro_rules! field_default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

pub(crate) use {field_default, field_of, field_spec, field_versions};
