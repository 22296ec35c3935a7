//! Whether the stream may have bytes that the connection's task has not read yet.
//!
//! They are read before a caller writes a request: if the stream has ended, the request fails unsent instead of in
//! doubt.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};

/// Not set while the task waits for the stream, which has nothing to read then.
pub(crate) type ReadDue = Arc<AtomicBool>;

/// Wakes the task for its stream, and notes that it did.
pub(crate) struct ReadAlarm {
    due: ReadDue,
    /// The waker of a spawned task, which is the same for all its life.
    task: OnceLock<Waker>,
}

impl ReadAlarm {
    pub(crate) fn new(due: ReadDue) -> Arc<Self> {
        Arc::new(Self { due, task: OnceLock::new() })
    }

    /// Does `read` and keeps the flag up to date. To be awaited on one task only.
    pub(crate) async fn watch<F: Future>(self: &Arc<Self>, read: F) -> F::Output {
        let mut read = pin!(read);
        let waker = Waker::from(Arc::clone(self));
        std::future::poll_fn(|cx| {
            self.task.get_or_init(|| cx.waker().clone());
            self.due.store(false, Ordering::Relaxed);
            let polled = read.as_mut().poll(&mut Context::from_waker(&waker));
            // There may be more to read, which only the next read tells.
            if polled.is_ready() {
                self.due.store(true, Ordering::Relaxed);
            }
            polled
        })
        .await
    }
}

impl Wake for ReadAlarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.due.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}
