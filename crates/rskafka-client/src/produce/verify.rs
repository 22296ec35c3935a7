//! Looks whether an acknowledged batch is still where it was acknowledged.
//!
//! Invariant: `Lost` is said only if the present leader shows another batch there, or surely has a log that ends before it.

use rskafka_cluster::transport::{CallOptions, Deadline};
use rskafka_cluster::{Failure, Leader, Learned, Lease, NotDone};
use rskafka_protocol::messages::list_offsets::LATEST_TIMESTAMP;
use rskafka_protocol::records::{BatchHeader, batches};
use rskafka_protocol::{ApiKey, ErrorCode};

use super::sequencer::{Acknowledged, Numbers, Verified};
use crate::partition::Partition;
use crate::{fetch, offsets};

/// Whom to ask, over which connection, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) partition: &'a Partition,
    pub(crate) leader: &'a Leader,
    pub(crate) lease: &'a Lease,
    /// No later leader is known. One that was replaced may have less than was acknowledged.
    pub(crate) is_current: bool,
    pub(crate) deadline: Deadline,
}

pub(crate) async fn look(asked: Asked<'_>, acknowledged: Acknowledged) -> Result<Verified, NotDone> {
    let Asked { lease, is_current, .. } = asked;
    let verified = match end_of_log(asked).await {
        // Before version 5, a new leader gives an end before it knows what the replicas have (KIP-207).
        Ok(end) if end <= acknowledged.base_offset && !lease.has_version(ApiKey::LIST_OFFSETS, 5) => {
            Ok(Verified::Unreadable)
        }
        Ok(end) if end <= acknowledged.base_offset => Ok(Verified::Lost { first_lost: end }),
        Ok(_) => read(asked, acknowledged).await,
        Err(undecided) => Err(undecided),
    };
    match verified {
        // It may be a leader that was replaced, and does not know it.
        Ok(Verified::Lost { .. }) if !is_current => Ok(Verified::Unreadable),
        // Without the right to read, appends go on without a verdict.
        Err((learned, false)) if learned.failure.code().is_some() => Ok(Verified::Unreadable),
        verified => verified,
    }
}

/// The end of the log, as far as all in-sync replicas have it.
async fn end_of_log(asked: Asked<'_>) -> Result<i64, NotDone> {
    let Asked { partition, leader, lease, deadline, .. } = asked;
    let request = offsets::request(partition.target(), leader, LATEST_TIMESTAMP);
    let answer = lease.call(&request, CallOptions::new(deadline)).await.map_err(of_failure)?;
    let found = offsets::entry(answer, partition.index);
    let found = found.ok_or_else(|| of_failure(Failure::MissingInAnswer))?;
    found.error_code.ok().map_err(refused)?;
    Some(found.offset).filter(|offset| *offset >= 0).ok_or_else(|| refused(ErrorCode::OFFSET_NOT_AVAILABLE))
}

/// Reads the batch at the offset of the acknowledged one.
async fn read(asked: Asked<'_>, acknowledged: Acknowledged) -> Result<Verified, NotDone> {
    let Asked { partition, leader, lease, deadline, .. } = asked;
    let base_offset = acknowledged.base_offset;
    // The first batch comes whole.
    let (request, options) = fetch::request(partition, leader, (base_offset, None), 1, deadline);
    let answer = lease.call(&request, options).await.map_err(of_failure)?;
    answer.error_code.ok().map_err(refused)?;
    let found = fetch::entry(answer.responses, partition.index);
    let found = found.ok_or_else(|| of_failure(Failure::MissingInAnswer))?;
    match found.error_code.ok() {
        // The log begins behind it: retention, or DeleteRecords.
        Err(ErrorCode::OFFSET_OUT_OF_RANGE) => return Ok(Verified::Kept),
        answered => answered.map_err(refused)?,
    }
    let records = found.records.unwrap_or_default();
    for batch in batches(&records) {
        let Ok(batch) = batch else { return Ok(Verified::Unreadable) };
        if batch.next_offset() > base_offset {
            let is_it = is_same(batch.header(), acknowledged);
            // A batch that begins behind it: compaction has removed it.
            let is_kept = is_it || batch.base_offset() > base_offset;
            return Ok(if is_kept { Verified::Kept } else { Verified::Lost { first_lost: base_offset } });
        }
    }
    // The leader does not know yet that it may be read.
    Err(refused(ErrorCode::OFFSET_NOT_AVAILABLE))
}

fn is_same(found: &BatchHeader, acknowledged: Acknowledged) -> bool {
    let Acknowledged { base_offset, numbers: Numbers { producer, base_sequence } } = acknowledged;
    let wanted = (base_offset, producer.id, producer.epoch, base_sequence);
    (found.base_offset, found.producer_id, found.producer_epoch, found.base_sequence) == wanted
}

/// After any code but one, another look may succeed. Without a verdict, a loss could go unnoticed.
fn refused(code: ErrorCode) -> NotDone {
    (Learned::of_code(code, None, None), code != ErrorCode::TOPIC_AUTHORIZATION_FAILED)
}

fn of_failure(failure: Failure) -> NotDone {
    let may_repeat = failure.is_transient() || failure.is_unanswered();
    (Learned::of_failure(failure), may_repeat)
}
