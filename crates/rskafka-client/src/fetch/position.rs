//! Which offset to read next, how many bytes, and how long to wait.

use std::ops::Range;
use std::time::Duration;

use rskafka_cluster::transport::Deadline;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Error, Result};

/// An upper bound of what an answer for one partition holds beside the records.
const ANSWER_OVERHEAD: usize = 1024;

/// One fetch, as it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchSpec {
    pub(crate) offset: i64,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    /// How long the broker may wait for `min_bytes`.
    pub(crate) wait: Duration,
    /// When the waits of this fetch, and of those that continue it, are over.
    wait_until: Deadline,
    pub(crate) deadline: Deadline,
}

impl FetchSpec {
    /// A fetch from `offset` on, unless the client is closed. No frame of the answer is larger than the client accepts.
    pub(crate) fn new(core: &Core, offset: i64, bytes: Range<i32>, wait: Duration) -> Result<Self> {
        core.check_open()?;
        if offset < 0 {
            return Err(Error::invalid("the offset is negative"));
        }
        if bytes.start < 0 || bytes.end < 1 || bytes.start > bytes.end {
            return Err(Error::invalid("max_bytes must be at least 1, and min_bytes from 0 to max_bytes"));
        }
        // An answer larger than the largest frame could never be read.
        let max_frame_bytes = core.cluster.config().connection.max_frame_bytes;
        let largest = max_frame_bytes.saturating_sub(ANSWER_OVERHEAD);
        let max_bytes = bytes.end.min(i32::try_from(largest).unwrap_or(i32::MAX)).max(1);
        let now = core.cluster.env().now();
        Ok(Self {
            offset,
            min_bytes: bytes.start.min(max_bytes),
            max_bytes,
            wait,
            wait_until: Deadline::after(now, wait),
            deadline: Deadline::after(now, core.limits.api_timeout.saturating_add(wait)),
        })
    }

    /// The fetch that continues where an answer without records ended, if that is after this fetch's offset: control
    /// batches and compacted records take up offsets. `None` at the log's end.
    pub(crate) fn after(self, next_offset: i64, now: Instant) -> Option<Self> {
        let wait = self.wait_until.remaining(now);
        (next_offset > self.offset).then_some(Self { offset: next_offset, wait, ..self })
    }
}
