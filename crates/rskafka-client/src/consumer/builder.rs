//! Sets up the readers of a log.

use std::sync::Arc;
use std::time::Duration;

use super::{BatchStream, IsolationLevel, OutOfRange, Ranges, RecordStream, Replay, StartAt};
use crate::fetch::FetchLane;
use crate::partition::Partition;

/// Sets up a reader of what `T` says: a stream from a [`StartAt`] on, see
/// [`PartitionClient::stream`](crate::PartitionClient::stream), or a replay of [`Ranges`], see
/// [`PartitionClient::replay`](crate::PartitionClient::replay).
#[derive(Debug, Clone)]
#[must_use = "nothing is read until it is built"]
pub struct ReadBuilder<T> {
    pub(crate) partition: Arc<Partition>,
    pub(crate) what: T,
    pub(crate) options: ReadOptions,
    pub(crate) connections: usize,
    pub(crate) until: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct ReadOptions {
    pub(super) max_bytes: usize,
    pub(super) max_wait: Duration,
    pub(super) read_ahead_bytes: usize,
    pub(super) isolation: IsolationLevel,
    pub(super) on_out_of_range: OutOfRange,
    pub(super) rack: Option<String>,
    /// Also those with no record that a user gets. And the first answer comes at once, to say where the log ends.
    pub(super) every_batch: bool,
}

impl<T> ReadBuilder<T> {
    pub(crate) fn with(partition: Arc<Partition>, what: T) -> Self {
        let options = ReadOptions {
            max_bytes: 1024 * 1024,
            max_wait: Duration::from_millis(500),
            // A few fetches, which may still be in the processor's cache when they are read.
            read_ahead_bytes: 4 * 1024 * 1024,
            isolation: IsolationLevel::default(),
            on_out_of_range: OutOfRange::default(),
            rack: None,
            every_batch: false,
        };
        Self { partition, what, options, connections: 4, until: i64::MAX }
    }

    options! {
        /// About how many bytes of batches one fetch reads. 1 MiB by default. At least one whole batch is read, also if it is
        /// larger. 0 is an invalid argument.
        pub fn max_bytes(bytes: usize) => options.max_bytes = bytes;

        /// How long a fetch waits at the log's end for records. 500 ms by default.
        pub fn max_wait(wait: Duration) => options.max_wait = wait;

        /// How many bytes of batches, encoded and decompressed, to hold that the caller has not taken yet: below it, the next
        /// fetch is sent. So a stream holds at most that and one fetch, and a replay that and one fetch for each connection.
        /// 4 MiB by default, and 64 MiB for a replay, whose pieces should have many batches; with 0, a fetch is sent only when nothing is left.
        pub fn read_ahead_bytes(bytes: usize) => options.read_ahead_bytes = bytes;

        /// Which records of transactions to read. All by default.
        pub fn isolation(isolation: IsolationLevel) => options.isolation = isolation;

        /// Reads from a replica in this rack if the brokers name one (KIP-392; `replica.selector.class`). From the leader by
        /// default.
        pub fn rack(rack: impl Into<String>) => options.rack = Some(rack.into());

        /// Also gives the batches with no record that a user gets: control records, and what compaction left.
        pub(crate) fn every_batch() => options.every_batch = true;
    }

    /// One of so many connections.
    pub(super) fn lane(&self, of: usize) -> Arc<FetchLane> {
        let ReadOptions { rack, read_ahead_bytes, .. } = &self.options;
        Arc::new(FetchLane::new(&self.partition.core, rack.clone(), read_ahead_bytes / of))
    }
}

impl ReadBuilder<StartAt> {
    options! {
        /// Ends the stream before this offset: after all records below it, also if the last offsets have no record. Without
        /// this the stream waits at the log's end for what is appended.
        ///
        /// In a compacted topic, with `ReadCommitted`, it may end only when a transaction is decided that begins there: where
        /// nothing is left right before one, the broker sends nothing that shows it.
        pub fn until(offset: i64) => until = offset;

        /// What to do where the log does not have the next offset. An error by default.
        pub fn on_out_of_range(policy: OutOfRange) => options.on_out_of_range = policy;
    }

    /// The stream of records.
    pub fn build(self) -> RecordStream {
        RecordStream::new(self.build_batches())
    }

    /// The stream of batches, with what the log says about each.
    pub fn build_batches(self) -> BatchStream {
        let lane = self.lane(1);
        let mut stream = BatchStream::new(self.partition, lane, self.what, self.options);
        stream.ahead.until = self.until;
        stream
    }
}

impl ReadBuilder<Ranges> {
    pub(crate) fn replay(partition: Arc<Partition>, ranges: Ranges) -> Self {
        Self::with(partition, ranges).read_ahead_bytes(64 * 1024 * 1024)
    }

    options! {
        /// How many fetches to have under way, each over a connection of its own. 4 by default, 64 at most.
        pub fn connections(connections: usize) => connections = connections.clamp(1, 64);
    }

    /// The replay.
    pub fn build(self) -> Replay {
        Replay::new(self)
    }
}
