//! The writer of an exclusive log.
//!
//! The ledger decides; this carries batches to the partition client's line, answers to the ledger, and results to callers. While
//! batches land where they are expected, no task runs for it: the answer to a batch settles it, on the connection's task. If
//! the log must be read to judge one, a task reads.
//!
//! Invariant: callers hear of their results only after the lock was released, and no event is lost that came while somebody
//! held it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_core::Stream;
use rskafka_cluster::transport::{Deadline, lock};
use rskafka_protocol::records::RecordBatch;
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::sync::{Notify, oneshot};
use tokio::task::coop::unconstrained;

use super::fence::{Kind, Mark, Reading, Verdict};
use super::ledger::{Answer, End, Ledger, Settled};
use super::reader::{self, Claim, Item, Items};
use super::recovery::Recovery;
use super::{Log, Position};
use crate::admin::delete_records;
use crate::consumer::ReadBuilder;
use crate::error::{Case, Error, ErrorKind, Outcome, Result};
use crate::fetch::FetchedBatch;
use crate::produce::{Line, Produce, Produced};
use crate::record::{Payload, Record, RecordHeaders};

/// The writer of an exclusive log, until another one claims it.
///
/// It has no clones: share it in an `Arc`. When it is dropped, appends under way still end.
#[derive(derive_more::Debug)]
#[debug("Writer {{ term: {}, position: {} }}", self.claim().term, self.position())]
pub struct Writer {
    shared: Arc<Shared>,
    /// The claims that it has made, among them those whose outcome was unknown.
    own: BTreeSet<u64>,
}

/// An append that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The offsets of its records.
    pub offsets: Range<i64>,
    /// Where to go on after it: store it with a snapshot that has everything up to and including this append.
    pub position: Position,
    /// The size of the batch in bytes, encoded and compressed; 0 if it was found in the log afterwards.
    pub encoded_size: usize,
}

/// What a [`Writer::reclaim`] has found.
#[derive(Debug)]
#[must_use = "it may have failed"]
#[non_exhaustive]
pub struct Reclaimed {
    /// The appends whose outcome was unknown, by [`Append::sequence`]: where they are, or `None` for those that are not in the
    /// log and never will be.
    pub settled: BTreeMap<u64, Option<Appended>>,
    /// The claim that ended this writer's term; `None` if this one may append again.
    pub fenced_by: Option<Claim>,
}

/// An append under way: `.await` it for its result. Dropping it is safe: the append goes on.
#[derive(Debug)]
#[must_use = "without awaiting it, it is not known whether the records count"]
pub struct Append {
    sequence: Option<u64>,
    result: oneshot::Receiver<Result<Appended>>,
}

impl Append {
    /// Its number in the writer's term, from 1; `None` if it was refused before it got one.
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }
}

impl Future for Append {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = |_| Err(Error::new(Case::RuntimeGone, ErrorKind::Closed));
        Pin::new(&mut self.result).poll(cx).map(|received| received.unwrap_or_else(closed))
    }
}

struct Shared {
    log: Arc<Log>,
    line: Arc<Line>,
    claim: Claim,
    state: Mutex<State>,
    /// What callers have not heard yet. Not under the lock of the state, which is held while records are encoded.
    results: Mutex<VecDeque<Heard>>,
    /// Something came that nobody has looked at.
    has_news: AtomicBool,
    settled: Notify,
}

/// A caller, and its result.
type Heard = (oneshot::Sender<Result<Appended>>, Result<Appended>);

struct State {
    ledger: Ledger,
    /// The appends that the ledger has not settled, in their order.
    appends: VecDeque<Appending>,
    /// How many of them, from the first on, have their answer.
    answered: usize,
    is_reading: bool,
    /// The claim that came next.
    fenced_by: Option<Claim>,
    /// What was acknowledged, or read, is gone.
    truncated: Option<Error>,
    /// The sequences of appends with an unknown outcome.
    unknown: Vec<u64>,
}

struct Appending {
    caller: oneshot::Sender<Result<Appended>>,
    deadline: Deadline,
    encoded_size: usize,
    /// While it is not in the line.
    batch: Option<RecordBatch>,
    was_sent: bool,
    /// While it is in the line.
    produce: Option<Produce>,
    error: Option<Error>,
}

