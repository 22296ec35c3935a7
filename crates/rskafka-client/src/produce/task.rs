//! The task that sends what is in a line, one batch at a time, and ends when the line is empty.
//!
//! Until appends carry sequence numbers, one batch is under way at a time, so that none can overtake another.

use std::sync::Arc;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Attempt, Call, Error as ClusterError, Route};
use rskafka_protocol::ApiKey;
use rskafka_protocol::messages::produce::ProduceResponse;

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

async fn send(line: &Line, append: &Append) -> Result<Produced> {
    let Append { batch, deadline, .. } = append;
    let partition = &*line.partition;
    if deadline.is_over(partition.core.cluster().env().now()) {
        return Err(partition.located(Error::of_ending(Case::WaitedInLine), ApiKey::PRODUCE));
    }
    let call = Call { target: partition.target(), via: line.via(), deadline: *deadline };
    let build = |route: &Route| {
        request::produce(partition, line.acks, route, batch.bytes(), longest_wait(line, *deadline))
    };
    let decide = |attempt: Attempt<'_, ProduceResponse>| request::decide(partition.index, attempt);
    match partition.core.cluster().send(call, build, decide).await {
        Ok(answer) => {
            let produced = request::produced(&answer.reply.response, partition.index, batch);
            produced.ok_or_else(|| Error::of_ending(Case::InvalidAnswer))
        }
        Err(error) => Err(failed(error)),
    }
}

fn longest_wait(line: &Line, deadline: Deadline) -> std::time::Duration {
    let cluster = line.partition.core.cluster();
    let left = deadline.remaining(cluster.env().now());
    left.min(cluster.config().connection.request_timeout)
}

fn failed(error: ClusterError) -> Error {
    // Where the time ran out between attempts, the last verdict was that the batch surely is not in the log.
    let outcome = if error.gave_up { Outcome::NotWritten } else { fate::of_failure(&error.failure) };
    Error::of_cluster(error, outcome)
}
