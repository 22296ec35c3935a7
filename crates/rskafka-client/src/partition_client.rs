//! The handle to the log of one partition.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rskafka_cluster::LeaderOf;
use rskafka_protocol::{ApiKey, Uuid};

use rskafka_protocol::records::Compression;

use crate::admin::delete_records;
use crate::admin::durability::DurabilityKind;
use crate::consumer::{Ranges, ReadBuilder, Resolution, StartAt, resolve};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::fetch::{self, Fetch, FetchLane, Position};
use crate::offsets::{self, FoundOffset, OffsetAt};
use crate::partition::Partition;
use crate::produce::{Acks, EncodeOptions, Line, LineOptions, Produce};
use crate::record::{Payload, Record, RecordAndOffset, RecordBatchBuilder, RecordHeaders};
use crate::wal::Wal;

/// A client of one partition. Clones are the same writer: their calls share one line.
///
/// A second client of the same partition is a second writer: their appends are not ordered among each other.
#[derive(Debug, Clone)]
pub struct PartitionClient {
    line: Arc<Line>,
    /// The connection for fetches, so that none delays an append.
    fetch_lane: Arc<FetchLane>,
}

impl PartitionClient {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.line.partition.topic
    }

    /// The partition's index.
    pub fn partition(&self) -> i32 {
        self.line.partition.index
    }

    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// How many batches are sent before the first is answered.
    pub(crate) fn batches_in_flight(&self) -> usize {
        if self.line.options.is_idempotent { self.line.options.max_in_flight } else { 1 }
    }

    /// Appends records as one batch: all of them, in order, at consecutive offsets, or none.
    ///
    /// Calls on one client are appended in the order in which they were made, whenever their futures are polled; up to
    /// [`max_in_flight`](PartitionClientBuilder::max_in_flight) batches are sent before the first is answered. A batch whose
    /// answer is lost is sent again, and written once: the broker recognises it. The append ends by the delivery timeout.
    ///
    /// The records are encoded, and so copied, inside the call, before it returns its future.
    ///
    /// # Errors
    ///
    /// [`Error::outcome`] tells whether the records may be in the log. [`ErrorKind::InvalidArgument`] without records, for one
    /// from before 1970, or for more than the format of a batch can hold. [`ErrorKind::BatchTooLarge`] beyond
    /// [`max_request_bytes`](PartitionClientBuilder::max_request_bytes); the broker refuses a batch larger than the topic's
    /// `max.message.bytes`: [`ErrorKind::Broker`] with `MESSAGE_TOO_LARGE`. [`ErrorKind::TimedOut`] after the delivery
    /// timeout. [`ErrorKind::Stopped`] behind a failure, with [`stop_on_failure`](PartitionClientBuilder::stop_on_failure).
    /// [`ErrorKind::LogTruncated`] once acknowledged records are gone, and for all later calls. [`ErrorKind::Closed`] after
    /// [`Client::close`](crate::Client::close).
    ///
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    /// [`ErrorKind::BatchTooLarge`]: crate::error::ErrorKind::BatchTooLarge
    /// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
    /// [`ErrorKind::TimedOut`]: crate::error::ErrorKind::TimedOut
    /// [`ErrorKind::Stopped`]: crate::error::ErrorKind::Stopped
    /// [`ErrorKind::LogTruncated`]: crate::error::ErrorKind::LogTruncated
    /// [`ErrorKind::Closed`]: crate::error::ErrorKind::Closed
    pub fn produce<K: Payload, V: Payload, H: RecordHeaders>(
        &self,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Produce {
        Produce::of_records(&self.line, records)
    }

    /// Appends the batch that the caller filled: each record is encoded once, when it is pushed, straight into the request.
    ///
    /// Order, deadline, failures and dropping are those of [`produce`](Self::produce). The records are compressed as the
    /// builder says, inside the call.
    ///
    /// ```no_run
    /// # async fn example(log: rskafka_client::PartitionClient) -> Result<(), Box<dyn std::error::Error>> {
    /// # use rskafka_client::record::NewRecord;
    /// let mut batch = log.batch_builder(1 << 20);
    /// for value in ["first", "second"] {
    ///     let timestamp = 1_700_000_000_000; // ms since 1970
    ///     batch.push(NewRecord::new(timestamp, None, Some(value.as_bytes())))?;
    /// }
    /// println!("{:?}", log.produce_batch(batch).await?.offsets());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Base offset, leader epoch and what makes a batch idempotent are the client's and the broker's to set: what the
    /// builder has for them is replaced.
    ///
    /// # Errors
    ///
    /// Those of [`produce`](Self::produce). [`ErrorKind::InvalidArgument`] also if the batch cannot be built, its offsets
    /// have gaps, or it has an attribute other than its compression: control records and transactions are refused.
    ///
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    pub fn produce_batch(&self, builder: RecordBatchBuilder) -> Produce {
        Produce::of_batch(&self.line, builder, self.line.delivery_deadline())
    }

    /// An empty batch for [`produce_batch`](Self::produce_batch), with room for `bytes` bytes, compressed as this client's
    /// appends. A large one is written into the memory of a batch that was sent, which saves the page faults of fresh memory.
    pub fn batch_builder(&self, bytes: usize) -> RecordBatchBuilder {
        let EncodeOptions { compression, level, .. } = self.line.options.encode;
        let mut builder = RecordBatchBuilder::with_buffer(self.line.partition.core.spare.take(bytes));
        builder.set_compression(compression);
        builder.set_compression_level(level);
        builder
    }

    /// Connects to the leader and obtains a producer id, so that the first append need not wait for them. Ends by the api
    /// timeout. Cancel safe.
    ///
    /// # Errors
    ///
    /// Whatever prevents a request to the leader; [`ErrorKind::Broker`] if the client may not write.
    ///
    /// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
    pub async fn warm_up(&self) -> Result<()> {
        self.line.partition.core.check_open()?;
        self.line.warm_up().await
    }

    /// Appends again after an append failed, if the client was made with
    /// [`stop_on_failure`](PartitionClientBuilder::stop_on_failure). Not after [`ErrorKind::LogTruncated`].
    ///
    /// [`ErrorKind::LogTruncated`]: crate::error::ErrorKind::LogTruncated
    pub fn resume(&self) {
        self.line.resume();
    }

    /// Looks in the log for an append of this partition client, or of another one of the same partition, whose outcome is
    /// unknown: `error` is what it failed with. Reads from the last append that was acknowledged before it to the log's end;
    /// if there was none, the whole log. Cancel safe.
    ///
    /// [`Resolution::Open`] can change: to be sure that nothing is written any more, append something by the same partition
    /// client, which does so under a later epoch, and ask again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if the error is not of an idempotent append to this partition; and those of
    /// [`stream`](Self::stream) and [`get_offset`](Self::get_offset).
    ///
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    pub async fn resolve(&self, error: &Error) -> Result<Resolution> {
        resolve(&self.line.partition, error).await
    }

    /// Reads from `offset` on, and says where to continue. Options chain before `.await`.
    ///
    /// Use this to read a log up to a given end: [`Fetched::next_offset`] also moves past offsets without a record, such as
    /// a transaction's marker, at the end of the log too.
    ///
    /// ```no_run
    /// # async fn example(log: rskafka_client::PartitionClient) -> rskafka_client::error::Result<()> {
    /// # use rskafka_client::OffsetAt;
    /// let end = log.get_offset(OffsetAt::Latest).await?.offset;
    /// let mut next = log.get_offset(OffsetAt::Earliest).await?.offset;
    /// while next < end {
    ///     let fetched = log.fetch(next).max_bytes(4 << 20).await?;
    ///     next = fetched.next_offset();
    ///     for read in fetched.into_records() {
    ///         let read = read?;
    ///         println!("{}: {:?}", read.offset, read.record.value);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Records of aborted and of undecided transactions are returned like all others, unless
    /// [`isolation`](Fetch::isolation) says otherwise.
    ///
    /// [`Fetched::next_offset`]: crate::Fetched::next_offset
    pub fn fetch(&self, offset: i64) -> Fetch {
        self.fetch_at(Position::of(&self.line.partition, offset))
    }

    /// Reads from a [`Position`] on, as [`fetch`](Self::fetch) does. If the log was truncated below it since,
    /// this fails with [`ErrorKind::LogTruncated`].
    ///
    /// [`ErrorKind::LogTruncated`]: crate::error::ErrorKind::LogTruncated
    pub fn fetch_at(&self, position: Position) -> Fetch {
        Fetch::new(self.line.partition.clone(), self.fetch_lane.clone(), position)
    }

    /// A stream of records from a start on, which reads ahead. Options chain before
    /// [`build`](ReadBuilder::build).
    ///
    /// ```no_run
    /// # async fn example(log: rskafka_client::PartitionClient) -> rskafka_client::error::Result<()> {
    /// # use rskafka_client::consumer::StartAt;
    /// use futures_util::TryStreamExt;
    ///
    /// let mut stream = log.stream(StartAt::Offset(17)).read_ahead_bytes(16 << 20).build();
    /// while let Some(read) = stream.try_next().await? {
    ///     println!("{}: {:?}", read.offset, read.record.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self, start: StartAt) -> ReadBuilder<StartAt> {
        ReadBuilder::with(self.line.partition.clone(), start)
    }

    /// Reads closed ranges of offsets over several connections, in order, as fast as it can: what a recovery needs.
    ///
    /// A range must end at or before the log's end; [`get_offset`](Self::get_offset) gives that.
    ///
    /// ```no_run
    /// # async fn example(log: rskafka_client::PartitionClient) -> rskafka_client::error::Result<()> {
    /// # use rskafka_client::OffsetAt;
    /// use futures_util::TryStreamExt;
    ///
    /// let end = log.get_offset(OffsetAt::Latest).await?.offset;
    /// let mut replay = log.replay(0..end).connections(4).build();
    /// while let Some(read) = replay.try_next().await? {
    ///     println!("{}: {:?}", read.offset, read.record.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn replay(&self, ranges: impl Into<Ranges>) -> ReadBuilder<Ranges> {
        ReadBuilder::replay(self.line.partition.clone(), ranges.into())
    }

    /// Reads records from `offset` on, in order and without gaps. Returns them with the high watermark: the offset after the
    /// last record that all in-sync replicas hold.
    ///
    /// Waits up to `max_wait_ms` for `bytes.start` bytes and then returns what there is, perhaps nothing. Reads at most about
    /// `bytes.end` bytes, but at least one whole batch, also if it is larger. Cancel safe.
    ///
    /// Within its wait it continues past offsets without records, such as transaction markers. It does not say how far it
    /// got, so a loop up to a given offset needs [`fetch`](Self::fetch): with this call it would never end if the log's last
    /// offset has no record. Records of aborted and of undecided transactions are returned like all others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OffsetOutOfRange`] with the log's bounds, [`ErrorKind::CorruptBatch`] and others.
    ///
    /// [`ErrorKind::OffsetOutOfRange`]: crate::error::ErrorKind::OffsetOutOfRange
    /// [`ErrorKind::CorruptBatch`]: crate::error::ErrorKind::CorruptBatch
    pub async fn fetch_records(
        &self,
        offset: i64,
        bytes: Range<i32>,
        max_wait_ms: i32,
    ) -> Result<(Vec<RecordAndOffset>, i64)> {
        let partition = &self.line.partition;
        let fetched = fetch::fetch_records(partition, &self.fetch_lane, offset, bytes, max_wait_ms).await;
        fetched.map_err(|error| partition.located(error, ApiKey::FETCH))
    }

    /// An offset of the log: an end of it, or by time. Ends by the api timeout. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`] and [`ErrorKind::TopicRecreated`] if the topic is gone, [`ErrorKind::NoLeader`],
    /// and whatever prevents a request to the leader.
    ///
    /// [`ErrorKind::UnknownTopicOrPartition`]: crate::error::ErrorKind::UnknownTopicOrPartition
    /// [`ErrorKind::TopicRecreated`]: crate::error::ErrorKind::TopicRecreated
    /// [`ErrorKind::NoLeader`]: crate::error::ErrorKind::NoLeader
    pub async fn get_offset(&self, at: OffsetAt) -> Result<FoundOffset> {
        let partition = &self.line.partition;
        let found = offsets::find(partition, at).await;
        found.map_err(|error| partition.located(error, ApiKey::LIST_OFFSETS))
    }

    /// Deletes the records before an offset, or with `None` before the high watermark: all that can be read. Returns the low
    /// watermark: the first offset that some replica still has.
    ///
    /// The leader waits until all replicas that run have deleted. Brokers free the disk in whole segments, later. An offset
    /// before the log's first one deletes nothing. With `None`, records may be deleted that are appended during the call. Ends by
    /// the api timeout. Cancel safe: a dropped future may still delete. Source: KIP-107.
    ///
    /// ```no_run
    /// # async fn example(log: rskafka_client::PartitionClient, snapshot: i64) -> rskafka_client::error::Result<()> {
    /// let low_watermark = log.delete_records(snapshot).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for a negative offset; [`ErrorKind::OffsetOutOfRange`] beyond the high watermark;
    /// [`ErrorKind::Broker`] with `POLICY_VIOLATION` for a topic that is only compacted, and without the right DELETE; those
    /// of [`get_offset`](Self::get_offset). After a timeout, [`Error::outcome`] tells whether records may be deleted.
    ///
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    /// [`ErrorKind::OffsetOutOfRange`]: crate::error::ErrorKind::OffsetOutOfRange
    /// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
    pub async fn delete_records(&self, before_offset: impl Into<Option<i64>>) -> Result<i64> {
        let partition = &self.line.partition;
        let deleted = delete_records::delete(partition, before_offset.into()).await;
        deleted.map_err(|error| partition.located(error, ApiKey::DELETE_RECORDS))
    }
}

