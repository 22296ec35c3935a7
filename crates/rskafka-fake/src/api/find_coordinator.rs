//! FindCoordinator (key 10), versions 1 to 6: the broker that looks after a group or a transactional id.
//!
//! - From version 4 on for several keys at once. Each key belongs to one of 50 partitions by its hash, as
//!   with Kafka, and these are spread over the brokers; if one does not run, the next takes its place.
//! - Groups have coordinators too, which serve none of their requests here.
//! - The first request creates `__consumer_offsets` or `__transaction_state`, and is answered at once, where
//!   Kafka says COORDINATOR_NOT_AVAILABLE until the topic is there.
//! - INVALID_REQUEST for an unknown type of key; COORDINATOR_NOT_AVAILABLE does not happen by itself.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse, GROUP, TRANSACTION,
};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{CONSUMER_OFFSETS, InternalTopic, State, TRANSACTION_STATE};

/// The version from which on keys come in a list (KIP-699).
const LIST_FROM: i16 = 4;

impl Api for FindCoordinatorRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<FindCoordinatorResponse> {
        let topic = match self.key_type {
            GROUP => &CONSUMER_OFFSETS,
            TRANSACTION => &TRANSACTION_STATE,
            _ => return Outcome::Answer(self.refuse(ErrorCode::INVALID_REQUEST, call.version)),
        };
        call.state.create_internal(topic);
        Outcome::Answer(answer(&self, call.version, |key| find(topic, key, call.state)))
    }

    fn refuse(&self, code: ErrorCode, version: i16) -> FindCoordinatorResponse {
        answer(self, version, |key| refused(key, code))
    }
}

fn answer(
    request: &FindCoordinatorRequest,
    version: i16,
    find: impl Fn(&str) -> Coordinator,
) -> FindCoordinatorResponse {
    if version >= LIST_FROM {
        let coordinators = request.coordinator_keys.iter().map(|key| find(key)).collect();
        return FindCoordinatorResponse { coordinators, error_message: None, ..Default::default() };
    }
    let Coordinator { error_code, error_message, node_id, host, port, .. } = find(&request.key);
    FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() }
}

fn find(topic: &InternalTopic, key: &str, state: &State) -> Coordinator {
    let id = state.coordinator_of(topic, key);
    let Some(broker) = id.and_then(|id| state.broker(id)) else {
        return refused(key, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    };
    Coordinator {
        key: key.to_owned(),
        node_id: broker.id,
        host: broker.advertised.host.clone(),
        port: broker.advertised.wire_port(),
        error_code: ErrorCode::NONE,
        error_message: Some("NONE".to_owned()),
    }
}

fn refused(key: &str, error_code: ErrorCode) -> Coordinator {
    let name = error_code.name().unwrap_or_default();
    Coordinator {
        key: key.to_owned(),
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code,
        error_message: Some(name.to_owned()),
    }
}
