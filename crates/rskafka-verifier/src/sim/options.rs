//! The client's bounds in a run.
//!
//! Invariant: no two have the same value, and which of two is the longer differs between seeds: a bound that is used in
//! place of another one shows in a call that ends too late.

use std::time::Duration;

use rskafka::client::ClientBuilder;

/// How many pauses are shorter than the longest.
const SHORT_PAUSES: u32 = 4;

/// Short beside the longest faults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) api_timeout: Duration,
    /// The first and the longest pause between two attempts.
    pub(super) backoff: (Duration, Duration),
    reconnect_backoff: (Duration, Duration),
}

impl Options {
    pub(super) fn of_seed(seed: u64) -> Self {
        let swapped = |bit: u64, one, other| if seed >> bit & 1 == 0 { (one, other) } else { (other, one) };
        let seconds = Duration::from_secs;
        let (connect_timeout, request_timeout) = swapped(0, seconds(2), seconds(3));
        let (delivery_timeout, api_timeout) = swapped(1, seconds(7), seconds(9));
        let millis = |first, longest| (Duration::from_millis(first), Duration::from_millis(longest));
        let (backoff, reconnect_backoff) = (millis(80, 900), millis(20, 300));
        Self { connect_timeout, request_timeout, delivery_timeout, api_timeout, backoff, reconnect_backoff }
    }

    pub(super) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        builder
            .connect_timeout(self.connect_timeout)
            .request_timeout(self.request_timeout)
            .delivery_timeout(self.delivery_timeout)
            .api_timeout(self.api_timeout)
            .backoff(self.backoff.0, self.backoff.1)
            .reconnect_backoff(self.reconnect_backoff.0, self.reconnect_backoff.1)
    }

    /// How many attempts a call may make in a time: pauses double, and are shortened by a fifth at most; with each of the
    /// `leaders` that come meanwhile they begin again. Where
    /// brokers name the leader instead, every other attempt may come without a pause.
    pub(super) fn most_attempts(&self, took: Duration, leaders: u32, brokers_name_leaders: bool) -> u32 {
        let (mut pause, longest) = self.backoff;
        let (mut pauses, mut left) = (leaders * SHORT_PAUSES, took);
        while let Some(rest) = left.checked_sub(pause * 4 / 5) {
            left = rest;
            pauses += 1;
            pause = (pause * 2).min(longest);
        }
        1 + if brokers_name_leaders { 2 * pauses + 1 } else { pauses }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bound_has_a_value_of_its_own_with_every_seed() {
        for seed in 0..4 {
            let Options { connect_timeout, request_timeout, delivery_timeout, api_timeout, .. } =
                Options::of_seed(seed);
            let bounds = BTreeSet::from([connect_timeout, request_timeout, delivery_timeout, api_timeout]);
            assert_eq!(bounds.len(), 4);
        }
        let orders: BTreeSet<bool> = (0..4)
            .map(|seed| Options::of_seed(seed).delivery_timeout < Options::of_seed(seed).api_timeout)
            .collect();
        assert_eq!(orders.len(), 2);
    }

    #[test]
    fn pauses_that_do_not_grow_make_too_many_attempts() {
        let options = Options::of_seed(0);
        let took = Duration::from_secs(7);
        let most = options.most_attempts(took, 0, false);
        assert_eq!(most, 13);
        let without_growth = took.as_millis() / (options.backoff.0 * 6 / 5).as_millis();
        assert!(without_growth > 5 * u128::from(most));
        assert!(without_growth > u128::from(options.most_attempts(took, 0, true)));
        assert_eq!(options.most_attempts(Duration::ZERO, 0, false), 1);
    }
}
