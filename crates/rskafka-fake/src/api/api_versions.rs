//! ApiVersions (key 18), versions 0 to 5: the versions of this cluster's APIs.
//!
//! - A version that is not spoken is answered in the form of version 0 with UNSUPPORTED_VERSION and this
//!   API's own versions (KIP-511).
//! - From version 3 on, a client that names itself by anything but letters, digits, dots and dashes gets
//!   INVALID_REQUEST, without entries.
//! - From version 5 on a client may say which broker of which cluster it means (KIP-1242), both or neither:
//!   another gets REBOOTSTRAP_REQUIRED, one without the other INVALID_REQUEST, and the connection stays. While
//!   a client logs in with SASL, who it means is not looked at.
//! - No features are named: the cluster has none that a client could ask for.

use rskafka_protocol::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use rskafka_protocol::{ApiKey, ErrorCode, VersionRange};

use super::exchange::Api;
use super::{Call, Outcome};

/// The version from which on the client names itself.
const NAMED_FROM: i16 = 3;

/// The node id of a client that means no broker in particular.
const NO_NODE: i32 = -1;

impl Api for ApiVersionsRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<ApiVersionsResponse> {
        let own = call.versions.of(ApiKey::API_VERSIONS);
        if !own.is_some_and(|range| range.contains(call.version)) {
            let api_keys = own.map(|range| entry(ApiKey::API_VERSIONS, range)).into_iter().collect();
            let error_code = ErrorCode::UNSUPPORTED_VERSION;
            return Outcome::Answer(ApiVersionsResponse { error_code, api_keys, ..Default::default() });
        }
        let names = [&self.client_software_name, &self.client_software_version];
        let is_named = call.version < NAMED_FROM || names.iter().all(|name| is_software_name(name));
        let code = match (&self.cluster_id, self.node_id) {
            _ if !is_named => ErrorCode::INVALID_REQUEST,
            (None, NO_NODE) => ErrorCode::NONE,
            (None, _) | (_, NO_NODE) => ErrorCode::INVALID_REQUEST,
            (Some(id), node) if *id == call.state.cluster_id && node == call.broker => ErrorCode::NONE,
            _ if call.authentication.is_login() => ErrorCode::NONE,
            _ => ErrorCode::REBOOTSTRAP_REQUIRED,
        };
        if !code.is_ok() {
            return Outcome::Answer(self.refuse(code, call.version));
        }
        let api_keys = call.versions.advertised().map(|(api_key, range)| entry(api_key, range)).collect();
        Outcome::Answer(ApiVersionsResponse { api_keys, ..Default::default() })
    }

    fn refuse(&self, code: ErrorCode, _: i16) -> ApiVersionsResponse {
        ApiVersionsResponse { error_code: code, ..Default::default() }
    }
}

fn entry(api_key: ApiKey, range: VersionRange) -> ApiVersion {
    ApiVersion { api_key: api_key.0, min_version: range.min, max_version: range.max }
}

/// Whether Kafka takes this for a client library's name or version: `ApiVersionsRequest.isValid`.
fn is_software_name(name: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    is_end(name.chars().next())
        && is_end(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}
