//! Carries one writer's batches to its line, answers to the ledger, and results to callers. The ledger decides.
//!
//! While batches land where they are expected, no task runs for it: the answer to a batch settles it, on the connection's task.
//! If the log must be read to judge one, or one is to be sent again, a task reads, or waits, for the oldest.
//!
//! Invariant: callers hear of their results only after the lock was released, and no event is lost that came while somebody
//! held it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, TryLockError};

use bytes::Bytes;
use rskafka_cluster::transport::{Deadline, lock};
use rskafka_protocol::records::RecordBatch;
use rskafka_protocol::{ApiKey, ErrorCode as Code};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Log;
use super::fence::{Kind, Mark, Reading, Verdict};
use super::ledger::{Answer, End, Ledger, Settled};
use super::reader::{self, Claim, Items};
use super::writer::{Append, Appended};
use crate::consumer::ReadBuilder;
use crate::error::{Case, Error, ErrorKind, Outcome, Result};
use crate::fetch::FetchedBatch;
use crate::produce::{self, Caller, Line, Produced, Sink};
use crate::record::{Payload, Record, RecordHeaders};

pub(super) struct Carrier {
    pub(super) log: Arc<Log>,
    line: Arc<Line>,
    pub(super) claim: Claim,
    state: Mutex<State>,
    /// What is done once the lock of the state is released, which is held while records are encoded.
    due: Mutex<VecDeque<Due>>,
    /// The line's answers, by the sequences of the appends. One may come from inside of `join`, to the thread that holds the
    /// lock of the state.
    answers: Mutex<VecDeque<(u64, Result<Produced>, RecordBatch)>>,
    /// Something came that nobody has looked at.
    has_news: AtomicBool,
    /// Notified when the last append is settled, if it `is_awaited`.
    pub(super) settled: Notify,
}

enum Due {
    Tell(oneshot::Sender<Result<Appended>>, Result<Appended>),
    /// The oldest append needs a task. Where the client's runtime has ended, the task is dropped at once, and takes the lock.
    Attend,
    /// No append is under way, and somebody waits for that.
    Idle,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    /// The appends that the ledger has not settled, in their order.
    pub(super) appends: VecDeque<Appending>,
    /// How many of them, from the first on, have their answer.
    answered: usize,
    /// A task is there for what the oldest append needs.
    is_attended: bool,
    /// How often sending has failed since an append was settled, and before when nothing is sent.
    failures: u32,
    resend_at: Option<Instant>,
    /// The claim that came next.
    pub(super) fenced_by: Option<Claim>,
    /// What was acknowledged, or read, is gone.
    pub(super) truncated: Option<Error>,
    /// The sequences of appends with an unknown outcome.
    pub(super) unknown: Vec<u64>,
    /// Somebody waits until no append is under way.
    pub(super) is_awaited: bool,
}

pub(super) struct Appending {
    caller: oneshot::Sender<Result<Appended>>,
    deadline: Deadline,
    encoded_size: usize,
    /// While it is not in the line.
    batch: Option<RecordBatch>,
    was_sent: bool,
    /// Its number in the line, while it is there.
    number: Option<u64>,
    /// The line's answer, until the ledger has it.
    result: Option<Result<Produced>>,
    error: Option<Error>,
}

/// What the line's answer means for the ledger.
pub(super) fn answer(result: &Result<Produced>) -> Answer {
    let error = match result {
        Ok(produced) => {
            let end = produced.base_offset + produced.record_count as i64;
            return Answer::Acknowledged(produced.base_offset, end);
        }
        Err(error) => error,
    };
    let may_be_written = error.outcome() == Outcome::Unknown;
    // The broker has forgotten the producer, so it cannot tell a copy: the rule can.
    let is_sequence_lost = matches!(
        error.code(),
        Some(Code::OUT_OF_ORDER_SEQUENCE_NUMBER | Code::UNKNOWN_PRODUCER_ID | Code::INVALID_PRODUCER_EPOCH)
            | Some(Code::PRODUCER_FENCED)
    );
    if error.in_doubt().is_some_and(|doubt| doubt.is_written) {
        return Answer::Written;
    }
    // Not where it can be, according to the partition client.
    let is_offset_lost = *error.kind() == ErrorKind::InvalidAnswer && may_be_written;
    let is_again = *error.kind() == ErrorKind::Stopped || is_sequence_lost || is_offset_lost;
    let is_again = is_again && !error.is_timeout();
    if is_again { Answer::Again { may_be_written } } else { Answer::Failed { may_be_written } }
}

