//! The Fetch request for one partition, and what its answer says.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rskafka_cluster::transport::{CallOptions, Deadline};
use rskafka_cluster::{Answer, Call, Failure, Leader, LeaderHint, LeaderOf, Learned, Lease, NotDone, Via};
use rskafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use rskafka_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use rskafka_protocol::{ApiKey, ErrorCode};

use super::lane::FetchLane;
use super::spec::FetchSpec;
use crate::ask::Ask;
use crate::error::{Error, ErrorKind, Result};
use crate::offsets;
use crate::partition::{LAST_VERSION_BY_NAME, Partition};
use crate::time::to_i32_millis;

/// The version of Fetch from which on brokers compare the last epoch read with their log (KIP-595).
const COMPARES_EPOCHS: i16 = 12;

/// For how long others are asked whether the leader that refused an offset was replaced.
const LOOK: Duration = Duration::from_secs(1);

/// What the broker that was asked answered, and whether it has compared the last epoch with its log.
pub(crate) async fn ask(
    partition: &Partition,
    lane: &FetchLane,
    spec: &FetchSpec,
) -> Result<(PartitionData, Leader, bool)> {
    loop {
        let (data, leader, knows) = ask_once(partition, lane, spec).await?;
        let now = partition.core.cluster.env().now();
        let diverging = &data.diverging_epoch;
        if lane.answered(now) && knows.by_name || diverging.end_offset >= 0 {
            offsets::check_topic(partition, spec.deadline).await?;
        }
        if diverging.end_offset >= 0 {
            return Err(Error::truncated(diverging.end_offset.min(spec.offset)));
        }
        match data.preferred_read_replica {
            // Such an answer has no records.
            replica if replica >= 0 && lane.prefer(replica, now) => {}
            _ => return Ok((data, leader, knows.epoch)),
        }
    }
}

/// What a request told the broker.
#[derive(Clone, Copy)]
struct Knows {
    /// The last epoch, if there is one, so that the broker has compared it with its log.
    epoch: bool,
    /// The topic's name and not its id.
    by_name: bool,
}

/// One answer.
async fn ask_once(
    partition: &Partition,
    lane: &FetchLane,
    spec: &FetchSpec,
) -> Result<(PartitionData, Leader, Knows)> {
    lane.look_at_age(partition.core.cluster.env().now());
    let target = LeaderOf { replica: Some(&lane.replica), ..partition.target() };
    let call = Call { target, via: Via::Own(&lane.lane), deadline: spec.deadline };
    let mut knows = Knows { epoch: true, by_name: false };
    let build = |leader: &Leader, lease: &Lease| {
        knows.epoch = spec.last_epoch.is_none() || lease.has_version(ApiKey::FETCH, COMPARES_EPOCHS);
        knows.by_name = !lease.has_version(ApiKey::FETCH, LAST_VERSION_BY_NAME + 1);
        let last_epoch = spec.last_epoch.filter(|_| knows.epoch);
        let (request, options) =
            request(partition, leader, (spec.offset, last_epoch), spec.max_bytes, spec.deadline);
        let request = FetchRequest {
            max_wait_ms: to_i32_millis(spec.wait),
            min_bytes: spec.min_bytes,
            isolation_level: spec.isolation as i8,
            rack_id: lane.rack().to_owned(),
            ..request
        };
        (request, CallOptions { wait: spec.wait, ..options })
    };
    let mut refused_by = None;
    let judge = |answer: Answer<'_, FetchResponse, Leader>| {
        let leader = answer.route;
        judge(partition.index, lane, answer).inspect_err(|_| refused_by = Some(leader.clone()))
    };
    let cluster = &partition.core.cluster;
    let error = match cluster.send(call, build, judge).await.map_err(Error::of_read) {
        Ok((data, leader)) => return Ok((data, leader, knows)),
        Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => error,
        Err(error) => return Err(error),
    };
    let patience = Deadline::after(cluster.env().now(), LOOK);
    if let Some(leader) = refused_by
        && cluster.is_replaced(partition.target(), &leader, patience.min(spec.deadline)).await
    {
        // It may have stood still, and not know yet that another leads: its log ends before what that one has.
        return Box::pin(ask_once(partition, lane, spec)).await;
    }
    offsets::check_topic(partition, spec.deadline).await?;
    if !knows.epoch {
        check(partition, spec).await?;
    }
    Err(offsets::with_bounds(partition, spec.offset, spec.deadline, error).await)
}

