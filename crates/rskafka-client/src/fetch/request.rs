//! The Fetch request for one partition, and what its answer says.

use rskafka_cluster::transport::CallOptions;
use rskafka_cluster::{Answer, Broker, Call, Leader, LeaderHint, Verdict, Via};
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use rskafka_protocol::messages::list_offsets::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};

use super::position::FetchSpec;
use crate::error::{Case, Error, ErrorKind, Result};
use crate::offsets;
use crate::partition::{LAST_VERSION_BY_NAME, Partition};
use crate::time::to_i32_millis;

/// One answer of the partition's leader, with the broker that gave it.
pub(crate) async fn ask_leader(partition: &Partition, spec: FetchSpec) -> Result<(PartitionData, Broker)> {
    let call =
        Call { target: partition.target(), via: Via::Own(&partition.fetch_lane), deadline: spec.deadline };
    let build = |leader: &Leader| request(partition, leader, spec);
    let judge = |answer: Answer<'_, FetchResponse, Leader>| judge(partition.index, answer);
    let error = match partition.core.cluster.send(call, build, judge).await {
        Ok(read) => return Ok(read),
        Err(error) => Error::of_read(error),
    };
    let is_out_of_range = error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE);
    Err(if is_out_of_range { with_bounds(partition, spec, error).await } else { error })
}

fn request(partition: &Partition, leader: &Leader, spec: FetchSpec) -> (FetchRequest, CallOptions) {
    let topic_id = leader.topic_id;
    let data = FetchPartition {
        partition: partition.index,
        current_leader_epoch: leader.epoch.unwrap_or(-1),
        fetch_offset: spec.offset,
        partition_max_bytes: spec.max_bytes,
        ..Default::default()
    };
    let topic = FetchTopic { topic: partition.topic.clone(), topic_id, partitions: vec![data] };
    let request = FetchRequest {
        max_wait_ms: to_i32_millis(spec.wait),
        min_bytes: spec.min_bytes,
        max_bytes: spec.max_bytes,
        topics: vec![topic],
        ..Default::default()
    };
    let max_version = topic_id.is_zero().then_some(LAST_VERSION_BY_NAME);
    (request, CallOptions { deadline: spec.deadline, max_version, wait: spec.wait })
}

fn judge(index: i32, answer: Answer<'_, FetchResponse, Leader>) -> Verdict<(PartitionData, Broker)> {
    let Answer { response, route, .. } = answer;
    if let Err(code) = response.error_code.ok() {
        return Verdict::refused(code, None, None);
    }
    let partitions = response.responses.into_iter().flat_map(|topic| topic.partitions);
    let Some(partition) = partitions.into_iter().find(|partition| partition.partition_index == index) else {
        return Verdict::missing();
    };
    let leader = &partition.current_leader;
    let nodes = response.node_endpoints.iter().map(|node| (node.node_id, node.host.as_str(), node.port));
    let hint = LeaderHint::of_answer(leader.leader_id, leader.leader_epoch, nodes);
    Verdict::of_code(partition.error_code, None, hint, (partition, route.broker.clone()))
}

/// Asks for the bounds of the log, which the answer OFFSET_OUT_OF_RANGE does not tell.
async fn with_bounds(partition: &Partition, spec: FetchSpec, error: Error) -> Error {
    let target = partition.target();
    let core = &partition.core;
    let start = offsets::list(core, target, EARLIEST_TIMESTAMP, spec.deadline).await;
    let end = offsets::list(core, target, LATEST_TIMESTAMP, spec.deadline).await;
    let (Ok(start), Ok(end)) = (start, end) else { return error };
    let (offset, log_start, log_end) = (spec.offset, start.offset, end.offset);
    if (log_start..=log_end).contains(&offset) {
        // The log has changed meanwhile: the bounds would contradict the error.
        return error;
    }
    error.with_case(Case::OffsetOutOfRange, ErrorKind::OffsetOutOfRange { offset, log_start, log_end })
}
