//! The macro `schema!`: from the listing of a request's or response's fields it makes struct, defaults, encoder,
//! decoder, table of fields and test values.
//!
//! Invariant: only the field's own entry says in which versions it exists; no other code asks for a version.
//!
//! A field is `name: Type [versions, flags] = default`. Versions are `5..`, `..=12`, `5..=12` or `..`
//! (all, the default); flags are `ignorable` (a set value is dropped where the version lacks the field
//! instead of being an error), `nullable 12..` (null only from that version on) and, at a throttle time,
//! `client_waits 6..` (from that version on the client keeps the silence; before, the broker has held the
//! answer back: KIP-219). Tagged fields (KIP-482) follow the struct's closing brace.

mod field;
mod tagged;

use bytes::Bytes;

pub(crate) use self::field::*;
pub(crate) use self::tagged::{TaggedFields, decode_tag, decode_tagged};
use crate::encoder::Encoder;
use crate::error::{DecodeError, DecodeErrorKind, EncodeError, fail, into_wire_error};
use crate::wire::{Cx, Layout, Wire};
use crate::{ApiKey, VersionRange};

/// The fields of a struct of the listing, in the order of the wire; tagged ones last.
#[derive(Debug)]
#[non_exhaustive]
pub struct StructSchema {
    /// The struct's name.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [FieldSchema],
}

/// A field of the listing.
#[derive(Debug)]
#[non_exhaustive]
pub struct FieldSchema {
    /// The field's name, in snake case.
    pub name: &'static str,
    /// The type's name in Kafka's schemas, e.g. `[]int32`.
    pub type_name: fn() -> String,
    /// The fields of a struct, or of an array's structs.
    pub fields: Option<&'static StructSchema>,
    /// The first and the last version with the field; `i16::MIN` and `i16::MAX` where open.
    pub versions: (i16, i16),
    /// The first version in which it may be null; `None` if it never may.
    pub nullable_from: Option<i16>,
    /// Whether a set value may be dropped in versions without the field.
    pub ignorable: bool,
    /// Its tag, for a tagged field.
    pub tag: Option<u32>,
    /// The default as written in the listing, if it is not the type's own.
    pub default: Option<&'static str>,
}

/// A request's or response's body.
pub trait Message: Sized + Default + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// The message's name in Kafka's schema.
    const NAME: &'static str;
    /// The API it belongs to.
    const API_KEY: ApiKey;
    /// The versions this crate speaks.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields (KIP-482).
    const FLEXIBLE_FROM: Option<i16>;
    /// The table of fields.
    const SCHEMA: &'static StructSchema;

    /// Appends the message to `out` in the form of `version`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if this crate does not speak the version, a field has a value that the version cannot carry, or something is
    /// too long for its length.
    fn encode(&self, version: i16, out: &mut Encoder) -> Result<(), EncodeError>;

    /// Reads a body; payloads are slices that share its memory.
    ///
    /// Bytes behind the last field are ignored, as in Apache Kafka's brokers and clients.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], which says where, if this crate does not speak the version, or the bytes are no such message.
    fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_with_surplus(version, body).map(|(message, _)| message)
    }

    /// The same, with the number of bytes behind the last field.
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode).
    fn decode_with_surplus(version: i16, body: &Bytes) -> Result<(Self, usize), DecodeError>;

    /// All fields, whichever version has them.
    ///
    /// Needs the feature `json`.
    #[cfg(feature = "json")]
    fn to_json(&self) -> serde_json::Value;

    /// The throttle time, in ms, to be set by a broker; `None` for messages without one.
    fn throttle_time_ms_mut(&mut self) -> Option<&mut i32>;

    /// How long the client must send no request on the connection after this answer (KIP-219), in ms. Zero in
    /// versions in which the broker waits itself before it answers (Kafka method
    /// `AbstractResponse.shouldClientThrottle`).
    fn silence_ms(&self, version: i16) -> u32;

    /// Whether `version` has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE_FROM.is_some_and(|from| version >= from)
    }
}

/// A request's body, with the type of its answer.
pub trait Request: Message {
    /// The answer's body.
    type Response: Message;
}

pub(crate) fn layout_of<M: Message>(version: i16) -> Layout {
    Layout { version, flexible: M::is_flexible(version) }
}