pub(super) fn outcome(settled: Settled) -> Outcome {
    if settled == Settled::Unknown { Outcome::Unknown } else { Outcome::NotWritten }
}

impl Carrier {
    pub(super) fn new(log: Arc<Log>, line: Arc<Line>, ledger: Ledger, claim: Claim) -> Self {
        let state = Mutex::new(State { ledger, ..State::default() });
        let (due, answers, has_news, settled) = Default::default();
        Self { log, line, claim, state, due, answers, has_news, settled }
    }

    pub(super) fn append<K: Payload, V: Payload, H: RecordHeaders>(
        self: &Arc<Self>,
        kind: Kind,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Append {
        let (caller, result) = oneshot::channel();
        let deadline = self.line.delivery_deadline();
        let sequence = self.with(|state| {
            let sequence = state.ledger.next_sequence();
            let refused = state.refusal().or_else(|| self.log.partition.core.check_open().err());
            let encode = || self.log.encode(records, state.ledger.stamp(kind, sequence));
            match refused.map_or_else(encode, Err) {
                Ok(batch) => {
                    state.ledger.append();
                    let (encoded_size, batch) = (batch.size_in_bytes(), Some(batch));
                    let (was_sent, number, result, error) = (false, None, None, None);
                    let appending =
                        Appending { caller, deadline, encoded_size, batch, was_sent, number, result, error };
                    state.appends.push_back(appending);
                    Some(sequence)
                }
                Err(error) => {
                    lock(&self.due).push_back(Due::Tell(caller, Err(self.located(error))));
                    None
                }
            }
        });
        Append { sequence, result }
    }

    /// Changes the state, and does what follows from it.
    fn with<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let _unlocked = Unlocked(self);
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        self.advance(&mut state);
        changed
    }

    /// Looks at the state, or changes what nothing follows from.
    pub(super) fn look<T>(self: &Arc<Self>, look: impl FnOnce(&mut State) -> T) -> T {
        let _unlocked = Unlocked(self);
        let mut state = lock(&self.state);
        look(&mut state)
    }

    /// Takes in what came while the lock was held, perhaps by this caller. [`Unlocked`] calls it when the lock is released.
    fn look_for_news(self: &Arc<Self>) {
        loop {
            // Either this sees the news, or who brings them sees that the lock is free.
            fence(Ordering::SeqCst);
            if !self.has_news.load(Ordering::SeqCst) {
                return;
            }
            match self.state.try_lock() {
                Ok(mut state) => self.advance(&mut state),
                // The holder will look, when it has released the lock. It may be this thread, while it sends.
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(poisoned)) => self.advance(&mut poisoned.into_inner()),
            }
            self.do_what_is_due();
        }
    }

    fn do_what_is_due(self: &Arc<Self>) {
        let next = || lock(&self.due).pop_front();
        while let Some(due) = next() {
            match due {
                // The caller may have dropped its future.
                Due::Tell(caller, result) => drop(caller.send(result)),
                Due::Attend => Attending::start(self),
                Due::Idle => self.settled.notify_waiters(),
            }
        }
    }

    fn advance(self: &Arc<Self>, state: &mut State) {
        self.has_news.swap(false, Ordering::SeqCst);
        let mut is_moving = true;
        while is_moving {
            state.send(self);
            is_moving = state.take_answers(self);
            while let Some((sequence, settled)) = state.ledger.take_settled() {
                state.settle(self, sequence, settled);
                is_moving = true;
            }
            is_moving &= !state.appends.is_empty();
        }
        if state.appends.is_empty() && std::mem::take(&mut state.is_awaited) {
            lock(&self.due).push_back(Due::Idle);
        }
        if state.ledger.is_held_up() && !std::mem::replace(&mut state.is_attended, true) {
            lock(&self.due).push_back(Due::Attend);
        }
    }

    pub(super) fn items(&self, state: &State) -> Items {
        ReadBuilder::exclusive(&self.log, self.log.position(state.ledger.reading())).build_items()
    }

    pub(super) fn located(&self, error: Error) -> Error {
        self.log.partition.located(error, ApiKey::PRODUCE)
    }
}

enum Need {
    Read(Deadline),
    Pause(Instant),
}

/// Looks for news when it is dropped, also if what was done under the lock panics. Make it before the guard, so that it is
/// dropped after it.
struct Unlocked<'a>(&'a Arc<Carrier>);

impl Drop for Unlocked<'_> {
    fn drop(&mut self) {
        self.0.do_what_is_due();
        self.0.look_for_news();
    }
}

