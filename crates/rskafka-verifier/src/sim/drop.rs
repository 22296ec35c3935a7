//! Drops futures after some polls.
//!
//! Invariant: a future that becomes ready is never dropped; its result is returned.

use std::pin::Pin;
use std::task::{Context, Poll};

/// One in so many futures is dropped.
const ONE_IN: u32 = 25;
const MOST_POLLS: u32 = 5;

/// After how many polls a call is dropped, if at all.
pub(super) fn dropped_after(random: &mut fastrand::Rng) -> Option<u32> {
    (random.u32(..ONE_IN) == 0).then(|| random.u32(..=MOST_POLLS))
}

/// Gives what a future gives; `None` if it is dropped before.
pub(super) struct Dropped<F> {
    future: Option<Pin<Box<F>>>,
    left: Option<u32>,
}

impl<F> Dropped<F> {
    pub(super) fn new(future: Pin<Box<F>>, after: Option<u32>) -> Self {
        Self { future: Some(future), left: after }
    }
}

impl<F: Future> Future for Dropped<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == Some(0) {
            self.future = None;
        }
        let Some(future) = &mut self.future else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            self.future = None;
            return Poll::Ready(Some(result));
        }
        self.left = self.left.map(|left| left - 1);
        if self.left == Some(0) {
            // It is dropped even if nothing else wakes it.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
