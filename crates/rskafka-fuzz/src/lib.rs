//! What the fuzz targets hold against any bytes; the targets themselves, in
//! `fuzz/`, are one line each.
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
pub mod seeds;

/// What libFuzzer has a target for.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As the file in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Panics if the protocol crate breaks a promise.
    pub check: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target { name: "requests", check: messages::check_request },
    Target { name: "responses", check: messages::check_response },
    Target { name: "records", check: records::check },
    Target { name: "decompress", check: decompress::check },
    Target { name: "frames", check: frames::check },
    Target { name: "legacy", check: legacy::check },
    Target { name: "scram", check: scram::check },
];