/// What the line's answer means for the ledger. A batch that was not given back cannot be sent again.
pub(super) fn answer(result: &Result<Produced>, has_batch: bool) -> Answer {
    let error = match result {
        Ok(produced) => {
            let end = produced.base_offset + produced.record_count as i64;
            return Answer::Acknowledged(produced.base_offset, end);
        }
        Err(error) => error,
    };
    let may_be_written = error.outcome() == Outcome::Unknown;
    // The broker has forgotten the producer, so it cannot tell a copy: the rule can.
    let is_sequence_lost = error.code().is_some_and(|code| {
        matches!(
            code,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                | ErrorCode::UNKNOWN_PRODUCER_ID
                | ErrorCode::INVALID_PRODUCER_EPOCH
                | ErrorCode::PRODUCER_FENCED
                | ErrorCode::DUPLICATE_SEQUENCE_NUMBER
        )
    });
    // Written, but where? Or not where it can be, according to the partition client.
    let is_offset_lost = *error.kind() == ErrorKind::InvalidAnswer && may_be_written;
    let is_again = *error.kind() == ErrorKind::Stopped || is_sequence_lost || is_offset_lost;
    match is_again && has_batch && !error.is_timeout() {
        true => Answer::Again { may_be_written },
        false => Answer::Failed { may_be_written },
    }
}

pub(super) fn outcome(settled: Settled) -> Outcome {
    if settled == Settled::Unknown { Outcome::Unknown } else { Outcome::NotWritten }
}

impl Writer {
    pub(super) fn new(log: Arc<Log>, line: Arc<Line>, ledger: Ledger, claim: Claim) -> Self {
        let own = BTreeSet::from([claim.writer]);
        let state = State {
            ledger,
            appends: VecDeque::new(),
            answered: 0,
            is_reading: false,
            fenced_by: None,
            truncated: None,
            unknown: Vec::new(),
        };
        let (state, has_news) = (Mutex::new(state), AtomicBool::new(false));
        let results = Mutex::default();
        let shared = Shared { log, line, claim, state, results, has_news, settled: Notify::new() };
        Self { shared: Arc::new(shared), own }
    }

    /// The claim that made it the writer.
    pub fn claim(&self) -> &Claim {
        &self.shared.claim
    }

    /// After the last append that is settled: where to go on.
    pub fn position(&self) -> Position {
        self.shared.look(|state| self.shared.log.position(state.ledger.reading()))
    }