/// The task of an oldest append. It gives up if its runtime ends before it does, or had ended before.
struct Attending {
    carrier: Arc<Carrier>,
    has_ended: bool,
}

impl Attending {
    /// Not inlined: else each append, and each answer, reserves the stack that the task's future takes.
    #[inline(never)]
    fn start(carrier: &Arc<Carrier>) {
        let (attending, core) =
            (Self { carrier: carrier.clone(), has_ended: false }, &carrier.log.partition.core);
        core.tasks.spawn_on(attending.attend(), core.cluster.runtime());
    }

    /// Reads on until the append can be judged, and waits until it may be sent again.
    async fn attend(mut self) {
        let carrier = self.carrier.clone();
        let mut reader = None;
        while let Some(need) = carrier.with(|state| state.need(&carrier.log)) {
            let deadline = match need {
                Need::Read(deadline) => deadline,
                Need::Pause(until) => {
                    reader = None;
                    tokio::time::sleep_until(until).await;
                    let now = carrier.log.partition.core.cluster.env().now();
                    carrier.with(|state| state.paused(now));
                    continue;
                }
            };
            let items = reader.get_or_insert_with(|| carrier.look(|state| carrier.items(state)));
            let read = tokio::time::timeout_at(deadline.instant(), poll_fn(|cx| items.poll_batch(cx))).await;
            carrier.with(|state| match read {
                Ok(Some(Ok(batch))) => state.read(items, &batch),
                Ok(Some(Err(error))) if error.is_retriable() => state.failed(error),
                Ok(Some(Err(error))) => state.give_up(error),
                Ok(None) => state.give_up(Error::new(Case::ClientClosed, ErrorKind::Closed)),
                Err(_) => state.out_of_time(),
            });
        }
        self.has_ended = true;
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        if !self.has_ended {
            self.carrier.with(|state| state.give_up(Error::new(Case::RuntimeGone, ErrorKind::Closed)));
        }
    }
}

impl Sink for Carrier {
    fn ended(&self, sequence: u64, result: Result<Produced>, batch: RecordBatch) {
        lock(&self.answers).push_back((sequence, result, batch));
        self.has_news.store(true, Ordering::SeqCst);
    }

    fn proceed(self: Arc<Self>) {
        self.look_for_news();
    }
}

impl State {
    /// Takes answers to the ledger, in the order of the appends. Returns whether there was any.
    fn take_answers(&mut self, carrier: &Carrier) -> bool {
        let next = || lock(&carrier.answers).pop_front();
        while let Some((sequence, result, batch)) = next() {
            // Else it is settled already.
            let index = sequence.checked_sub(self.first_sequence());
            if let Some(appending) = index.and_then(|index| self.appends.get_mut(index as usize)) {
                (appending.number, appending.result, appending.batch) = (None, Some(result), Some(batch));
            }
        }
        let before = self.answered;
        while let Some(appending) = self.appends.get_mut(self.answered) {
            let Some(result) = appending.result.take() else { break };
            let answer = answer(&result);
            let is_stopped = result.as_ref().is_err_and(|error| *error.kind() == ErrorKind::Stopped);
            if matches!(answer, Answer::Again { .. }) && !is_stopped {
                self.failures += 1;
                self.resend_at = Some(carrier.log.partition.after_pause(self.failures));
            }
            appending.error = result.err();
            let sequence = self.first_sequence() + self.answered as u64;
            self.ledger.answered(sequence, answer);
            self.answered += 1;
            if self.ledger.has_settled() {
                break;
            }
        }
        self.answered > before
    }

    /// Puts what the ledger wants sent into the line.
    fn send(&mut self, carrier: &Arc<Carrier>) {
        if self.resend_at.is_some() {
            return;
        }
        let first = self.first_sequence();
        while let Some(sequence) = self.ledger.send() {
            let index = (sequence - first) as usize;
            let Some(appending) = self.appends.get_mut(index) else { break };
            debug_assert!(appending.batch.is_some(), "it was answered before it is sent again");
            let Some(batch) = appending.batch.take() else { break };
            if std::mem::replace(&mut appending.was_sent, true) {
                carrier.line.resume();
            }
            let caller = Caller::Sink(carrier.clone(), sequence);
            let append = produce::Append { batch, deadline: appending.deadline, caller };
            appending.number = Some(carrier.line.join(append));
            self.answered = self.answered.min(index);
        }
    }

    /// Of the oldest append.
    fn first_sequence(&self) -> u64 {
        self.ledger.next_sequence() - self.appends.len() as u64
    }

