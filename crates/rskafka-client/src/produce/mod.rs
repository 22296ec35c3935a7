//! Appending: batches leave their partition's line one at a time, in the order of the calls.
//!
//! Invariant: a batch is sent again only if it surely was not written.

mod append;
mod encode;
mod fate;
mod line;
mod queue;
mod request;
mod task;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rskafka_cluster::transport::Deadline;
use rskafka_protocol::ApiKey;
use tokio::sync::oneshot;

pub(crate) use self::line::Line;
pub use self::request::{Acks, Produced};

use self::append::Append;
use crate::error::{Case, Error, Result};
use crate::record::{Payload, Record, RecordHeaders};

/// A produce under way: `.await` it for what was appended.
///
/// Its place in the order of appends is that of the call. Dropping it is safe: the records are written once or not at
/// all, and later appends are not affected. While it waits for room in `buffer_memory`, dropping it takes it back.
#[derive(Debug)]
#[must_use = "without awaiting it, it is not known whether the records were written"]
pub struct Produce {
    state: State,
}

#[derive(Debug)]
enum State {
    Refused(Option<Error>),
    InLine { id: u64, line: Arc<Line>, result: oneshot::Receiver<Result<Produced>> },
}

impl Produce {
    pub(crate) fn new<K: Payload, V: Payload, H: RecordHeaders>(
        line: &Arc<Line>,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Self {
        let state = match join_line(line, records) {
            Ok((id, result)) => State::InLine { id, line: line.clone(), result },
            Err(error) => State::Refused(Some(line.partition.located(error, ApiKey::PRODUCE))),
        };
        Self { state }
    }
}

impl Future for Produce {
    type Output = Result<Produced>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().state {
            State::Refused(error) => Poll::Ready(Err(error.take().expect("`Produce` polled after its end"))),
            State::InLine { result, line, .. } => Pin::new(result).poll(cx).map(|received| {
                // The line's task is gone without an answer: its runtime was shut down.
                received.unwrap_or_else(|_| {
                    Err(line.partition.located(Error::of_ending(Case::RuntimeGone), ApiKey::PRODUCE))
                })
            }),
        }
    }
}

impl Drop for Produce {
    fn drop(&mut self) {
        if let State::InLine { id, line, .. } = &self.state {
            let left = line.queue().leave(*id);
            // Its end wakes somebody, who may append at once: not under the queue's lock.
            drop(left);
        }
    }
}

fn join_line<K: Payload, V: Payload, H: RecordHeaders>(
    line: &Arc<Line>,
    records: impl IntoIterator<Item = Record<K, V, H>>,
) -> Result<(u64, oneshot::Receiver<Result<Produced>>)> {
    let core = &line.partition.core;
    core.check_open()?;
    let batch = encode::encode(records)?;
    let deadline = Deadline::after(core.cluster().env().now(), core.limits().delivery_timeout);
    let (result, receiver) = oneshot::channel();
    Ok((line.join(Append { batch, deadline, result }), receiver))
}
