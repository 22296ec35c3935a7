//! How long a connection may be used, where its authentication ends (KIP-368).
//!
//! Invariant: reckoned in monotonic time from before the broker began to, so that it ends here first.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::Deadline;

/// A session that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session {
    /// From when on no request may begin.
    pub(crate) ends: Deadline,
    /// From when on another connection should take its place.
    pub(crate) replace: Deadline,
}

#[cfg(feature = "sasl")]
impl Session {
    /// A request that has begun by the end has this long to reach the broker, or a twentieth of a short session.
    const MARGIN: Duration = Duration::from_secs(5);

    /// A session that began at `start`. `random` spreads the replacement of connections that were opened
    /// together over 80 to 90 % of the lifetime.
    pub(crate) fn new(start: Instant, lifetime: Duration, random: u64) -> Self {
        let ends = lifetime - Self::MARGIN.min(lifetime / 20);
        let replace = lifetime.mul_f64(0.8 + (random % 1001) as f64 / 10_000.0);
        Self { ends: Deadline::after(start, ends), replace: Deadline::after(start, replace) }
    }
}
