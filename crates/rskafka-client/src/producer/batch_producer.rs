//! The handle of a batch producer.

use std::sync::Arc;
use std::time::Duration;

use rskafka_cluster::transport::Deadline;
use tokio::time::timeout_at;

use super::aggregator::{Aggregator, RecordAggregator};
use super::batch::Batched;
use super::driver::Driver;
use super::linger::{Options, Unfinished};
use crate::PartitionClient;
use crate::error::Result;

/// Collects the records of many callers into batches. Clones are the same producer.
///
/// ```no_run
/// # use std::time::Duration;
/// # use rskafka_client::PartitionClient;
/// # use rskafka_client::producer::{BatchProducer, RecordAggregator};
/// # use rskafka_client::record::Record;
/// # async fn example(log: PartitionClient, record: Record) -> rskafka_client::error::Result<()> {
/// let producer = BatchProducer::builder(log.clone()).linger(Duration::from_millis(5)).build(RecordAggregator::new(1 << 20));
/// let offset: i64 = producer.produce(record).await?;
/// producer.flush().await?;
/// let unfinished = producer.close(Duration::from_secs(10)).await;
/// assert!(unfinished.is_empty(), "{unfinished:?}");
/// # Ok(())
/// # }
/// ```
///
/// # Linger
///
/// Without linger, the default, this is a **group commit**: an input is sent at once while no batch of this producer is in
/// flight, and what comes while batches are in flight goes together in the next. So batches grow with the load, and a lone
/// caller waits for nothing. With linger, a batch waits that long for more inputs, counted from its first; it goes
/// earlier when it is full, on [`flush`](Self::flush), or when callers wait for room.
///
/// # Order
///
/// Inputs are appended in the order of the calls of [`produce`](Self::produce), whenever their futures are polled. A batch
/// that fails does not hold back those behind it. Appends by the partition client itself are ordered with whole batches.
///
/// # Dropped handles
///
/// Inputs that were given are sent even if all handles and futures are dropped. Close the producer before the client: a
/// closed client sends no batch.
#[derive(Clone, derive_more::Debug)]
#[debug("BatchProducer {{ log: {:?} }}", driver.log)]
pub struct BatchProducer<A: Aggregator> {
    driver: Arc<Driver<A>>,
}

impl BatchProducer<RecordAggregator> {
    /// A producer that appends by this partition client.
    pub fn builder(log: PartitionClient) -> BatchProducerBuilder {
        BatchProducerBuilder { log, linger: Duration::ZERO, buffer_memory: 32 << 20 }
    }
}

impl<A: Aggregator> BatchProducer<A> {
    /// Gives an input to the next batch; the future gives its output once the batch is acknowledged.
    ///
    /// The input has its place when this is called. If `buffer_memory` is used up, it waits for room, in the order of the
    /// calls. Everything together ends by the client's delivery timeout, counted from the call for the first input of a batch.
    /// Cancel safe as [`Batched`] says.
    ///
    /// # Errors
    ///
    /// Those of [`PartitionClient::produce_batch`], the same for all callers of a batch: [`Error::outcome`] tells whether the
    /// batch may be in the log. [`ErrorKind::TimedOut`], not written, if the time ran out before there was room or a place.
    /// [`ErrorKind::InvalidArgument`] for an input that does not fit into an empty batch. [`ErrorKind::Aggregator`] and
    /// [`ErrorKind::NoOutput`] if the aggregator fails or panics. [`ErrorKind::ProducerClosed`] after [`close`](Self::close).
    ///
    /// [`Error::outcome`]: crate::error::Error::outcome
    /// [`ErrorKind::TimedOut`]: crate::error::ErrorKind::TimedOut
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    /// [`ErrorKind::Aggregator`]: crate::error::ErrorKind::Aggregator
    /// [`ErrorKind::NoOutput`]: crate::error::ErrorKind::NoOutput
    /// [`ErrorKind::ProducerClosed`]: crate::error::ErrorKind::ProducerClosed
    pub fn produce(&self, input: A::Input) -> Batched<A> {
        self.driver.produce(input)
    }

    /// Sends what was given so far without lingering, and waits until it is settled.
    ///
    /// Cancel safe: a dropped flush has ended the linger all the same.
    ///
    /// # Errors
    ///
    /// That of the last batch that failed meanwhile. Its callers get the same.
    pub async fn flush(&self) -> Result<()> {
        let failures = self.driver.lock().linger.failures().0;
        let mut last = None;
        loop {
            let (batches, waiting) = self.driver.flush();
            for batch in batches {
                batch.settled().await;
            }
            if waiting.start >= *last.get_or_insert(waiting.end) {
                break;
            }
        }
        match self.driver.lock().linger.failures() {
            (count, Some(error)) if *count > failures => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Refuses further inputs, flushes, and lists what is not acknowledged after `within`, or has failed until then.
    ///
    /// Batches that the partition client does not have by then are not sent: their callers get
    /// [`ErrorKind::ProducerClosed`], not written. Those that it has and that are not settled are listed as
    /// [`Outcome::Unknown`], also if none of their attempts has begun: they may be written later, and their callers still get
    /// the result. A second call lists only what is left then. Cancel safe: the producer stays closed to further inputs.
    ///
    /// [`ErrorKind::ProducerClosed`]: crate::error::ErrorKind::ProducerClosed
    /// [`Outcome::Unknown`]: crate::error::Outcome::Unknown
    pub async fn close(&self, within: Duration) -> Unfinished {
        let deadline = Deadline::after(self.driver.now(), within);
        self.driver.lock().linger.close();
        let _ = timeout_at(deadline.instant(), self.flush()).await;
        self.driver.end()
    }
}

/// A batch producer to be made; see [`BatchProducer::builder`].
#[derive(Debug)]
#[must_use = "there is no batch producer until this is built"]
pub struct BatchProducerBuilder {
    log: PartitionClient,
    linger: Duration,
    buffer_memory: usize,
}

impl BatchProducerBuilder {
    options! {
        /// How long a batch waits for more inputs, counted from its first. Zero by default: a group commit. More than half of the
        /// delivery timeout counts as half.
        pub fn linger(linger: Duration) => linger = linger;

        /// How many bytes the inputs in batches may have, until they are settled; 32 MiB by default. Callers beyond it wait
        /// for room, and keep their inputs besides. The last input within the limit may exceed it.
        pub fn buffer_memory(bytes: usize) => buffer_memory = bytes;
    }

    /// The producer. Each batch gets a clone of `aggregator`.
    pub fn build<A: Aggregator>(self, aggregator: A) -> BatchProducer<A> {
        let linger = self.linger.min(self.log.line().options.delivery_timeout / 2);
        let options = Options {
            linger,
            max_in_flight: self.log.batches_in_flight(),
            buffer_memory: self.buffer_memory,
        };
        BatchProducer { driver: Arc::new(Driver::new(self.log, options, aggregator)) }
    }
}
