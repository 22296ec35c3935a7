//! Deletes the records before an offset.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic, HIGH_WATERMARK,
};

use crate::ask::Ask;
use crate::error::{Error, Result};
use crate::offsets;
use crate::partition::Partition;

pub(crate) async fn delete(partition: &Partition, before_offset: Option<i64>) -> Result<i64> {
    let offset = match before_offset {
        Some(offset @ 0..) => offset,
        None => HIGH_WATERMARK,
        Some(_) => return Err(Error::invalid("the offset is negative")),
    };
    let Partition { core, topic, index, .. } = partition;
    let deadline = core.begin()?;
    // The request names the topic, not its id.
    offsets::check_topic(partition, deadline).await?;
    let build = |_: &_, timeout_ms| {
        let partitions = vec![DeleteRecordsPartition { partition_index: *index, offset }];
        let topics = vec![DeleteRecordsTopic { name: topic.to_string(), partitions }];
        DeleteRecordsRequest { topics, timeout_ms }
    };
    let find = |response: DeleteRecordsResponse| {
        let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = partitions.find(|found| found.partition_index == *index)?;
        let code = match found.error_code {
            // It may have deleted, and lost the partition while it waited for other replicas.
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            code => code,
        };
        Some((code, None, found.low_watermark))
    };
    match Ask::new(core, partition.target(), topic, deadline).send(build, find).await {
        Err(error) => Err(offsets::with_bounds(partition, offset, deadline, error).await),
        deleted => deleted,
    }
}
