//! The line of one partition client: its appends in the order of the calls, driven by the sequencer.
//!
//! While nothing fails, no task runs for it. The caller that joins the line submits its batch; the connection's task wakes
//! the line with the answer, which settles that batch and submits the next. What has to be waited for (a pause, the leader
//! and a connection to it, a producer id, room on the connection) is waited for by a task (`task.rs`).
//!
//! Invariant: requests are submitted, and answers taken in, under the line's lock, so no two appends can swap. Callers
//! hear of their results only after it was released, for they may make their next append at once.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Wake;
use std::time::Duration;

use rskafka_cluster::transport::{Deadline, lock};
use rskafka_cluster::{Attempts, Failure, Lane, Leader, Learned, Via};
use rskafka_protocol::ApiKey;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::append::Append;
use super::encode::EncodeOptions;
use super::request::Acks;
use super::sequencer::{Closed, MAX_IN_FLIGHT};
use super::state::{State, Wanted};
use super::task::ProduceTask;
use super::{warm_up, watch};
use crate::core::Limits;
use crate::error::{Case, Error, ErrorKind, Result};
use crate::memory::{Share, Waiter};
use crate::partition::Partition;

const BUFFER_MEMORY: usize = 32 * 1024 * 1024;

/// How one partition client appends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineOptions {
    pub(crate) acks: Acks,
    pub(crate) is_idempotent: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) stop_on_failure: bool,
    /// Where an epoch ends, a new producer id is taken, on any broker.
    pub(crate) takes_new_ids: bool,
    pub(crate) delivery_timeout: Duration,
    pub(crate) buffer_memory: usize,
    pub(crate) encode: EncodeOptions,
}

impl LineOptions {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            acks: Acks::default(),
            is_idempotent: true,
            max_in_flight: MAX_IN_FLIGHT,
            stop_on_failure: false,
            takes_new_ids: false,
            delivery_timeout: limits.delivery_timeout,
            buffer_memory: BUFFER_MEMORY,
            encode: EncodeOptions {
                max_decompressed_bytes: limits.max_decompressed_bytes,
                ..EncodeOptions::default()
            },
        }
    }
}

/// The appends to one partition by one partition client and its clones.
#[derive(derive_more::Debug)]
#[debug("Line {{ topic: {:?}, partition: {} }}", partition.topic, partition.index)]
pub(crate) struct Line {
    pub(crate) partition: Arc<Partition>,
    pub(crate) options: LineOptions,
    /// `None` to use the lane that all partition clients share.
    lane: Option<Lane>,
    state: Mutex<State>,
    /// The watch is to look earlier than it meant to.
    pub(crate) sooner: Arc<Notify>,
}

impl Line {
    pub(crate) fn new(partition: Arc<Partition>, options: LineOptions) -> Arc<Self> {
        let lane = (!partition.core.limits.shares_produce_connections).then(Lane::default);
        let memory = partition.core.memory.clone();
        Arc::new_cyclic(|line: &Weak<Self>| {
            let state = State::new(options, Share::new(memory, line.clone()));
            Self { partition, options, lane, state: Mutex::new(state), sooner: Arc::default() }
        })
    }

    /// The deadline of an append that is called now.
    pub(crate) fn delivery_deadline(&self) -> Deadline {
        let core = &self.partition.core;
        Deadline::after(core.cluster.env().now(), self.options.delivery_timeout)
    }

    pub(crate) fn via(&self) -> Via<'_> {
        self.lane.as_ref().map_or(Via::SharedProduce, Via::Own)
    }

    /// The broker may need seconds for a producer id, in which nothing else on the connection is served.
    pub(crate) fn via_for_producer_ids(&self) -> Via<'_> {
        self.lane.as_ref().map_or(Via::ProducerIds, Via::Own)
    }

    /// Puts an append at the end of the line. Returns its number, by which `leave` takes it back.
    pub(crate) fn join(self: &Arc<Self>, append: Append) -> u64 {
        self.drive(|state| state.join(append, &self.partition.core.tasks))
    }

    /// Takes back an append that waits for room in the memory.
    pub(crate) fn leave(self: &Arc<Self>, id: u64) -> Option<Append> {
        let left = self.lock().queue.leave(id);
        if left.is_some() {
            // Those behind it may be smaller.
            self.drive(|_| ());
        }
        left
    }

    /// Connects to the leader and obtains a producer id.
    pub(crate) async fn warm_up(self: &Arc<Self>) -> Result<()> {
        warm_up::warm_up(self).await
    }

    /// Admits appends again after one failed.
    pub(crate) fn resume(self: &Arc<Self>) {
        self.drive(|state| state.sequencer.resume());
    }

    /// Takes in what an attempt says of the cluster. Gives when the next one may begin, or the failure if there is none.
    pub(crate) fn learn(
        &self,
        leader: &Leader,
        learned: (Learned, bool),
        attempts: &mut Attempts,
    ) -> Result<Instant, Failure> {
        self.partition.core.cluster.learn(self.partition.target(), leader, learned, attempts)
    }

    /// The error of an append that the sequencer does not admit.
    pub(crate) fn refused(&self, closed: Closed) -> Error {
        self.partition.located(closed.error(), ApiKey::PRODUCE)
    }

    /// The error of an append that was not sent.
    pub(crate) fn ended(&self, case: Case, kind: ErrorKind) -> Error {
        self.partition.located(Error::new(case, kind), ApiKey::PRODUCE)
    }

    /// Changes the state, does what can be done now, and starts a task for what has to be waited for. Other lines get the
    /// memory that this one has given back.
    pub(crate) fn drive<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let (changed, has_given_back) = self.drive_alone(change);
        if has_given_back {
            self.partition.core.memory.hand_out();
        }
        changed
    }

    /// Returns also whether other lines may get memory.
    fn drive_alone<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> (T, bool) {
        let mut state = self.lock();
        let changed = change(&mut state);
        state.advance(self);
        let starts_task = state.starts_task();
        let watch = state.wants_watch(self.partition.core.limits.overdue_after);
        let (ended, has_given_back) = (state.take_ended(), state.queue.has_given_back());
        drop(state);
        ended.give(&self.partition.core.spare);
        match watch {
            Some(Wanted::Start) => watch::start(self),
            Some(Wanted::Wake) => self.sooner.notify_one(),
            None => {}
        }
        if starts_task {
            ProduceTask::start(self);
        }
        (changed, has_given_back)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Waiter for Line {
    fn admit(self: Arc<Self>) {
        // What this line gives back is handed out by the caller.
        let _ = self.drive_alone(|state| state.queue.admit());
    }
}

/// An answer has come.
impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.drive(|_| ());
    }
}
