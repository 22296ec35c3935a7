//! What a partition holds, for assertions.
//!
//! Invariant: a snapshot that shares the log's memory; what happens later does not change it.

use bytes::Bytes;
use rskafka_protocol::records::{Batch, BatchError, batches};

use crate::state::Replica;

/// A partition's log as it was when [`FakeCluster::log`](crate::FakeCluster::log) was called.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredLog {
    /// The first offset that can be read.
    pub log_start_offset: i64,
    /// The offset up to which readers may read.
    pub high_watermark: i64,
    /// The offset before which every transaction is decided.
    pub last_stable_offset: i64,
    /// The offset after the last record.
    pub end_offset: i64,
    /// The batches as they are given to readers, each whole. The first may begin below the log's start.
    pub batches: Vec<Bytes>,
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// The offset.
    pub offset: i64,
    /// The timestamp in milliseconds since the epoch.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers in order, key and value.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl StoredLog {
    pub(crate) fn of(replica: &Replica) -> Self {
        Self {
            log_start_offset: replica.log.start_offset(),
            high_watermark: replica.high_watermark,
            last_stable_offset: replica.last_stable_offset(),
            end_offset: replica.log.end_offset(),
            batches: replica.log.batches().map(|batch| batch.bytes.clone()).collect(),
        }
    }

    /// The batches, decoded.
    ///
    /// # Errors
    ///
    /// A batch is damaged.
    pub fn decoded(&self) -> Result<Vec<Batch>, BatchError> {
        self.batches.iter().flat_map(batches).collect()
    }

    /// The records from the log's start on, less control records.
    ///
    /// # Errors
    ///
    /// A batch is damaged, or compressed in a way that this build cannot read.
    pub fn records(&self) -> Result<Vec<StoredRecord>, BatchError> {
        let mut records = Vec::new();
        for batch in self.decoded()?.iter().filter(|batch| !batch.is_control()) {
            for record in batch.records() {
                let record = record?;
                if record.offset < self.log_start_offset {
                    continue;
                }
                let slice = |part| batch.slice(part);
                records.push(StoredRecord {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(slice),
                    value: record.value.map(slice),
                    headers: record.headers.map(|(key, value)| (slice(key), value.map(slice))).collect(),
                });
            }
        }
        Ok(records)
    }

    /// The values from the log's start on; null counts as empty.
    ///
    /// # Errors
    ///
    /// As [`StoredLog::records`].
    pub fn values(&self) -> Result<Vec<Bytes>, BatchError> {
        Ok(self.records()?.into_iter().map(|record| record.value.unwrap_or_default()).collect())
    }
}
