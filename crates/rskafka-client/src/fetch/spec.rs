//! One fetch, as it is sent: which offset, how many bytes, and how long to wait.

use std::ops::Range;
use std::time::Duration;

use rskafka_cluster::transport::Deadline;
use tokio::time::Instant;

use super::position::Position;
use super::{Fetched, IsolationLevel};
use crate::core::Core;
use crate::error::{Error, Result};

/// An upper bound of what an answer for one partition holds beside the records.
const ANSWER_OVERHEAD: usize = 1024;

/// The broker that gave an answer, and the leader epoch at that time.
pub(crate) type ReadUnder = (i32, Option<i32>);

/// One fetch, as it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchSpec {
    pub(crate) offset: i64,
    /// The leader epoch of the batch before the offset, if it was read.
    pub(crate) last_epoch: Option<i32>,
    /// The broker and the leader epoch under which that batch was last found in the log.
    pub(crate) checked_under: Option<ReadUnder>,
    /// Records at or after this offset are left out.
    pub(crate) until: i64,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) isolation: IsolationLevel,
    /// Batches with no record that a user gets are not left out.
    pub(crate) every_batch: bool,
    /// How long the broker may wait for `min_bytes`.
    pub(crate) wait: Duration,
    /// When the waits of this fetch, and of those that continue it, are over.
    pub(crate) wait_until: Deadline,
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
            last_epoch: None,
            checked_under: None,
            until: i64::MAX,
            min_bytes: bytes.start.min(max_bytes),
            max_bytes,
            isolation: IsolationLevel::ReadUncommitted,
            every_batch: false,
            wait,
            wait_until: Deadline::after(now, wait),
            deadline: Deadline::after(now, core.limits.api_timeout.saturating_add(wait)),
        })
    }

    /// The fetch that continues after this one's answer, within the same deadline.
    pub(crate) fn after(self, fetched: &Fetched, now: Instant) -> Self {
        let wait = self.wait_until.remaining(now);
        let Position { offset, leader_epoch: last_epoch, .. } = fetched.next;
        Self { offset, last_epoch, checked_under: Some(fetched.read_under), wait, ..self }
    }

    #[cfg(test)]
    pub(super) fn of_tests(offset: i64) -> Self {
        let now = crate::fetch::spec::tests::begin();
        Self {
            offset,
            last_epoch: None,
            checked_under: None,
            until: i64::MAX,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation: IsolationLevel::ReadUncommitted,
            every_batch: false,
            wait: Duration::ZERO,
            wait_until: Deadline::after(now, Duration::ZERO),
            deadline: Deadline::after(now, Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    pub(super) fn begin() -> Instant {
        Instant::now()
    }
}
