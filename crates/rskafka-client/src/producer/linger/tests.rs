//! The state machine under any order of events, beside a model that only counts.

use std::panic::resume_unwind;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use rskafka_cluster::transport::Env;
use rskafka_protocol::records::{NewRecord, batches};

use super::*;
use crate::record::RecordBatchBuilder;

/// What an input makes its aggregator do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    FailsInPush,
    PanicsInPush,
    FailsInFlush,
    PanicsInFlush,
}

#[derive(Debug, Clone, Copy)]
struct Input {
    id: u32,
    bytes: usize,
    mood: Mood,
}

const MOST_BYTES: usize = 100;
const MOST_INPUTS: usize = 5;
/// What a batch has besides.
const OVERHEAD: usize = 200;

/// A record for each input, with its number as value.
#[derive(Clone, Default)]
struct Numbers {
    inputs: Vec<Input>,
}

impl Aggregator for Numbers {
    type Input = Input;
    type Tag = usize;
    type Output = i64;

    fn push(&mut self, input: Input) -> Result<Pushed<Input, usize>, BoxError> {
        match input.mood {
            Mood::FailsInPush => return Err("told to fail".into()),
            Mood::PanicsInPush => resume_unwind(Box::new("told to panic")),
            _ if self.size() + input.bytes > MOST_BYTES => return Ok(Pushed::Full(input)),
            _ => self.inputs.push(input),
        }
        let tag = self.inputs.len() - 1;
        Ok(if self.inputs.len() < MOST_INPUTS { Pushed::Added(tag) } else { Pushed::AddedLast(tag) })
    }

    fn size(&self) -> usize {
        self.inputs.iter().map(|input| input.bytes).sum()
    }

    fn flush(&mut self) -> Result<RecordBatchBuilder, BoxError> {
        let mut builder = RecordBatchBuilder::new();
        for input in &self.inputs {
            match input.mood {
                Mood::FailsInFlush => return Err("told to fail".into()),
                Mood::PanicsInFlush => resume_unwind(Box::new("told to panic")),
                _ => builder.push(NewRecord::new(0, None, Some(&input.id.to_be_bytes())))?,
            }
        }
        Ok(builder)
    }

    fn output(&self, produced: &Produced, tag: usize) -> Result<i64, BoxError> {
        Ok(produced.base_offset + tag as i64)
    }
}

#[derive(Debug, Clone)]
enum Event {
    Produce {
        bytes: usize,
        mood: Mood,
    },
    /// A waiting caller drops its future.
    Leave(usize),
    Flush,
    Yielded,
    Ended {
        index: usize,
        is_written: bool,
    },
    Advance(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let mood = prop_oneof![
        30 => Just(Mood::Good),
        1 => Just(Mood::FailsInPush),
        1 => Just(Mood::PanicsInPush),
        1 => Just(Mood::FailsInFlush),
        1 => Just(Mood::PanicsInFlush),
    ];
    prop_oneof![
        12 => (1..MOST_BYTES + 5, mood).prop_map(|(bytes, mood)| Event::Produce { bytes: bytes.max(10), mood }),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => Just(Event::Flush),
        2 => Just(Event::Yielded),
        4 => (0usize..8, prop::bool::weighted(0.9)).prop_map(|(index, is_written)| Event::Ended { index, is_written }),
        3 => (0u64..8).prop_map(Event::Advance),
    ]
}

/// How an input ended, as its caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    At(i64),
    Failed(ErrorKind, Outcome),
}

enum Caller {
    Waits(u64, oneshot::Receiver<Result<Part<Numbers>>>),
    InBatch(Part<Numbers>),
    Ended(Ended),
}

/// The machine with its callers, and the log that it appends to.
struct World {
    linger: Linger<Numbers, Vec<u32>>,
    now: Instant,
    callers: Vec<(Input, Caller)>,
    /// The numbers of the inputs in the order in which batches were sent.
    sent: Vec<u32>,
    log: Vec<u32>,
    left: Vec<u32>,
}

fn failed(error: &Error) -> Ended {
    Ended::Failed(error.kind().clone(), error.outcome())
}

impl World {
    fn new(options: Options) -> Self {
        let target = Target { topic: "wal".to_owned(), partition: 0 };
        let linger = Linger::new(options, target, Numbers::default());
        let (callers, sent, log, left) = Default::default();
        Self { linger, now: Env::system().now(), callers, sent, log, left }
    }

    fn take_in(&mut self, event: &Event) {
        match *event {
            Event::Produce { bytes, mood } => {
                let input = Input { id: self.callers.len() as u32, bytes, mood };
                let caller = if self.linger.has_room() {
                    match self.linger.push(input, || self.now) {
                        Ok(part) => Caller::InBatch(part),
                        Err(error) => Caller::Ended(failed(&error)),
                    }
                } else {
                    let (id, admitted) = self.linger.wait(input, self.now);
                    Caller::Waits(id, admitted)
                };
                self.callers.push((input, caller));
            }
            Event::Leave(index) => {
                let waits = |caller: &&(Input, Caller)| matches!(caller.1, Caller::Waits(..));
                let waiting: Vec<_> = self.callers.iter().filter(waits).map(|caller| caller.0.id).collect();
                if let Some(left) = waiting.get(index % waiting.len().max(1))
                    && let Caller::Waits(id, _) = self.callers[*left as usize].1
                {
                    self.left.extend(self.linger.leave(id).map(|input| input.id));
                }
            }
            Event::Flush => self.linger.flush(),
            Event::Yielded => self.linger.yielded(),
            Event::Ended { index, is_written } => self.end(index, is_written),
            Event::Advance(millis) => self.now += Duration::from_millis(millis),
        }
        while self.linger.next(|| self.now) == Next::Send {
            if let Some((builder, _)) = self.linger.take() {
                let numbers = numbers(builder);
                self.sent.extend(&numbers);
                self.linger.sent(numbers);
            }
        }
        std::mem::take(&mut self.linger.later).into_iter().for_each(|wake| wake());
        for (_, caller) in &mut self.callers {
            if let Caller::Waits(_, admitted) = caller
                && let Ok(part) = admitted.try_recv()
            {
                *caller = part.map_or_else(|error| Caller::Ended(failed(&error)), Caller::InBatch);
            }
        }
    }

