//! A lane under random orders of requests, dials that end, connections that end, and sessions that run out.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;

const PAUSE: Duration = Duration::from_millis(1000);

#[derive(Debug)]
struct State {
    endpoint: Endpoint,
    is_open: bool,
    needs_replacement: bool,
}

/// A connection that the test ends.
#[derive(Debug, Clone)]
struct Fake(Rc<RefCell<State>>);

impl Fake {
    fn open(endpoint: &Endpoint) -> Self {
        let state = State { endpoint: endpoint.clone(), is_open: true, needs_replacement: false };
        Self(Rc::new(RefCell::new(state)))
    }
}

impl PartialEq for Fake {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Held for Fake {
    fn serves(&self, endpoint: &Endpoint) -> bool {
        self.is_open() && self.0.borrow().endpoint == *endpoint
    }

    fn is_open(&self) -> bool {
        self.0.borrow().is_open
    }

    fn needs_replacement(&self) -> bool {
        self.0.borrow().needs_replacement
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A request to one of two addresses.
    Ask(bool),
    /// One of the dials that are under way ends.
    Opened(usize),
    Failed(usize),
    /// The connection given last ends.
    Lose,
    /// The session of the connection given last runs out.
    Expire,
    Ended,
    Later(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => prop::bool::weighted(0.85).prop_map(Event::Ask),
        3 => any::<usize>().prop_map(Event::Opened),
        2 => any::<usize>().prop_map(Event::Failed),
        1 => Just(Event::Lose),
        2 => Just(Event::Expire),
        1 => Just(Event::Ended),
        2 => (0..800u64).prop_map(Event::Later),
    ]
}

/// The lane, and what it is known to have done.
struct Model {
    lane: Replacement<Fake, u64>,
    now: Instant,
    /// Dials that have not ended, with their addresses.
    dials: Vec<(u64, Endpoint)>,
    /// The dial that the lane waits for.
    awaited: Option<u64>,
    asked_last: Option<Endpoint>,
    given: Option<Fake>,
    /// When a dial of the lane failed, if none has succeeded since.
    failed_at: Option<Instant>,
}

impl Model {
    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn new() -> Self {
        Self {
            lane: Replacement::default(),
            now: Instant::now(),
            dials: Vec::new(),
            awaited: None,
            asked_last: None,
            given: None,
            failed_at: None,
        }
    }

    fn ask(&mut self, endpoint: Endpoint) -> TestCaseResult {
        if self.asked_last.as_ref() != Some(&endpoint) {
            self.awaited = None;
        }
        let serving = self.lane.current().filter(|current| current.serves(&endpoint)).cloned();
        let mut begun = None;
        let asked = self.lane.ask(&endpoint, self.now, |number| *begun.insert(number));
        if let Some(number) = begun {
            prop_assert_eq!(self.awaited, None, "one dial at a time");
            self.dials.push((number, endpoint.clone()));
        }
        match asked {
            Ok(connection) => {
                prop_assert!(serving.as_ref() == Some(&connection), "it is open and leads there");
                let may_dial = self.failed_at.is_none_or(|failed| self.now >= failed + PAUSE);
                let is_replaced = connection.needs_replacement() && may_dial && self.awaited.is_none();
                prop_assert_eq!(begun.is_some(), is_replaced);
                self.given = Some(connection);
            }
            Err(number) => {
                prop_assert!(serving.is_none(), "a connection serves until its successor is open");
                prop_assert_eq!(Some(number), begun.or(self.awaited));
            }
        }
        self.awaited = begun.or(self.awaited);
        self.asked_last = Some(endpoint);
        Ok(())
    }

    fn end(&mut self, index: usize, is_open: bool) -> TestCaseResult {
        if self.dials.is_empty() {
            return Ok(());
        }
        let (number, endpoint) = self.dials.remove(index % self.dials.len());
        let is_awaited = self.awaited.take_if(|awaited| *awaited == number).is_some();
        let before = self.lane.current().cloned();
        if is_open {
            let connection = Fake::open(&endpoint);
            self.lane.opened(number, connection.clone());
            let expected = if is_awaited { Some(connection) } else { before };
            prop_assert!(self.lane.current() == expected.as_ref(), "only one to the address asked for last");
            self.failed_at.take_if(|_| is_awaited);
        } else {
            self.lane.failed(number, self.now, PAUSE);
            prop_assert!(self.lane.current() == before.as_ref());
            self.failed_at = if is_awaited { Some(self.now) } else { self.failed_at };
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_lane_gives_open_connections_dials_once_and_replaces_one_whose_session_ends(
        events in prop::collection::vec(event(), 1..100),
    ) {
        let mut model = Model::new();
        for event in events {
            match event {
                Event::Ask(is_one) => model.ask(Endpoint::new(if is_one { "one" } else { "other" }, 9092))?,
                Event::Opened(index) => model.end(index, true)?,
                Event::Failed(index) => model.end(index, false)?,
                Event::Lose => {
                    model.given.iter().for_each(|given| given.0.borrow_mut().is_open = false);
                }
                Event::Expire => {
                    model.given.iter().for_each(|given| given.0.borrow_mut().needs_replacement = true);
                }
                Event::Ended => {
                    model.lane.ended();
                    prop_assert!(model.lane.current.iter().all(Held::is_open));
                }
                Event::Later(millis) => model.now += Duration::from_millis(millis),
            }
        }
    }
}

#[test]
fn after_a_failed_dial_a_pause_without_end_keeps_the_connection() {
    let Model { mut lane, now, .. } = Model::new();
    let (one, dialled) = (Endpoint::new("one", 9092), RefCell::new(0));
    let ask = |lane: &mut Replacement<_, _>| {
        lane.ask(&one, now, |number| {
            *dialled.borrow_mut() = number;
            number
        })
    };
    ask(&mut lane).unwrap_err();
    let connection = Fake::open(&one);
    lane.opened(1, connection.clone());
    connection.0.borrow_mut().needs_replacement = true;
    assert!(ask(&mut lane).unwrap() == connection);
    lane.failed(2, now, Duration::MAX);
    assert!(ask(&mut lane).unwrap() == connection);
    assert_eq!(*dialled.borrow(), 2);
}

#[test]
fn only_a_connection_after_one_that_was_lost_counts_as_a_reconnect() {
    let Model { mut lane, now, .. } = Model::new();
    let one = Endpoint::new("one", 9092);
    let mut dial = |connection: &Fake| {
        let mut begun = None;
        let _ = lane.ask(&one, now, |number| *begun.insert(number));
        lane.opened(begun.unwrap(), connection.clone())
    };
    let (first, second) = (Fake::open(&one), Fake::open(&one));
    assert!(!dial(&first));
    first.0.borrow_mut().needs_replacement = true;
    assert!(!dial(&second), "its successor");
    second.0.borrow_mut().is_open = false;
    assert!(dial(&Fake::open(&one)));
}
