//! Decides whether and when a call is repeated: by the class of its failure, the number of failures, and the time.
//!
//! Invariant: no attempt begins at or after the deadline. Only the first hint of a leader, and the first connection that
//! ended before the request was sent, are followed by an attempt without a pause, until a [`Class::Passing`] failure.

use std::time::Duration;

use rskafka_transport::Deadline;
use tokio::time::Instant;

/// What a failed attempt means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The broker named another that leads: ask that one at once.
    Redirected,
    /// The connection ended before a byte of the request was sent, e.g. while it was idle: use another at once.
    Unsent,
    /// The cause may pass: pause.
    Passing,
    /// Another attempt would fail too, or could do harm.
    Lasting,
}

/// The policy by which a call is repeated.
#[derive(Debug, Clone)]
pub struct Retry {
    pub(crate) backoff: Backoff,
    failures: u32,
    /// Whether a [`Class::Redirected`] was followed by an attempt at once since the last [`Class::Passing`].
    was_redirected: bool,
    /// The same for [`Class::Unsent`].
    was_unsent: bool,
}

impl Retry {
    /// The policy for a new call.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, was_redirected: false, was_unsent: false }
    }

    /// Whether a failure of this class is followed by an attempt at once: the first of its kind is.
    pub(crate) fn is_at_once(&self, class: Class) -> bool {
        match class {
            Class::Redirected => !self.was_redirected,
            Class::Unsent => !self.was_unsent,
            Class::Passing | Class::Lasting => false,
        }
    }

    /// Takes in a failure at `now`. Returns when the next attempt begins; `None` to give up: because of the class, or
    /// because there is no time for the pause. `random` decides where in its spread a pause lies.
    pub fn failed(&mut self, class: Class, now: Instant, deadline: Deadline, random: u64) -> Option<Instant> {
        self.failures = self.failures.saturating_add(1);
        let at_once = self.is_at_once(class);
        match class {
            Class::Lasting => return None,
            Class::Redirected => self.was_redirected = true,
            Class::Unsent => self.was_unsent = true,
            Class::Passing => (self.was_redirected, self.was_unsent) = (false, false),
        }
        let pause = if at_once { Default::default() } else { self.backoff.pause(self.failures, random) };
        (deadline.remaining(now) > pause).then(|| now + pause)
    }
}

/// The pause between two attempts. It doubles from `initial` to `max`, and is spread by 20 % either way so that many clients
/// do not come back at the same moment (KIP-580).
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

    fn class() -> impl Strategy<Value = Class> {
        prop_oneof![
            2 => Just(Class::Redirected),
            2 => Just(Class::Unsent),
            4 => Just(Class::Passing),
            1 => Just(Class::Lasting),
        ]
    }

    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn begin() -> Instant {
        Instant::now()
    }

    proptest! {
        #[test]
        fn attempts_begin_before_the_deadline_after_pauses_that_grow_and_never_in_a_hot_loop(
            failures in prop::collection::vec((class(), 0..300u64, any::<u64>()), 1..60),
            time in 0..20_000u64,
        ) {
            let (backoff, mut now) = (Backoff::default(), begin());
            let deadline = Deadline::after(now, Duration::from_millis(time));
            let mut retry = Retry::new(backoff);
            let (mut at_once, mut number) = (Vec::new(), 0);
            for (class, took, random) in failures {
                now += Duration::from_millis(took);
                number += 1;
                let expected = backoff.pause(number, random);
                match retry.failed(class, now, deadline, random) {
                    None => {
                        prop_assert!(class == Class::Lasting || deadline.remaining(now) <= expected);
                        return Ok(());
                    }
                    Some(moment) => {
                        prop_assert!(class != Class::Lasting);
                        prop_assert!(!deadline.is_over(moment), "an attempt past the deadline");
                        if moment == now {
                            prop_assert!(class != Class::Passing && !at_once.contains(&class));
                            at_once.push(class);
                        } else {
                            prop_assert_eq!(moment, now + expected);
                        }
                        if class == Class::Passing {
                            at_once.clear();
                        }
                        now = moment;
                    }
                }
            }
        }
    }

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