/// A partition client to be made: `.await` it, after any options.
///
/// This checks that the partition exists, and waits until it has a leader, at most for the api timeout. It opens no
/// connection for it yet. Cancel safe.
///
/// # Errors
///
/// [`ErrorKind::UnknownTopicOrPartition`], [`ErrorKind::NoLeader`], and those of every request for metadata.
///
/// [`ErrorKind::UnknownTopicOrPartition`]: crate::error::ErrorKind::UnknownTopicOrPartition
/// [`ErrorKind::NoLeader`]: crate::error::ErrorKind::NoLeader
#[derive(Debug)]
#[must_use = "there is no partition client until this is awaited"]
pub struct PartitionClientBuilder<T = PartitionClient> {
    core: Arc<Core>,
    topic: String,
    index: i32,
    options: LineOptions,
    accepted: Vec<DurabilityKind>,
    makes: PhantomData<fn() -> T>,
}

impl<T> PartitionClientBuilder<T> {
    pub(crate) fn new(core: Arc<Core>, topic: String, index: i32) -> Self {
        let options = LineOptions::new(&core.limits);
        Self { core, topic, index, options, accepted: Vec::new(), makes: PhantomData }
    }

    options! {
        /// How many batches may be in flight at once, counted from the oldest whose outcome is open. 1 to 5, which is the
        /// default: brokers recognise the last five batches of a producer (Java: `max.in.flight.requests.per.connection`).
        ///
        /// One at a time is sent until the partition has acknowledged the first, after each change of its leader, and behind a
        /// batch whose timestamps are older than 12 hours: brokers forget a producer by the timestamps of its last batch.
        pub fn max_in_flight(batches: usize) => options.max_in_flight = batches;

        /// How long a whole produce may take: waiting in line and for memory, every attempt and every pause. The client's
        /// `delivery_timeout` by default.
        pub fn delivery_timeout(timeout: Duration) => options.delivery_timeout = timeout;

        /// How the batches of [`produce`](PartitionClient::produce) are compressed: not at all by default. The codec's
        /// feature must be on.
        pub fn compression(compression: Compression) => options.encode.compression = compression;

        /// How hard the codec tries: one of [`Compression::levels`]. Each codec has a default.
        pub fn compression_level(level: i32) => options.encode.level = Some(level);

        /// How many bytes a batch may have, encoded and compressed. 100 MiB by default, as much as brokers take at once
        /// (`socket.request.max.bytes`); a topic usually has a lower limit (`max.message.bytes`, 1 MiB).
        ///
        /// A larger one is refused with [`ErrorKind::BatchTooLarge`] before it joins the line.
        ///
        /// [`ErrorKind::BatchTooLarge`]: crate::error::ErrorKind::BatchTooLarge
        pub fn max_request_bytes(bytes: usize) => options.encode.max_request_bytes = bytes;

        /// How many bytes of encoded records it may hold that are not written yet. 32 MiB by default.
        ///
        /// A call beyond that waits, in the order of the calls. Its records are encoded before, so they are in memory too. If it
        /// is dropped while it waits, it takes the records back.
        pub fn buffer_memory(bytes: usize) => options.buffer_memory = bytes;
    }

