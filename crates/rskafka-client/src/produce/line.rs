//! The line of one partition client: its appends in the order of the calls, one in flight at a time.
//!
//! While nothing fails, no task runs for it. The caller that finds the line idle submits its batch; the connection's task
//! wakes the line with the answer, which settles that batch and submits the next. An append that must wait for metadata, a
//! dial, a pause or room on a connection is sent by a task (`task.rs`), as are those after it until one can go out at once.
//!
//! Invariant: only the holder of the [`Turn`] submits or settles, so no two appends can swap. The caller that finds the
//! queue idle takes the turn; it is handed from append to append, and ends when the queue is empty.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rskafka_cluster::transport::{Answer, CallError, CallErrorKind, Deadline, Reply};
use rskafka_cluster::{Failure, Lane, Leader, Via};
use rskafka_protocol::ApiKey;
use rskafka_protocol::messages::produce::ProduceResponse;
use tokio::task::coop::unconstrained;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::append::{Append, Sending};
use super::queue::Queue;
use super::request::{self, Acks};
use super::task::ProduceTask;
use crate::error::{Case, Error, ErrorKind};
use crate::partition::Partition;

/// The appends to one partition by one partition client and its clones.
pub(crate) struct Line {
    pub(crate) partition: Arc<Partition>,
    pub(crate) acks: Acks,
    /// `None` to use the lane that all partition clients share.
    lane: Option<Lane>,
    queue: Mutex<Queue<Append>>,
    in_flight: Mutex<Option<Box<InFlight>>>,
}

/// The right to send the next append of a line. If it is lost, because a runtime ends or something panics, all appends
/// in the line fail instead of waiting forever.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) line: Arc<Line>,
    is_over: bool,
    /// The client's `close` waits for it.
    _token: TaskTrackerToken,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let left = self.line.queue().abandon();
        for append in left {
            let _ = append.result.send(Err(self.line.ended(Case::ClientClosed, ErrorKind::Closed)));
        }
    }
}

/// An append whose answer wakes the line.
#[derive(Debug)]
struct InFlight {
    sending: Sending,
    leader: Leader,
    answer: Answer<ProduceResponse>,
}

/// What to do after a submit or an answer: send the next append, or stop. `Break(None)`: an answer is awaited and holds the
/// turn; `Break(Some)`: this append must wait, and a task takes it over.
type Next = ControlFlow<Option<Box<Sending>>, Turn>;

impl Line {
    pub(crate) fn new(partition: Arc<Partition>, acks: Acks) -> Self {
        let limits = partition.core.limits;
        let queue = Mutex::new(Queue::new(limits.buffer_memory));
        let lane = (!limits.shares_produce_connections).then(Lane::new);
        Self { partition, acks, lane, queue, in_flight: Mutex::default() }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue<Append>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight(&self) -> MutexGuard<'_, Option<Box<InFlight>>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deadline of an append that is called now.
    pub(crate) fn delivery_deadline(&self) -> Deadline {
        let core = &self.partition.core;
        Deadline::after(core.cluster.env().now(), core.limits.delivery_timeout)
    }

    pub(crate) fn via(&self) -> Via<'_> {
        self.lane.as_ref().map_or(Via::SharedProduce, Via::Own)
    }

    /// Puts an append at the end of the line. Returns its number, by which `leave` takes it back.
    pub(crate) fn join(self: &Arc<Self>, append: Append) -> u64 {
        let (id, takes_turn) = self.queue().join(append.batch.size_in_bytes(), append);
        if takes_turn {
            let _token = self.partition.core.tasks.token();
            hand_over(advance(Turn { line: self.clone(), is_over: false, _token }));
        }
        id
    }

    /// The error of an append that was not sent.
    pub(crate) fn ended(&self, case: Case, kind: ErrorKind) -> Error {
        self.partition.located(Error::new(case, kind), ApiKey::PRODUCE)
    }

    fn submit(self: &Arc<Self>, mut sending: Sending) -> Next {
        let cluster = &self.partition.core.cluster;
        let span = sending.span.clone();
        let _entered = span.enter();
        let Some((leader, lease)) = cluster.reach_now(self.partition.target(), self.via()) else {
            return Next::Break(Some(Box::new(sending)));
        };
        let (request, options) = request::produce(&self.partition, self.acks, &leader, &sending.append);
        let submitted = lease.submit(&request, options);
        if submitted.as_ref().is_err_and(|error| matches!(error.kind(), CallErrorKind::Full)) {
            return Next::Break(Some(Box::new(sending)));
        }
        sending.attempts.begin(&leader.broker);
        match submitted {
            Ok(answer) => {
                *self.in_flight() = Some(Box::new(InFlight { sending, leader, answer }));
                // It may be there already.
                self.look_at_answer()
            }
            Err(source) => self.end_attempt(sending, &leader, Err(source)),
        }
    }

    /// Takes in the answer to the append in flight, if it is there.
    fn look_at_answer(self: &Arc<Self>) -> Next {
        let waker = Waker::from(self.clone());
        let mut in_flight = self.in_flight();
        let Some(awaited) = in_flight.as_mut() else { return Next::Break(None) };
        // With tokio's budget, the poll could wake this line while it holds its own lock.
        let mut answer = unconstrained(&mut awaited.answer);
        let Poll::Ready(answered) = Pin::new(&mut answer).poll(&mut Context::from_waker(&waker)) else {
            return Next::Break(None);
        };
        let Some(awaited) = in_flight.take() else { return Next::Break(None) };
        drop(in_flight);
        let InFlight { sending, leader, .. } = *awaited;
        self.end_attempt(sending, &leader, answered)
    }

    fn end_attempt(
        &self,
        mut sending: Sending,
        leader: &Leader,
        answered: Result<Reply<ProduceResponse>, CallError>,
    ) -> Next {
        let answered = answered.map(|reply| reply.response).map_err(|source| Failure::Call { source });
        match sending.answered(leader, answered) {
            Some(result) => Next::Continue(sending.settle(result)),
            None => Next::Break(Some(Box::new(sending))),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (topic, partition) = (&self.partition.topic, self.partition.index);
        f.debug_struct("Line").field("topic", topic).field("partition", &partition).finish_non_exhaustive()
    }
}

/// Submits the next append. Returns an append that has to wait; `None` if an answer is awaited or the queue is empty.
pub(crate) fn advance(mut turn: Turn) -> Option<Box<Sending>> {
    let line = turn.line.clone();
    let cluster = &line.partition.core.cluster;
    loop {
        let next = line.queue().next();
        turn.is_over = next.is_none();
        let append = next?;
        let attempts = cluster.attempts(ApiKey::PRODUCE, line.partition.target(), append.deadline);
        let is_late = append.deadline.is_over(cluster.env().now());
        let sending = Sending::new(turn, append, attempts);
        if is_late {
            turn = sending.settle(Err(line.ended(Case::WaitedInLine, ErrorKind::TimedOut)));
            continue;
        }
        match line.submit(sending) {
            Next::Continue(next) => turn = next,
            Next::Break(waiting) => return waiting,
        }
    }
}

/// Starts a task for an append that has to wait.
fn hand_over(waiting: Option<Box<Sending>>) {
    if let Some(waiting) = waiting {
        let core = waiting.turn.line.partition.core.clone();
        core.tasks.spawn_on(ProduceTask { waiting: Some(waiting) }.run(), core.cluster.runtime());
    }
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        hand_over(match self.look_at_answer() {
            Next::Continue(turn) => advance(turn),
            Next::Break(waiting) => waiting,
        });
    }
}