pub(crate) fn encode_message<M: Message + Wire>(
    message: &M,
    version: i16,
    out: &mut Encoder,
) -> Result<(), EncodeError> {
    if !M::VERSIONS.contains(version) {
        return Err(EncodeError::UnsupportedVersion { message: M::NAME, version });
    }
    Wire::write(message, layout_of::<M>(version), out)
}

pub(crate) fn decode_message<M: Message + Wire>(
    version: i16,
    body: &Bytes,
) -> Result<(M, usize), DecodeError> {
    let cx = Cx { frame: body, layout: layout_of::<M>(version) };
    let parsed = match M::VERSIONS.contains(version) {
        true => <M as Wire>::parse(&cx, body),
        false => fail(body, DecodeErrorKind::UnsupportedVersion),
    };
    match parsed {
        Ok((rest, message)) => Ok((message, rest.len())),
        Err(failure) => Err(DecodeError::new(M::NAME, version, body, into_wire_error(failure, body))),
    }
}

/// The listing. See the head of this file for the grammar.
macro_rules! schema {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $(( $($message:tt)* ))? {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $type:ty $([ $($spec:tt)* ])? $(= $default:expr)?
            ),* $(,)?
        } $(tagged {
            $(
                $(#[$tag_meta:meta])*
                $tag:literal => $tag_field:ident : $tag_type:ty $([ $($tag_spec:tt)* ])? $(= $tag_default:expr)?
            ),* $(,)?
        })?
    )*) => {$(
        $(#[$meta])*
        #[derive(derive_more::Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "json", derive(serde::Serialize))]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = concat!("Versions: ", $crate::schema::field_versions!($($($spec)*)?), ".")]
                pub $field: $type,
            )*
            $($(
                $(#[$tag_meta])*
                #[doc = concat!("Versions: ", $crate::schema::field_versions!($($($tag_spec)*)?), "; tag ", $tag, ".")]
                pub $tag_field: $tag_type,
            )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $crate::schema::field_default!($($default)?),)*
                    $($($tag_field: $crate::schema::field_default!($($tag_default)?),)*)?
                }
            }
        }

        impl $crate::wire::Wire for $name {
            const STRUCT: Option<&'static $crate::schema::StructSchema> = Some(&$crate::schema::StructSchema {
                name: stringify!($name),
                fields: &[
                    $($crate::schema::field_schema::<$type>(
                        stringify!($field),
                        $crate::schema::field_spec!($($($spec)*)?),
                        None,
                        stringify!($($default)?),
                    ),)*
                    $($($crate::schema::field_schema::<$tag_type>(
                        stringify!($tag_field),
                        $crate::schema::field_spec!($($($tag_spec)*)?),
                        Some($tag),
                        stringify!($($tag_default)?),
                    ),)*)?
                ],
            });

            const TYPE_NAME: &'static str = stringify!($name);

            fn min_size(layout: $crate::wire::Layout) -> usize {
                usize::from(layout.flexible)
                    $(+ $crate::schema::field_min_size::<$type>(
                        &$crate::schema::field_spec!($($($spec)*)?), layout))*
            }

            fn min_nullable_size(_: $crate::wire::Layout) -> usize {
                1
            }

            fn throttle_mut(&mut self) -> Option<&mut i32> {
                None $(.or($crate::schema::throttle_time_ms!($field, Some(&mut self.$field), None)))*
            }

            fn silence_ms(&self, _version: i16) -> u32 {
                0 $(+ $crate::schema::throttle_time_ms!(
                    $field, $crate::schema::field_spec!($($($spec)*)?).silence_ms(self.$field, _version), 0))*
            }

            #[inline(never)]
            fn write(
                &self,
                layout: $crate::wire::Layout,
                out: &mut $crate::Encoder,
            ) -> Result<(), $crate::EncodeError> {
                $($crate::schema::encode_field(
                    &self.$field,
                    &$crate::schema::field_of!($field $($($spec)*)?),
                    || $crate::schema::field_default!($($default)?),
                    layout,
                    out,
                )?;)*
                #[allow(unused_mut, reason = "most structs have no tagged fields")]
                let mut tagged = $crate::schema::TaggedFields::new(layout);
                $($(tagged.add(
                    $tag,
                    &self.$tag_field,
                    &$crate::schema::field_of!($tag_field $($($tag_spec)*)?),
                    || $crate::schema::field_default!($($tag_default)?),
                )?;)*)?
                tagged.encode(out);
                Ok(())
            }

            #[inline(never)]
            fn parse<'i>(cx: &$crate::wire::Cx<'_>, input: &'i [u8]) -> $crate::error::Parsed<'i, Self> {
                $(let (input, $field) = $crate::schema::decode_field::<$type>(
                    cx,
                    input,
                    &$crate::schema::field_of!($field $($($spec)*)?),
                    || $crate::schema::field_default!($($default)?),
                )?;)*
                $($(let mut $tag_field: $tag_type = $crate::schema::field_default!($($tag_default)?);)*)?
                let (input, ()) = $crate::schema::decode_tagged(cx, input, &mut |_tag, _bytes| {
                    $($(if _tag == $tag {
                        return $crate::schema::decode_tag(
                            cx,
                            _bytes,
                            &$crate::schema::field_of!($tag_field $($($tag_spec)*)?),
                            &mut $tag_field,
                        );
                    })*)?
                    Ok(())
                })?;
                Ok((input, Self { $($field,)* $($($tag_field,)*)? }))
            }

            #[cfg(test)]
            #[allow(unused_variables, unused_mut, reason = "some messages have no fields")]
            fn arbitrary(layout: $crate::wire::Layout, choices: &mut $crate::wire::Choices) -> Self {
                let mut message = Self::default();
                $($crate::schema::set_arbitrary(
                    &mut message.$field, &$crate::schema::field_of!($field $($($spec)*)?), layout, choices);)*
                $($(if layout.flexible {
                    $crate::schema::set_arbitrary(
                        &mut message.$tag_field, &$crate::schema::field_of!($tag_field $($($tag_spec)*)?), layout, choices);
                })*)?
                message
            }
        }

        $($crate::schema::message!($name, $($message)*);)?
    )*};
}

