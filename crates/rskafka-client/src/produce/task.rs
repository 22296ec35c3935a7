//! The task that takes over a line where something has to be waited for, and hands it back as soon as an append
//! can be submitted at once.

use std::sync::Arc;

use rskafka_cluster::{Reached, Verdict};
use tracing::Instrument;

use super::append::Sending;
use super::line::{self, Line, Step, Waiting};
use super::request::Produced;
use crate::error::{Case, Result};

/// Waits for what an append needs.
pub(crate) struct ProduceTask {
    line: Arc<Line>,
    /// Until the task first runs.
    waiting: Option<Box<Waiting>>,
}

impl ProduceTask {
    pub(crate) fn new(line: Arc<Line>, waiting: Box<Waiting>) -> Self {
        Self { line, waiting: Some(waiting) }
    }

    pub(crate) async fn run(mut self) {
        while let Some(waiting) = self.waiting.take() {
            let Waiting { turn, mut sending, step } = *waiting;
            let span = sending.span.clone();
            let result = self.send(&mut sending, step).instrument(span).await;
            self.line.settle(sending, result);
            self.waiting = line::advance(turn);
        }
    }

    /// Sends one append, and again while it surely was not written. Nothing below this sends it a second time.
    async fn send(&self, sending: &mut Sending, mut step: Step) -> Result<Produced> {
        let partition = &*self.line.partition;
        let (cluster, target) = (partition.core.cluster(), partition.target());
        loop {
            let (leader, answered) = match step {
                Step::Again(leader, learned) => {
                    let paused =
                        cluster.after_failure(target, &leader, learned, true, &mut sending.attempts).await;
                    paused.map_err(|error| sending.failed(error))?;
                    step = Step::Reach;
                    continue;
                }
                Step::Reach => {
                    let reached = cluster.reach(target, self.line.via(), &mut sending.attempts).await;
                    match reached.map_err(|error| sending.failed(error))? {
                        Reached { route, lease: Ok(lease) } => {
                            step = Step::Call(route, lease);
                            continue;
                        }
                        Reached { route, lease: Err(failure) } => (route, Err(failure)),
                    }
                }
                Step::Call(leader, lease) => {
                    let request = self.line.request(sending, &leader);
                    let answered = lease.call(&request, sending.deadline()).await;
                    (leader, answered.map(|reply| reply.response))
                }
            };
            match sending.judge(partition.index, answered) {
                Verdict::Done(produced) => return Ok(produced),
                Verdict::Retry(learned) => step = Step::Again(leader, learned),
                Verdict::Fail(learned) => return Err(sending.fail(partition, &leader, learned)),
            }
        }
    }
}

impl Drop for ProduceTask {
    fn drop(&mut self) {
        // It never ran: its runtime has ended, and nothing was sent.
        if let Some(waiting) = self.waiting.take() {
            self.line.settle(waiting.sending, Err(self.line.ended(Case::ClientClosed)));
        }
    }
}
