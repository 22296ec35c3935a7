//! One batch as its callers see it: they wait for its result together, and each takes its own output from it.
//!
//! Invariant: the result is set once; waiters are woken after it is set.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use rskafka_cluster::transport::lock;
use rskafka_protocol::ApiKey;

use super::aggregator::{Aggregator, caught};
use super::driver::Driver;
use super::linger::Admitted;
use crate::Produced;
use crate::error::{Case, Error, ErrorKind, Result};

/// The partition that is appended to.
pub(crate) struct Target {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl Target {
    pub(crate) fn error(&self, case: Case, kind: ErrorKind) -> Error {
        Error::new(case, kind).located(Some(ApiKey::PRODUCE), &self.topic, Some(self.partition))
    }

    /// The error of an input that is not sent, because the producer is closed.
    pub(crate) fn closed(&self) -> Error {
        self.error(Case::ProducerClosed, ErrorKind::ProducerClosed)
    }
}

/// What was written, with the aggregator that gives the outputs; or why it failed.
type Settled<A> = Result<(Produced, A)>;

/// A batch and those who wait for it.
pub(crate) struct Batch<A> {
    target: Arc<Target>,
    result: OnceLock<Settled<A>>,
    wakers: Mutex<Vec<Waker>>,
}

impl<A: Aggregator> Batch<A> {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, result: OnceLock::new(), wakers: Mutex::default() }
    }

    /// Sets the result, and wakes all that wait for it. Hold no lock: those who are woken may call the producer at once.
    pub(crate) fn settle(&self, result: Settled<A>) {
        let _ = self.result.set(result);
        let wakers = mem::take(&mut *lock(&self.wakers));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the result is there. `seat` is the waiter's place among the wakers, once it has one.
    fn poll(&self, cx: &Context<'_>, seat: &mut Option<usize>) -> Poll<()> {
        if self.result.get().is_some() {
            return Poll::Ready(());
        }
        let mut wakers = lock(&self.wakers);
        // `settle` takes the wakers after the result is set.
        if self.result.get().is_some() {
            return Poll::Ready(());
        }
        match seat.and_then(|seat| wakers.get_mut(seat)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                *seat = Some(wakers.len());
                wakers.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }

    #[cfg(test)]
    pub(crate) async fn output_of(&self, tag: A::Tag) -> Result<A::Output> {
        self.settled().await;
        self.output(tag)
    }

    /// Waits for the result.
    pub(crate) async fn settled(&self) {
        let mut seat = None;
        poll_fn(|cx| self.poll(cx, &mut seat)).await;
    }

    /// A caller's output, once the result is there.
    fn output(&self, tag: A::Tag) -> Result<A::Output> {
        let settled = self.result.get().expect("the caller has waited for it");
        let (produced, aggregator) = settled.as_ref().map_err(Error::clone)?;
        caught(|| aggregator.output(produced, tag)).and_then(|output| output).map_err(|source| {
            let kind = ErrorKind::NoOutput { base_offset: produced.base_offset };
            self.target.error(Case::NoOutput, kind).with_source(source)
        })
    }
}

/// An input's part in a batch.
pub(crate) struct Part<A: Aggregator> {
    pub(crate) batch: Arc<Batch<A>>,
    pub(crate) tag: A::Tag,
}

/// A produce under way in a batch: `.await` it for its output.
///
/// Dropping it hurts nobody. An input that still waits for room is taken back; any other may be written with its batch.
///
/// # Panics
///
/// If it is polled again after it has given its result.
#[must_use = "without awaiting it, it is not known whether the input was written"]
#[derive(derive_more::Debug)]
#[debug("Batched({})", format_args!("{step:?}"))]
pub struct Batched<A: Aggregator> {
    pub(crate) step: Step<A>,
}

/// How far an input has come.
#[derive(derive_more::Debug)]
pub(crate) enum Step<A: Aggregator> {
    /// It waits for room, as the waiter of this number.
    #[debug("waits for room")]
    Waits { driver: Arc<Driver<A>>, id: u64, admitted: Admitted<A> },
    #[debug("in a batch")]
    InBatch { part: Part<A>, seat: Option<usize> },
    #[debug("refused")]
    Refused(Error),
    #[debug("over")]
    Over,
}

// Nothing in it is pinned.
impl<A: Aggregator> Unpin for Batched<A> {}

impl<A: Aggregator> Future for Batched<A> {
    type Output = Result<A::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Step::Waits { driver, admitted, .. } = &mut self.step {
            let part = ready!(Pin::new(admitted).poll(cx));
            let part = part.unwrap_or_else(|_| Err(driver.lock().linger.target.closed()));
            self.step = part.map_or_else(Step::Refused, |part| Step::InBatch { part, seat: None });
        }
        if let Step::InBatch { part, seat } = &mut self.step {
            ready!(part.batch.poll(cx, seat));
        }
        match mem::replace(&mut self.step, Step::Over) {
            Step::InBatch { part: Part { batch, tag }, .. } => Poll::Ready(batch.output(tag)),
            Step::Refused(error) => Poll::Ready(Err(error)),
            Step::Waits { .. } | Step::Over => panic!("polled again after it has given its result"),
        }
    }
}

impl<A: Aggregator> Drop for Batched<A> {
    fn drop(&mut self) {
        if let Step::Waits { driver, id, .. } = &self.step {
            let left = driver.lock().linger.leave(*id);
            // Not under the lock: it is the caller's.
            drop(left);
        }
    }
}
