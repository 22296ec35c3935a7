//! Batches of many callers' records: an opt-in layer above a partition client.
//!
//! Each caller awaits its own record; an [`Aggregator`] makes one batch of the records of many. No task runs for a producer,
//! but one timer while a batch lingers: the caller that finds a place free sends the batch, and the answer to a batch
//! sends the next.
//!
//! Invariant: each input is in one batch at most, and batches are sent in the order in which their inputs were given.

mod aggregator;
mod batch;
mod batch_producer;
mod driver;
mod linger;

pub use self::aggregator::{Aggregator, Pushed, RecordAggregator};
pub use self::batch::Batched;
pub use self::batch_producer::{BatchProducer, BatchProducerBuilder};
pub use self::linger::{Unfinished, UnfinishedBatch};