    fn end(&mut self, index: usize, is_written: bool) {
        if self.linger.in_flight == 0 {
            return;
        }
        let index = index % self.linger.in_flight;
        let numbers = self.linger.handle(index).unwrap().clone();
        let result = if is_written {
            let (base_offset, record_count) = (self.log.len() as i64, numbers.len());
            self.log.extend(numbers);
            Ok(Produced { base_offset, record_count, log_append_time: None, encoded_size: 0 })
        } else {
            Err(Error::new(Case::TimedOut, ErrorKind::TimedOut))
        };
        self.linger.ended(index, result);
    }

    /// What holds between any two events.
    fn check(&self) -> Result<(), TestCaseError> {
        let Options { linger, max_in_flight, buffer_memory } = self.linger.options;
        let Linger { open, closed, in_flight, .. } = &self.linger;
        prop_assert!(*in_flight <= max_in_flight);
        prop_assert!(self.sent.is_sorted_by(|one, next| one < next), "once, in order: {:?}", self.sent);
        let next = self.linger.next(|| self.now);
        if *in_flight < max_in_flight {
            prop_assert_eq!(closed.len(), *in_flight, "none is ready");
            if let Some(open) = open {
                match next {
                    Next::WaitUntil(moment) => {
                        prop_assert!(moment == open.since + linger && self.now < moment);
                    }
                    Next::Yield => prop_assert!(linger.is_zero() && *in_flight == 0),
                    next => prop_assert!(linger.is_zero() && *in_flight > 0 && next == Next::Rest),
                }
            }
        }
        let used = self.linger.closed_bytes + open.as_ref().map_or(0, |open| open.bytes);
        let is_full = used >= buffer_memory;
        prop_assert!(self.linger.waiting.is_empty() || is_full, "callers wait though there is room");
        prop_assert!(used < buffer_memory + MOST_BYTES + OVERHEAD, "{used}");
        let bytes: usize = closed.iter().map(|entry| entry.bytes).sum();
        prop_assert_eq!(self.linger.closed_bytes, bytes);
        prop_assert!(open.as_ref().is_none_or(|open| open.inputs > 0));
        Ok(())
    }

    /// How the caller of an input sees it end; `None` if it does not.
    fn ended(self_: (Input, Caller)) -> Option<Ended> {
        match self_.1 {
            Caller::Waits(..) => None,
            Caller::Ended(ended) => Some(ended),
            Caller::InBatch(Part { batch, tag }) => {
                let mut settled = std::pin::pin!(batch.output_of(tag));
                match settled.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => None,
                    Poll::Ready(Ok(offset)) => Some(Ended::At(offset)),
                    Poll::Ready(Err(error)) => Some(failed(&error)),
                }
            }
        }
    }
}

/// The numbers in a batch.
fn numbers(builder: RecordBatchBuilder) -> Vec<u32> {
    let batch = builder.build().unwrap();
    let batch = batches(batch.bytes()).next().unwrap().unwrap();
    let number = |value: Option<&[u8]>| u32::from_be_bytes(value.unwrap().try_into().unwrap());
    batch.records().map(|record| number(record.unwrap().value)).collect()
}

fn options() -> impl Strategy<Value = Options> {
    (0u64..6, 1usize..6, 0usize..1_000).prop_map(|(linger, max_in_flight, buffer_memory)| Options {
        linger: Duration::from_millis(linger),
        max_in_flight,
        buffer_memory,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn each_input_is_in_one_batch_in_order_or_its_caller_learns_why_not(
        options in options(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut world = World::new(options);
        for event in &events {
            world.take_in(event);
            world.check()?;
        }
        // Then all goes well.
        for _ in 0..events.len() {
            for event in [Event::Yielded, Event::Flush, Event::Ended { index: 0, is_written: true }] {
                world.take_in(&event);
                world.check()?;
            }
        }
        prop_assert!(world.linger.open.is_none() && world.linger.closed.is_empty());
        let World { callers, sent, log, left, .. } = world;
        for caller in callers {
            let input = caller.0;
            let offset = log.iter().position(|number| *number == input.id).map(|offset| offset as i64);
            let ended = World::ended(caller);
            let is_sent = sent.contains(&input.id);
            match &ended {
                Some(Ended::At(at)) => prop_assert_eq!(Some(*at), offset),
                Some(Ended::Failed(ErrorKind::TimedOut, Outcome::Unknown)) => prop_assert!(is_sent && offset.is_none()),
                Some(Ended::Failed(kind, outcome)) => {
                    prop_assert!(!is_sent && *outcome == Outcome::NotWritten);
                    let is_too_large = matches!(kind, ErrorKind::InvalidArgument(_));
                    prop_assert_eq!(is_too_large, input.bytes > MOST_BYTES && *kind != ErrorKind::Aggregator);
                }
                None => prop_assert!(left.contains(&input.id) && !is_sent, "{:?} never ends", input),
            }
            if input.mood != Mood::Good && input.bytes <= MOST_BYTES && ended.is_some() {
                prop_assert_eq!(ended, Some(Ended::Failed(ErrorKind::Aggregator, Outcome::NotWritten)));
            }
        }
    }
}
