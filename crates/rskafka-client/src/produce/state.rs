//! What the line knows: who waits, who is in flight, and what the sequencer wants next.
//!
//! Invariant: `unsent` and `in_flight` hold each attempt that the sequencer has begun, once, in the order in which it
//! began them. So attempts end in the order of the connection, and none is forgotten.

mod errand;
mod watched;

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rskafka_cluster::transport::{
    Answer, CallError, CallErrorKind, CallOptions, Reply, Reserved, WeakConnection,
};
use rskafka_cluster::{Failure, Leader, Lease};
use rskafka_protocol::ApiKey;
use rskafka_protocol::messages::produce::{ProduceRequest, ProduceResponse};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(crate) use self::errand::Errand;
pub(crate) use self::watched::Wanted;

use self::watched::Watch;
use super::append::{Append, Caller, Sending, Sink};
use super::line::{Line, LineOptions};
use super::queue::Queue;
use super::request::{self, Answered, Produced};
use super::sequencer::{Action, Attempt, Idempotence, Numbers, Options, Sequencer, Settled};
use crate::error::{Case, Error, ErrorKind, Result};
use crate::memory::Share;
use crate::spare::Spare;
use crate::time::to_millis;

/// How long after a batch's timestamp a partition surely knows its producer: half of what
/// `producer.id.expiration.ms` is by default.
const KNOWN_FOR: Duration = Duration::from_secs(12 * 60 * 60);

pub(crate) struct State {
    pub(crate) queue: Queue<Append>,
    pub(crate) sequencer: Sequencer,
    /// The appends that the sequencer has taken in and not settled, in their order.
    window: VecDeque<Sending>,
    unsent: VecDeque<(u64, Option<Numbers>)>,
    in_flight: VecDeque<InFlight>,
    lease: Option<Held>,
    /// The latest epoch of a leader to which there was a lease.
    latest_epoch: Option<i32>,
    watch: Watch,
    /// The warning that the log cannot be read was logged.
    has_warned: bool,
    /// What the sequencer wants that the task has to wait for.
    need: Option<Action>,
    has_task: bool,
    /// When the next attempt to reach the leader may begin, if one has failed.
    not_before: Option<Instant>,
    /// How many appends in a row have failed because their leader or its connection was gone.
    misled: u32,
    /// The client's `close` waits for it while the line has appends.
    token: Option<TaskTrackerToken>,
    ended: Vec<(Append, Result<Produced>)>,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    sent_at: Instant,
    leader: Arc<Leader>,
    answer: Answer<ProduceResponse>,
}

/// The lease that the sequencer has asked for.
#[derive(Debug)]
struct Held {
    leader: Arc<Leader>,
    /// `None` while the line is idle: it holds no memory of a connection that has ended.
    lease: Option<Lease>,
    weak: WeakConnection,
    /// Nothing was sent over it yet.
    is_fresh: bool,
}

/// Results that callers have not heard of yet.
#[must_use]
pub(crate) struct Ended {
    results: Vec<(Append, Result<Produced>)>,
    _token: Option<TaskTrackerToken>,
}

impl Ended {
    /// Gives the callers their results. Not under the line's lock. A line has one sink.
    pub(crate) fn give(self, spare: &Spare) {
        let mut sink = None;
        for (append, result) in self.results {
            match append.caller {
                Caller::Sink(to, sequence) => {
                    to.ended(sequence, result, append.batch);
                    sink = Some(to);
                }
                Caller::Future(caller) => {
                    spare.keep(append.batch);
                    // The caller may have dropped its future.
                    let _ = caller.send(result);
                }
            }
        }
        sink.into_iter().for_each(<dyn Sink>::proceed);
    }
}

