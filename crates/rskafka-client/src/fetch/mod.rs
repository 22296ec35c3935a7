//! Reads from an offset: one answer of the leader, or the first records after it.
//!
//! Invariant: a fetch always says where to read on, also in a region without records.

mod batches;
mod lane;
mod position;
mod request;
mod spec;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::ApiKey;
use rskafka_protocol::messages::fetch::PartitionData;
use rskafka_protocol::records::Decompressor;

pub use self::batches::{FetchedBatch, IntoRecords};
pub(crate) use self::lane::{FetchLane, LEADER};
pub use self::position::{ParsePositionError, Position};
pub(crate) use self::request::{entry, request};
pub(crate) use self::spec::{FetchSpec, ReadUnder};
use crate::error::{Case, Error, ErrorKind, Result};
use crate::partition::Partition;
use crate::record::RecordAndOffset;

/// Which records of transactions a reader is given (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// All records, also those of transactions that were aborted or are undecided.
    #[default]
    ReadUncommitted,
    /// Only records before the last stable offset, and none of a transaction that was aborted.
    ReadCommitted,
}

/// A fetch to be made: `.await` it, after any options.
///
/// It makes one request to the partition's leader, and repeats it while that fails for a reason that may pass. Where requests
/// name the topic and not its id (before Kafka 3.1), metadata is asked for too after a second without a fetch. It ends by the
/// api timeout plus [`max_wait`](Self::max_wait). Cancel safe.
///
/// # Errors
///
/// [`ErrorKind::OffsetOutOfRange`] with the log's bounds, [`ErrorKind::CorruptBatch`],
/// [`ErrorKind::TopicRecreated`], [`ErrorKind::LogTruncated`] and [`ErrorKind::OtherTopic`] if it begins at a [`Position`],
/// [`ErrorKind::InvalidArgument`] for a negative offset, for `max_bytes` 0, or for `min_bytes` above
/// `max_bytes`; and whatever prevents a request to the leader.
///
/// [`ErrorKind::Broker`] with `OFFSET_OUT_OF_RANGE` if the log's bounds cannot be asked for, or have changed meanwhile so
/// that the offset is within.
///
/// [`ErrorKind::OffsetOutOfRange`]: crate::error::ErrorKind::OffsetOutOfRange
/// [`ErrorKind::TopicRecreated`]: crate::error::ErrorKind::TopicRecreated
/// [`ErrorKind::LogTruncated`]: crate::error::ErrorKind::LogTruncated
/// [`ErrorKind::OtherTopic`]: crate::error::ErrorKind::OtherTopic
/// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
/// [`ErrorKind::CorruptBatch`]: crate::error::ErrorKind::CorruptBatch
/// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
#[derive(Debug)]
#[must_use = "nothing is fetched until this is awaited"]
pub struct Fetch {
    partition: Arc<Partition>,
    lane: Arc<FetchLane>,
    start: Position,
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
    isolation: IsolationLevel,
}

impl Fetch {
    pub(crate) fn new(partition: Arc<Partition>, lane: Arc<FetchLane>, start: Position) -> Self {
        let (max_wait, isolation) = (Duration::from_millis(500), IsolationLevel::default());
        Self { partition, lane, start, min_bytes: 1, max_bytes: 1024 * 1024, max_wait, isolation }
    }

    options! {
        /// Which records of transactions to read. All by default.
        pub fn isolation(isolation: IsolationLevel) => isolation = isolation;

        /// How many bytes of batches to wait for. 1 by default; with 0 the broker answers at once.
        pub fn min_bytes(bytes: usize) => min_bytes = bytes;

        /// About how many bytes of batches to read. 1 MiB by default, and no more than fit into the client's `max_frame_bytes`. At
        /// least one whole batch is read, also if it is larger.
        pub fn max_bytes(bytes: usize) => max_bytes = bytes;

        /// How long to wait for `min_bytes`. Afterwards the fetch gives what there is, perhaps nothing. 500 ms by default.
        pub fn max_wait(wait: Duration) => max_wait = wait;
    }

    async fn run(self) -> Result<Fetched> {
        let Self { partition, lane, start, min_bytes, max_bytes, max_wait, isolation } = self;
        let [min, max] = [min_bytes, max_bytes].map(|bytes| i32::try_from(bytes).unwrap_or(i32::MAX));
        let located = |error| partition.located(error, ApiKey::FETCH);
        let spec = FetchSpec::new(&partition.core, start.offset, min..max, max_wait).map_err(located)?;
        start.check(&partition).map_err(located)?;
        let spec = FetchSpec { last_epoch: start.leader_epoch, isolation, ..spec };
        fetch_once(&partition, &lane, &spec).await
    }
}

awaited!(Fetch, run, Fetched);

/// The result of a fetch.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub(crate) batches: Vec<FetchedBatch>,
    pub(crate) next: Position,
    pub(crate) read_under: ReadUnder,
    /// The leader epoch of the first batch that was read, seen or not.
    pub(crate) first_epoch: Option<i32>,
    /// The size of the batches up to `next`.
    pub(crate) passed_bytes: usize,
    high_watermark: i64,
    last_stable_offset: Option<i64>,
    log_start_offset: Option<i64>,
    encoded_size: usize,
}

impl Fetched {
    /// The batches with records, in the log's order, each with its facts. Iterating over them and their records allocates
    /// nothing.
    pub fn batches(&self) -> &[FetchedBatch] {
        &self.batches
    }

    /// The batches, owned.
    pub fn into_batches(self) -> impl Iterator<Item = FetchedBatch> {
        self.batches.into_iter()
    }

