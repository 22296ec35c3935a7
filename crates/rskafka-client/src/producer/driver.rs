//! Moves batches from a producer's state machine to its partition client, and answers back.
//!
//! Batches are handed over without the lock, because an append may end at once and wake a caller that produces again. So
//! that they keep their order, one caller, answer or timer drives at a time; all others only change the state.
//!
//! Invariants:
//! - A driver stops only after it has seen, under the same lock, that nothing is left to send.
//! - A batch that lingers has a timer, which keeps the producer alive. No other task runs for a producer.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use rskafka_cluster::transport::{Deadline, lock};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::aggregator::Aggregator;
use super::batch::{Batch, Batched, Step, Target};
use super::linger::{Linger, Next, Options, Unfinished};
use crate::{PartitionClient, Produce};

/// One producer, shared by its handles, its timer, and the answers to its batches.
pub(crate) struct Driver<A: Aggregator> {
    pub(crate) log: PartitionClient,
    state: Mutex<State<A>>,
}

pub(crate) struct State<A: Aggregator> {
    pub(crate) linger: Linger<A, Produce>,
    is_driven: bool,
    has_timer: bool,
}

impl<A: Aggregator> Driver<A> {
    pub(crate) fn new(log: PartitionClient, options: Options, template: A) -> Self {
        let target = Target { topic: log.topic().to_owned(), partition: log.partition() };
        let linger = Linger::new(options, target, template);
        Self { log, state: Mutex::new(State { linger, is_driven: false, has_timer: false }) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<A>> {
        lock(&self.state)
    }

    pub(crate) fn now(&self) -> Instant {
        self.log.line().partition.core.cluster.env().now()
    }

    pub(crate) fn produce(self: &Arc<Self>, input: A::Input) -> Batched<A> {
        let mut state = self.lock();
        let linger = &mut state.linger;
        let step = if linger.is_closed() {
            Step::Refused(linger.target.closed())
        } else if linger.has_room() {
            let part = linger.push(input, || self.now());
            part.map_or_else(Step::Refused, |part| Step::InBatch { part, seat: None })
        } else {
            let (id, admitted) = linger.wait(input, self.now());
            Step::Waits { driver: self.clone(), id, admitted }
        };
        self.go_on(state);
        Batched { step }
    }

    /// Lets what is open go without lingering. Returns the batches that are not settled, and which inputs wait.
    pub(crate) fn flush(self: &Arc<Self>) -> (Vec<Arc<Batch<A>>>, Range<u64>) {
        let mut state = self.lock();
        state.linger.flush();
        // Before they are sent: their results may come at once.
        let unsettled = (state.linger.unsettled(), state.linger.waiting());
        self.go_on(state);
        unsettled
    }

    /// Lists what is not acknowledged, and sends nothing of it any more.
    pub(crate) fn end(&self) -> Unfinished {
        let mut state = self.lock();
        let unfinished = state.linger.end();
        unlock(state);
        unfinished
    }

    /// After a change of the state: drives or starts the timer, unless somebody does.
    fn go_on(self: &Arc<Self>, mut state: MutexGuard<'_, State<A>>) {
        let next = state.linger.next(|| self.now());
        let drives = next == Next::Send && !std::mem::replace(&mut state.is_driven, true);
        let is_timed = matches!(next, Next::WaitUntil(_) | Next::Yield);
        let starts = is_timed && !std::mem::replace(&mut state.has_timer, true);
        unlock(state);
        if drives {
            self.drive();
        }
        if starts {
            let timer = Timer { driver: self.clone(), is_over: false };
            self.log.line().partition.core.cluster.runtime().spawn(timer.run());
        }
    }

    /// Takes in the answers that are there, and hands over batches until no more are to be sent. Only for the one that has
    /// set `is_driven`.
    fn drive(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        loop {
            let mut state = self.lock();
            let mut index = 0;
            while let Some(produce) = state.linger.handle(index) {
                // With tokio's budget, the poll could wake this producer while it holds its own lock.
                match Pin::new(&mut unconstrained(produce)).poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(result) => state.linger.ended(index, result),
                    Poll::Pending => index += 1,
                }
            }
            let mut taken = None;
            while taken.is_none() && state.linger.next(|| self.now()) == Next::Send {
                taken = state.linger.take();
            }
            let Some((builder, since)) = taken else {
                state.is_driven = false;
                return self.go_on(state);
            };
            unlock(state);
            let deadline = Deadline::after(since, self.log.line().options.delivery_timeout);
            let produce = Produce::of_batch(self.log.line(), builder, deadline);
            self.lock().linger.sent(produce);
        }
    }
}

/// Lets go of the lock, then wakes the callers that are to hear of something.
fn unlock<A: Aggregator>(mut state: MutexGuard<'_, State<A>>) {
    let later = std::mem::take(&mut state.linger.later);
    drop(state);
    later.into_iter().for_each(|wake| wake());
}

/// The answer to a batch wakes the producer.
impl<A: Aggregator> Wake for Driver<A> {
    fn wake(self: Arc<Self>) {
        if !std::mem::replace(&mut self.lock().is_driven, true) {
            self.drive();
        }
    }
}

/// The task that is there while a batch lingers, or while other tasks have a turn.
struct Timer<A: Aggregator> {
    driver: Arc<Driver<A>>,
    is_over: bool,
}

impl<A: Aggregator> Timer<A> {
    async fn run(mut self) {
        let driver = self.driver.clone();
        loop {
            match self.next() {
                Next::WaitUntil(moment) => {
                    driver.log.line().partition.core.cluster.pause_until(moment).await;
                    if driver.now() < moment {
                        // The client is closed: nothing can be sent, and the callers are told so.
                        driver.lock().linger.flush();
                    }
                }
                Next::Yield => {
                    tokio::task::yield_now().await;
                    driver.lock().linger.yielded();
                }
                // The linger may have ended since the last look: then nobody else sends.
                Next::Send | Next::Rest => return driver.go_on(driver.lock()),
            }
            driver.go_on(driver.lock());
        }
    }

    fn next(&mut self) -> Next {
        let mut state = self.driver.lock();
        let next = state.linger.next(|| self.driver.now());
        self.is_over = matches!(next, Next::Send | Next::Rest);
        state.has_timer = !self.is_over;
        next
    }
}

impl<A: Aggregator> Drop for Timer<A> {
    fn drop(&mut self) {
        // The runtime has ended before the linger was over.
        if !self.is_over {
            self.driver.lock().has_timer = false;
            self.driver.flush();
        }
    }
}