impl State {
    pub(crate) fn new(options: LineOptions, share: Share) -> Self {
        let LineOptions { is_idempotent, max_in_flight, stop_on_failure, buffer_memory, .. } = options;
        let idempotence = if is_idempotent { Idempotence::Epochs } else { Idempotence::Off };
        let options = Options { max_in_flight, idempotence, stop_on_failure, known_for: KNOWN_FOR };
        Self {
            queue: Queue::new(buffer_memory, share),
            sequencer: Sequencer::new(options),
            window: VecDeque::new(),
            unsent: VecDeque::new(),
            in_flight: VecDeque::new(),
            lease: None,
            latest_epoch: None,
            watch: Watch::default(),
            has_warned: false,
            need: None,
            has_task: false,
            not_before: None,
            misled: 0,
            token: None,
            ended: Vec::new(),
        }
    }

    pub(crate) fn join(&mut self, append: Append, tasks: &TaskTracker) -> u64 {
        self.token.get_or_insert_with(|| tasks.token());
        self.take_lease_up();
        self.queue.join(append.batch.size_in_bytes(), append)
    }

    /// After the line was idle.
    fn take_lease_up(&mut self) {
        let Some(held) = self.lease.as_mut().filter(|held| held.lease.is_none()) else { return };
        held.lease = held.weak.upgrade().map(Lease::new);
        if held.lease.is_none() {
            self.sequencer.drain();
        }
    }

    /// Does all that can be done without waiting.
    pub(crate) fn advance(&mut self, line: &Arc<Line>) {
        self.take_answers(line);
        self.look_at_lease(line);
        loop {
            self.admit(line);
            let has_settled = self.give_up_late(line) | self.follow(line);
            if !(self.submit(line) | has_settled) {
                return;
            }
            self.take_answers(line);
        }
    }

    /// Whether the caller has to start a task.
    pub(crate) fn starts_task(&mut self) -> bool {
        let is_needed = self.need.is_some() || !self.unsent.is_empty();
        is_needed && !mem::replace(&mut self.has_task, true)
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.window.is_empty() && self.in_flight.is_empty() && self.unsent.is_empty()
    }

    /// There may be thousands of idle lines: they hold no memory of appends.
    fn free(&mut self) {
        self.queue.free();
        self.sequencer.free();
        self.window = VecDeque::new();
        self.in_flight = VecDeque::new();
        self.unsent = VecDeque::new();
    }

    /// What the task is to wait for next: for a send, that is room on the connection. `None` ends it.
    pub(crate) fn next_need(&mut self) -> Option<Action> {
        let unsent = self.unsent.front().map(|&(number, numbers)| Action::Send { number, numbers });
        let need = self.need.take().or(unsent);
        self.has_task = need.is_some();
        need
    }

    pub(crate) fn take_ended(&mut self) -> Ended {
        let is_idle = self.is_idle();
        if let Some(held) = self.lease.as_mut().filter(|_| is_idle) {
            held.lease = None;
        }
        if is_idle && self.watch.next.is_none() {
            self.free();
        }
        Ended { results: mem::take(&mut self.ended), _token: self.token.take_if(|_| is_idle) }
    }

    /// Takes in the answers that are there, in order.
    fn take_answers(&mut self, line: &Arc<Line>) {
        if self.in_flight.is_empty() {
            return;
        }
        let waker = Waker::from(line.clone());
        while let Some(first) = self.in_flight.front_mut() {
            // With tokio's budget, the poll could wake this line while its lock is held.
            let mut answer = unconstrained(&mut first.answer);
            let Poll::Ready(answered) = Pin::new(&mut answer).poll(&mut Context::from_waker(&waker)) else {
                return;
            };
            if let Some(InFlight { number, leader, .. }) = self.in_flight.pop_front() {
                self.attempt_ended(line, number, &leader, answered);
            }
        }
    }

    /// Lets the lease end if another leader is known, or its connection is to be replaced.
    fn look_at_lease(&mut self, line: &Line) {
        let is_wanted = !self.queue.is_empty() || self.window.len() > self.in_flight.len();
        // At least one append is sent over each lease; otherwise metadata that keeps changing would stop all progress.
        let Some(held) = self.lease.as_mut().filter(|held| is_wanted && !held.is_fresh) else { return };
        let cluster = &line.partition.core.cluster;
        let (target, via) = (line.partition.target(), line.via());
        let leader = &held.leader;
        if !held.lease.as_mut().is_some_and(|lease| cluster.is_current(target, via, leader, lease)) {
            self.sequencer.drain();
        }
    }

