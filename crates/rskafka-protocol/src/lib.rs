//! Kafka's wire protocol: typed messages and record batches, without I/O, clocks or threads.
//!
//! Invariant: any bytes either decode or give a typed error; nothing here panics on input or asks for
//! more memory than the input justifies.
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        clippy::cast_precision_loss,
        clippy::too_many_lines
    )
)]

mod api;
mod encoder;
mod error;
mod error_code;
pub mod frame;
mod header;
pub mod messages;
pub mod records;
mod schema;
#[cfg(feature = "sasl")]
pub mod scram;
mod uuid;
mod wire;

pub use api::{ApiKey, VersionRange};
/// What goes in and comes out, for those who do not depend on it themselves.
pub use bytes;
pub use encoder::{Encoder, Frame};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use error_code::ErrorCode;
pub use header::{
    RequestHeader, ResponseHeader, decode_response, decode_response_with_surplus, encode_request,
    encode_response,
};
pub use schema::{FieldSchema, Message, Request, StructSchema};
pub use uuid::{ParseUuidError, Uuid};

/// The golden vectors, for tests of what is not public.
#[cfg(test)]
#[path = "../tests/golden/data.rs"]
mod golden;
