//! Random orders of events against a model that only counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The bytes of a request are its number, repeated; so the stream tells whose they are.
type Number = u8;

#[derive(Debug, Clone)]
enum Event {
    Push {
        chunks: Vec<usize>,
        attempt: u64,
        limit: u64,
    },
    /// It is known whether the last answer asks for silence.
    Judge {
        silence: Option<u64>,
    },
    /// The socket takes up to so many bytes.
    Write(usize),
    /// The broker answers the request that is due.
    Answer,
    /// Something comes with this number.
    AnswerNumber(i32),
    /// The caller of a request, counted from the oldest, goes away.
    Abandon(usize),
    Pass {
        millis: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (prop::collection::vec(1usize..40, 1..4), 0u64..400, 0u64..400)
            .prop_map(|(chunks, attempt, limit)| Event::Push { chunks, attempt, limit }),
        4 => prop::option::weighted(0.2, 0u64..200).prop_map(|silence| Event::Judge { silence }),
        4 => (0usize..150).prop_map(Event::Write),
        3 => Just(Event::Answer),
        1 => (-1i32..40).prop_map(Event::AnswerNumber),
        1 => (0usize..10).prop_map(Event::Abandon),
        1 => (0u64..60).prop_map(|millis| Event::Pass { millis }),
    ]
}

#[derive(Debug)]
struct Model {
    pipeline: Pipeline<Number>,
    max_in_flight: usize,
    now: Instant,
    pushed: Number,
    silent_until: Option<Instant>,
    /// An answer came that may ask for silence.
    is_judging: bool,
    /// Size, deadline and timing of each request that has not ended, oldest first.
    live: BTreeMap<Number, (usize, Deadline, Timing)>,
    /// Bytes of each request that the socket took.
    taken: BTreeMap<Number, usize>,
    abandoned: BTreeSet<Number>,
    stream: Vec<Number>,
}

impl Model {
    fn new(max_in_flight: usize) -> Self {
        Self {
            pipeline: Pipeline::new(max_in_flight),
            max_in_flight,
            now: Instant::now(),
            pushed: 0,
            silent_until: None,
            is_judging: false,
            live: BTreeMap::new(),
            taken: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            stream: Vec::new(),
        }
    }

    fn taken(&self, number: Number) -> usize {
        self.taken.get(&number).copied().unwrap_or(0)
    }

    /// Requests of which the socket took a byte, oldest first.
    fn begun(&self) -> Vec<Number> {
        self.live.keys().copied().filter(|number| self.taken(*number) > 0).collect()
    }

    /// A request ends: for the first time, and unsent only if no byte of it was taken.
    fn ended(&mut self, number: Number, sent: bool) {
        assert!(self.live.remove(&number).is_some(), "request {number} ended twice or never began");
        if !sent {
            assert_eq!(self.taken(number), 0, "request {number} is called unsent");
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Push { chunks, attempt, limit } => {
                let number = self.pushed;
                self.pushed += 1;
                let limit = Deadline::after(self.now, Duration::from_millis(limit));
                let timing = Timing { attempt: Duration::from_millis(attempt), limit };
                let begins = self.silent_until.map_or(self.now, |until| until.max(self.now));
                let entry = (chunks.iter().sum(), timing.from(begins), timing);
                let chunks = chunks.into_iter().map(|len| Bytes::from(vec![number; len])).collect();
                match self.pipeline.push(i32::from(number), chunks, (self.now, timing), number) {
                    Ok(()) => assert!(self.live.insert(number, entry).is_none()),
                    Err(_) => assert!(self.silent_until.is_some() && limit.is_over(begins)),
                }
            }
            Event::Judge { silence } => {
                self.is_judging = false;
                let until = silence.map(|millis| self.now + Duration::from_millis(millis));
                let refused = self.pipeline.judged(until);
                let Some(until) = until else { return assert!(refused.is_empty()) };
                if self.silent_until.is_none_or(|known| known < until) {
                    self.silent_until = Some(until);
                    for (_, deadline, timing) in self.live.values_mut() {
                        *deadline = timing.from(until);
                    }
                } else {
                    assert!(refused.is_empty());
                }
                for number in refused {
                    assert!(self.live[&number].2.limit.is_over(until));
                    self.ended(number, false);
                }
            }
            Event::Write(limit) => self.write(limit),
            Event::Answer => {
                let due = self.begun().first().copied();
                if let Some(due) = due.filter(|due| self.taken(*due) == self.live[due].0) {
                    assert_eq!(self.pipeline.answered(i32::from(due)), Ok(due));
                    self.is_judging = true;
                    self.ended(due, true);
                }
            }
            Event::AnswerNumber(received) => {
                let due = self.begun().first().copied();
                match self.pipeline.answered(received) {
                    Ok(number) => {
                        assert_eq!(due, Some(number), "an answer out of order was taken");
                        assert_eq!(received, i32::from(number), "the answer went to the wrong caller");
                        assert_eq!(self.taken(number), self.live[&number].0, "answered before it was sent");
                        self.is_judging = true;
                        self.ended(number, true);
                    }
                    Err(Unexpected { expected }) => assert_eq!(expected, due.map(i32::from)),
                }
            }
            Event::Abandon(index) => {
                self.abandoned.extend(self.live.keys().nth(index));
                let abandoned = &self.abandoned;
                let skipped = self.pipeline.skip(|number| abandoned.contains(number));
                assert!(
                    skipped.iter().all(|number| abandoned.contains(number) && self.live.contains_key(number))
                );
                let taken = &self.taken;
                self.live.retain(|number, _| !abandoned.contains(number) || taken.contains_key(number));
            }
            Event::Pass { millis } => {
                self.now += Duration::from_millis(millis);
                self.silent_until = self.silent_until.filter(|until| *until > self.now);
                for number in self.pipeline.expire(self.now) {
                    assert!(self.live[&number].1.is_over(self.now));
                    self.ended(number, false);
                }
                let over = |number: &Number| self.live[number].1.is_over(self.now);
                let stuck = self.begun().into_iter().find(over);
                assert_eq!(self.pipeline.stuck(self.now).copied(), stuck);
                assert!(self.live.keys().all(|number| self.taken(*number) > 0 || !over(number)));
            }
        }
        self.check();
    }