    /// The records, in the log's order. They share the memory of the answer.
    ///
    /// There may be none although [`next`](Self::next) is after the offset asked for: transaction markers and compacted
    /// records take up offsets.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] as an item, if a record cannot be read, which names its batch.
    ///
    /// [`ErrorKind::CorruptBatch`]: crate::error::ErrorKind::CorruptBatch
    pub fn into_records(self) -> impl Iterator<Item = Result<RecordAndOffset>> {
        self.into_batches().flat_map(FetchedBatch::into_records)
    }

    /// Where to read on from: after the last offset that the answer covers, with or without a record.
    ///
    /// It is where this fetch began if there was nothing to read. Store it to continue after a restart.
    pub fn next(&self) -> Position {
        self.next
    }

    /// The offset of [`next`](Self::next).
    pub fn next_offset(&self) -> i64 {
        self.next.offset
    }

    /// The offset after the last record that all in-sync replicas hold, up to which one can read.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The offset before which every transaction is decided; `None` if the broker does not say.
    pub fn last_stable_offset(&self) -> Option<i64> {
        self.last_stable_offset
    }

    /// The log's first offset; `None` if the broker does not say.
    pub fn log_start_offset(&self) -> Option<i64> {
        self.log_start_offset
    }

    /// The size of the answer's batches in the log, in bytes: also of those that were left out.
    pub fn encoded_size(&self) -> usize {
        self.encoded_size
    }
}

pub(crate) async fn fetch_records(
    partition: &Partition,
    lane: &FetchLane,
    offset: i64,
    bytes: Range<i32>,
    max_wait_ms: i32,
) -> Result<(Vec<RecordAndOffset>, i64)> {
    let Ok(max_wait_ms) = u64::try_from(max_wait_ms) else {
        return Err(Error::invalid("the wait is negative"));
    };
    let mut spec = FetchSpec::new(&partition.core, offset, bytes, Duration::from_millis(max_wait_ms))?;
    loop {
        let fetched = fetch_once(partition, lane, &spec).await?;
        let (next, high_watermark) = (fetched.next.offset, fetched.high_watermark);
        let continued = spec.after(&fetched, partition.core.cluster.env().now());
        let mut records = Vec::new();
        for batch in fetched.batches {
            records.reserve(batch.batch.records().size_hint().1.unwrap_or_default());
            for record in batch.into_records() {
                match record {
                    Ok(record) => records.push(record),
                    Err(error) if records.is_empty() => return Err(error),
                    // The fetch that begins there fails.
                    Err(_) => return Ok((records, high_watermark)),
                }
            }
        }
        if !records.is_empty() || next <= spec.offset {
            return Ok((records, high_watermark));
        }
        spec = continued;
    }
}

/// One answer of the leader, or of the replica that is read from.
pub(crate) async fn fetch_once(partition: &Partition, lane: &FetchLane, spec: &FetchSpec) -> Result<Fetched> {
    let located = |error| partition.located(error, ApiKey::FETCH);
    let (data, leader, knows_epoch) = request::ask(partition, lane, spec).await.map_err(located)?;
    let set = data.records.clone().unwrap_or_default();
    let read = decode(partition, lane, *spec, &set, &data).await;
    let read = read.map_err(|error| located(error.with_broker(&leader.broker)))?;
    let read_under = (leader.broker.id, leader.epoch);
    let first_epoch = read.first_epoch.flatten();
    // The log changes only with its leader. Where metadata has no epochs, batches of another one tell.
    let has_moved = spec.checked_under != Some(read_under) || first_epoch > spec.last_epoch;
    if !knows_epoch && has_moved {
        request::check(partition, spec).await.map_err(located)?;
    }
    let whole = |batch| FetchedBatch {
        batch,
        asked: (spec.offset, spec.until),
        topic: partition.topic.clone(),
        partition: partition.index,
    };
    Ok(Fetched {
        batches: read.batches.into_iter().map(whole).collect(),
        next: Position {
            topic_id: partition.topic_id,
            partition: partition.index,
            offset: read.next_offset,
            leader_epoch: read.last_epoch,
        },
        read_under,
        first_epoch,
        passed_bytes: read.passed_bytes,
        high_watermark: data.high_watermark,
        last_stable_offset: Some(data.last_stable_offset).filter(|offset| *offset >= 0),
        log_start_offset: Some(data.log_start_offset).filter(|offset| *offset >= 0),
        encoded_size: set.len(),
    })
}

/// From this size on, compressed batches are decompressed on a thread that may block: lz4 needs some 70 us for as much, and the
/// other codecs several times that, while another thread costs 17 us.
const LONG_TO_DECOMPRESS: usize = 128 * 1024;
/// Where a batch of magic 2 says how it is compressed.
const ATTRIBUTES_AT: usize = 22;

async fn decode(
    partition: &Partition,
    lane: &FetchLane,
    spec: FetchSpec,
    set: &Bytes,
    data: &PartitionData,
) -> Result<batches::Read> {
    let aborted =
        data.aborted_transactions.clone().filter(|_| spec.isolation == IsolationLevel::ReadCommitted);
    let is_compressed = set.get(ATTRIBUTES_AT).is_some_and(|byte| byte & 7 != 0);
    let is_long = set.len() >= LONG_TO_DECOMPRESS;
    let (set, aborted) = (set.clone(), aborted.unwrap_or_default());
    let shared = lane.decompressor.clone();
    let limit = partition.core.limits.max_decompressed_bytes;
    let read = move || match shared.try_lock() {
        Ok(mut decompressor) => batches::read(&set, &spec, aborted, &mut decompressor),
        // Another fetch is using it.
        Err(_) => batches::read(&set, &spec, aborted, &mut Decompressor::with_limit(limit)),
    };
    if !is_compressed || !is_long {
        return read();
    }
    let runtime = partition.core.cluster.runtime();
    let read = runtime.spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err(Error::new(Case::ClientClosed, ErrorKind::Closed)))
}
