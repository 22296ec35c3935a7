//! The pause between two attempts. It doubles from `initial` to `max`, and is spread by 20 % either way so that many clients
//! do not come back at the same moment (KIP-580).

use std::time::Duration;

/// How long to pause between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause (Java: `retry.backoff.ms`).
    pub initial: Duration,
    /// The longest pause (Java: `retry.backoff.max.ms`).
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(1) }
    }
}

impl Backoff {
    /// The pause after `attempts` failures in a row; `random` selects its place in the spread.
    pub fn pause(&self, attempts: u32, random: u64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        let pause = self.initial.saturating_mul(1 << doublings).min(self.max);
        // 0.8 to 1.2, in thousandths.
        let spread = 800 + (random % 401) as u32;
        pause.saturating_mul(spread) / 1000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_stays_within_its_spread(attempts: u32, random: u64) {
            let backoff = Backoff::default();
            let pause = backoff.pause(attempts, random);
            prop_assert!(pause >= backoff.initial * 8 / 10);
            prop_assert!(pause <= backoff.max * 12 / 10);
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<_> =
            (1..7).map(|attempts| Backoff::default().pause(attempts, 200).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
    }
}
