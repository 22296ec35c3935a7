//! Reads from an offset: one answer of the leader, or the first records after it.
//!
//! Invariant: a fetch always says where to read on, also in a region without records.

mod batches;
mod position;
mod request;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rskafka_protocol::ApiKey;

use self::batches::MAX_DECOMPRESSED;
use self::position::FetchSpec;
use crate::error::{Error, Result};
use crate::partition::Partition;
use crate::record::RecordAndOffset;

/// A fetch to be made: `.await` it, after any options.
///
/// It makes one request to the partition's leader, and repeats it while that fails for a reason that may pass. It ends by the
/// api timeout plus [`max_wait`](Self::max_wait). Cancel safe.
///
/// # Errors
///
/// [`ErrorKind::OffsetOutOfRange`] with the log's bounds, [`ErrorKind::CorruptBatch`],
/// [`ErrorKind::InvalidArgument`] for a negative offset, for `max_bytes` 0, or for `min_bytes` above
/// `max_bytes`; and whatever prevents a request to the leader.
///
/// [`ErrorKind::Broker`] with `OFFSET_OUT_OF_RANGE` if the log's bounds cannot be asked for, or have changed meanwhile so
/// that the offset is within.
///
/// [`ErrorKind::OffsetOutOfRange`]: crate::error::ErrorKind::OffsetOutOfRange
/// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
/// [`ErrorKind::CorruptBatch`]: crate::error::ErrorKind::CorruptBatch
/// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
#[derive(Debug)]
#[must_use = "nothing is fetched until this is awaited"]
pub struct Fetch {
    partition: Arc<Partition>,
    offset: i64,
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
}

impl Fetch {
    pub(crate) fn new(partition: Arc<Partition>, offset: i64) -> Self {
        let max_wait = Duration::from_millis(500);
        Self { partition, offset, min_bytes: 1, max_bytes: 1024 * 1024, max_wait }
    }

    /// How many bytes of batches to wait for. 1 by default; with 0 the broker answers at once.
    pub fn min_bytes(mut self, bytes: usize) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// About how many bytes of batches to read. 1 MiB by default, and no more than fit into the client's `max_frame_bytes`. At
    /// least one whole batch is read, also if it is larger.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How long to wait for `min_bytes`. Afterwards the fetch gives what there is, perhaps nothing. 500 ms by default.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    async fn run(self) -> Result<Fetched> {
        let Self { partition, offset, min_bytes, max_bytes, max_wait } = self;
        let [min, max] = [min_bytes, max_bytes].map(|bytes| i32::try_from(bytes).unwrap_or(i32::MAX));
        let located = |error| partition.located(error, ApiKey::FETCH);
        let spec = FetchSpec::new(&partition.core, offset, min..max, max_wait).map_err(located)?;
        fetch_once(&partition, spec).await.map_err(located)
    }
}

awaited!(Fetch, run, Fetched);

/// The result of a fetch.
#[derive(Debug, Clone)]
pub struct Fetched {
    records: Vec<RecordAndOffset>,
    next_offset: i64,
    high_watermark: i64,
    last_stable_offset: Option<i64>,
    log_start_offset: Option<i64>,
}

impl Fetched {
    /// The records, in the log's order.
    ///
    /// There may be none although [`next_offset`](Self::next_offset) is greater than the offset asked for: transaction
    /// markers and compacted records take up offsets.
    pub fn into_records(self) -> impl Iterator<Item = RecordAndOffset> {
        self.records.into_iter()
    }

    /// The offset to read on from: after the last offset that the answer covers, with or without a record.
    ///
    /// It is the offset asked for if there was nothing to read.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
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
}

pub(crate) async fn fetch_records(
    partition: &Partition,
    offset: i64,
    bytes: Range<i32>,
    max_wait_ms: i32,
) -> Result<(Vec<RecordAndOffset>, i64)> {
    let Ok(max_wait_ms) = u64::try_from(max_wait_ms) else {
        return Err(Error::invalid("the wait is negative"));
    };
    let mut spec = FetchSpec::new(&partition.core, offset, bytes, Duration::from_millis(max_wait_ms))?;
    loop {
        let fetched = fetch_once(partition, spec).await?;
        let now = partition.core.cluster.env().now();
        let next = spec.after(fetched.next_offset, now).filter(|_| fetched.records.is_empty());
        let Some(next) = next else {
            return Ok((fetched.records, fetched.high_watermark));
        };
        spec = next;
    }
}

async fn fetch_once(partition: &Partition, spec: FetchSpec) -> Result<Fetched> {
    let (data, broker) = request::ask_leader(partition, spec).await?;
    let set = data.records.unwrap_or_default();
    let read = batches::read(set, spec.offset, MAX_DECOMPRESSED);
    let read = read.map_err(|error| error.with_broker(&broker))?;
    Ok(Fetched {
        records: read.records,
        next_offset: read.next_offset,
        high_watermark: data.high_watermark,
        last_stable_offset: Some(data.last_stable_offset).filter(|offset| *offset >= 0),
        log_start_offset: Some(data.log_start_offset).filter(|offset| *offset >= 0),
    })
}
