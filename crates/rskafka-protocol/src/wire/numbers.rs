//! Fixed-width fields: booleans, integers, error codes, UUIDs.
//!
//! Invariant: big-endian, and any bit pattern of the right width is a value.

use nom::Parser;
use nom::number::complete::{be_i8, be_i16, be_i32, be_i64};

use super::{Cx, Layout, Wire};
use crate::encoder::Encoder;
use crate::error::{EncodeError, Parsed};
use crate::{ErrorCode, Uuid};

macro_rules! fixed_width {
    ($($type:ty, $name:literal, $size:literal, $parser:expr, $to_bytes:expr, $to_json:expr;)*) => {$(
        impl Wire for $type {
            fn type_name() -> String {
                $name.to_owned()
            }

            fn min_size(_: Layout) -> usize {
                $size
            }

            fn write(&self, _: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
                let to_bytes: fn(&Self) -> [u8; $size] = $to_bytes;
                out.put_slice(&to_bytes(self));
                Ok(())
            }

            fn parse<'i>(_: &Cx<'_>, input: &'i [u8]) -> Parsed<'i, Self> {
                $parser.parse(input)
            }

            #[cfg(feature = "json")]
            fn json(&self, _: Layout) -> serde_json::Value {
                let to_json: fn(&Self) -> serde_json::Value = $to_json;
                to_json(self)
            }

            #[cfg(test)]
            fn arbitrary(_: Layout) -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy;
                arbitrary::<$type>().boxed()
            }
        }
    )*};
}

fixed_width! {
    bool, "bool", 1, be_i8.map(|byte| byte != 0), |value| [u8::from(*value)], |value| (*value).into();
    i8, "int8", 1, be_i8, |value| value.to_be_bytes(), |value| (*value).into();
    i16, "int16", 2, be_i16, |value| value.to_be_bytes(), |value| (*value).into();
    i32, "int32", 4, be_i32, |value| value.to_be_bytes(), |value| (*value).into();
    i64, "int64", 8, be_i64, |value| value.to_be_bytes(), |value| (*value).into();
    ErrorCode, "int16", 2, be_i16.map(ErrorCode), |value| value.0.to_be_bytes(), |value| value.0.into();
    Uuid, "uuid", 16, nom::bytes::complete::take(16usize).map(uuid), |value| value.0, |value| value.to_string().into();
}

fn uuid(bytes: &[u8]) -> Uuid {
    Uuid(bytes.try_into().unwrap_or_default())
}

#[cfg(test)]
trait FromSeed {
    fn from_seed(seed: [u8; 16]) -> Self;
}

#[cfg(test)]
macro_rules! from_seed {
    ($($type:ty, $from:expr;)*) => {$(
        impl FromSeed for $type {
            fn from_seed(seed: [u8; 16]) -> Self {
                let from: fn(i64, [u8; 16]) -> Self = $from;
                from(i64::from_be_bytes(seed[..8].try_into().unwrap()), seed)
            }
        }
    )*};
}

#[cfg(test)]
from_seed! {
    bool, |number, _| number & 1 == 1;
    i8, |number, _| number as i8;
    i16, |number, _| number as i16;
    i32, |number, _| number as i32;
    i64, |number, _| number;
    ErrorCode, |number, _| ErrorCode(number as i16);
    Uuid, |_, seed| Uuid(seed);
}

#[cfg(test)]
fn arbitrary<T: FromSeed + std::fmt::Debug>() -> impl proptest::strategy::Strategy<Value = T> {
    use proptest::strategy::Strategy;
    proptest::prelude::any::<[u8; 16]>().prop_map(T::from_seed)
}
