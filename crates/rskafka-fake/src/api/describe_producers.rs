//! DescribeProducers (key 61), version 0: whom a partition's leader remembers (KIP-664).
//!
//! - NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{TopicRef, check_name};

impl Api for DescribeProducersRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<DescribeProducersResponse> {
        Outcome::Answer(answer(&self, |topic, index| match describe(call, topic, index) {
            Ok(active_producers) => PartitionResponse {
                partition_index: index,
                error_message: None,
                active_producers,
                ..Default::default()
            },
            Err((error_code, message)) => {
                let error_message = message.map(str::to_owned);
                PartitionResponse { partition_index: index, error_code, error_message, ..Default::default() }
            }
        }))
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        let each = self
            .topics
            .iter()
            .flat_map(|topic| topic.partition_indexes.iter().map(move |&index| (topic, index)));
        each.map(|(topic, index)| (TopicRef::Name(topic.name.clone()), index)).collect()
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> DescribeProducersResponse {
        answer(self, |_, index| PartitionResponse {
            partition_index: index,
            error_code: code,
            error_message: None,
            ..Default::default()
        })
    }
}

fn answer(
    request: &DescribeProducersRequest,
    mut describe: impl FnMut(&str, i32) -> PartitionResponse,
) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(|&index| describe(&topic.name, index)).collect(),
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn describe(
    call: &mut Call<'_>,
    topic: &str,
    index: i32,
) -> Result<Vec<ProducerState>, (ErrorCode, Option<&'static str>)> {
    if check_name(topic).is_err() {
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some("The topic name is invalid.")));
    }
    if call.state.topic(topic).is_none() {
        let says_why = !call.state.profile.quirks().zookeeper;
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, says_why.then_some("There is no such topic.")));
    }
    let found = call.state.find_partition(&TopicRef::Name(topic.to_owned()), index);
    let leader = found.and_then(|(partition, _)| partition.led_by(call.broker));
    let leader = leader.map_err(|code| (code, None))?;
    let state = |(producer_id, producer): (i64, &crate::state::Producer)| ProducerState {
        producer_id,
        producer_epoch: i32::from(producer.epoch),
        last_sequence: producer.last_sequence(),
        last_timestamp: producer.last_timestamp,
        // Of the coordinator that ended its last transaction: here none did.
        coordinator_epoch: -1,
        current_txn_start_offset: producer.transaction_start.unwrap_or(-1),
    };
    Ok(leader.producers.iter().map(state).collect())
}
