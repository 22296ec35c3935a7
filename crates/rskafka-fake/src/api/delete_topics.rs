//! DeleteTopics (key 20), versions 1 to 6: topics are gone when the answer is out.
//!
//! - By name, from version 6 on also by id: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID.
//! - INVALID_REQUEST for an entry with both name and id, and for a topic that the request has twice; with
//!   ZooKeeper that is deleted twice.
//! - Any broker takes the request, as with KRaft; with ZooKeeper only the controller (NOT_CONTROLLER).

use rskafka_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use rskafka_protocol::{ErrorCode, Uuid};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{State, TopicRef};

/// The version from which on topics are structs with name or id.
const STRUCTS_FROM: i16 = 6;

impl Api for DeleteTopicsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<DeleteTopicsResponse> {
        if !call.may_change_topics() {
            return Outcome::Answer(self.refuse(ErrorCode::NOT_CONTROLLER, call.version));
        }
        let (entries, mut response) = (entries(&self, call.version), DeleteTopicsResponse::default());
        if call.state.profile.quirks().zookeeper {
            response.responses = delete_each(&entries, call.state);
            return Outcome::Answer(response);
        }
        // First all topics are found, so that one named in two ways is seen to be one.
        let found: Vec<_> = entries.iter().map(|entry| find(entry, call.state)).collect();
        for (place, (entry, topic)) in entries.iter().zip(&found).enumerate() {
            let is_same = |other: usize| match topic {
                Ok(topic) => found[other].as_ref().is_ok_and(|other| other == topic),
                Err(_) => entries[other] == *entry,
            };
            if (0..place).any(is_same) {
                continue;
            }
            let is_repeated = (place + 1..entries.len()).any(is_same);
            response.responses.push(delete(entry, topic, is_repeated, call.state));
        }
        Outcome::Answer(response)
    }

    fn targets(&self, version: i16) -> Vec<(TopicRef, i32)> {
        entries(self, version).iter().map(|entry| (topic_ref(entry), -1)).collect()
    }

    fn refuse(&self, code: ErrorCode, version: i16) -> DeleteTopicsResponse {
        let entries = entries(self, version);
        let responses =
            entries.iter().map(|entry| result(entry.name.clone(), entry.topic_id, code)).collect();
        DeleteTopicsResponse { responses, ..Default::default() }
    }
}

/// The topics of a request, in the form of the newest version.
fn entries(request: &DeleteTopicsRequest, version: i16) -> Vec<DeleteTopicState> {
    if version >= STRUCTS_FROM {
        return request.topics.clone();
    }
    let by_name = |name: &String| DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
    request.topic_names.iter().map(by_name).collect()
}

fn topic_ref(entry: &DeleteTopicState) -> TopicRef {
    match &entry.name {
        Some(name) => TopicRef::Name(name.clone()),
        None => TopicRef::Id(entry.topic_id),
    }
}

/// The topic that an entry means: name and id.
fn find(entry: &DeleteTopicState, state: &State) -> Result<(String, Uuid), ErrorCode> {
    if entry.name.is_some() != entry.topic_id.is_zero() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    state.find(&topic_ref(entry)).map(|topic| (topic.name.clone(), topic.id))
}

fn delete(
    entry: &DeleteTopicState,
    found: &Result<(String, Uuid), ErrorCode>,
    is_repeated: bool,
    state: &mut State,
) -> DeletableTopicResult {
    let id = found.as_ref().map_or(entry.topic_id, |(_, id)| *id);
    let refused = |code, why: &str| DeletableTopicResult {
        error_message: Some(why.to_owned()),
        ..result(entry.name.clone(), id, code)
    };
    match found {
        _ if is_repeated => refused(ErrorCode::INVALID_REQUEST, "Duplicate topic."),
        Ok((name, id)) => {
            state.remove_topic(name);
            result(Some(name.clone()), *id, ErrorCode::NONE)
        }
        Err(ErrorCode::INVALID_REQUEST) => {
            refused(ErrorCode::INVALID_REQUEST, "Exactly one of topic name and topic id is to be given.")
        }
        Err(code) => refused(*code, "This server does not host this topic."),
    }
}

/// With ZooKeeper each entry stands for itself, topics are gone a moment later, and nothing is explained.
fn delete_each(entries: &[DeleteTopicState], state: &mut State) -> Vec<DeletableTopicResult> {
    let answer = |entry: &DeleteTopicState| {
        let found = match (&entry.name, entry.topic_id.is_zero()) {
            (None, true) => Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            _ => find(entry, state),
        };
        let id = entry.topic_id;
        match found {
            Ok((name, _)) => result(Some(name), id, ErrorCode::NONE),
            Err(code) => result(entry.name.clone(), id, code),
        }
    };
    let answers: Vec<_> = entries.iter().map(answer).collect();
    for answer in answers.iter().filter(|answer| answer.error_code.is_ok()) {
        state.remove_topic(answer.name.as_deref().unwrap_or_default());
    }
    answers
}

fn result(name: Option<String>, topic_id: Uuid, error_code: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code, ..Default::default() }
}
