//! Finds offsets: the ends of the log, or by time.
//!
//! Invariant: every record with the time asked for, or a later one, is at or after the offset found.

use std::time::Duration;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Leader, LeaderOf};
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::list_offsets::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
    ListOffsetsResponse, ListOffsetsTopic, MAX_TIMESTAMP,
};
use time::OffsetDateTime;

use crate::ask::Ask;
use crate::core::Core;
use crate::error::{Case, Error, ErrorKind, Result};
use crate::partition::Partition;
use crate::time::{from_millis_if_any, to_millis};

/// Which offset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetAt {
    /// The log's first offset.
    Earliest,
    /// The offset that the next record will get: the log's end. A lower bound, as a leader that was replaced and has not heard of
    /// it gives the end that it knows.
    Latest,
    /// The first offset whose record has this timestamp or a later one; the log's end if there is no such record.
    Timestamp(OffsetDateTime),
    /// The offset of the record with the latest timestamp, of several the first; the end of a log without records. From
    /// ListOffsets 7 on (Kafka 3.0, KIP-734).
    MaxTimestamp,
    /// The first offset on the leader's own disk: the log's first, unless segments were moved to tiered storage. From
    /// ListOffsets 8 on (Kafka 3.4, KIP-405).
    EarliestLocal,
    /// The last offset in tiered storage; -1 if there is nothing in it. From ListOffsets 9 on (Kafka 3.9, KIP-1005).
    LatestTiered,
    /// The first offset that is not in tiered storage yet; -1 without tiered storage. From ListOffsets 11 on (Kafka 4.2,
    /// KIP-1023).
    EarliestPendingUpload,
}

/// An offset, with what the broker knows of the record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundOffset {
    /// The offset; -1 only where [`OffsetAt`] says so.
    pub offset: i64,
    /// The timestamp of the record found; `None` for the log's ends.
    pub timestamp: Option<OffsetDateTime>,
    /// The leader epoch of the record found; `None` if the broker does not tell.
    pub leader_epoch: Option<i32>,
}

pub(crate) async fn find(partition: &Partition, at: OffsetAt) -> Result<FoundOffset> {
    let deadline = partition.core.begin()?;
    let list = |timestamp| list(&partition.core, partition.target(), timestamp, deadline);
    let first = async |timestamp| {
        // The end is asked for first, so that no record appended in between lies before it.
        let end = list(LATEST_TIMESTAMP).await?;
        let first = list(timestamp).await?;
        Ok::<_, Error>(if first.offset < 0 { end } else { first })
    };
    let found = match at {
        OffsetAt::Earliest => list(EARLIEST_TIMESTAMP).await?,
        OffsetAt::Latest => list(LATEST_TIMESTAMP).await?,
        // Negative timestamps mean other things to the broker. The first offset is never too late.
        OffsetAt::Timestamp(time) if to_millis(time) < 0 => list(EARLIEST_TIMESTAMP).await?,
        OffsetAt::Timestamp(time) => first(to_millis(time)).await?,
        OffsetAt::MaxTimestamp => first(MAX_TIMESTAMP).await?,
        OffsetAt::EarliestLocal => list(EARLIEST_LOCAL_TIMESTAMP).await?,
        OffsetAt::LatestTiered => list(LATEST_TIERED_TIMESTAMP).await?,
        OffsetAt::EarliestPendingUpload => list(EARLIEST_PENDING_UPLOAD_TIMESTAMP).await?,
    };
    check_topic(partition, deadline).await?;
    Ok(FoundOffset {
        offset: found.offset,
        timestamp: from_millis_if_any(found.timestamp),
        leader_epoch: Some(found.leader_epoch).filter(|epoch| *epoch >= 0),
    })
}

/// For requests that name topics, not their ids: makes sure that the name still stands for the same topic.
pub(crate) async fn check_topic(partition: &Partition, deadline: Deadline) -> Result<()> {
    if partition.topic_id.is_zero() {
        return Ok(());
    }
    let cluster = &partition.core.cluster;
    for _ in 0..LOOKS {
        let topic = cluster
            .topic(&partition.topic, partition.core.patience(), deadline)
            .await
            .map_err(Error::of_read)?;
        if topic.id.is_zero() || topic.id == partition.topic_id {
            return Ok(());
        }
        cluster.pause_until((cluster.env().now() + PAUSE).min(deadline.instant())).await;
    }
    Err(Error::new(Case::TopicRecreated, ErrorKind::TopicRecreated))
}

/// How often another id is asked for again, and after which pause: a broker that lags behind may give the one of before.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// Asks for one partition's offset.
pub(crate) fn request(target: LeaderOf<'_>, leader: &Leader, timestamp: i64) -> ListOffsetsRequest {
    let LeaderOf { topic, partition: partition_index, .. } = target;
    let current_leader_epoch = leader.epoch.unwrap_or(-1);
    let partitions = vec![ListOffsetsPartition { partition_index, current_leader_epoch, timestamp }];
    let topics = vec![ListOffsetsTopic { name: topic.to_owned(), partitions }];
    ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
}

/// What the answer says of the partition.
pub(crate) fn entry(response: ListOffsetsResponse, partition: i32) -> Option<ListOffsetsPartitionResponse> {
    let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    partitions.find(|found| found.partition_index == partition)
}

/// Asks a partition's leader for an offset.
pub(crate) async fn list(
    core: &Core,
    target: LeaderOf<'_>,
    timestamp: i64,
    deadline: Deadline,
) -> Result<ListOffsetsPartitionResponse> {
    let LeaderOf { topic: name, partition, .. } = target;
    let build =
        |leader: &Leader, timeout_ms| ListOffsetsRequest { timeout_ms, ..request(target, leader, timestamp) };
    let find = |response| entry(response, partition).map(|found| (found.error_code, None, found));
    // A broker that does not know such a number takes it for a time.
    let min_version = match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL_TIMESTAMP => 8,
        LATEST_TIERED_TIMESTAMP => 9,
        EARLIEST_PENDING_UPLOAD_TIMESTAMP => 11,
        _ => 0,
    };
    let ask = Ask { writes: false, min_version, ..Ask::new(core, target, name, deadline) };
    ask.send(build, find).await
}

/// Adds the log's bounds to OFFSET_OUT_OF_RANGE, which does not tell them. Other errors stay as they are.
pub(crate) async fn with_bounds(log: &Partition, offset: i64, deadline: Deadline, error: Error) -> Error {
    if error.code() != Some(ErrorCode::OFFSET_OUT_OF_RANGE) {
        return error;
    }
    let list = |timestamp| list(&log.core, log.target(), timestamp, deadline);
    match (list(EARLIEST_TIMESTAMP).await, list(LATEST_TIMESTAMP).await) {
        // Within its bounds, the log has changed meanwhile: they would contradict the error.
        (Ok(start), Ok(end))
            if (0..=end.offset).contains(&start.offset) && !(start.offset..=end.offset).contains(&offset) =>
        {
            let kind = ErrorKind::OffsetOutOfRange { offset, log_start: start.offset, log_end: end.offset };
            let outcome = error.outcome();
            error.with_case(Case::OffsetOutOfRange, kind).with_outcome(outcome)
        }
        _ => error,
    }
}
