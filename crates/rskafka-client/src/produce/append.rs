//! One append: as it waits in the queue, and as it is sent.

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Attempts, Error as ClusterError, Failure, Leader, Learned, Verdict};
use rskafka_protocol::messages::produce::ProduceResponse;
use rskafka_protocol::records::RecordBatch;
use tokio::sync::oneshot;
use tracing::Span;

use super::fate::Fate;
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
    append: Append,
    bytes: usize,
    pub(crate) attempts: Attempts,
    pub(crate) span: Span,
    fate: Fate,
}

impl Sending {
    pub(crate) fn new(append: Append, bytes: usize, attempts: Attempts) -> Self {
        let span = attempts.span();
        Self { append, bytes, attempts, span, fate: Fate::default() }
    }

    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.append.batch
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.append.deadline
    }

    /// Takes in an attempt's answer, or the lack of one.
    pub(crate) fn judge(
        &mut self,
        index: i32,
        answered: Result<ProduceResponse, Failure>,
    ) -> Verdict<Produced> {
        request::judge(&mut self.fate, index, &self.append.batch, answered)
    }

    /// The error of an append that is not sent again.
    pub(crate) fn fail(&mut self, partition: &Partition, leader: &Leader, learned: Learned) -> Error {
        let cluster = partition.core.cluster();
        let error = cluster.give_up(partition.target(), leader, learned, &mut self.attempts);
        self.failed(error)
    }

    /// The client's error for the cluster's.
    pub(crate) fn failed(&self, error: ClusterError) -> Error {
        Error::of_cluster(error, self.fate.outcome())
    }

    /// The bytes that it holds of the queue's memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tells the caller.
    pub(crate) fn tell(self, result: Result<Produced>) {
        // The caller may be gone.
        let _ = self.append.result.send(result);
    }
}
