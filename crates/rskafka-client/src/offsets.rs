//! Finds offsets: the ends of the log, or by time.
//!
//! Invariant: every record with the time asked for, or a later one, is at or after the offset found.

use std::time::Duration;

use rskafka_cluster::transport::{CallOptions, Deadline};
use rskafka_cluster::{Answer, Call, Leader, LeaderOf, Verdict, Via};
use rskafka_protocol::messages::list_offsets::{
    EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsPartitionResponse,
    ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use time::OffsetDateTime;

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
    /// The offset that the next record will get: the log's end.
    Latest,
    /// The first offset whose record has this timestamp or a later one; the log's end if there is no such record.
    Timestamp(OffsetDateTime),
}

/// An offset, with what the broker knows of the record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The timestamp of the record found; `None` for the log's ends.
    pub timestamp: Option<OffsetDateTime>,
    /// The leader epoch of the record found; `None` if the broker does not tell.
    pub leader_epoch: Option<i32>,
}

pub(crate) async fn find(partition: &Partition, at: OffsetAt) -> Result<FoundOffset> {
    partition.core.check_open()?;
    let deadline = partition.core.api_deadline();
    let list = |timestamp| list(&partition.core, partition.target(), timestamp, deadline);
    let found = match at {
        OffsetAt::Earliest => list(EARLIEST_TIMESTAMP).await?,
        OffsetAt::Latest => list(LATEST_TIMESTAMP).await?,
        OffsetAt::Timestamp(time) => match to_millis(time) {
            // Negative timestamps mean other things to the broker. The first offset is never too late.
            ..0 => list(EARLIEST_TIMESTAMP).await?,
            time => {
                // The end is asked for first, so that no record appended in between lies before it.
                let end = list(LATEST_TIMESTAMP).await?;
                let first = list(time).await?;
                if first.offset < 0 { end } else { first }
            }
        },
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
        let topic = cluster.topic(&partition.topic, false, deadline).await.map_err(Error::of_read)?;
        if topic.id == partition.topic_id {
            return Ok(());
        }
        cluster.pause_until(cluster.env().now() + PAUSE).await;
    }
    Err(Error::new(Case::TopicRecreated, ErrorKind::TopicRecreated))
}

/// How often another id is asked for again, and after which pause: a broker that lags behind may give the one of before.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// Asks a partition's leader for an offset.
pub(crate) async fn list(
    core: &Core,
    target: LeaderOf<'_>,
    timestamp: i64,
    deadline: Deadline,
) -> Result<ListOffsetsPartitionResponse> {
    let LeaderOf { topic, partition: index, .. } = target;
    let build = |leader: &Leader| {
        let partition = ListOffsetsPartition {
            partition_index: index,
            current_leader_epoch: leader.epoch.unwrap_or(-1),
            timestamp,
        };
        let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        (request, CallOptions::new(deadline))
    };
    let judge = |answer: Answer<'_, ListOffsetsResponse, Leader>| {
        let partitions = answer.response.topics.into_iter().flat_map(|topic| topic.partitions);
        match partitions.into_iter().find(|partition| partition.partition_index == index) {
            Some(partition) => Verdict::of_code(partition.error_code, None, None, partition),
            None => Verdict::missing(),
        }
    };
    let call = Call { target, via: Via::Control, deadline };
    core.cluster.send(call, build, judge).await.map_err(Error::of_read)
}
