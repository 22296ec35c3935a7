//! What the cluster's logs hold, for the rules that need to know it. Nothing here changes the cluster.

use std::ops::{Range, RangeInclusive};

use rskafka::protocol::records::batches;
use rskafka_fake::StoredLog;

use super::run::{BROKERS, Stage, TOPIC};
use super::value::writer;

/// Whether readers are given a record at one of these offsets. Transaction markers and offsets whose record was removed by
/// compaction have none; a reader may be one who is not given the records of some writers.
pub(super) fn has_records(
    stage: &Stage,
    partition: usize,
    offsets: Range<i64>,
    is_left_out: impl Fn(u32) -> bool,
) -> bool {
    if offsets.is_empty() {
        return false;
    }
    let Ok(log) = stage.network.cluster.log(TOPIC, partition as i32) else { return false };
    let base_offset = |batch: &[u8]| batch.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    let behind = log.batches.partition_point(|batch| base_offset(batch) <= offsets.start);
    let batches = log.batches.iter().skip(behind.saturating_sub(1)).flat_map(batches).map_while(Result::ok);
    let mut batches =
        batches.take_while(|batch| batch.base_offset() < offsets.end).filter(|batch| !batch.is_control());
    batches.any(|batch| {
        let records = batch.records().map_while(Result::ok);
        let mut records = records.filter(|record| !record.value.and_then(writer).is_some_and(&is_left_out));
        records.any(|record| record.offset >= log.log_start_offset && offsets.contains(&record.offset))
    })
}

/// Where the leader's last batch ends that begins before an offset. Compaction may have left no batch behind it, so that no reader
/// gets further.
pub(super) fn last_end(stage: &Stage, partition: usize, before: i64) -> i64 {
    let log = stage.network.cluster.log(TOPIC, partition as i32).expect("the topic is there");
    let mut batches = log.batches.iter().rev().flat_map(batches).filter_map(Result::ok);
    batches.find(|batch| batch.base_offset() < before).map_or(0, |batch| batch.next_offset())
}

/// The lowest and the highest log start of the brokers' copies of a partition, and their highest end.
pub(super) fn extent(stage: &Stage, partition: usize) -> (RangeInclusive<i64>, i64) {
    let cluster = &stage.network.cluster;
    let copies = (1..=BROKERS).filter_map(|broker| cluster.log_at(TOPIC, partition as i32, broker).ok());
    let extents =
        copies.map(|StoredLog { log_start_offset: start, end_offset: end, .. }| (start, start, end));
    let widest = extents.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1), a.2.max(b.2)));
    let (first, last, end) = widest.unwrap_or_default();
    (first..=last, end)
}
