//! InitProducerId (key 22), versions 0 to 5: an id and an epoch to write with.
//!
//! - Without a transactional id any broker gives a new id at epoch 0, even to a client that has one.
//! - With one only its coordinator does (NOT_COORDINATOR): the next epoch, and a new id when the epochs are
//!   used up or the coordinator has forgotten.
//! - An asker that names an id and epoch which are not the newest is PRODUCER_FENCED, before version 4
//!   INVALID_PRODUCER_EPOCH; with the last but one of its own it is taken for a repetition.
//! - INVALID_REQUEST for an empty transactional id and for only one of id and epoch,
//!   INVALID_TRANSACTION_TIMEOUT for one that is not positive or above `transaction.max.timeout.ms`.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::exchange::Api;
use super::{Call, Outcome};
use crate::state::{Identity, TRANSACTION_STATE};

/// The version from which on a fence is told apart from an epoch that is not valid (KIP-588).
const FENCED_FROM: i16 = 4;

impl Api for InitProducerIdRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<InitProducerIdResponse> {
        Outcome::Answer(match init(&self, call) {
            Ok(Identity { producer_id, epoch: producer_epoch }) => {
                InitProducerIdResponse { producer_id, producer_epoch, ..Default::default() }
            }
            Err(ErrorCode::PRODUCER_FENCED) if call.version < FENCED_FROM => {
                self.refuse(ErrorCode::INVALID_PRODUCER_EPOCH, call.version)
            }
            Err(code) => self.refuse(code, call.version),
        })
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> InitProducerIdResponse {
        InitProducerIdResponse { error_code, producer_id: -1, producer_epoch: -1, ..Default::default() }
    }
}

fn init(request: &InitProducerIdRequest, call: &mut Call<'_>) -> Result<Identity, ErrorCode> {
    let own = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ErrorCode::INVALID_REQUEST),
        (producer_id, epoch) => Some(Identity { producer_id, epoch }),
    };
    let Some(id) = &request.transactional_id else {
        let producer_id = call.state.coordinator.new_id(call.broker);
        return Ok(Identity { producer_id, epoch: 0 });
    };
    if id.is_empty() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let longest = call.state.configs.number(call.broker, "transaction.max.timeout.ms");
    if !(1..=longest).contains(&i64::from(request.transaction_timeout_ms)) {
        return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
    }
    if call.state.coordinator_of(&TRANSACTION_STATE, id) != Some(call.broker) {
        return Err(ErrorCode::NOT_COORDINATOR);
    }
    call.state.coordinator.init(call.broker, id, own, call.now.wall_ms)
}