    async fn locate(self) -> Result<(Arc<Partition>, LineOptions)> {
        let Self { core, topic, index, options, .. } = self;
        core.check_open()?;
        let is_invalid = match options {
            _ if index < 0 => Some("the partition's index is negative"),
            _ if !is_topic_name(&topic) => Some(
                "a topic's name has 1 to 249 letters, digits, '.', '_' or '-', and is not \".\" or \"..\"",
            ),
            LineOptions { max_in_flight: 0 | 6.., .. } => Some("max_in_flight is not from 1 to 5"),
            LineOptions { acks: Acks::Leader, is_idempotent: true, .. } => {
                Some("Acks::Leader needs idempotence(false)")
            }
            LineOptions { encode, .. } => encode.check(),
        };
        if let Some(what) = is_invalid {
            return Err(Error::invalid(what).located(None, &topic, Some(index)));
        }
        // Another client may have deleted the known topic, and perhaps created it again.
        core.cluster.mark_stale(&topic);
        let target = LeaderOf { topic: &topic, partition: index, topic_id: Uuid::ZERO, replica: None };
        let leader = core.cluster.find(target, core.api_deadline()).await.map_err(Error::of_read)?;
        let partition = Partition { core, topic: topic.into(), topic_id: leader.topic_id, index };
        Ok((Arc::new(partition), options))
    }
}

