//! How inputs become a batch, and how its result becomes each caller's output.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use derive_more::Debug;
use rskafka_protocol::records::Compression;

use crate::Produced;
use crate::error::BoxError;
use crate::produce::BEFORE_1970;
use crate::record::{Headers, NewRecord, Payload, Record, RecordBatchBuilder, RecordHeaders};
use crate::time::to_millis;

/// Makes one batch of many inputs, and gives each caller its output.
///
/// Each batch has an aggregator of its own: a clone of the one that was given to
/// [`build`](crate::producer::BatchProducerBuilder::build). It collects the batch's inputs, is flushed once, and gives the
/// outputs after the batch was written.
///
/// An aggregator that panics or fails hurts no other batch: see each method. `push`, `size` and `flush` run while other
/// callers wait, so they should be quick, and they must not call the producer.
///
/// This one makes a single record of all values of a batch, a value a line, and tells each caller the number of its line:
///
/// ```
/// # use rskafka_client::error::BoxError;
/// # use rskafka_client::Produced;
/// # use rskafka_client::producer::{Aggregator, Pushed};
/// # use rskafka_client::record::{NewRecord, RecordBatchBuilder};
/// #[derive(Clone, Default)]
/// struct Lines {
///     text: String,
///     count: usize,
/// }
///
/// impl Aggregator for Lines {
///     type Input = String;
///     type Tag = usize;
///     type Output = (i64, usize);
///
///     fn push(&mut self, line: String) -> Result<Pushed<String, usize>, BoxError> {
///         if self.text.len() + line.len() >= 1 << 20 {
///             return Ok(Pushed::Full(line));
///         }
///         self.text += &line;
///         self.text += "\n";
///         self.count += 1;
///         Ok(Pushed::Added(self.count - 1))
///     }
///
///     fn size(&self) -> usize {
///         self.text.len()
///     }
///
///     fn flush(&mut self) -> Result<RecordBatchBuilder, BoxError> {
///         let mut batch = RecordBatchBuilder::with_capacity(self.text.len() + 100);
///         batch.push(NewRecord::new(1_700_000_000_000, None, Some(self.text.as_bytes())))?;
///         self.text = String::new();
///         Ok(batch)
///     }
///
///     fn output(&self, produced: &Produced, line: usize) -> Result<(i64, usize), BoxError> {
///         Ok((produced.base_offset, line))
///     }
/// }
/// ```
pub trait Aggregator: Clone + Send + Sync + 'static {
    /// What callers give.
    type Input: Send + 'static;
    /// What a caller needs, beside the batch's result, to learn its output: such as the position of its record in the batch.
    type Tag: Send + 'static;
    /// What a caller gets.
    type Output;

    /// Adds an input to the batch.
    ///
    /// # Errors
    ///
    /// Fails this caller alone, so an aggregator that fails must be as it was before. After a panic its state is not known:
    /// all callers of the batch fail, as not written.
    fn push(&mut self, input: Self::Input) -> Result<Pushed<Self::Input, Self::Tag>, BoxError>;

    /// How many bytes the batch has so far, roughly. They count against `buffer_memory`.
    fn size(&self) -> usize;

    /// Ends the batch. Called once, after at least one input was added.
    ///
    /// # Errors
    ///
    /// Fails all callers of the batch, as not written. So does a panic.
    fn flush(&mut self) -> Result<RecordBatchBuilder, BoxError>;

    /// The output of a caller, by the tag that `push` gave for its input. Runs where the caller awaits it; the calls of a
    /// batch may run at the same time.
    ///
    /// # Errors
    ///
    /// Fails this caller alone, with [`ErrorKind::NoOutput`](crate::error::ErrorKind::NoOutput): its input is written. So
    /// does a panic.
    fn output(&self, produced: &Produced, tag: Self::Tag) -> Result<Self::Output, BoxError>;
}

/// What an aggregator did with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed<Input, Tag> {
    /// It is in the batch.
    Added(Tag),
    /// It is in the batch, and the batch takes no more: it is sent without lingering.
    AddedLast(Tag),
    /// The batch has no room for it, and is sent without lingering; here it is for the next one. An empty batch
    /// without room for an input refuses it: [`ErrorKind::InvalidArgument`](crate::error::ErrorKind::InvalidArgument).
    Full(Input),
}

/// What an aggregator gives, or why it panicked.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        format!("it panicked: {text}").into()
    })
}

/// Makes a batch of records, and gives each caller the offset of its record.
#[derive(Debug)]
#[must_use]
pub struct RecordAggregator<K = Option<Bytes>, V = Option<Bytes>, H = Headers> {
    max_bytes: usize,
    max_records: usize,
    compression: Compression,
    batch: RecordBatchBuilder,
    #[debug(skip)]
    record: Takes<Record<K, V, H>>,
}

type Takes<T> = PhantomData<fn(T)>;

/// Room for the first records of a batch, so that small batches do not grow step by step.
const FIRST_ROOM: usize = 8 << 10;

impl<K, V, H> RecordAggregator<K, V, H> {
    /// Batches of at most `max_bytes` bytes, uncompressed. A larger record is refused.
    pub fn new(max_bytes: usize) -> Self {
        let (compression, batch) = (Compression::None, RecordBatchBuilder::new());
        Self { max_bytes, max_records: usize::MAX, compression, batch, record: PhantomData }
    }

    options! {
        /// At most so many records in a batch, at least 1. No limit by default.
        pub fn max_records(max_records: usize) => max_records = max_records;

        /// How batches are compressed. Not at all by default.
        pub fn compression(compression: Compression) => compression = compression;
    }
}

impl<K, V, H> Aggregator for RecordAggregator<K, V, H>
where
    K: Payload + Send + 'static,
    V: Payload + Send + 'static,
    H: RecordHeaders + Send + 'static,
{
    type Input = Record<K, V, H>;
    type Tag = u32;
    type Output = i64;

    fn push(&mut self, record: Self::Input) -> Result<Pushed<Self::Input, u32>, BoxError> {
        let tag = u32::try_from(self.batch.len())?;
        let timestamp = to_millis(record.timestamp);
        if timestamp < 0 {
            return Err(BEFORE_1970.into());
        }
        if self.batch.is_empty() {
            self.batch = RecordBatchBuilder::with_capacity(self.max_bytes.min(FIRST_ROOM));
            self.batch.set_compression(self.compression);
        }
        let is_added = {
            let new = NewRecord::new(timestamp, record.key.payload(), record.value.payload());
            let new = new.headers(record.headers.pairs());
            self.batch.size_with(&new) <= self.max_bytes && self.batch.push(new).is_ok()
        };
        Ok(match is_added {
            false => Pushed::Full(record),
            true if self.batch.len() < self.max_records => Pushed::Added(tag),
            true => Pushed::AddedLast(tag),
        })
    }

    fn size(&self) -> usize {
        self.batch.encoded_size()
    }

    fn flush(&mut self) -> Result<RecordBatchBuilder, BoxError> {
        Ok(std::mem::take(&mut self.batch))
    }

    fn output(&self, produced: &Produced, tag: u32) -> Result<i64, BoxError> {
        Ok(produced.base_offset.saturating_add(i64::from(tag)))
    }
}

impl<K, V, H> Clone for RecordAggregator<K, V, H> {
    fn clone(&self) -> Self {
        Self { batch: self.batch.clone(), record: PhantomData, ..*self }
    }
}