/// Asks for one partition's batches from an offset on, and the epoch of the batch before it.
pub(crate) fn request(
    partition: &Partition,
    leader: &Leader,
    (fetch_offset, last_epoch): (i64, Option<i32>),
    max_bytes: i32,
    deadline: Deadline,
) -> (FetchRequest, CallOptions) {
    let topic_id = leader.topic_id;
    let data = FetchPartition {
        partition: partition.index,
        current_leader_epoch: leader.epoch.unwrap_or(-1),
        fetch_offset,
        last_fetched_epoch: last_epoch.unwrap_or(-1),
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    let topic = FetchTopic { topic: partition.topic.to_string(), topic_id, partitions: vec![data] };
    let max_version = topic_id.is_zero().then_some(LAST_VERSION_BY_NAME);
    let request = FetchRequest { max_bytes, topics: vec![topic], ..Default::default() };
    (request, CallOptions { max_version, ..CallOptions::new(deadline) })
}

/// What the answer says of the partition.
pub(crate) fn entry(topics: Vec<FetchableTopicResponse>, partition: i32) -> Option<PartitionData> {
    let mut partitions = topics.into_iter().flat_map(|topic| topic.partitions);
    partitions.find(|found| found.partition_index == partition)
}

fn judge(
    index: i32,
    lane: &FetchLane,
    answer: Answer<'_, FetchResponse, Leader>,
) -> Result<(PartitionData, Leader), NotDone> {
    let Answer { response, route, .. } = answer;
    Learned::judged(response.error_code, None, None, ())?;
    let partition = entry(response.responses, index).ok_or(Failure::MissingInAnswer);
    let partition = partition.map_err(Learned::of_attempt)?;
    let code = partition.error_code;
    let is_parted = partition.diverging_epoch.end_offset >= 0;
    if lane.replica.load(Ordering::Relaxed) == route.broker.id && (!code.is_ok() || is_parted) {
        // Whatever it is, the leader knows better: a follower may lag behind, or be none any more.
        let code = if code.is_ok() { ErrorCode::OFFSET_OUT_OF_RANGE } else { code };
        return Err((Learned::of_code(code, None, None), true));
    }
    let leader = &partition.current_leader;
    let nodes = response.node_endpoints.iter().map(|node| (node.node_id, node.host.as_str(), node.port));
    let hint = LeaderHint::of_answer(leader.leader_id, leader.leader_epoch, nodes);
    Learned::judged(code, None, hint, (partition, route.clone()))
}

/// Compares the batch read before the offset with the leader's log, where Fetch does not (before Kafka 2.7; KIP-320).
/// Nothing is known where brokers cannot be asked.
pub(crate) async fn check(partition: &Partition, spec: &FetchSpec) -> Result<()> {
    let Some(leader_epoch) = spec.last_epoch else { return Ok(()) };
    let (index, offset) = (partition.index, spec.offset);
    let build = |leader: &Leader, _| {
        let current_leader_epoch = leader.epoch.unwrap_or(-1);
        let wanted = OffsetForLeaderPartition { partition: index, current_leader_epoch, leader_epoch };
        let topic = OffsetForLeaderTopic { topic: partition.topic.to_string(), partitions: vec![wanted] };
        OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] }
    };
    let find = |response: OffsetForLeaderEpochResponse| {
        let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = partitions.find(|found| found.partition == index)?;
        Some((found.error_code, None, found))
    };
    let ask = Ask::new(&partition.core, partition.target(), &partition.topic, spec.deadline);
    let found = match (Ask { writes: false, ..ask }).send(build, find).await {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported) => return Ok(()),
        found => found?,
    };
    // Without an end, the log has no epochs that it could be compared by.
    let is_parted = found.end_offset >= 0 && (found.leader_epoch < leader_epoch || found.end_offset < offset);
    if is_parted { Err(Error::truncated(found.end_offset.min(offset))) } else { Ok(()) }
}