    /// Moves appends from the queue into the window.
    fn admit(&mut self, line: &Line) {
        let cluster = &line.partition.core.cluster;
        while self.sequencer.has_room()
            && let Some(append) = self.queue.next()
        {
            match self.sequencer.admit(append.batch.header().record_count) {
                Ok(number) => {
                    let attempts =
                        cluster.attempts(ApiKey::PRODUCE, line.partition.target(), append.deadline);
                    self.window.push_back(Sending::new(number, append, attempts));
                }
                Err(closed) => self.end(append, Err(line.refused(closed))),
            }
        }
        // What waits must not be sent once the line is opened again.
        if let Some(closed) = self.sequencer.closed() {
            self.refuse_all(|| line.refused(closed));
        }
    }

    fn refuse_all(&mut self, error: impl Fn() -> Error) {
        self.ended.extend(self.queue.take_all().map(|append| (append, Err(error()))));
    }

    /// Does what the sequencer wants. Returns whether it has settled an append.
    fn follow(&mut self, line: &Line) -> bool {
        let mut has_settled = false;
        let now = || to_millis(line.partition.core.cluster.env().wall_clock());
        while let Some(action) = self.sequencer.poll(now) {
            match action {
                Action::Send { number, numbers } => self.unsent.push_back((number, numbers)),
                Action::Settle { number, settled } => {
                    has_settled = true;
                    self.settle(line, number, settled);
                }
                Action::Lease | Action::ObtainProducerId | Action::Verify(_) => {
                    self.lease.take_if(|_| action == Action::Lease);
                    self.need = Some(action);
                }
            }
        }
        has_settled
    }

    fn settle(&mut self, line: &Line, number: u64, settled: Settled) {
        let index = self.window.iter().position(|sending| sending.number == number);
        let Some(mut sending) = index.and_then(|index| self.window.remove(index)) else { return };
        let result = sending.result(&line.partition, settled);
        self.end(sending.append, result);
    }

    fn end(&mut self, append: Append, result: Result<Produced>) {
        self.queue.done(append.batch.size_in_bytes());
        self.ended.push((append, result));
    }

    /// Submits what the sequencer wants sent, as far as there is room. Returns whether an attempt has begun or ended.
    fn submit(&mut self, line: &Line) -> bool {
        let mut has_changed = false;
        while let Some(number) = self.first_unsent() {
            let submitted = match self.sequencer.is_held_back(number) {
                true => None,
                false => self
                    .first_request(line)
                    .map(|(lease, request, options)| lease.connection.submit(&request, options)),
            };
            if let Some(Err(error)) = &submitted
                && matches!(error.kind(), CallErrorKind::Full)
            {
                break;
            }
            has_changed = true;
            self.submitted(line, number, submitted);
        }
        has_changed
    }

    /// The first request that is to be sent; `None` if its connection has ended or its append was settled.
    pub(crate) fn first_request(&mut self, line: &Line) -> Option<(Lease, ProduceRequest, CallOptions)> {
        let (number, numbers) = *self.unsent.front()?;
        let (leader, lease) = self.held()?;
        let sending = self.window.iter_mut().find(|sending| sending.number == number)?;
        sending.begin(&leader, numbers, self.sequencer.floor());
        let (request, options) =
            request::produce(&line.partition, line.options.acks, &leader, &sending.append);
        Some((lease, request, options))
    }

    /// Submits the first request in the room that the task has waited for; gives it back if it went out meanwhile, or must
    /// not be sent now.
    pub(crate) fn submit_reserved(
        &mut self,
        line: &Line,
        number: u64,
        reserved: Result<Reserved<ProduceRequest>, CallError>,
    ) -> Option<Result<Reserved<ProduceRequest>, CallError>> {
        if self.first_unsent() != Some(number) || self.sequencer.is_held_back(number) {
            return Some(reserved);
        }
        self.submitted(line, number, Some(reserved.and_then(Reserved::submit)));
        None
    }