    /// Appends records as one batch. It has its place when this is called: appends count in the order of the calls, or not at
    /// all. Many can be under way at once.
    ///
    /// The records are encoded inside the call. The append ends by the delivery timeout.
    ///
    /// # Errors
    ///
    /// [`Error::outcome`] tells whether it counts: `NotWritten` is never wrong.
    ///
    /// The writer goes on after what is refused inside the call: [`ErrorKind::InvalidArgument`] without records, for one with a
    /// header `rskafka.wal`, and as for [`produce`](crate::PartitionClient::produce); [`ErrorKind::BatchTooLarge`].
    ///
    /// All others end the writer: [`ErrorKind::Fenced`] if another one has claimed the log; a refusal of the broker; the end of
    /// the time; [`ErrorKind::LogTruncated`], [`ErrorKind::LogDamaged`]. Appends behind the one that failed fail with
    /// [`ErrorKind::Stopped`]; then call [`reclaim`](Self::reclaim).
    ///
    /// The iterator of the records must not call this writer, which would wait for itself.
    pub fn append<K: Payload, V: Payload, H: RecordHeaders>(
        &self,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Append {
        self.shared.append(Kind::Entry, records)
    }

    /// Waits until everything before it is settled, and shows that this was the only writer at a moment between call and
    /// return: what this process has read and appended was the whole log then. It appends a batch without records.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append).
    pub async fn barrier(&self) -> Result<Position> {
        let record = Record::new((), (), self.shared.log.now());
        Ok(self.shared.append(Kind::Barrier, [record]).await?.position)
    }

    /// Deletes what lies before a position (KIP-107), and gives the log's new start. Cancel safe: a dropped future may still
    /// delete.
    ///
    /// Trim only up to a position whose snapshot every process can read that may claim the log, and have the store of snapshots
    /// refuse a position that is not [behind](Position::is_before) the one that it has: then a trim that comes late, from a
    /// writer that was fenced, does no harm.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OtherTopic`], and those of [`delete_records`](crate::PartitionClient::delete_records).
    /// [`ErrorKind::Unsupported`] where brokers have no DeleteRecords (Event Hubs): there, retention must do it.
    pub async fn trim(&self, position: &Position) -> Result<i64> {
        let partition = &self.shared.log.partition;
        let trim =
            async { delete_records::delete(partition, Some(position.within(partition)?.offset())).await };
        trim.await.map_err(|error| partition.located(error, ApiKey::DELETE_RECORDS))
    }

    /// Waits until another writer's claim counts, for an owner that appends nothing. It reads the log from this writer's
    /// position on. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`Reader`](super::Reader).
    pub async fn fenced(&self) -> Result<Claim> {
        let known = self.shared.look(|state| match state.fenced_by.clone() {
            Some(claim) => Err(claim),
            None => Ok(self.shared.items(state)),
        });
        let mut items = match known {
            Ok(items) => items,
            Err(claim) => return Ok(claim),
        };
        while let Some(item) = next(&mut items).await.transpose()? {
            if let Item::Claim(claim) = item {
                // What is under way is judged by what was read before the claim.
                self.shared.look(|state| state.fenced_by = Some(claim.clone()));
                return Ok(claim);
            }
        }
        Err(self.shared.located(Error::new(Case::ClientClosed, ErrorKind::Closed)))
    }

    /// Claims the log again after this writer has ended, unless another writer's claim counts. Settles each append whose
    /// outcome is unknown.
    ///
    /// Waits for appends under way, and reads what is not known yet. If this fails with an error that
    /// [may pass](Error::is_retriable), or its future is dropped, call it again: its claim may count all the same, and is taken
    /// for this writer's own.
    ///
    /// # Errors
    ///
    /// Those of [`Recovery`]. [`ErrorKind::LogTruncated`] if appends have failed with it: recover from a snapshot instead.
    /// [`ErrorKind::OffsetOutOfRange`] if the log was trimmed beyond what this writer knows: what was unknown stays so.
    pub async fn reclaim(&mut self, note: impl Into<Bytes>) -> Result<Reclaimed> {
        self.flush().await;
        let (unknown, ours, items, passed, truncated) = self.shared.look(|state| {
            // What was read is not read again.
            let is_passed = matches!(state.ledger.end(), Some(End::Fenced { .. }));
            let passed = state.fenced_by.clone().filter(|_| is_passed);
            let (unknown, ours) = (state.unknown.clone(), state.ledger.stamp(Kind::Entry, 0));
            (unknown, ours, self.shared.items(state), passed, state.truncated.clone())
        });
        if let Some(error) = truncated {
            return Err(error);
        }
        if let Some(claim) = passed.filter(|claim| !self.own.contains(&claim.writer)) {
            return Ok(Reclaimed { settled: BTreeMap::new(), fenced_by: Some(claim) });
        }
        let mut found = BTreeMap::new();
        let mut recovery = Recovery::new(items, note.into());
        let fenced_by = loop {
            let own = &mut self.own;
            // Also if this future is dropped: its claim may count all the same.
            let poll = |cx: &mut Context<'_>| {
                let item = recovery.poll_item(cx);
                own.extend(recovery.attempts_by());
                item
            };
            match poll_fn(poll).await {
                None => break None,
                Some(Ok(Item::Claim(claim))) if !self.own.contains(&claim.writer) => break Some(claim),
                Some(Ok(Item::Entry(entry))) if entry.is_of(ours.term, ours.writer) => {
                    let (offsets, position) = (entry.offsets(), entry.position());
                    found.insert(entry.sequence(), Appended { offsets, position, encoded_size: 0 });
                }
                Some(Ok(_)) => {}
                // An older claim of this writer came first.
                Some(Err(error)) if matches!(error.kind(), ErrorKind::ClaimLost { .. }) => {}
                Some(Err(error)) => return Err(error),
            }
        };
        match &fenced_by {
            Some(claim) => {
                self.shared.look(|state| {
                    (state.fenced_by, state.unknown) = (Some(claim.clone()), Vec::new());
                });
            }
            None => *self = recovery.into_writer()?,
        }
        let settled = unknown.into_iter().map(|sequence| (sequence, found.remove(&sequence))).collect();
        Ok(Reclaimed { settled, fenced_by })
    }

    /// Waits until no append is under way, and ends the writer. The log stays claimed until another claim.
    pub async fn close(self) {
        self.flush().await;
    }

