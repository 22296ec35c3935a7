//! When to warn that an address cannot be connected to.
//!
//! Invariant: an address gets a warning at its first failure, and at most one in a period.

use std::collections::BTreeMap;
use std::time::Duration;

use rskafka_transport::Endpoint;
use tokio::time::Instant;

/// Long enough not to fill a log, short enough that somebody who waits for a client sees why.
const PERIOD: Duration = Duration::from_secs(10);

/// The addresses warned of within the last period.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    warned: BTreeMap<Endpoint, Instant>,
}

impl Warnings {
    /// Notes a failure at `endpoint`; whether to warn of it now.
    pub(crate) fn note(&mut self, endpoint: &Endpoint, now: Instant) -> bool {
        self.warned.retain(|_, warned| now.saturating_duration_since(*warned) < PERIOD);
        if self.warned.contains_key(endpoint) {
            return false;
        }
        self.warned.insert(endpoint.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use rskafka_transport::Env;

    use super::*;

    #[test]
    fn each_address_has_its_own_first_warning_and_one_a_period() {
        let (one, other) = (Endpoint::new("one", 9092), Endpoint::new("other", 9092));
        let begin = Env::system().now();
        let mut warnings = Warnings::default();
        let mut due = |endpoint, after_ms| warnings.note(endpoint, begin + Duration::from_millis(after_ms));
        assert!(due(&one, 0));
        assert!(!due(&one, 1));
        assert!(due(&other, 5_000));
        assert!(!due(&one, 9_999));
        assert!(due(&one, 10_000));
        assert!(!due(&other, 14_999));
        assert!(due(&other, 15_000));
        assert!(!due(&one, 15_000));
    }
}
