//! Which offset to read next, how much of it, and for how long to wait. Plain: it is given `now`.

use std::ops::Range;
use std::time::Duration;

use rskafka_cluster::transport::Deadline;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// More than what an answer for one partition holds beside the records.
const ANSWER_OVERHEAD: usize = 1024;

/// One fetch, as it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchSpec {
    pub(crate) offset: i64,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    /// How long the broker may wait for `min_bytes`.
    pub(crate) wait: Duration,
    /// When the waits of this fetch, and of those that go on from it, are over.
    wait_until: Deadline,
    pub(crate) deadline: Deadline,
}

impl FetchSpec {
    /// A fetch from `offset` on. No frame of the answer is larger than `max_frame_bytes`.
    pub(crate) fn new(
        offset: i64,
        bytes: Range<i32>,
        max_frame_bytes: usize,
        wait: Duration,
        api_timeout: Duration,
        now: Instant,
    ) -> Result<Self> {
        if offset < 0 {
            return Err(Error::invalid("the offset is negative"));
        }
        if bytes.start < 0 || bytes.end < 1 || bytes.start > bytes.end {
            return Err(Error::invalid("min and max bytes are negative, or the wrong way round"));
        }
        // An answer larger than the largest frame could never be read.
        let largest = max_frame_bytes.saturating_sub(ANSWER_OVERHEAD);
        let max_bytes = bytes.end.min(i32::try_from(largest).unwrap_or(i32::MAX)).max(1);
        Ok(Self {
            offset,
            min_bytes: bytes.start.min(max_bytes),
            max_bytes,
            wait,
            wait_until: Deadline::after(now, wait),
            deadline: Deadline::after(now, api_timeout.saturating_add(wait)),
        })
    }

    /// The fetch that goes on where an answer without records ended; `None` at the log's end.
    ///
    /// Control batches and what compaction removed take up offsets without being records.
    pub(crate) fn after(self, next_offset: i64, now: Instant) -> Option<Self> {
        let wait = self.wait_until.remaining(now);
        (next_offset > self.offset).then_some(Self { offset: next_offset, wait, ..self })
    }
}
