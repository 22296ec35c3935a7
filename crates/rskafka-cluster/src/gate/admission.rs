//! Which of the dials that want to connect to one address may begin, and when (Java: `reconnect.backoff.ms`).
//!
//! Invariant: while dials fail, one is under way at a time and none begins before the pause is over, however
//! many wait; all that waited during a failed dial get its failure.

use std::time::Duration;

use rskafka_transport::Deadline;
use tokio::time::Instant;

use crate::{Backoff, Failure};

/// How many dials to one address may be under way at once. Enough for handshakes to overlap; few enough not to overload a
/// broker that comes back, and for only a few dials to wait for a dead one.
pub(crate) const AT_ONCE: u32 = 8;

/// The shortest time between two warnings of one address: long enough not to fill a log, short enough that somebody who
/// waits for a client sees the reason.
const WARNING_PERIOD: Duration = Duration::from_secs(10);

/// The record of recent dials to one address.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    under_way: u32,
    failed_in_a_row: u32,
    /// How many have failed so far.
    failed: u64,
    /// What the last one failed with, and when the next one may begin. `None` after a success.
    last: Option<(Failure, Instant)>,
    /// When the last warning was given.
    warned: Option<Instant>,
}

/// What a waiting dial has to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Connect. The dial counts as under way until `ended`.
    Begin,
    /// Ask again once another dial has ended.
    Wait,
    /// Ask again at this moment, or once another dial has ended.
    WaitUntil(Instant),
    /// Fail like another dial that was under way meanwhile.
    Fail(Failure),
}

impl Admission {
    /// What a dial that begins to wait gives to [`Self::step`]: the number of those that have failed before.
    pub(crate) fn ticket(&self) -> u64 {
        self.failed
    }

