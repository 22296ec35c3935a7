//! How much clients may send and read in a second, and how long they are throttled for more (Kafka
//! classes `ClientQuotaManager` and `Rate`).
//!
//! Invariant: a rate is counted over the last eleven windows of a second; time comes from the caller.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(1);
const WINDOWS: usize = 11;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limited {
    Produce,
    Fetch,
}

#[derive(Debug, Default)]
pub(crate) struct Quotas {
    bytes_per_second: BTreeMap<Limited, u64>,
    /// Each broker counts for itself, by client.
    used: BTreeMap<(Limited, i32, Option<String>), Rate>,
}

/// Bytes by the window in which they came, oldest first.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn add(&mut self, bytes: u64, now: Instant) {
        while self.0.front().is_some_and(|(start, _)| now - *start >= WINDOW * WINDOWS as u32) {
            self.0.pop_front();
        }
        match self.0.back_mut().filter(|(start, _)| now - *start < WINDOW) {
            Some((_, sum)) => *sum += bytes,
            None => self.0.push_back((now, bytes)),
        }
    }

    /// How long nothing may come for the rate to be within the quota again.
    fn excess(&self, quota: u64, now: Instant) -> Duration {
        let Some((first, _)) = self.0.front() else {
            return Duration::ZERO;
        };
        // Never fewer than all windows but the last, or the first bytes would make a huge rate.
        let span = (now - *first).max(WINDOW * (WINDOWS as u32 - 1)).as_secs_f64();
        let sum: u64 = self.0.iter().map(|(_, bytes)| bytes).sum();
        let excess = (sum as f64 / span - quota as f64) / quota as f64 * span;
        Duration::from_millis((excess.max(0.0) * 1000.0).round() as u64)
    }
}

impl Quotas {
    /// `None` for no limit.
    pub(crate) fn set(&mut self, limited: Limited, bytes_per_second: Option<u64>) {
        self.used.retain(|(known, ..), _| *known != limited);
        match bytes_per_second {
            // Zero would be a throttle without end.
            Some(bytes) => self.bytes_per_second.insert(limited, bytes.max(1)),
            None => self.bytes_per_second.remove(&limited),
        };
    }

    /// Counts bytes of a client at a broker, and returns how long it should be silent. Bytes of a fetch above the
    /// quota are not sent, so they do not count.
    pub(crate) fn charge(
        &mut self,
        limited: Limited,
        (broker, client): (i32, Option<&str>),
        bytes: usize,
        now: Instant,
    ) -> Duration {
        let Some(&quota) = self.bytes_per_second.get(&limited) else {
            return Duration::ZERO;
        };
        let rate = self.used.entry((limited, broker, client.map(str::to_owned))).or_default();
        rate.add(bytes as u64, now);
        let excess = rate.excess(quota, now);
        if limited == Limited::Fetch
            && excess > Duration::ZERO
            && let Some((_, sum)) = rate.0.back_mut()
        {
            *sum -= bytes as u64;
        }
        excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_the_quota_is_paid_with_silence() {
        let (mut quotas, start) = (Quotas::default(), Instant::now());
        let charge = |quotas: &mut Quotas, client, bytes, seconds| {
            let now = start + Duration::from_secs(seconds);
            quotas.charge(Limited::Produce, (1, Some(client)), bytes, now)
        };
        assert_eq!(charge(&mut quotas, "a", 1 << 40, 0), Duration::ZERO, "there is no quota");
        quotas.set(Limited::Produce, Some(100));
        assert_eq!(charge(&mut quotas, "a", 1000, 0), Duration::ZERO, "over ten seconds it is within");
        assert_eq!(charge(&mut quotas, "a", 500, 0), Duration::from_secs(5));
        assert_eq!(charge(&mut quotas, "b", 500, 0), Duration::ZERO, "another client");
        assert_eq!(charge(&mut quotas, "a", 0, 15), Duration::ZERO, "it is over");
        quotas.set(Limited::Produce, None);
        assert_eq!(charge(&mut quotas, "a", 1 << 40, 15), Duration::ZERO);
    }

    #[test]
    fn bytes_that_are_not_given_do_not_count() {
        let (mut quotas, now) = (Quotas::default(), Instant::now());
        quotas.set(Limited::Fetch, Some(100));
        for _ in 0..3 {
            let silence = quotas.charge(Limited::Fetch, (1, None), 2000, now);
            assert_eq!(silence, Duration::from_secs(10));
        }
    }
}
