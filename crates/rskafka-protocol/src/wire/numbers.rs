//! Fixed-width fields: booleans, integers, API keys, error codes, UUIDs.
//!
//! Invariant: big-endian, and any bit pattern of the right width is a value.

use nom::Parser;
use nom::number::complete::{be_i8, be_i16, be_i32, be_i64};

use super::{Cx, Layout, Wire};
use crate::encoder::Encoder;
use crate::error::{EncodeError, Parsed};
use crate::{ApiKey, ErrorCode, Uuid};

macro_rules! fixed_width {
    ($($type:ty, $name:literal, $size:literal, $parser:expr, $to_bytes:expr, $from_choices:expr;)*) => {$(
        impl Wire for $type {
            const TYPE_NAME: &'static str = $name;

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

            #[cfg(test)]
            fn arbitrary(_: Layout, choices: &mut super::Choices) -> Self {
                let from: fn(u64, u64) -> Self = $from_choices;
                from(choices.number(), choices.number())
            }
        }
    )*};
}

fixed_width! {
    bool, "bool", 1, be_i8.map(|byte| byte != 0), |value| [u8::from(*value)], |n, _| n & 1 == 1;
    i8, "int8", 1, be_i8, |value| value.to_be_bytes(), |n, _| n as i8;
    i16, "int16", 2, be_i16, |value| value.to_be_bytes(), |n, _| n as i16;
    i32, "int32", 4, be_i32, |value| value.to_be_bytes(), |n, _| n as i32;
    i64, "int64", 8, be_i64, |value| value.to_be_bytes(), |n, _| n as i64;
    ErrorCode, "int16", 2, be_i16.map(ErrorCode), |value| value.0.to_be_bytes(), |n, _| ErrorCode(n as i16);
    ApiKey, "int16", 2, be_i16.map(ApiKey), |value| value.0.to_be_bytes(), |n, _| ApiKey(n as i16);
    Uuid, "uuid", 16, nom::bytes::complete::take(16usize).map(uuid), |value| value.0,
        |n, m| Uuid((u128::from(n) << 64 | u128::from(m)).to_be_bytes());
}

fn uuid(bytes: &[u8]) -> Uuid {
    Uuid(bytes.try_into().unwrap_or_default())
}