    /// What the last dial failed with; `None` after a success.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.last.as_ref().map(|(failure, _)| failure)
    }

    pub(crate) fn step(&mut self, ticket: u64, now: Instant) -> Step {
        let most = if self.last.is_some() { 1 } else { AT_ONCE };
        match &self.last {
            Some((failure, _)) if self.failed != ticket => Step::Fail(failure.clone()),
            _ if self.under_way >= most => Step::Wait,
            Some((_, not_before)) if now < *not_before => Step::WaitUntil(*not_before),
            _ => {
                self.under_way += 1;
                Step::Begin
            }
        }
    }

    /// A dial that is under way has succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failed_in_a_row = 0;
        self.last = None;
    }

    /// A dial that is under way has failed. Returns whether to warn that the address cannot be connected to: at the first
    /// failure, and once in each period.
    pub(crate) fn failed(&mut self, failure: Failure, now: Instant, backoff: Backoff, random: u64) -> bool {
        self.failed += 1;
        // Dials that were under way at the same time failed for the same reason: they count once.
        if self.under_way == 1 {
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        }
        let pause = backoff.pause(self.failed_in_a_row, random);
        self.last = Some((failure, Deadline::after(now, pause).instant()));
        let is_due = self.warned.is_none_or(|warned| now - warned >= WARNING_PERIOD);
        self.warned = if is_due { Some(now) } else { self.warned };
        is_due
    }

    /// A dial is no longer under way. If it neither succeeded nor failed, it was given up, which says nothing about the
    /// address.
    pub(crate) fn ended(&mut self) {
        self.under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) };

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Arrive,
        Succeed,
        Fail,
        Abandon,
        Later(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Arrive),
            1 => Just(Event::Succeed),
            3 => Just(Event::Fail),
            1 => Just(Event::Abandon),
            3 => (0..400u64).prop_map(Event::Later),
        ]
    }

    fn begins(admission: &mut Admission, now: Instant) -> bool {
        let ticket = admission.ticket();
        matches!(admission.step(ticket, now), Step::Begin)
    }

    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn begin() -> Instant {
        Instant::now()
    }

    proptest! {
        #[test]
        fn while_dials_fail_one_is_under_way_at_a_time_after_its_pause_and_those_that_wait_share_its_failure(
            events in prop::collection::vec(event(), 1..120),
        ) {
            let (mut admission, mut now) = (Admission::default(), begin());
            let (mut waiting, mut under_way) = (Vec::<(u64, bool)>::new(), 0u32);
            let mut fails_until: Option<Instant> = None;
            for event in events {
                match event {
                    Event::Arrive => waiting.push((admission.ticket(), false)),
                    Event::Later(millis) => now += Duration::from_millis(millis),
                    Event::Succeed if under_way > 0 => {
                        admission.succeeded();
                        admission.ended();
                        (under_way, fails_until) = (under_way - 1, None);
                    }
                    Event::Fail if under_way > 0 => {
                        admission.failed(Failure::NoLeader { code: None }, now, BACKOFF, 0);
                        admission.ended();
                        (under_way, fails_until) = (under_way - 1, Some(now + BACKOFF.initial * 8 / 10));
                        waiting.iter_mut().for_each(|(_, has_failed)| *has_failed = true);
                    }
                    Event::Abandon if under_way > 0 => {
                        admission.ended();
                        under_way -= 1;
                    }
                    _ => {}
                }
                prop_assert_eq!(admission.failure().is_some(), fails_until.is_some());
                let mut left = Vec::new();
                for (ticket, has_failed) in waiting {
                    match admission.step(ticket, now) {
                        Step::Begin => {
                            under_way += 1;
                            prop_assert!(under_way <= AT_ONCE);
                            if let Some(not_before) = fails_until {
                                prop_assert_eq!(under_way, 1);
                                prop_assert!(now >= not_before && !has_failed);
                            }
                        }
                        Step::Fail(_) => prop_assert!(has_failed && fails_until.is_some()),
                        Step::Wait => {
                            prop_assert!(under_way > 0);
                            left.push((ticket, has_failed));
                        }
                        Step::WaitUntil(moment) => {
                            prop_assert!(moment > now && under_way == 0);
                            left.push((ticket, has_failed));
                        }
                    }
                }
                waiting = left;
            }
        }
    }

    #[test]
    fn pauses_grow_with_each_failure_but_not_with_those_of_one_moment_and_begin_again_after_a_success() {
        let (mut admission, now) = (Admission::default(), begin());
        for _ in 0..AT_ONCE {
            assert!(begins(&mut admission, now));
        }
        assert!(!begins(&mut admission, now));
        let mut pauses = Vec::new();
        let mut fail = |admission: &mut Admission| {
            admission.failed(Failure::NoLeader { code: None }, now, BACKOFF, 200);
            admission.ended();
            pauses.push(admission.last.as_ref().unwrap().1 - now);
        };
        (0..AT_ONCE).for_each(|_| fail(&mut admission));
        for _ in 0..3 {
            assert!(begins(&mut admission, now + BACKOFF.max));
            fail(&mut admission);
        }
        assert!(begins(&mut admission, now + BACKOFF.max));
        admission.succeeded();
        admission.ended();
        assert!(begins(&mut admission, now));
        fail(&mut admission);
        let millis: Vec<_> = pauses[AT_ONCE as usize - 1..].iter().map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400, 50]);
    }

    #[test]
    fn a_pause_without_end_is_as_long_as_a_deadline_can_be() {
        let (mut admission, now) = (Admission::default(), begin());
        let backoff = Backoff { initial: Duration::MAX, max: Duration::MAX };
        admission.failed(Failure::NoLeader { code: None }, now, backoff, 400);
        let ticket = admission.ticket();
        let longest = Deadline::after(now, Duration::MAX).instant();
        assert!(matches!(admission.step(ticket, now), Step::WaitUntil(moment) if moment == longest));
    }

    #[test]
    fn an_address_gets_a_warning_at_its_first_failure_and_one_in_each_period() {
        let (mut admission, start) = (Admission::default(), begin());
        let mut is_due = |after_ms| {
            let now = start + Duration::from_millis(after_ms);
            assert!(begins(&mut admission, now));
            let is_due = admission.failed(Failure::NoLeader { code: None }, now, BACKOFF, 0);
            admission.ended();
            is_due
        };
        let due = [0, 2_000, 9_999, 12_000, 14_000, 21_999, 24_000].map(&mut is_due);
        assert_eq!(due, [true, false, false, true, false, false, true]);
    }
}