impl PartitionClientBuilder {
    options! {
        /// Who must hold a batch before it is acknowledged. [`Acks::All`] by default; [`Acks::Leader`] needs
        /// [`idempotence(false)`](Self::idempotence).
        pub fn acks(acks: Acks) => options.acks = acks;

        /// Whether each batch is written exactly once although it is sent again when its answer is lost. On by default; it needs
        /// InitProducerId (Kafka 0.11) and the right to write. Without it one batch is in flight at a time, and none is sent again
        /// that may be written: then its outcome is unknown.
        pub fn idempotence(is_idempotent: bool) => options.is_idempotent = is_idempotent;

        /// Whether nothing is sent behind an append that failed, until [`PartitionClient::resume`] is called. What was sent
        /// before the failure was known keeps its own outcome. Off by default.
        pub fn stop_on_failure(stops: bool) => options.stop_on_failure = stops;
    }

    async fn connect(self) -> Result<PartitionClient> {
        let (partition, options) = self.locate().await?;
        let fetch_lane = Arc::new(FetchLane::new(&partition.core, None, 0));
        Ok(PartitionClient { line: Line::new(partition, options), fetch_lane })
    }
}

impl PartitionClientBuilder<Wal> {
    /// Claims the log although [`check_durability`](crate::Client::check_durability) finds these. Only findings by which records
    /// can be lost are refused: those that cost availability ([`Severity::Appends`](crate::Severity::Appends)) are not.
    pub fn accept_risks(mut self, kinds: impl IntoIterator<Item = DurabilityKind>) -> Self {
        self.accepted.extend(kinds);
        self
    }

    async fn open(mut self) -> Result<Wal> {
        let accepted = std::mem::take(&mut self.accepted);
        let (partition, options) = self.locate().await?;
        Ok(Wal::new(partition, options, accepted))
    }
}

/// Whether Kafka allows this name (class `Topic`).
fn is_topic_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(is_legal) && name != "." && name != ".."
}

awaited!(PartitionClientBuilder, connect, PartitionClient);
awaited!(PartitionClientBuilder<Wal>, open, Wal);