    /// Waits until no append is under way. Cancel safe.
    pub async fn flush(&self) {
        loop {
            let settled = self.shared.settled.notified();
            if self.shared.look(|state| state.appends.is_empty()) {
                return;
            }
            settled.await;
        }
    }
}

impl Shared {
    fn append<K: Payload, V: Payload, H: RecordHeaders>(
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
                    let encoded_size = batch.size_in_bytes();
                    state.ledger.append();
                    state.appends.push_back(Appending {
                        caller,
                        deadline,
                        encoded_size,
                        batch: Some(batch),
                        was_sent: false,
                        produce: None,
                        error: None,
                    });
                    Some(sequence)
                }
                Err(error) => {
                    lock(&self.results).push_back((caller, Err(self.located(error))));
                    None
                }
            }
        });
        Append { sequence, result }
    }

    /// Changes the state, and does what follows from it.
    fn with<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        self.advance(&mut state);
        drop(state);
        self.give_results();
        self.look_for_news();
        changed
    }

    /// Looks at the state, or changes what nothing follows from.
    fn look<T>(self: &Arc<Self>, look: impl FnOnce(&mut State) -> T) -> T {
        let looked = look(&mut lock(&self.state));
        self.look_for_news();
        looked
    }

    /// Takes in what came while the lock was held, perhaps by this caller. Every holder must call this after it releases the
    /// lock.
    fn look_for_news(self: &Arc<Self>) {
        loop {
            // Either this sees the news, or who brings them sees that the lock is free.
            fence(Ordering::SeqCst);
            if !self.has_news.load(Ordering::SeqCst) {
                return;
            }
            match self.state.try_lock() {
                Ok(mut state) => self.advance(&mut state),
                // The holder will look.
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(poisoned)) => self.advance(&mut poisoned.into_inner()),
            }
            self.give_results();
        }
    }

    fn give_results(&self) {
        loop {
            let next = lock(&self.results).pop_front();
            let Some((caller, result)) = next else { return };
            // The caller may have dropped its future.
            let _ = caller.send(result);
        }
    }

    fn advance(self: &Arc<Self>, state: &mut State) {
        self.has_news.swap(false, Ordering::SeqCst);
        let waker = Waker::from(self.clone());
        let mut is_moving = true;
        while std::mem::take(&mut is_moving) {
            state.take_answers(&mut Context::from_waker(&waker));
            while let Some((sequence, settled)) = state.ledger.take_settled() {
                state.settle(self, sequence, settled);
                is_moving = true;
            }
            is_moving |= state.send(&self.line);
        }
        if state.appends.is_empty() {
            self.settled.notify_waiters();
        }
        if state.ledger.wants_read_to().is_some() && !std::mem::replace(&mut state.is_reading, true) {
            let core = &self.log.partition.core;
            core.tasks.spawn_on(self.clone().read(), core.cluster.runtime());
        }
    }

    /// Reads on until the oldest append can be judged.
    async fn read(self: Arc<Self>) {
        // Gives up if its runtime ends before it does.
        let mut reading = ReadingTask { shared: self.clone(), has_ended: false };
        let mut items = self.look(|state| self.items(state));
        while let Some(deadline) = self.with(State::deadline_of_read) {
            let read = tokio::time::timeout_at(deadline.instant(), poll_fn(|cx| items.poll_batch(cx))).await;
            self.with(|state| match read {
                Ok(Some(Ok(batch))) => state.read(&items, &batch),
                Ok(Some(Err(error))) if error.is_retriable() => {}
                Ok(Some(Err(error))) => state.give_up(error),
                Ok(None) => state.give_up(Error::new(Case::ClientClosed, ErrorKind::Closed)),
                Err(_) => state.give_up(Error::new(Case::TimedOut, ErrorKind::TimedOut)),
            });
        }
        reading.has_ended = true;
    }

    fn items(&self, state: &State) -> Items {
        ReadBuilder::exclusive(&self.log, self.log.position(state.ledger.reading())).build_items()
    }

    fn located(&self, error: Error) -> Error {
        self.log.partition.located(error, ApiKey::PRODUCE)
    }
}

struct ReadingTask {
    shared: Arc<Shared>,
    has_ended: bool,
}

impl Drop for ReadingTask {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.with(|state| state.give_up(Error::new(Case::RuntimeGone, ErrorKind::Closed)));
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.has_news.store(true, Ordering::SeqCst);
        self.look_for_news();
    }
}