    fn write(&mut self, limit: usize) {
        let begun = self.begun().len();
        let mut left = limit;
        for chunk in self.pipeline.output() {
            let part = &chunk[..left.min(chunk.len())];
            left -= part.len();
            self.stream.extend_from_slice(part);
            for number in part {
                *self.taken.entry(*number).or_default() += 1;
            }
        }
        assert_eq!(self.pipeline.wrote(limit - left), self.begun().len() - begun);
        let may_begin = self.silent_until.is_none() && !self.is_judging;
        assert!(may_begin || self.begun().len() == begun, "the silence is broken");
        let is_held = !may_begin || self.begun().len() == self.max_in_flight;
        let rest = self.live.keys().any(|number| self.taken(*number) < self.live[number].0);
        assert!(is_held || left == 0 || !rest, "what may go out is held back");
        let is_written = self.live.keys().all(|number| self.taken(*number) == self.live[number].0);
        assert_eq!(self.pipeline.is_written(), is_written);
    }

    fn check(&self) {
        assert!(self.begun().len() <= self.max_in_flight, "too many requests are in flight");
        assert_eq!(self.pipeline.in_flight(), self.begun().len());
        let earliest = self.live.values().map(|(_, deadline, _)| *deadline);
        let silence = self.silent_until.filter(|_| !self.live.is_empty()).map(Deadline::at);
        if let Some(earliest) = earliest.chain(silence).min() {
            assert!(self.pipeline.wake_at().is_some_and(|wake_at| wake_at <= earliest), "sleeps too long");
        }
    }

    fn end(mut self) {
        let begun = self.begun();
        let partly = begun.last().map(|number| self.live[number].0 - self.taken(*number));
        let (ended, rest) = self.pipeline.end(self.now);
        assert_eq!(rest.iter().map(Bytes::len).sum::<usize>(), partly.unwrap_or(0));
        for Ended { ticket, sent, deadline_is_over } in ended {
            assert_eq!(sent, begun.contains(&ticket));
            assert_eq!(deadline_is_over, self.live[&ticket].1.is_over(self.now));
            self.ended(ticket, sent);
        }
        assert!(self.live.is_empty(), "requests that never end: {:?}", self.live);
        assert!(self.stream.is_sorted(), "the frames of two requests are mixed, or out of order");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_request_ends_once_whatever_the_order_of_events(
        max_in_flight in 1usize..5,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut model = Model::new(max_in_flight);
        events.into_iter().for_each(|event| model.apply(event));
        model.end();
    }

    #[test]
    fn after_a_failed_write_only_what_was_never_offered_is_unsent(
        max_in_flight in 1usize..5,
        events in prop::collection::vec(event(), 0..30),
    ) {
        let mut model = Model::new(max_in_flight);
        events.into_iter().for_each(|event| model.apply(event));
        let offered: BTreeSet<Number> = model.pipeline.output().flatten().copied().collect();
        model.pipeline.write_failed();
        for Ended { ticket, sent, .. } in model.pipeline.end(model.now).0 {
            prop_assert_eq!(sent, model.taken(ticket) > 0 || offered.contains(&ticket));
        }
    }
}

#[test]
fn no_more_than_the_limit_is_offered_to_the_socket() {
    let mut pipeline = Pipeline::new(2);
    let now = Instant::now();
    let limit = Deadline::after(now, Duration::from_secs(1));
    let timing = Timing { attempt: Duration::MAX, limit };
    for number in 0..4 {
        pipeline.push(number, vec![Bytes::from_static(b"frame")], (now, timing), number).unwrap();
    }
    assert_eq!(pipeline.output().count(), 2);
    pipeline.wrote(10);
    assert!(!pipeline.has_output());
    assert_eq!(pipeline.answered(0), Ok(0));
    assert!(!pipeline.has_output(), "the answer may ask for silence");
    assert!(pipeline.judged(None).is_empty());
    assert_eq!(pipeline.output().count(), 1);
}

#[test]
fn an_answer_to_a_request_that_is_partly_written_is_refused() {
    let mut pipeline = Pipeline::new(2);
    let now = Instant::now();
    let limit = Deadline::after(now, Duration::from_secs(1));
    let timing = Timing { attempt: Duration::MAX, limit };
    pipeline.push(7, vec![Bytes::from_static(b"frame")], (now, timing), ()).unwrap();
    assert_eq!(pipeline.answered(7), Err(Unexpected { expected: None }));
    pipeline.wrote(4);
    assert_eq!(pipeline.answered(7), Err(Unexpected { expected: Some(7) }));
    pipeline.wrote(1);
    assert_eq!(pipeline.answered(7), Ok(()));
    assert_eq!(pipeline.answered(7), Err(Unexpected { expected: None }));
}
