//! The task that sends what is in a line, one batch at a time, and ends when the line is empty.
//!
//! Until appends carry sequence numbers, one batch is under way at a time, so that none can overtake another.

use std::sync::Arc;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Error as ClusterError, Reached, Verdict};
use rskafka_protocol::ApiKey;
use tracing::Instrument;

use super::fate;
use super::line::{Append, Line};
use super::request::{self, Produced};
use crate::error::{Case, Error, Outcome, Result};

/// Sends what is in a line. If it ends before the line is empty, because its runtime ends or it panics, all
/// appends in the line fail.
pub(crate) struct ProduceTask {
    line: Arc<Line>,
    is_done: bool,
}

impl ProduceTask {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line, is_done: false }
    }

    /// Runs until the line is empty.
    pub(crate) async fn run(mut self) {
        loop {
            let next = self.line.queue().next();
            let Some((bytes, append)) = next else {
                self.is_done = true;
                return;
            };
            let result = send(&self.line, &append).await;
            self.line.queue().done(bytes);
            // The caller may be gone.
            let _ = append.result.send(result);
        }
    }
}

impl Drop for ProduceTask {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let partition = &self.line.partition;
        let left = self.line.queue().abandon();
        for append in left {
            let error = partition.located(Error::of_ending(Case::ClientClosed), ApiKey::PRODUCE);
            let _ = append.result.send(Err(error));
        }
    }
}

/// Sends one batch, and again while it surely was not written. Nothing below this sends it a second time.
async fn send(line: &Line, append: &Append) -> Result<Produced> {
    let Append { batch, deadline, .. } = append;
    let partition = &*line.partition;
    if deadline.is_over(partition.core.cluster().env().now()) {
        return Err(partition.located(Error::of_ending(Case::WaitedInLine), ApiKey::PRODUCE));
    }
    let (cluster, target) = (partition.core.cluster(), partition.target());
    let mut attempts = cluster.attempts(ApiKey::PRODUCE, target, *deadline);
    let span = attempts.span();
    let attempting = async {
        loop {
            let Reached { route, lease } = cluster.reach(target, line.via(), &mut attempts).await?;
            let answered = match lease {
                Ok(lease) => {
                    let longest_wait = longest_wait(line, *deadline);
                    let request = request::produce(partition, line.acks, &route, batch.bytes(), longest_wait);
                    lease.call(&request, *deadline).await.map(|reply| reply.response)
                }
                Err(failure) => Err(failure),
            };
            let (learned, may_repeat) = match request::judge(partition.index, batch, answered) {
                Verdict::Done(produced) => return Ok(produced),
                Verdict::Retry(learned) => (learned, true),
                Verdict::Fail(learned) => (learned, false),
            };
            cluster.after_failure(target, &route, learned, may_repeat, &mut attempts).await?;
        }
    };
    attempting.instrument(span).await.map_err(failed)
}

fn longest_wait(line: &Line, deadline: Deadline) -> std::time::Duration {
    let cluster = line.partition.core.cluster();
    let left = deadline.remaining(cluster.env().now());
    left.min(cluster.config().connection.request_timeout)
}

fn failed(error: ClusterError) -> Error {
    // Where the time ran out between attempts, the last verdict was that the batch surely is not in the log.
    let outcome = if error.out_of_time { Outcome::NotWritten } else { fate::of_failure(&error.failure) };
    Error::of_cluster(error, outcome)
}
