//! Time, as the cluster sees it: tokio's clock, and a wall clock that moves with it.
//!
//! Invariant: under tokio's paused time nothing here moves by itself.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// When something happens. The state is given this and never asks for the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since the Unix epoch, for timestamps of records.
    pub(crate) wall_ms: i64,
}

#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    wall_at_start_ms: i64,
}

impl Clock {
    pub(crate) fn start(wall: SystemTime) -> Self {
        let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), wall_at_start_ms: millis(since_epoch) }
    }

    pub(crate) fn now(&self) -> Now {
        let instant = Instant::now();
        Now { instant, wall_ms: self.wall_at_start_ms.saturating_add(millis(instant - self.started)) }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
