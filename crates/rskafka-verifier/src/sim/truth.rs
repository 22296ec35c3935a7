//! What the cluster's logs hold, for rules that need to know it.
//!
//! Invariant: looks only.

use std::ops::Range;

use rskafka::protocol::records::batches;
use rskafka_fake::{FakeCluster, StoredLog};

use super::run::{BROKERS, TOPIC};

/// Whether a partition has a record at one of these offsets that readers are given: there is none where a transaction's
/// marker stands, nor where compaction removed it.
pub(super) fn has_records(cluster: &FakeCluster, partition: usize, offsets: Range<i64>) -> bool {
    let Ok(log) = cluster.log(TOPIC, partition as i32) else {
        return false;
    };
    let base_offset = |batch: &[u8]| batch.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    let behind = log.batches.partition_point(|batch| base_offset(batch) <= offsets.start);
    let batches = log.batches.iter().skip(behind.saturating_sub(1)).flat_map(batches).map_while(Result::ok);
    let mut batches =
        batches.take_while(|batch| batch.base_offset() < offsets.end).filter(|batch| !batch.is_control());
    batches.any(|batch| {
        let mut records = batch.records().map_while(Result::ok);
        records.any(|record| record.offset >= log.log_start_offset && offsets.contains(&record.offset))
    })
}

/// Something of each broker's copy of a partition.
pub(super) fn copies<T>(
    cluster: &FakeCluster,
    partition: usize,
    of: impl Fn(&StoredLog) -> T,
) -> impl Iterator<Item = T> {
    (1..=BROKERS).filter_map(move |broker| {
        let log = cluster.log_at(TOPIC, partition as i32, broker).ok()?;
        Some(of(&log))
    })
}
