//! Drops futures after some polls.
//!
//! Invariant: a future that becomes ready is never dropped; its result is returned.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// One in so many futures is dropped.
const ONE_IN: u32 = 25;
const MOST_POLLS: u32 = 5;

/// After how many polls a call is dropped, if at all.
pub(super) fn dropped_after(random: &mut fastrand::Rng) -> Option<u32> {
    (random.u32(..ONE_IN) == 0).then(|| random.u32(..=MOST_POLLS))
}

/// Gives what a future gives; `None` if it is dropped before, after so many polls.
pub(super) async fn unless_dropped<F: Future + ?Sized>(
    mut future: Pin<Box<F>>,
    mut after: Option<u32>,
) -> Option<F::Output> {
    poll_fn(|cx| {
        if after == Some(0) {
            return Poll::Ready(None);
        }
        let poll = future.as_mut().poll(cx);
        after = after.map(|left| left - 1);
        if after == Some(0) && poll.is_pending() {
            // It is dropped even if nothing else wakes it.
            cx.waker().wake_by_ref();
        }
        poll.map(Some)
    })
    .await
}
