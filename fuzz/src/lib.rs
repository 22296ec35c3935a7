//! What the fuzz targets hold against any bytes; the targets themselves are one line each.
//!
//! Invariant: a check panics if, and only if, the protocol crate breaks a promise: no panic, no memory
//! beyond what the bytes justify, and what was read is the same once it is written and read again.

pub mod decompress;
mod described;
pub mod frames;
pub mod legacy;
pub mod memory;
pub mod messages;
pub mod records;
pub mod repair;
pub mod scram;
