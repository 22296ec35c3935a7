//! When a connection ends without a failure: after it was idle, or with its SASL session.
//!
//! Invariant: a connection is not idle while a request waits or is unanswered, nor while it is being opened.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::error::CloseCause;

/// A connection is never idle sooner, so that the code that opened it gets to use it, however busy the machine
/// is.
const SHORTEST_IDLE: Duration = Duration::from_secs(1);

/// A SASL session that ends (KIP-368). Its time is counted by the monotonic clock, from before the broker starts to
/// count, so that it ends here first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session {
    /// No request begins from here on.
    pub(crate) ends: Deadline,
    /// From here on another connection should replace this one.
    pub(crate) replace: Deadline,
}

#[derive(Debug)]
pub(crate) struct Lifetime {
    idle_timeout: Duration,
    is_open: bool,
    session_ends: Option<Deadline>,
    /// Set while no request waits or is unanswered.
    idle_until: Option<Deadline>,
}

impl Lifetime {
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        let idle_timeout = idle_timeout.max(SHORTEST_IDLE);
        Self { idle_timeout, is_open: false, session_ends: None, idle_until: None }
    }

    /// The connection is open. Idle time counts from here, not while opening: that may wait long for the caller's token
    /// function.
    pub(crate) fn opened(&mut self, session_ends: Option<Deadline>) {
        self.is_open = true;
        self.session_ends = session_ends;
    }

    /// A request was made.
    pub(crate) fn used(&mut self) {
        self.idle_until = None;
    }

    /// Whether no request may begin any more.
    pub(crate) fn is_session_over(&self, now: Instant) -> bool {
        self.session_ends.is_some_and(|end| end.is_over(now))
    }

    /// Why the connection ends now, if it does. `is_in_use` says whether a request waits or is unanswered;
    /// a silence that the broker asked for does not count as idleness. When the session has expired, no request may begin any
    /// more; those that are on the wire are still answered.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        is_in_use: bool,
        silent_until: Option<Instant>,
    ) -> Option<CloseCause> {
        if self.is_session_over(now) {
            return Some(CloseCause::SessionExpired);
        }
        if is_in_use || !self.is_open {
            self.idle_until = None;
            return None;
        }
        let idle_from = silent_until.map_or(now, |until| until.max(now));
        let idle_until = self.idle_until.get_or_insert(Deadline::after(idle_from, self.idle_timeout));
        idle_until.is_over(now).then_some(CloseCause::Idle)
    }

    /// When to [`check`](Self::check) next, if nothing else happens.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Deadline> {
        let session_ends = self.session_ends.filter(|end| !end.is_over(now));
        [self.idle_until, session_ends].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Event {
        Open {
            session: Option<u64>,
        },
        /// A request is made.
        Request,
        /// The last request is answered; the answer asks for silence.
        Answer {
            silence: u64,
        },
        Pass {
            millis: u64,
        },
        /// Time passes until the moment for which the connection asked to be woken.
        Sleep,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => prop::option::of(0u64..9000).prop_map(|session| Event::Open { session }),
            2 => Just(Event::Request),
            2 => (0u64..2000).prop_map(|silence| Event::Answer { silence }),
            3 => (0u64..1500).prop_map(|millis| Event::Pass { millis }),
            3 => Just(Event::Sleep),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The model derives each verdict from all that has happened.
        #[test]
        fn a_connection_ends_when_it_was_unused_for_its_time_or_with_its_session_and_never_else(
            idle in 0u64..4000,
            events in prop::collection::vec(event(), 0..40),
        ) {
            let mut lifetime = Lifetime::new(Duration::from_millis(idle));
            let idle = Duration::from_millis(idle.max(1000));
            let mut now = Instant::now();
            let (mut is_open, mut session_ends, mut in_use) = (false, None, false);
            // Since when it may count as idle.
            let mut free_from = now;
            let mut silent_until = None;
            for event in events {
                match event {
                    Event::Open { session } if !is_open => {
                        is_open = true;
                        session_ends = session.map(|millis| now + Duration::from_millis(millis));
                        lifetime.opened(session_ends.map(Deadline::at));
                        free_from = free_from.max(now);
                    }
                    Event::Open { .. } => {}
                    Event::Request => {
                        in_use = true;
                        lifetime.used();
                    }
                    Event::Answer { silence } if in_use => {
                        in_use = false;
                        silent_until = Some(now + Duration::from_millis(silence));
                        free_from = now + Duration::from_millis(silence);
                    }
                    Event::Answer { .. } => {}
                    Event::Pass { millis } => now += Duration::from_millis(millis),
                    Event::Sleep => {
                        let wake_at = lifetime.wake_at(now).map(Deadline::instant);
                        let ends = session_ends.filter(|end| *end > now);
                        prop_assert!(ends.is_none_or(|end| wake_at.is_some_and(|at| at <= end)), "oversleeps");
                        if let Some(wake_at) = wake_at {
                            now = now.max(wake_at);
                        } else {
                            prop_assert!(in_use || !is_open, "nothing would end it");
                        }
                    }
                }
                let ending = lifetime.check(now, in_use, silent_until);
                let is_over = session_ends.is_some_and(|end| end <= now);
                prop_assert_eq!(lifetime.is_session_over(now), is_over);
                let is_idle = is_open && !in_use && now >= free_from + idle;
                let is_right = match (is_over, is_idle) {
                    (true, _) => matches!(ending, Some(CloseCause::SessionExpired)),
                    (false, true) => matches!(ending, Some(CloseCause::Idle)),
                    (false, false) => ending.is_none(),
                };
                prop_assert!(is_right, "{:?}", ending);
                if ending.is_some() && !in_use {
                    break;
                }
            }
        }
    }
}