    fn settle(&mut self, carrier: &Carrier, sequence: u64, settled: Settled) {
        let Some(appending) = self.appends.pop_front() else { return };
        self.answered = self.answered.saturating_sub(1);
        let Appending { caller, encoded_size, batch, number, error, .. } = appending;
        // It may still wait for room in `buffer_memory`.
        drop(number.and_then(|number| carrier.line.leave(number)));
        if let Some(batch) = batch {
            carrier.log.partition.core.spare.keep(batch);
        }
        let result = match settled {
            Settled::Counts(base, next) => {
                self.failures = 0;
                #[cfg(feature = "metrics")]
                carrier.log.metrics.appended();
                let reading = Reading { fence: self.ledger.fence_after(sequence), next_offset: next };
                Ok(Appended { offsets: base..next, position: carrier.log.position(reading), encoded_size })
            }
            Settled::NotWritten | Settled::Unknown => {
                if settled == Settled::Unknown {
                    self.unknown.push(sequence);
                }
                // A claim behind it does not tell whether it counts.
                let is_of_it = |refusal: &Error| {
                    settled == Settled::NotWritten || !matches!(refusal.kind(), ErrorKind::Fenced { .. })
                };
                let error = match self.refusal().filter(is_of_it) {
                    // It is the one that ended the writer, or was sent behind it.
                    Some(refusal) if *refusal.kind() == ErrorKind::Stopped => error.unwrap_or(refusal),
                    refusal => refusal.or(error).unwrap_or_else(stopped),
                };
                let error = carrier.located(error.with_outcome(outcome(settled)));
                if matches!(error.kind(), ErrorKind::LogTruncated { .. }) {
                    self.truncated.get_or_insert_with(|| error.clone());
                }
                Err(error)
            }
        };
        lock(&carrier.due).push_back(Due::Tell(caller, result));
    }

    /// Why nothing more is appended.
    fn refusal(&self) -> Option<Error> {
        let fenced = |term, offset, note| Error::new(Case::Fenced, ErrorKind::Fenced { term, offset, note });
        if let Some(Claim { term, offset, note, .. }) = self.fenced_by.clone() {
            return Some(fenced(term, offset, note));
        }
        Some(match self.ledger.end()? {
            End::Fenced { term, offset } => fenced(term, offset, Bytes::new()),
            End::Failed { .. } => stopped(),
            End::Truncated { offset } => Error::truncated(offset),
        })
    }

    /// What the oldest append needs beside an answer; `None` if it needs no more, and its task may end.
    fn need(&mut self, log: &Log) -> Option<Need> {
        self.is_attended = self.ledger.is_held_up();
        let deadline = self.appends.front().filter(|_| self.is_attended)?.deadline;
        if self.ledger.wants_read_to().is_some() {
            return Some(Need::Read(deadline));
        }
        let pause = self.resend_at.unwrap_or_else(|| log.partition.after_pause(1));
        Some(Need::Pause(pause.min(deadline.instant())))
    }

    fn paused(&mut self, now: Instant) {
        self.resend_at.take_if(|at| *at <= now);
        let is_late = self.appends.front().is_some_and(|oldest| oldest.deadline.is_over(now));
        if is_late && self.ledger.is_held_up() {
            self.out_of_time();
        }
    }

    fn read(&mut self, items: &Items, batch: &FetchedBatch) {
        let offsets = (batch.header().base_offset, batch.next_offset());
        if offsets.1 <= self.ledger.reading().next_offset {
            // Settled by its acknowledgement meanwhile.
            return;
        }
        match reader::mark(batch).and_then(|mark| Ok((self.ledger.read(offsets, mark)?, mark))) {
            Ok((Verdict::Claim, Mark::Stamp(stamp))) => {
                self.fenced_by = Some(Claim::of(stamp, batch));
            }
            Ok(_) => {}
            Err(damage) => self.give_up(items.damaged(damage, offsets.0)),
        }
    }

    fn failed(&mut self, error: Error) {
        if let Some(oldest) = self.appends.front_mut() {
            oldest.error = Some(error);
        }
    }

    fn give_up(&mut self, error: Error) {
        self.failed(error);
        self.ledger.give_up();
    }

    fn out_of_time(&mut self) {
        let last = self.appends.front_mut().and_then(|oldest| oldest.error.take());
        self.give_up(timed_out(last));
    }
}

/// With the last failure in the message.
pub(super) fn timed_out(last: Option<Error>) -> Error {
    last.into_iter().fold(Error::new(Case::TimedOut, ErrorKind::TimedOut), Error::with_source)
}

fn stopped() -> Error {
    Error::new(Case::Stopped, ErrorKind::Stopped)
}