    /// Records the result of submitting the first request; `None` if it was held back, or its connection or its append is
    /// gone.
    fn submitted(
        &mut self,
        line: &Line,
        number: u64,
        submitted: Option<Result<Answer<ProduceResponse>, CallError>>,
    ) {
        self.unsent.pop_front();
        let leader = self.lease.as_mut().map(|held| {
            held.is_fresh = false;
            held.leader.clone()
        });
        match (submitted, leader) {
            (Some(Ok(answer)), Some(leader)) => {
                let sent_at = line.partition.core.cluster.env().now();
                self.in_flight.push_back(InFlight { number, sent_at, leader, answer });
            }
            (Some(Err(error)), Some(leader)) => self.attempt_ended(line, number, &leader, Err(error)),
            _ => {
                self.sequencer.attempt_ended(number, Attempt::NEVER_SENT);
            }
        }
    }

    fn attempt_ended(
        &mut self,
        line: &Line,
        number: u64,
        leader: &Leader,
        answered: Result<Reply<ProduceResponse>, CallError>,
    ) {
        let answered = answered.map(|reply| reply.response).map_err(|source| Failure::Call { source });
        let is_oldest = self.sequencer.is_oldest(number);
        let Some(sending) = self.window.iter_mut().find(|sending| sending.number == number) else {
            // It was settled before.
            let Answered { attempt, .. } = request::judge(line.partition.index, i64::MIN, answered);
            self.sequencer.attempt_ended(number, attempt);
            return;
        };
        let span = sending.span.clone();
        let _entered = span.enter();
        sending.has_begun = false;
        let max_timestamp = sending.append.batch.header().max_timestamp;
        let Answered { attempt, learned, log_append_time } =
            request::judge(line.partition.index, max_timestamp, answered);
        sending.log_append_time = log_append_time;
        let is_sent_again = self.sequencer.attempt_ended(number, attempt);
        let Some(learned) = learned else {
            self.misled = 0;
            return;
        };
        let is_misled = learned.is_stale() && learned.leader.is_none();
        // An append that the partition refuses for want of those before it has not failed by itself.
        if is_oldest || !is_sent_again || !attempt.is_out_of_sequence() {
            sending.failure = Some(learned.failure.clone());
        }
        match line.learn(leader, (learned, is_sent_again), &mut sending.attempts) {
            Ok(moment) if is_oldest => self.not_before = Some(moment),
            Ok(_) => {}
            // Its own pause would not end in time, but it goes out with the oldest, after that one's. If that takes too long,
            // the watch ends it.
            Err(_) if is_sent_again && !is_oldest => sending.attempts.out_of_time = false,
            Err(_) if is_sent_again => self.sequencer.give_up(number),
            // The oldest may have a longer pause.
            Err(_) if is_misled => {
                // The first look for another leader is made at once.
                let pause = (self.misled > 0).then(|| line.partition.after_pause(self.misled));
                self.misled = self.misled.saturating_add(1);
                self.not_before = self.not_before.max(pause);
            }
            Err(_) => {}
        }
    }

    pub(crate) fn first_unsent(&self) -> Option<u64> {
        self.unsent.front().map(|(number, _)| *number)
    }

    /// The leader and the connection that the sequencer has leased; `None` if the connection has ended.
    pub(crate) fn held(&self) -> Option<(Arc<Leader>, Lease)> {
        let held = self.lease.as_ref()?;
        Some((held.leader.clone(), held.lease.clone()?))
    }

    /// The task was dropped: the client's runtime has ended. Nothing more is sent.
    pub(crate) fn abandon(&mut self, line: &Line) {
        self.has_task = false;
        self.need = None;
        self.sequencer.not_done();
        for (number, _) in mem::take(&mut self.unsent) {
            self.sequencer.attempt_ended(number, Attempt::NEVER_SENT);
        }
        for sending in &mut self.window {
            sending.failure = Some(Failure::RuntimeGone);
            self.sequencer.give_up(sending.number);
        }
        self.refuse_all(|| line.ended(Case::ClientClosed, ErrorKind::Closed));
    }
}
