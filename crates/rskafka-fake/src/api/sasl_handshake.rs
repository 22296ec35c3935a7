//! SaslHandshake (key 17), version 1: agrees on a mechanism.
//!
//! - UNSUPPORTED_SASL_MECHANISM with the list of those that the listener has; then the connection ends.
//! - ILLEGAL_SASL_STATE on a listener without SASL, and less than a second after the client last
//!   authenticated again.
//! - Version 0, after which tokens go without any header, is not spoken.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::exchange::Api;
use super::{Call, Outcome};

impl Api for SaslHandshakeRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<SaslHandshakeResponse> {
        match call.authentication.handshake(&self.mechanism, call.now) {
            (response, None) => Outcome::Answer(response),
            (response, Some(delay)) => Outcome::LastAnswer { response, delay },
        }
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> SaslHandshakeResponse {
        SaslHandshakeResponse { error_code, ..Default::default() }
    }
}
