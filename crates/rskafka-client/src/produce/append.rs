//! One append: while it waits in the queue, and while the sequencer has it.

use std::sync::Arc;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Attempts, Failure, Leader};
use rskafka_protocol::ApiKey;
use rskafka_protocol::records::RecordBatch;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tracing::Span;

use super::request::Produced;
use super::sequencer::{Numbers, Reason, Settled};
use crate::error::{Case, Error, ErrorKind, InDoubt, Result};
use crate::partition::Partition;

/// An append in the queue.
pub(crate) struct Append {
    pub(crate) batch: RecordBatch,
    pub(crate) deadline: Deadline,
    pub(crate) caller: Caller,
}

/// Who hears how an append ended.
pub(crate) enum Caller {
    Future(oneshot::Sender<Result<Produced>>),
    /// The sink, and the sequence by which it knows the append.
    Sink(Arc<dyn Sink>, u64),
}

/// Hears how its appends ended, and gets their batches back. Called without the line's lock, possibly on the thread that is
/// inside of [`Line::join`](super::Line::join).
pub(crate) trait Sink: Send + Sync {
    /// Only takes the answer in, so that none is lost if a caller's waker panics.
    fn ended(&self, sequence: u64, result: Result<Produced>, batch: RecordBatch);

    /// Does what follows from the answers.
    fn proceed(self: Arc<Self>);
}

/// An append that the sequencer has taken in.
pub(crate) struct Sending {
    /// The sequencer's.
    pub(crate) number: u64,
    pub(crate) append: Append,
    pub(crate) attempts: Attempts,
    pub(crate) span: Span,
    /// The current attempt is counted already: by the lease that was taken for it, or an earlier submit.
    pub(crate) has_begun: bool,
    pub(crate) log_append_time: Option<OffsetDateTime>,
    /// Of its last attempt.
    pub(crate) failure: Option<Failure>,
    /// How to find it in the log, once it was sent with numbers.
    doubt: Option<InDoubt>,
}

impl Sending {
    pub(crate) fn new(number: u64, append: Append, attempts: Attempts) -> Self {
        let (span, has_begun, log_append_time) = (attempts.span(), false, None);
        Self { number, append, attempts, span, has_begun, log_append_time, failure: None, doubt: None }
    }

    /// Begins an attempt at the leader, under these numbers. What was acknowledged so far lies before the offset `after`.
    pub(crate) fn begin(
        &mut self,
        leader: &Leader,
        numbers: Option<Numbers>,
        (after, compares_epochs): (i64, bool),
    ) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.attempts.begin(&leader.broker);
        }
        self.attempts.api = ApiKey::PRODUCE;
        let Some(Numbers { producer, base_sequence }) = numbers else { return };
        let header = self.append.batch.header();
        let present = (header.producer_id, header.producer_epoch, header.base_sequence);
        if present != (producer.id, producer.epoch, base_sequence) {
            self.append.batch.set_producer(producer.id, producer.epoch, base_sequence);
            let of_batch = InDoubt::of(self.append.batch.header());
            self.doubt = Some(InDoubt { after, compares_epochs, ..of_batch });
        }
    }

    /// What its caller gets.
    pub(crate) fn result(&mut self, partition: &Partition, settled: Settled) -> Result<Produced> {
        let (outcome, reason) = match settled {
            Settled::Written { base_offset } => {
                let batch = &self.append.batch;
                return Ok(Produced {
                    base_offset,
                    record_count: batch.record_count(),
                    log_append_time: self.log_append_time,
                    encoded_size: batch.size_in_bytes(),
                });
            }
            Settled::Failed { outcome, reason } => (outcome, reason),
        };
        let error = match (reason, self.failure.take()) {
            (Reason::Closed(closed), _) => closed.error(),
            (_, Some(failure)) => Error::of_cluster(failure, &self.attempts, outcome),
            // Its acknowledgement contradicts those before it.
            (Reason::OutOfSequence, None) => Error::new(Case::InvalidAnswer, ErrorKind::InvalidAnswer),
            (_, None) => Error::new(Case::WaitedInLine, ErrorKind::TimedOut),
        };
        let error = partition.located(error.with_outcome(outcome), ApiKey::PRODUCE);
        let is_written = reason == Reason::NoOffset;
        Err(self.doubt.iter().fold(error, |error, doubt| error.with_doubt(InDoubt { is_written, ..*doubt })))
    }
}
