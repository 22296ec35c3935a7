//! SaslAuthenticate (key 36), versions 0 to 2: one step of the mechanism agreed on.
//!
//! - SASL_AUTHENTICATION_FAILED comes late, as from Kafka, and then the connection ends.
//! - OAUTHBEARER's refusal comes as NONE with `{"status":"invalid_token"}`; the code only after the client
//!   has answered that.
//! - From version 1 on the session's lifetime (KIP-368).
//! - ILLEGAL_SASL_STATE on a listener without SASL, or when nothing was agreed on.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::exchange::Api;
use super::{Call, Outcome};

impl Api for SaslAuthenticateRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<SaslAuthenticateResponse> {
        let nonce = call.state.new_id().to_string();
        match call.authentication.authenticate(&self.auth_bytes, &nonce, call.now) {
            (response, None) => Outcome::Answer(response),
            (response, Some(delay)) => Outcome::LastAnswer { response, delay },
        }
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> SaslAuthenticateResponse {
        SaslAuthenticateResponse { error_code, ..Default::default() }
    }
}
