use proptest::prelude::*;

use super::*;
use crate::fault::{ByteFault, Faults};

struct Fixture {
    faults: Faults,
    line: Line,
    now: Instant,
}

impl Fixture {
    fn new(direction: Direction) -> Self {
        Self { faults: Faults::new(7), line: Line::new(3, 1, direction), now: Instant::now() }
    }

    fn inject(&mut self, fault: ByteFault) -> FaultId {
        let id = self.faults.next_id();
        self.faults.bytes.inject(id, fault, &[*self.line.reached()]);
        id
    }

    fn step(&mut self) -> Step {
        self.line.step(self.now, &mut self.faults.bytes)
    }

    /// Lets bytes through as long as they may; gives how many in all, and what comes then.
    fn run(&mut self, chunk: u64) -> (u64, Step) {
        loop {
            match self.step() {
                Step::Pass(room) if self.line.reached().bytes < 1 << 20 => self.line.passed(room.min(chunk)),
                Step::Flip(_) if chunk > 0 => self.line.passed(1),
                step => return (self.line.reached().bytes, step),
            }
        }
    }
}

#[test]
fn without_faults_bytes_pass_unasked() {
    let mut fixture = Fixture::new(Direction::Sent);
    assert_eq!(fixture.line.free(), 0, "the first time it is asked");
    assert_eq!(fixture.step(), Step::Pass(u64::MAX));
    assert_eq!(fixture.line.free(), u64::MAX);
}

#[test]
fn a_cut_comes_after_exactly_its_byte_and_stays() {
    let mut fixture = Fixture::new(Direction::Sent);
    let fault = fixture.inject(ByteFault::cut().after_sent(100));
    fixture.inject(ByteFault::cut().after_received(10));
    assert_eq!(fixture.run(7), (100, Step::End { reset: false }));
    fixture.faults.remove(fault);
    assert_eq!(fixture.step(), Step::End { reset: false });
}

#[test]
fn a_stall_ends_with_its_time_and_a_freeze_when_it_is_taken_back() {
    let mut fixture = Fixture::new(Direction::Received);
    fixture.inject(ByteFault::stall(Duration::from_secs(5)).after_received(10));
    let until = fixture.now + Duration::from_secs(5);
    assert_eq!(fixture.run(1000), (10, Step::Hold(Some(until))));
    fixture.now = until;
    assert_eq!(fixture.step(), Step::Pass(u64::MAX), "and it strikes once");

    let freeze = fixture.inject(ByteFault::freeze());
    fixture.now += Duration::from_secs(1_000_000);
    assert_eq!(fixture.step(), Step::Hold(None));
    fixture.faults.remove(freeze);
    assert_eq!(fixture.step(), Step::Pass(u64::MAX));
}

#[test]
fn a_slow_line_lets_one_byte_after_the_other_through() {
    let mut fixture = Fixture::new(Direction::Sent);
    let slow = fixture.inject(ByteFault::slow(1).after_sent(2));
    let start = fixture.now;
    for seconds in 1..5 {
        let next = start + Duration::from_secs(seconds);
        assert_eq!(fixture.run(1000), (1 + seconds, Step::Hold(Some(next))));
        fixture.now = next - Duration::from_nanos(1);
        assert_eq!(fixture.step(), Step::Hold(Some(next)));
        fixture.now = next;
    }
    fixture.faults.remove(slow);
    assert_eq!(fixture.step(), Step::Pass(u64::MAX));
}

#[test]
fn one_byte_is_changed_and_no_other() {
    let mut fixture = Fixture::new(Direction::Sent);
    fixture.inject(ByteFault::flip(0x81).after_sent(3));
    assert_eq!(fixture.step(), Step::Pass(3));
    fixture.line.passed(3);
    assert_eq!(fixture.step(), Step::Flip(0x81));
    assert_eq!(fixture.step(), Step::Flip(0x81), "until it has gone through");
    fixture.line.passed(1);
    assert_eq!(fixture.step(), Step::Pass(u64::MAX));
}

#[test]
fn a_random_byte_is_the_same_for_the_same_seed_and_differs_between_connections() {
    let place = |seed, connection| {
        let mut faults = Faults::new(seed);
        let id = faults.next_id();
        faults.bytes.inject(id, ByteFault::cut().after_sent_within(50..1_000_050).always(), &[]);
        faults.bytes.next(Line::new(connection, 1, Direction::Sent).reached()).unwrap()
    };
    let places: Vec<u64> = (0..100).map(|connection| place(1, connection)).collect();
    assert!(places.iter().all(|place| (50..1_000_050).contains(place)));
    assert_eq!(places, (0..100).map(|connection| place(1, connection)).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<_> = places.iter().collect();
    assert!(distinct.len() > 95, "{}", distinct.len());
    assert_ne!(place(1, 0), place(2, 0));
}

proptest! {
    /// Whatever is injected, no byte passes a cut, and every stall holds at its byte for its time.
    #[test]
    fn nothing_passes_a_place_before_it_happened(
        places in prop::collection::vec((0u64..500, 0u8..3), 0..6),
        chunk in 1u64..64,
    ) {
        let mut fixture = Fixture::new(Direction::Received);
        let mut held = Duration::ZERO;
        let mut cut = None;
        for (place, kind) in places {
            fixture.inject(match kind {
                0 => ByteFault::cut().after_received(place),
                1 => ByteFault::stall(Duration::from_secs(place + 1)).after_received(place),
                _ => ByteFault::flip(1).after_received(place),
            });
            if kind == 0 {
                cut = Some(cut.unwrap_or(u64::MAX).min(place));
            }
        }
        let start = fixture.now;
        let end = loop {
            match fixture.run(chunk) {
                (bytes, Step::Hold(Some(until))) => {
                    prop_assert!(cut.is_none_or(|cut| bytes < cut));
                    held += until - fixture.now;
                    fixture.now = until;
                }
                (bytes, Step::End { .. }) => break Some(bytes),
                _ => break None,
            }
        };
        prop_assert_eq!(end, cut);
        prop_assert_eq!(fixture.now - start, held);
    }
}
