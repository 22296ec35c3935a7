//! Control records, which brokers write into the log for each other and for readers.
//!
//! Invariant: an unknown type keeps its number; readers ignore it.

use nom::Parser;
use nom::number::complete::{be_i16, be_i32};

use super::RecordView;
use crate::DecodeErrorKind;
use crate::error::{Parsed, into_wire_error};

/// A record of a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRecord {
    /// The record's type.
    pub control_type: ControlType,
    /// The epoch of the transaction coordinator that ended a transaction; `None` for other types.
    pub coordinator_epoch: Option<i32>,
}

/// The type of a control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlType {
    /// The producer's transaction was aborted.
    Abort,
    /// The producer's transaction was committed.
    Commit,
    /// The cluster's own log has a new leader.
    LeaderChange,
    /// Another type.
    Other(i16),
}

impl ControlRecord {
    /// Reads a record of a batch that says [`is_control`](super::Batch::is_control).
    ///
    /// # Errors
    ///
    /// The key or, for the end of a transaction, the value is not what Kafka writes.
    pub fn parse(record: &RecordView<'_>) -> Result<Self, DecodeErrorKind> {
        let key = record.key.ok_or(DecodeErrorKind::UnexpectedNull)?;
        let control_type = match version_and(be_i16, key)? {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            2 => ControlType::LeaderChange,
            other => ControlType::Other(other),
        };
        let coordinator_epoch = match control_type {
            ControlType::Abort | ControlType::Commit => {
                let value = record.value.ok_or(DecodeErrorKind::UnexpectedNull)?;
                Some(version_and(be_i32, value)?)
            }
            _ => None,
        };
        Ok(Self { control_type, coordinator_epoch })
    }
}

/// Reads a version and the field behind it; later versions only add more.
fn version_and<'i, T>(
    field: impl Fn(&'i [u8]) -> Parsed<'i, T>,
    input: &'i [u8],
) -> Result<T, DecodeErrorKind> {
    match (be_i16, field).parse(input) {
        Ok((_, (0.., value))) => Ok(value),
        Ok(_) => Err(DecodeErrorKind::UnsupportedVersion),
        Err(error) => Err(into_wire_error(error, input).kind),
    }
}
