//! The task that sends an append for which something has to be waited for, and those after it, until one can be submitted
//! at once.

use tracing::Instrument;

use super::append::Sending;
use super::line;
use super::request::{self, Produced};
use crate::error::{Case, ErrorKind, Result};

/// Waits for what an append needs.
pub(crate) struct ProduceTask {
    /// Taken when the task first runs.
    pub(crate) waiting: Option<Box<Sending>>,
}

impl ProduceTask {
    pub(crate) async fn run(mut self) {
        while let Some(mut sending) = self.waiting.take() {
            let span = sending.span.clone();
            let result = send(&mut sending).instrument(span).await;
            self.waiting = line::advance(sending.settle(result));
        }
    }
}

/// Sends one append; retries only while it is certain that it was not written. Nothing below this sends it a second time.
async fn send(sending: &mut Sending) -> Result<Produced> {
    let line = sending.turn.line.clone();
    let partition = &line.partition;
    let cluster = &partition.core.cluster;
    loop {
        if let Some(moment) = sending.not_before {
            cluster.pause_until(moment).await;
        }
        let reached = cluster.reach(partition.target(), line.via(), &mut sending.attempts).await;
        let (leader, lease) = reached.map_err(|failure| sending.failed(failure))?;
        let answered = match lease {
            Ok(lease) => {
                let (request, options) = request::produce(partition, line.acks, &leader, &sending.append);
                lease.call(&request, options).await
            }
            Err(failure) => Err(failure),
        };
        if let Some(result) = sending.answered(&leader, answered) {
            return result;
        }
    }
}

impl Drop for ProduceTask {
    fn drop(&mut self) {
        // The task never ran, because its runtime has ended: nothing was sent.
        if let Some(waiting) = self.waiting.take() {
            let error = waiting.turn.line.ended(Case::ClientClosed, ErrorKind::Closed);
            drop(waiting.settle(Err(error)));
        }
    }
}
