//! Decides which input goes into which batch, when a batch is sent, and when callers wait for room.
//!
//! A batch is open while inputs are added to it, ready once it takes no more, and in flight from its sending to its result.
//! It owns no clock, no task and no connection; what wakes callers is left to be done without the lock.
//!
//! Invariants:
//! - Each input is in one batch at most. Inputs and batches keep the order in which they came.
//! - While fewer than `max_in_flight` batches are in flight, none is ready, and none is open for longer than its linger.
//!   Without linger, an open batch waits only for those in flight, and for one turn of their callers.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rskafka_cluster::transport::Deadline;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::aggregator::{Aggregator, Pushed, caught};
use super::batch::{Batch, Part, Target};
use crate::Produced;
use crate::error::{BoxError, Case, Error, ErrorKind, Outcome, Result};
use crate::record::RecordBatchBuilder;

/// The state machine of one producer; `H` is the handle of an append under way.
pub(crate) struct Linger<A: Aggregator, H> {
    pub(crate) options: Options,
    pub(crate) target: Arc<Target>,
    /// Cloned for each batch.
    template: A,
    open: Option<Entry<A, H>>,
    /// The open batch is to be sent as soon as there is a place, whatever its age.
    is_due: bool,
    /// A batch has ended, and its callers have had no turn since.
    yields: bool,
    /// The batches in flight, and behind them those that are ready.
    closed: VecDeque<Entry<A, H>>,
    in_flight: usize,
    closed_bytes: usize,
    waiting: VecDeque<Waiting<A>>,
    next_id: u64,
    /// How many batches have failed, and why the last one did.
    failures: (u64, Option<Error>),
    /// Once the producer is closed: the batches that have failed since.
    failed: Option<Vec<UnfinishedBatch>>,
    /// What wakes callers, who may produce again at once: to be taken out, and called without a lock.
    pub(crate) later: Vec<Box<dyn FnOnce() + Send>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) linger: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) buffer_memory: usize,
}

/// A batch until it is settled.
struct Entry<A, H> {
    batch: Arc<Batch<A>>,
    aggregator: A,
    inputs: usize,
    bytes: usize,
    /// When its first input was given.
    since: Instant,
    /// While it is ready.
    builder: Option<RecordBatchBuilder>,
    /// While it is in flight.
    handle: Option<H>,
}

/// An input that waits for room.
struct Waiting<A: Aggregator> {
    id: u64,
    since: Instant,
    input: A::Input,
    admitted: oneshot::Sender<Result<Part<A>>>,
}

/// Gives a waiting input's part in a batch, once there is room for it.
pub(crate) type Admitted<A> = oneshot::Receiver<Result<Part<A>>>;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send what `take` gives.
    Send,
    /// Look again at this moment.
    WaitUntil(Instant),
    /// Let other tasks run, then call `yielded`.
    Yield,
    /// Nothing, until something happens.
    Rest,
}

/// What a closed producer leaves behind.
#[derive(Debug, Default)]
#[must_use = "it tells what may be lost"]
#[non_exhaustive]
pub struct Unfinished {
    /// The batches that are not acknowledged. Inputs that waited for room are one batch of size 0.
    pub batches: Vec<UnfinishedBatch>,
}

/// A batch of a closed producer that is not acknowledged.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnfinishedBatch {
    /// How many inputs it has.
    pub inputs: usize,
    /// Its size in bytes, uncompressed.
    pub size: usize,
    /// Why it is not acknowledged; [`Error::outcome`] tells whether it may be in the log.
    pub error: Error,
}

impl Unfinished {
    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many inputs have this outcome.
    pub fn inputs(&self, outcome: Outcome) -> usize {
        self.batches.iter().filter(|batch| batch.error.outcome() == outcome).map(|batch| batch.inputs).sum()
    }
}

