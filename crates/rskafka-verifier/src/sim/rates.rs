//! How often something may happen in a time.
//!
//! Invariant: pure; its memory is bounded by the most that may happen.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts what happens in a window of time.
#[derive(Debug, Default)]
pub(super) struct Rate {
    most: usize,
    window: Duration,
    times: VecDeque<Duration>,
}

impl Rate {
    pub(super) fn new(most: usize, window: Duration) -> Self {
        Self { most, window, times: VecDeque::new() }
    }

    /// It happens once more; whether it may.
    pub(super) fn add(&mut self, now: Duration) -> bool {
        while self.times.front().is_some_and(|time| *time + self.window <= now) {
            self.times.pop_front();
        }
        let may = self.times.len() < self.most;
        if may {
            self.times.push_back(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_may_happen_in_a_window_is_found() {
        let second = Duration::from_secs(1);
        let mut rate = Rate::new(2, second);
        assert!(rate.add(second) && rate.add(second * 3 / 2));
        assert!(!rate.add(second * 2 - Duration::from_millis(1)));
        assert!(rate.add(second * 2) && !rate.add(second * 2));
    }
}
