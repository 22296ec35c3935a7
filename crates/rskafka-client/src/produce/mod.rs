//! Appends: each partition client sends its batches in the order of the calls, several at a time, and each is written
//! once.
//!
//! Invariant: a batch is sent again only where the broker recognises it, or if it surely was not written.

mod append;
mod encode;
mod fate;
mod line;
mod queue;
mod request;
mod sequencer;
mod state;
mod task;
mod verify;
mod warm_up;
mod watch;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rskafka_cluster::transport::Deadline;
use rskafka_protocol::ApiKey;
use rskafka_protocol::records::{RecordBatch, RecordBatchBuilder};
use tokio::sync::oneshot;

pub(crate) use self::append::{Append, Caller, Sink};
pub(crate) use self::encode::{BEFORE_1970, EncodeOptions, encode};
pub(crate) use self::line::{Line, LineOptions};
pub use self::request::{Acks, Produced};

use crate::error::{Case, ErrorKind, Result};
use crate::record::{Payload, Record, RecordHeaders};

/// A produce under way: `.await` it for its result.
///
/// The order of appends is that of the calls. Dropping this is safe: the records are written once or not at all, and later
/// appends are not affected. While it waits for room in `buffer_memory`, dropping it takes the records back.
///
/// It ends by the delivery timeout.
///
/// # Panics
///
/// If it is polled again after it has given its result.
#[derive(Debug)]
#[must_use = "without awaiting it, it is not known whether the records were written"]
pub struct Produce {
    /// Its number in the line; `None` if it was refused before it joined, or has its result.
    id: Option<u64>,
    line: Arc<Line>,
    result: oneshot::Receiver<Result<Produced>>,
}

impl Produce {
    pub(crate) fn of_records<K: Payload, V: Payload, H: RecordHeaders>(
        line: &Arc<Line>,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Self {
        Self::new(line, line.delivery_deadline(), || {
            encode(records, &line.options.encode, &line.partition.core.spare, None)
        })
    }

    pub(crate) fn of_batch(line: &Arc<Line>, builder: RecordBatchBuilder, deadline: Deadline) -> Self {
        Self::new(line, deadline, || encode::build(builder, &line.options.encode))
    }

    fn new(line: &Arc<Line>, deadline: Deadline, encode: impl FnOnce() -> Result<RecordBatch>) -> Self {
        let core = &line.partition.core;
        match core.check_open().and_then(|()| encode()) {
            Ok(batch) => Self::of_encoded(line, deadline, batch),
            Err(error) => {
                let (sender, result) = oneshot::channel();
                let _ = sender.send(Err(line.partition.located(error, ApiKey::PRODUCE)));
                Self { id: None, line: line.clone(), result }
            }
        }
    }

    pub(crate) fn of_encoded(line: &Arc<Line>, deadline: Deadline, batch: RecordBatch) -> Self {
        let (sender, result) = oneshot::channel();
        let id = line.join(Append { batch, deadline, caller: Caller::Future(sender) });
        Self { id: Some(id), line: line.clone(), result }
    }
}

impl Future for Produce {
    type Output = Result<Produced>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(cx).map(|received| {
            self.id = None;
            // The line dropped the append: its runtime was shut down.
            received.unwrap_or_else(|_| Err(self.line.ended(Case::RuntimeGone, ErrorKind::Closed)))
        })
    }
}

impl Drop for Produce {
    fn drop(&mut self) {
        let left = self.id.and_then(|id| self.line.leave(id));
        // Dropping the append wakes a task that waits for it, which may append at once: not under the queue's lock.
        drop(left);
    }
}