impl<A: Aggregator, H: Send + 'static> Linger<A, H> {
    pub(crate) fn new(options: Options, target: Target, template: A) -> Self {
        Self {
            options,
            target: Arc::new(target),
            template,
            open: None,
            is_due: false,
            yields: false,
            closed: VecDeque::new(),
            in_flight: 0,
            closed_bytes: 0,
            waiting: VecDeque::new(),
            next_id: 0,
            failures: (0, None),
            failed: None,
            later: Vec::new(),
        }
    }

    /// What to do `now`, which is asked for only where the age of a batch counts.
    pub(crate) fn next(&self, now: impl FnOnce() -> Instant) -> Next {
        let Options { linger, max_in_flight, .. } = self.options;
        let send = if self.in_flight < max_in_flight { Next::Send } else { Next::Rest };
        let is_ready = self.closed.len() > self.in_flight;
        match &self.open {
            _ if is_ready => send,
            None => Next::Rest,
            Some(_) if self.is_due => send,
            Some(_) if linger.is_zero() && self.in_flight > 0 => Next::Rest,
            Some(_) if linger.is_zero() && self.yields => Next::Yield,
            Some(open) if !linger.is_zero() => {
                let until = Deadline::after(open.since, linger);
                if until.is_over(now()) { send } else { Next::WaitUntil(until.instant()) }
            }
            Some(_) => send,
        }
    }

    /// Whether an input may be pushed now. One more always may where there is nothing yet.
    pub(crate) fn has_room(&self) -> bool {
        let used = self.closed_bytes + self.open.as_ref().map_or(0, |open| open.bytes);
        self.waiting.is_empty() && (used == 0 || used < self.options.buffer_memory)
    }

    /// Adds an input to the open batch, or to a new one if it does not fit. `since` tells when it was given.
    pub(crate) fn push(&mut self, mut input: A::Input, since: impl Fn() -> Instant) -> Result<Part<A>> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                none => match caught(|| self.template.clone()) {
                    Ok(aggregator) => none.insert(Entry::new(&self.target, aggregator, since())),
                    Err(source) => return Err(self.aggregator_failed(source)),
                },
            };
            let aggregator = &mut open.aggregator;
            let (tag, is_last) = match caught(|| {
                let pushed = aggregator.push(input)?;
                open.bytes = aggregator.size();
                Ok(pushed)
            }) {
                Ok(Ok(Pushed::Added(tag))) => (tag, false),
                Ok(Ok(Pushed::AddedLast(tag))) => (tag, true),
                Ok(Ok(Pushed::Full(returned))) if open.inputs > 0 => {
                    self.close_open();
                    input = returned;
                    continue;
                }
                Ok(Ok(Pushed::Full(_))) => {
                    self.open = None;
                    let kind = ErrorKind::InvalidArgument("it does not fit into an empty batch");
                    return Err(self.target.error(Case::InvalidArgument, kind));
                }
                Ok(Err(source)) => {
                    self.open = self.open.take().filter(|open| open.inputs > 0);
                    return Err(self.aggregator_failed(source));
                }
                Err(source) => {
                    let error = self.aggregator_failed(source);
                    self.fail_open(error.clone());
                    return Err(error);
                }
            };
            open.inputs += 1;
            let part = Part { batch: open.batch.clone(), tag };
            if is_last {
                self.close_open();
            }
            return Ok(part);
        }
    }

    /// Has an input wait for room. Returns its number.
    pub(crate) fn wait(&mut self, input: A::Input, since: Instant) -> (u64, Admitted<A>) {
        let (sender, admitted) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.push_back(Waiting { id, since, input, admitted: sender });
        self.flush();
        (id, admitted)
    }

    /// Takes back an input that waits.
    pub(crate) fn leave(&mut self, id: u64) -> Option<A::Input> {
        let index = self.waiting.binary_search_by_key(&id, |waiting| waiting.id).ok()?;
        self.waiting.remove(index).map(|left| left.input)
    }

    /// What is open now must not linger.
    pub(crate) fn flush(&mut self) {
        self.is_due = self.open.is_some();
    }

    /// Other tasks have had their turn.
    pub(crate) fn yielded(&mut self) {
        self.yields = false;
    }

    /// The batch to send, and when its first input was given. `sent` follows.
    pub(crate) fn take(&mut self) -> Option<(RecordBatchBuilder, Instant)> {
        if self.closed.len() == self.in_flight {
            self.close_open();
            self.admit();
        }
        let entry = self.closed.get_mut(self.in_flight)?;
        let builder = entry.builder.take()?;
        self.in_flight += 1;
        self.yields = false;
        Some((builder, entry.since))
    }

    /// The batch that was taken is under way.
    pub(crate) fn sent(&mut self, handle: H) {
        if let Some(entry) = self.closed.get_mut(self.in_flight.saturating_sub(1)) {
            entry.handle = Some(handle);
        }
    }

    /// The appends under way, with their positions for `ended`.
    pub(crate) fn handle(&mut self, index: usize) -> Option<&mut H> {
        self.closed.get_mut(index)?.handle.as_mut()
    }

    /// An append has its result.
    pub(crate) fn ended(&mut self, index: usize, result: Result<Produced>) {
        let Some(entry) = self.closed.remove(index) else { return };
        self.in_flight -= 1;
        self.closed_bytes -= entry.bytes;
        self.yields = entry.inputs > 1 || self.open.is_some();
        self.settle(entry, result);
        self.admit();
    }

    /// The batches that are not settled.
    pub(crate) fn unsettled(&self) -> Vec<Arc<Batch<A>>> {
        self.closed.iter().chain(&self.open).map(|entry| entry.batch.clone()).collect()
    }

    /// The numbers of the first input that waits and of the next one that will.
    pub(crate) fn waiting(&self) -> Range<u64> {
        self.waiting.front().map_or(self.next_id, |first| first.id)..self.next_id
    }

    pub(crate) fn failures(&self) -> &(u64, Option<Error>) {
        &self.failures
    }

    /// No more inputs are to come.
    pub(crate) fn close(&mut self) {
        self.failed.get_or_insert_default();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.failed.is_some()
    }

    /// Takes back what is not in flight, and lists it with what is and what has failed since `close`.
    pub(crate) fn end(&mut self) -> Unfinished {
        let unsent = self.closed.split_off(self.in_flight);
        for entry in unsent.into_iter().chain(self.open.take()) {
            self.settle(entry, Err(self.target.closed()));
        }
        self.closed_bytes = self.closed.iter().map(|entry| entry.bytes).sum();
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.note(waiting.len(), 0, &self.target.closed());
        }
        let target = self.target.clone();
        self.later.push(Box::new(move || {
            waiting.into_iter().for_each(|waiting| drop(waiting.admitted.send(Err(target.closed()))));
        }));
        let mut batches = self.failed.replace(Vec::new()).unwrap_or_default();
        batches.extend(self.closed.iter().map(|&Entry { inputs, bytes: size, .. }| UnfinishedBatch {
            inputs,
            size,
            error: self.target.error(Case::TimedOut, ErrorKind::TimedOut),
        }));
        Unfinished { batches }
    }

    /// Adds the inputs that wait, as far as there is room.
    fn admit(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        while self.has_room()
            && let Some(Waiting { since, input, admitted, .. }) = waiting.pop_front()
        {
            let part = self.push(input, || since);
            if let Err(error) = &part {
                self.note(1, 0, error);
            }
            // The caller may have dropped its future.
            self.later.push(Box::new(|| drop(admitted.send(part))));
        }
        self.waiting = waiting;
        if !self.waiting.is_empty() {
            self.flush();
        }
    }

    fn aggregator_failed(&self, source: BoxError) -> Error {
        self.target.error(Case::Aggregator, ErrorKind::Aggregator).with_source(source)
    }

    /// The open batch takes no more.
    fn close_open(&mut self) {
        let Some(open) = &mut self.open else { return };
        match caught(|| open.aggregator.flush()).and_then(|flushed| flushed) {
            Ok(builder) => {
                open.bytes = builder.encoded_size();
                open.builder = Some(builder);
                self.closed_bytes += open.bytes;
                self.is_due = false;
                self.closed.extend(self.open.take());
            }
            Err(source) => self.fail_open(self.aggregator_failed(source)),
        }
    }

    fn fail_open(&mut self, error: Error) {
        self.is_due = false;
        if let Some(open) = self.open.take().filter(|open| open.inputs > 0) {
            self.settle(open, Err(error));
        }
    }

    fn settle(&mut self, entry: Entry<A, H>, result: Result<Produced>) {
        if let Err(error) = &result {
            self.note(entry.inputs, entry.bytes, error);
        }
        self.later.push(Box::new(move || {
            let Entry { batch, aggregator, handle, .. } = entry;
            drop(handle);
            batch.settle(result.map(|produced| (produced, aggregator)));
        }));
    }

    /// Counts what has failed, and lists it if the producer is closed.
    fn note(&mut self, inputs: usize, size: usize, error: &Error) {
        self.failures = (self.failures.0 + 1, Some(error.clone()));
        if let Some(failed) = &mut self.failed {
            failed.push(UnfinishedBatch { inputs, size, error: error.clone() });
        }
    }
}

impl<A: Aggregator, H> Entry<A, H> {
    fn new(target: &Arc<Target>, aggregator: A, since: Instant) -> Self {
        let batch = Arc::new(Batch::new(target.clone()));
        Self { batch, aggregator, inputs: 0, bytes: 0, since, builder: None, handle: None }
    }
}

#[cfg(test)]
mod tests;
