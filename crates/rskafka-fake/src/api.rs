//! The APIs that the brokers speak, one file each, and the table that routes to them.
//!
//! Invariant: a request that is not in the table, or does not decode, gets no answer and ends its
//! connection, as with Kafka; only ApiVersions is always answered.

mod api_versions;
mod create_topics;
mod delete_topics;
mod exchange;
mod fetch;
mod list_offsets;
mod metadata;
mod produce;
mod sasl_authenticate;
mod sasl_handshake;

use bytes::Bytes;
use rskafka_protocol::messages::{
    api_versions::ApiVersionsRequest, create_topics::CreateTopicsRequest, delete_topics::DeleteTopicsRequest,
    fetch::FetchRequest, list_offsets::ListOffsetsRequest, metadata::MetadataRequest,
    produce::ProduceRequest, sasl_authenticate::SaslAuthenticateRequest,
    sasl_handshake::SaslHandshakeRequest,
};
use rskafka_protocol::{ApiKey, RequestHeader, VersionRange};

use self::exchange::{Api, Decoded};
pub(crate) use self::exchange::{Call, Exchange, Outcome, Reply};

/// One line of the table.
#[derive(Clone, Copy)]
struct Route {
    api_key: ApiKey,
    versions: VersionRange,
    decode: fn(&RequestHeader, &Bytes) -> Option<Box<dyn Exchange>>,
}

const fn route<A: Api>() -> Route {
    Route { api_key: A::API_KEY, versions: A::VERSIONS, decode: Decoded::<A>::boxed }
}

/// The table, in the order in which ApiVersions names the APIs.
const ROUTES: &[Route] = &[
    route::<ProduceRequest>(),
    route::<FetchRequest>(),
    route::<ListOffsetsRequest>(),
    route::<MetadataRequest>(),
    route::<SaslHandshakeRequest>(),
    route::<ApiVersionsRequest>(),
    route::<CreateTopicsRequest>(),
    route::<DeleteTopicsRequest>(),
    route::<SaslAuthenticateRequest>(),
];

/// The versions that the brokers advertise and take: the table's, or fewer.
#[derive(Debug, Clone)]
pub(crate) struct Versions {
    /// In the order of the table.
    ranges: Vec<(ApiKey, VersionRange)>,
}

impl Default for Versions {
    fn default() -> Self {
        Self { ranges: ROUTES.iter().map(|route| (route.api_key, route.versions)).collect() }
    }
}

impl Versions {
    /// Takes an API back to some of the versions it has; an empty range takes it away.
    ///
    /// # Errors
    ///
    /// Says in words why that cannot be.
    pub(crate) fn limit(&mut self, api_key: ApiKey, versions: VersionRange) -> Result<(), String> {
        let Some(route) = ROUTES.iter().find(|route| route.api_key == api_key) else {
            return Err(format!("{api_key} is not an API of this cluster"));
        };
        if !versions.is_empty() && versions.intersect(route.versions) != versions {
            return Err(format!("{api_key} has versions {} here, not {versions}", route.versions));
        }
        self.ranges.retain_mut(|(key, range)| {
            if *key == api_key {
                *range = versions;
            }
            !range.is_empty()
        });
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ApiKey, VersionRange)> {
        self.ranges.iter().copied()
    }

    pub(crate) fn of(&self, api_key: ApiKey) -> Option<VersionRange> {
        self.ranges.iter().find(|(key, _)| *key == api_key).map(|(_, range)| *range)
    }

    /// Decodes a request and does all of the work on it that needs no state.
    ///
    /// `None` means that the connection ends without an answer.
    pub(crate) fn decode(&self, header: &RequestHeader, body: &Bytes) -> Option<Box<dyn Exchange>> {
        let is_taken = self.of(header.api_key).is_some_and(|range| range.contains(header.api_version));
        if !is_taken {
            // A client that is newer than the broker has to learn what the broker speaks (KIP-511).
            let asks_for_versions = header.api_key == ApiKey::API_VERSIONS;
            return asks_for_versions.then(|| api_versions::unsupported(self, header));
        }
        let route = ROUTES.iter().find(|route| route.api_key == header.api_key)?;
        (route.decode)(header, body)
    }
}