impl State {
    /// Takes answers to the ledger, in the order of the appends.
    fn take_answers(&mut self, cx: &mut Context<'_>) {
        while let Some(appending) = self.appends.get_mut(self.answered) {
            let Some(produce) = &mut appending.produce else { return };
            // With tokio's budget, the poll could wake this writer while it holds its own lock.
            let ended = pin!(unconstrained(poll_fn(|cx| produce.poll_ended(cx)))).poll(cx);
            let Poll::Ready((result, batch)) = ended else { return };
            let answer = answer(&result, batch.is_some());
            (appending.produce, appending.batch, appending.error) = (None, batch, result.err());
            let sequence = self.first_sequence() + self.answered as u64;
            self.ledger.answered(sequence, answer);
            self.answered += 1;
            if self.ledger.has_settled() {
                return;
            }
        }
    }

    /// Puts what the ledger wants sent into the line. Returns whether there was anything.
    fn send(&mut self, line: &Arc<Line>) -> bool {
        let first = self.first_sequence();
        let mut has_sent = false;
        while let Some(sequence) = self.ledger.send() {
            let index = (sequence - first) as usize;
            let Some(appending) = self.appends.get_mut(index) else { break };
            let Some(batch) = appending.batch.take() else { break };
            if std::mem::replace(&mut appending.was_sent, true) {
                line.resume();
            }
            appending.produce = Some(Produce::of_encoded(line, appending.deadline, batch));
            self.answered = self.answered.min(index);
            has_sent = true;
        }
        has_sent
    }

    /// Of the oldest append.
    fn first_sequence(&self) -> u64 {
        self.ledger.next_sequence() - self.appends.len() as u64
    }

    fn settle(&mut self, shared: &Shared, sequence: u64, settled: Settled) {
        let Some(appending) = self.appends.pop_front() else { return };
        self.answered = self.answered.saturating_sub(1);
        let Appending { caller, encoded_size, batch, error, .. } = appending;
        if let Some(batch) = batch {
            shared.log.partition.core.spare.keep(batch);
        }
        let result = match settled {
            Settled::Counts(base, next) => {
                let reading = Reading { fence: self.ledger.fence_after(sequence), next_offset: next };
                Ok(Appended { offsets: base..next, position: shared.log.position(reading), encoded_size })
            }
            Settled::NotWritten | Settled::Unknown => {
                if settled == Settled::Unknown {
                    self.unknown.push(sequence);
                }
                let error = match self.refusal() {
                    // It is the one that ended the writer, or was sent behind it.
                    Some(refusal) if *refusal.kind() == ErrorKind::Stopped => error.unwrap_or(refusal),
                    refusal => refusal.or(error).unwrap_or_else(stopped),
                };
                let error = shared.located(error.with_outcome(outcome(settled)));
                if matches!(error.kind(), ErrorKind::LogTruncated { .. }) {
                    self.truncated.get_or_insert_with(|| error.clone());
                }
                Err(error)
            }
        };
        lock(&shared.results).push_back((caller, result));
    }

    /// Why nothing more is appended.
    fn refusal(&self) -> Option<Error> {
        if let Some(Claim { term, offset, note, .. }) = self.fenced_by.clone() {
            return Some(Error::new(Case::Fenced, ErrorKind::Fenced { term, offset, note }));
        }
        Some(match self.ledger.end()? {
            End::Fenced { term, offset } => {
                Error::new(Case::Fenced, ErrorKind::Fenced { term, offset, note: Bytes::new() })
            }
            End::Failed { .. } => stopped(),
            End::Truncated { offset } => {
                Error::new(Case::LogTruncated, ErrorKind::LogTruncated { divergence_offset: offset })
            }
        })
    }

    /// Until when to read for the oldest append; `None` if that is not needed any more.
    fn deadline_of_read(&mut self) -> Option<Deadline> {
        self.is_reading = self.ledger.wants_read_to().is_some();
        self.appends.front().filter(|_| self.is_reading).map(|appending| appending.deadline)
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

    fn give_up(&mut self, error: Error) {
        if let Some(oldest) = self.appends.front_mut() {
            oldest.error = Some(error);
        }
        self.ledger.give_up();
    }
}

fn stopped() -> Error {
    Error::new(Case::Stopped, ErrorKind::Stopped)
}

async fn next(items: &mut Items) -> Option<Result<Item>> {
    poll_fn(|cx| Pin::new(&mut *items).poll_next(cx)).await
}
