//! The APIs that the brokers speak, one file each, and the table that routes to them.
//!
//! Invariant: a request that is not in the table, or does not decode, gets no answer and ends its
//! connection, as with Kafka; only ApiVersions is always answered.

mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_producers;
mod exchange;
mod fetch;
mod find_coordinator;
mod incremental_alter_configs;
mod init_producer_id;
mod list_offsets;
pub(crate) mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod sasl_authenticate;
mod sasl_handshake;

use bytes::Bytes;
use rskafka_protocol::messages as m;
use rskafka_protocol::{ApiKey, RequestHeader, VersionRange};

use self::exchange::{Api, Decoded};
pub(crate) use self::exchange::{Call, Exchange, Outcome, Reply};
use crate::profile::Profile;

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
    route::<m::produce::ProduceRequest>(),
    route::<m::fetch::FetchRequest>(),
    route::<m::list_offsets::ListOffsetsRequest>(),
    route::<m::metadata::MetadataRequest>(),
    route::<m::find_coordinator::FindCoordinatorRequest>(),
    route::<m::sasl_handshake::SaslHandshakeRequest>(),
    route::<m::api_versions::ApiVersionsRequest>(),
    route::<m::create_topics::CreateTopicsRequest>(),
    route::<m::delete_topics::DeleteTopicsRequest>(),
    route::<m::delete_records::DeleteRecordsRequest>(),
    route::<m::init_producer_id::InitProducerIdRequest>(),
    route::<m::offset_for_leader_epoch::OffsetForLeaderEpochRequest>(),
    route::<m::describe_configs::DescribeConfigsRequest>(),
    route::<m::sasl_authenticate::SaslAuthenticateRequest>(),
    route::<m::create_partitions::CreatePartitionsRequest>(),
    route::<m::incremental_alter_configs::IncrementalAlterConfigsRequest>(),
    route::<m::describe_cluster::DescribeClusterRequest>(),
    route::<m::describe_producers::DescribeProducersRequest>(),
];

/// The versions that the brokers advertise. Those that the table does not have are advertised only: as with
/// Kafka 4, which names Produce from 0 on, asking for one ends the connection.
#[derive(Debug, Clone)]
pub(crate) struct Versions {
    ranges: Vec<(ApiKey, VersionRange)>,
    answers_new_api_versions: bool,
}

impl Versions {
    /// What a profile advertises.
    pub(crate) fn of_profile(profile: Profile) -> Self {
        let answers_new_api_versions = profile.quirks().answers_new_api_versions;
        Self { ranges: profile.versions().collect(), answers_new_api_versions }
    }

    pub(crate) fn advertised(&self) -> impl Iterator<Item = (ApiKey, VersionRange)> {
        self.ranges.iter().copied()
    }

    /// Whether a request is of a version that is advertised.
    pub(crate) fn has(&self, header: &RequestHeader) -> bool {
        self.of(header.api_key).is_some_and(|range| range.contains(header.api_version))
    }

    /// Has an API advertise other versions than the profile; an empty range takes it away.
    ///
    /// # Errors
    ///
    /// Says in words why that cannot be.
    pub(crate) fn set(&mut self, api_key: ApiKey, versions: VersionRange) -> Result<(), String> {
        let Some(route) = ROUTES.iter().find(|route| route.api_key == api_key) else {
            return Err(format!("{api_key} is not an API of this cluster"));
        };
        if !versions.is_empty() && versions.intersect(route.versions) != versions {
            return Err(format!("{api_key} has versions {} here, not {versions}", route.versions));
        }
        match self.ranges.iter_mut().find(|(known, _)| *known == api_key) {
            Some((_, range)) => *range = versions,
            None => self.ranges.push((api_key, versions)),
        }
        self.ranges.retain(|(_, range)| !range.is_empty());
        Ok(())
    }

    pub(crate) fn of(&self, api_key: ApiKey) -> Option<VersionRange> {
        self.ranges.iter().find(|(key, _)| *key == api_key).map(|(_, range)| *range)
    }

    /// Decodes a request and does all of the work on it that needs no state.
    ///
    /// `None` means that the connection ends without an answer.
    pub(crate) fn decode(&self, header: &RequestHeader, body: &Bytes) -> Option<Box<dyn Exchange>> {
        if !self.has(header) {
            // A client that is newer than the broker has to learn what the broker speaks (KIP-511).
            let is_answered = header.api_key == ApiKey::API_VERSIONS && self.answers_new_api_versions;
            let request = m::api_versions::ApiVersionsRequest::default();
            return is_answered.then(|| Decoded::of(request, 0, header.correlation_id));
        }
        let has =
            |route: &&Route| route.api_key == header.api_key && route.versions.contains(header.api_version);
        let route = ROUTES.iter().find(has)?;
        (route.decode)(header, body)
    }
}