/// The part of a listing's head that makes a struct a message.
macro_rules! message {
    ($name:ident, $api:ident = $key:literal, versions $min:literal ..= $max:literal, flexible none) => {
        $crate::schema::message!(@ $name, $key, $min, $max, None);
    };
    ($name:ident, $api:ident = $key:literal, versions $min:literal ..= $max:literal, flexible $from:literal ..) => {
        $crate::schema::message!(@ $name, $key, $min, $max, Some($from));
    };
    (@ $name:ident, $key:literal, $min:literal, $max:literal, $flexible:expr) => {
        impl $crate::Message for $name {
            const NAME: &'static str = stringify!($name);
            const API_KEY: $crate::ApiKey = $crate::ApiKey($key);
            const VERSIONS: $crate::VersionRange = $crate::VersionRange { min: $min, max: $max };
            const FLEXIBLE_FROM: Option<i16> = $flexible;
            const SCHEMA: &'static $crate::schema::StructSchema =
                <Self as $crate::wire::Wire>::STRUCT.expect("a struct of the listing has a schema");

            fn encode(&self, version: i16, out: &mut $crate::Encoder) -> Result<(), $crate::EncodeError> {
                $crate::schema::encode_message(self, version, out)
            }

            fn decode_with_surplus(
                version: i16,
                body: &bytes::Bytes,
            ) -> Result<(Self, usize), $crate::DecodeError> {
                $crate::schema::decode_message(version, body)
            }

            fn throttle_time_ms_mut(&mut self) -> Option<&mut i32> {
                $crate::wire::Wire::throttle_mut(self)
            }

            fn silence_ms(&self, version: i16) -> u32 {
                $crate::wire::Wire::silence_ms(self, version)
            }

            #[cfg(feature = "json")]
            fn to_json(&self) -> serde_json::Value {
                serde_json::to_value(self).unwrap_or_default()
            }
        }
    };
}

/// The first value for the throttle time, the second for any other field.
macro_rules! throttle_time_ms {
    (throttle_time_ms, $value:expr, $none:expr) => {
        $value
    };
    ($other:ident, $value:expr, $none:expr) => {
        $none
    };
}

pub(crate) use {message, schema, throttle_time_ms};
