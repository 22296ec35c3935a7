//! DeleteTopics (key 20), versions 1 to 6: topics are gone when the answer is out.
//!
//! - By name, from version 6 on also by id: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID.
//! - INVALID_REQUEST for an entry with both name and id, and for a topic that the request has twice.
//! - Any broker takes the request, as with KRaft.

use rskafka_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use rskafka_protocol::{ErrorCode, Uuid};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::TopicRef;

/// The version from which on topics are structs with name or id.
const STRUCTS_FROM: i16 = 6;

impl Api for DeleteTopicsRequest {
    type Checked = Vec<DeleteTopicState>;

    fn check(self, version: i16) -> Self::Checked {
        self.entries(version)
    }

    fn serve(entries: Self::Checked, call: &mut Call<'_>) -> Outcome<DeleteTopicsResponse> {
        let mut response = DeleteTopicsResponse::default();
        for (place, entry) in entries.iter().enumerate() {
            if entries[..place].contains(entry) {
                continue;
            }
            let is_repeated = entries[place + 1..].contains(entry);
            response.responses.push(delete(entry, is_repeated, call));
        }
        Outcome::Answer(response)
    }

    fn targets(&self, version: i16) -> Vec<(TopicRef, i32)> {
        self.entries(version).iter().map(|entry| (topic_ref(entry), -1)).collect()
    }

    fn refuse(&self, code: ErrorCode, version: i16) -> DeleteTopicsResponse {
        let entries = self.entries(version);
        let responses =
            entries.iter().map(|entry| result(entry.name.clone(), entry.topic_id, code)).collect();
        DeleteTopicsResponse { responses, ..Default::default() }
    }
}

/// The topics of a request, in the form of the newest version.
trait Entries {
    fn entries(&self, version: i16) -> Vec<DeleteTopicState>;
}

impl Entries for DeleteTopicsRequest {
    fn entries(&self, version: i16) -> Vec<DeleteTopicState> {
        if version >= STRUCTS_FROM {
            return self.topics.clone();
        }
        let by_name = |name: &String| DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
        self.topic_names.iter().map(by_name).collect()
    }
}

fn topic_ref(entry: &DeleteTopicState) -> TopicRef {
    match &entry.name {
        Some(name) => TopicRef::Name(name.clone()),
        None => TopicRef::Id(entry.topic_id),
    }
}

fn delete(entry: &DeleteTopicState, is_repeated: bool, call: &mut Call<'_>) -> DeletableTopicResult {
    let refused = |code, why: &str| DeletableTopicResult {
        error_message: Some(why.to_owned()),
        ..result(entry.name.clone(), entry.topic_id, code)
    };
    if entry.name.is_some() && !entry.topic_id.is_zero() {
        return refused(ErrorCode::INVALID_REQUEST, "You may not specify both topic name and topic id.");
    }
    if is_repeated {
        return refused(ErrorCode::INVALID_REQUEST, "Duplicate topic.");
    }
    match call.state.find(&topic_ref(entry)).map(|topic| topic.name.clone()) {
        Ok(name) => {
            let id = call.state.remove_topic(&name).map_or(Uuid::ZERO, |topic| topic.id);
            result(Some(name), id, ErrorCode::NONE)
        }
        Err(code) => refused(code, "This server does not host this topic."),
    }
}

fn result(name: Option<String>, topic_id: Uuid, error_code: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code, ..Default::default() }
}
