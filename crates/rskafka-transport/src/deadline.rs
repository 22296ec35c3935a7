//! The moment by which an operation ends.
//!
//! Invariant: combining deadlines never moves one later, and no duration overflows.

use std::time::Duration;

use tokio::time::Instant;

/// Stands for "never": longer than any process runs, short enough that no timer overflows.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The moment by which an operation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline at `instant`.
    pub fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The deadline `duration` after `now`. A duration beyond 30 years counts as 30 years.
    pub fn after(now: Instant, duration: Duration) -> Self {
        Self(now.checked_add(duration.min(NEVER)).unwrap_or(now))
    }

    /// The moment itself.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The time left at `now`; zero once the deadline has passed.
    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Whether it has passed at `now`.
    pub fn is_over(self, now: Instant) -> bool {
        now >= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_over_at_its_instant_and_not_before() {
        let now = Instant::now();
        let deadline = Deadline::after(now, Duration::from_secs(1));
        assert!(!deadline.is_over(now));
        assert_eq!(deadline.remaining(now), Duration::from_secs(1));
        assert!(deadline.is_over(deadline.instant()));
        assert_eq!(deadline.remaining(now + Duration::from_secs(2)), Duration::ZERO);
    }

    #[test]
    fn an_endless_duration_neither_overflows_nor_is_over() {
        let now = Instant::now();
        let never = Deadline::after(now, Duration::MAX);
        assert!(!never.is_over(now + Duration::from_secs(1_000_000)));
        assert_eq!(never.min(Deadline::at(now)), Deadline::at(now));
    }
}
