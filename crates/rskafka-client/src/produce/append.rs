//! One append: as it waits in the queue, and as it is sent.

use std::ops::ControlFlow;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Attempts, Error as ClusterError, Failure, Leader};
use rskafka_protocol::messages::produce::ProduceResponse;
use rskafka_protocol::records::RecordBatch;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use super::fate::Fate;
use super::line::Turn;
use super::request::{self, Produced};
use crate::error::{Error, Result};
use crate::partition::Partition;

/// An append that waits for its turn.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) batch: RecordBatch,
    pub(crate) deadline: Deadline,
    pub(crate) result: oneshot::Sender<Result<Produced>>,
}

/// The append whose turn it is.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) turn: Turn,
    append: Append,
    pub(crate) attempts: Attempts,
    pub(crate) span: Span,
    fate: Fate,
}

impl Sending {
    pub(crate) fn new(turn: Turn, append: Append, attempts: Attempts) -> Self {
        let span = attempts.span();
        Self { turn, append, attempts, span, fate: Fate::default() }
    }

    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.append.batch
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.append.deadline
    }

    /// Ends an attempt with its answer, or why there is none. `Break` with the result of the append, `Continue` with the
    /// moment at which it may be sent again.
    pub(crate) fn answered(
        &mut self,
        partition: &Partition,
        leader: &Leader,
        answered: Result<ProduceResponse, Failure>,
    ) -> ControlFlow<Result<Produced>, Instant> {
        let verdict = request::judge(&mut self.fate, partition.index, &self.append.batch, answered);
        let cluster = &partition.core.cluster;
        let learned = cluster.learn(partition.target(), leader, verdict, &mut self.attempts);
        learned.map_break(|result| result.map_err(|error| self.failed(error)))
    }

    /// The client's error for the cluster's.
    pub(crate) fn failed(&self, error: ClusterError) -> Error {
        Error::of_cluster(error, self.fate.outcome())
    }

    /// Frees the append's memory, and gives its caller the result. Returns the turn for the next append.
    ///
    /// Not to be called with the line locked: the caller may make its next append at once.
    pub(crate) fn settle(self, result: Result<Produced>) -> Turn {
        self.turn.line.queue().done(self.append.batch.size_in_bytes());
        // The caller may have dropped its future.
        let _ = self.append.result.send(result);
        self.turn
    }
}
