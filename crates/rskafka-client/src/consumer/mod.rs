//! Readers of a partition's log: streams that follow it, and replays that read ranges of it fast.
//!
//! Invariant: each gives every record from its start on once and in order, or an error that says why it cannot.

mod batch_stream;
mod builder;
mod ranges;
mod read_ahead;
mod record_stream;
mod replay;
mod resolve;

use time::OffsetDateTime;

pub use self::batch_stream::BatchStream;
pub use self::builder::ReadBuilder;
pub use self::ranges::Ranges;
pub use self::record_stream::RecordStream;
pub use self::replay::{Replay, ReplayProgress};
pub use self::resolve::Resolution;
pub(crate) use self::resolve::resolve;
pub use crate::fetch::{FetchedBatch, IntoRecords, IsolationLevel, ParsePositionError, Position};

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// At the log's first offset.
    Earliest,
    /// At the log's end: only what is appended from now on.
    Latest,
    /// At this offset.
    Offset(i64),
    /// At the first record with this timestamp or a later one; at the log's end if there is none.
    Timestamp(OffsetDateTime),
    /// Where a reader was before. If the log was truncated below that since, the stream says so.
    Position(Position),
}

/// What a stream does where the log does not have the offset that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OutOfRange {
    /// It gives the error, also when it is asked again, until [`RecordStream::skip_to`] says where to continue.
    #[default]
    Error,
    /// It gives the error once, which tells what is gone, and continues at the nearest offset: the log's start if records
    /// were deleted ([`OffsetOutOfRange`](crate::error::ErrorKind::OffsetOutOfRange)), the end of what both have in common if
    /// the log was truncated (that, or [`LogTruncated`](crate::error::ErrorKind::LogTruncated)).
    Continue,
}
