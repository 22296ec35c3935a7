//! What stands in logs without any client: transactions, their ends, and what compaction leaves.
//!
//! Invariant: what is written goes the way of every append, so that replicas and watermarks follow.

use std::collections::BTreeMap;

use bytes::Bytes;
use rskafka_protocol::records::{
    Attributes, Batch, BatchHeader, Flag, NewRecord, RecordBatch, RecordBatchBuilder, batches,
};

use super::control::ControlError;
use super::log::Stored;
use super::producers::Origin;
use super::{Partition, State};
use crate::clock::Now;

/// What the coordinator writes into the key of a marker behind its version.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

impl State {
    /// Appends records that belong to a transaction of a producer. Gives their first offset.
    pub(crate) fn append_in_transaction(
        &mut self,
        (topic, index): (&str, i32),
        (producer_id, epoch): (i64, i16),
        values: &[Bytes],
        now: Now,
    ) -> Result<i64, ControlError> {
        self.change(topic, index, |partition| {
            let no_leader = ControlError::NoLeader { topic: topic.to_owned(), partition: index };
            let leader = partition.latest().filter(|_| partition.leader.is_some()).ok_or(no_leader)?;
            let known = leader.producers.iter().find(|(id, _)| *id == producer_id);
            let last = known
                .filter(|(_, known)| known.epoch == epoch)
                .map_or(-1, |(_, known)| known.last_sequence());
            let mut builder = RecordBatchBuilder::new();
            for value in values {
                // A test's values are small: they fit.
                let _ = builder.push(NewRecord::new(now.wall_ms, None, Some(value)));
            }
            builder.set_producer(producer_id, epoch, last.wrapping_add(1) & i32::MAX);
            let mut batch = builder.build().map_err(|_| ControlError::NoRecords)?;
            batch.update_header(|header| {
                header.attributes = header.attributes.with(Flag::Transactional, true)
            });
            Ok(append(partition, &batch, None))
        })
    }

    /// Ends a producer's transaction in a partition. Gives the offset of the marker.
    pub(crate) fn end_transaction(
        &mut self,
        (topic, index): (&str, i32),
        (producer_id, epoch): (i64, i16),
        committed: bool,
        now: Now,
    ) -> Result<i64, ControlError> {
        self.change(topic, index, |partition| {
            if partition.leader.is_none() {
                return Err(ControlError::NoLeader { topic: topic.to_owned(), partition: index });
            }
            let control_type = if committed { COMMIT } else { ABORT };
            // Version and type; version and the coordinator's epoch.
            let key = [[0, 0], control_type.to_be_bytes()].concat();
            let value = [0; 6];
            let mut builder = RecordBatchBuilder::new();
            let attributes = Attributes::default().with(Flag::Transactional, true).with(Flag::Control, true);
            let _ = builder.set_header(BatchHeader { attributes, ..Default::default() });
            let _ = builder.push(NewRecord::new(now.wall_ms, Some(&key), Some(&value)));
            builder.set_producer(producer_id, epoch, -1);
            let batch = builder.build().map_err(|_| ControlError::NoRecords)?;
            Ok(append(partition, &batch, Some(committed)))
        })
    }

    /// Drops records below the high watermark of which the log has a later one with the same key, and those
    /// without key, as the log cleaner does. The last batch stays as it is.
    pub(crate) fn compact(&mut self, topic: &str, index: i32) -> Result<(), ControlError> {
        self.change(topic, index, |partition| {
            let mut latest = BTreeMap::new();
            let Some(leader) = partition.leading_mut() else {
                return Err(ControlError::NoLeader { topic: topic.to_owned(), partition: index });
            };
            let decoded = |stored: &Stored| batches(&stored.bytes).next()?.ok();
            for batch in leader.log.batches().filter_map(decoded) {
                for record in batch.records().map_while(Result::ok) {
                    if let Some(key) = record.key {
                        latest.insert(key.to_vec(), record.offset);
                    }
                }
            }
            let (end, committed) = (leader.log.end_offset(), leader.high_watermark);
            let clean = |stored: &Stored| {
                let is_last = stored.last_offset + 1 == end;
                let batch = decoded(stored)
                    .filter(|batch| !is_last && stored.last_offset < committed && !batch.is_control());
                let Some(batch) = batch else {
                    return Some(stored.bytes.clone());
                };
                cleaned(&batch, |key, offset| latest.get(key) == Some(&offset))
            };
            partition.replicas.iter_mut().for_each(|replica| replica.log.rewrite(clean));
            Ok(())
        })
    }
}

fn append(partition: &mut Partition, batch: &RecordBatch, marker: Option<bool>) -> i64 {
    let base_offset = partition.latest().map_or(0, |leader| leader.log.end_offset());
    let header =
        BatchHeader { base_offset, partition_leader_epoch: partition.leader_epoch, ..*batch.header() };
    let mut placed = batch.clone();
    placed.update_header(|known| *known = header);
    partition.append(Stored {
        base_offset,
        last_offset: base_offset + i64::from(header.last_offset_delta),
        max_timestamp: header.max_timestamp,
        leader_epoch: partition.leader_epoch,
        origin: Origin::of(&header).map(|origin| Origin { marker, ..origin }),
        bytes: placed.into_bytes(),
    });
    base_offset
}

/// The batch with only those records that are kept; `None` if there are none and no producer whose
/// sequence is to be remembered.
fn cleaned(batch: &Batch, is_kept: impl Fn(&[u8], i64) -> bool) -> Option<Bytes> {
    let mut builder = RecordBatchBuilder::new();
    builder.set_header(*batch.header()).ok()?;
    let mut next = batch.base_offset();
    for record in batch.records().map_while(Result::ok) {
        if record.key.is_some_and(|key| is_kept(key, record.offset)) {
            builder.skip_offsets(u32::try_from(record.offset - next).ok()?).ok()?;
            next = record.offset + 1;
            builder.push(record.into()).ok()?;
        }
    }
    if builder.is_empty() {
        let keeps_sequence = batch.header().producer_id >= 0;
        return keeps_sequence.then(|| RecordBatch::without_records(*batch.header()).into_bytes());
    }
    builder.skip_offsets(u32::try_from(batch.next_offset() - next).ok()?).ok()?;
    Some(builder.build().ok()?.into_bytes())
}
