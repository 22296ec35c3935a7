//! The task that sends an append for which something has to be waited for. It drives the line until an append can be
//! submitted at once.

use std::ops::ControlFlow;

use rskafka_cluster::Reached;
use tracing::Instrument;

use super::append::Sending;
use super::line::{self, Step, Waiting};
use super::request::Produced;
use crate::error::{Case, ErrorKind, Result};

/// Waits for what an append needs.
pub(crate) struct ProduceTask {
    /// Taken when the task first runs.
    pub(crate) waiting: Option<Box<Waiting>>,
}

impl ProduceTask {
    pub(crate) async fn run(mut self) {
        while let Some(waiting) = self.waiting.take() {
            let Waiting { mut sending, step } = *waiting;
            let span = sending.span.clone();
            let result = send(&mut sending, step).instrument(span).await;
            self.waiting = line::advance(sending.settle(result));
        }
    }
}

/// Sends one append, and again while it surely was not written. Nothing below this sends it a second time.
async fn send(sending: &mut Sending, mut step: Step) -> Result<Produced> {
    let line = sending.turn.line.clone();
    let partition = &*line.partition;
    let cluster = &partition.core.cluster;
    loop {
        let Reached { route: leader, lease } = match step {
            Step::Call(route, lease) => Reached { route, lease: Ok(lease) },
            Step::Reach(pause) => {
                if let Some(moment) = pause {
                    cluster.pause_until(moment).await;
                }
                let reached = cluster.reach(partition.target(), line.via(), &mut sending.attempts).await;
                reached.map_err(|error| sending.failed(error))?
            }
        };
        let answered = match lease {
            Ok(lease) => lease.call(&line.request(sending, &leader), sending.deadline()).await,
            Err(failure) => Err(failure),
        };
        match sending.answered(partition, &leader, answered) {
            ControlFlow::Break(result) => return result,
            ControlFlow::Continue(moment) => step = Step::Reach(Some(moment)),
        }
    }
}

impl Drop for ProduceTask {
    fn drop(&mut self) {
        // The task never ran, because its runtime has ended: nothing was sent.
        if let Some(waiting) = self.waiting.take() {
            let error = waiting.sending.turn.line.ended(Case::ClientClosed, ErrorKind::Closed);
            drop(waiting.sending.settle(Err(error)));
        }
    }
}
