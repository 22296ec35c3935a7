//! CreatePartitions (key 37), versions 0 to 3: more partitions for a topic (KIP-195).
//!
//! - UNKNOWN_TOPIC_OR_PARTITION; INVALID_PARTITIONS unless there are to be more than now;
//!   INVALID_REPLICA_ASSIGNMENT; INVALID_REQUEST for a topic that the request has twice.
//! - Any broker takes the request, as with KRaft; with ZooKeeper only the controller (NOT_CONTROLLER).
//!   `validate_only` checks and adds nothing.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::TopicRef;

impl Api for CreatePartitionsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<CreatePartitionsResponse> {
        if !call.may_change_topics() {
            return Outcome::Answer(self.refuse(ErrorCode::NOT_CONTROLLER, call.version));
        }
        let zookeeper = call.state.profile.quirks().zookeeper;
        let mut response = CreatePartitionsResponse::default();
        for topic in &self.topics {
            if response.results.iter().any(|result| result.name == topic.name) {
                continue;
            }
            let is_same = |other: &&CreatePartitionsTopic| other.name == topic.name;
            let outcome = if self.topics.iter().filter(is_same).count() > 1 {
                Err((ErrorCode::INVALID_REQUEST, "Duplicate topic name.".to_owned()))
            } else {
                add(topic, self.validate_only, call)
            };
            let (error_code, error_message) = match outcome {
                Ok(()) => (ErrorCode::NONE, None),
                Err((code @ ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _)) if !zookeeper => (code, None),
                Err((code, why)) => (code, Some(why)),
            };
            let name = topic.name.clone();
            response.results.push(CreatePartitionsTopicResult { name, error_code, error_message });
        }
        Outcome::Answer(response)
    }

    fn targets(&self, _: i16) -> Vec<(TopicRef, i32)> {
        self.topics.iter().map(|topic| (TopicRef::Name(topic.name.clone()), -1)).collect()
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> CreatePartitionsResponse {
        let refused = |topic: &CreatePartitionsTopic| CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code,
            error_message: None,
        };
        CreatePartitionsResponse { results: self.topics.iter().map(refused).collect(), ..Default::default() }
    }
}

fn add(
    asked: &CreatePartitionsTopic,
    validate_only: bool,
    call: &mut Call<'_>,
) -> Result<(), (ErrorCode, String)> {
    let assignments = asked.assignments.as_ref();
    let assignments = assignments.map(|all| all.iter().map(|one| one.broker_ids.clone()).collect::<Vec<_>>());
    let new = call.state.new_partitions(&asked.name, asked.count, assignments)?;
    if !validate_only {
        call.state.add_partitions(&asked.name, new);
    }
    Ok(())
}
