//! One append: while it waits in the queue, and while it is sent.

use std::ops::ControlFlow;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Attempts, Failure, Leader};
use rskafka_protocol::messages::produce::ProduceResponse;
use rskafka_protocol::records::RecordBatch;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use super::fate::Fate;
use super::line::Turn;
use super::request::{self, Produced};
use crate::error::{Error, Result};

/// An append in the queue.
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
    pub(crate) append: Append,
    pub(crate) attempts: Attempts,
    /// When the next attempt may begin, if one has failed.
    pub(crate) not_before: Option<Instant>,
    pub(crate) span: Span,
    fate: Fate,
}

impl Sending {
    pub(crate) fn new(turn: Turn, append: Append, attempts: Attempts) -> Self {
        let span = attempts.span();
        Self { turn, append, attempts, not_before: None, span, fate: Fate::default() }
    }

    /// Ends an attempt with its answer, or the reason why there is none. Returns the result of the append; `None` if it is
    /// to be sent again.
    pub(crate) fn answered(
        &mut self,
        leader: &Leader,
        answered: Result<ProduceResponse, Failure>,
    ) -> Option<Result<Produced>> {
        let partition = &self.turn.line.partition;
        let verdict = request::judge(&mut self.fate, partition.index, &self.append.batch, answered);
        let target = partition.target();
        match partition.core.cluster.learn(target, leader, verdict, &mut self.attempts) {
            ControlFlow::Break(result) => Some(result.map_err(|failure| self.failed(failure))),
            ControlFlow::Continue(moment) => {
                self.not_before = Some(moment);
                None
            }
        }
    }

    /// The error of the append, if its last attempt ended in `failure`.
    pub(crate) fn failed(&self, failure: Failure) -> Error {
        Error::of_cluster(failure, &self.attempts, self.fate.outcome())
    }

    /// Frees the append's memory, and gives its caller the result. Returns the turn for the next append.
    ///
    /// Do not hold the line's lock: the caller may make its next append at once.
    pub(crate) fn settle(self, result: Result<Produced>) -> Turn {
        let Append { batch, result: caller, .. } = self.append;
        self.turn.line.queue().done(batch.size_in_bytes());
        self.turn.line.partition.core.spare.keep(batch);
        // The caller may have dropped its future.
        let _ = caller.send(result);
        self.turn
    }
}
