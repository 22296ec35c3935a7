//! The messages, one file per API.
//!
//! Invariant: only the list below names them all; the rest of the crate knows no other messages.

pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_producers;
pub mod fetch;
pub mod find_coordinator;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;

use crate::ApiKey;
use crate::schema::{Message, Request};

/// The list of messages. `$call!` is given every (request, response) pair.
macro_rules! messages {
    ($($constant:ident $api:literal = $key:literal: $module:ident::$request:ident => $response:ident;)*) => {
        impl ApiKey {
            $(
                #[doc = concat!("The `", $api, "` API, key ", $key, ".")]
                pub const $constant: Self = Self($key);
            )*

            /// Every API that this crate speaks.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];

            /// Kafka's name of the API; `None` for one that this crate does not speak.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($api),)*
                    _ => None,
                }
            }
        }

        $(
            impl Request for $module::$request {
                type Response = $module::$response;
            }

            // Both directions are listed under one key and one range of versions.
            const _: () = {
                assert!(<$module::$request as Message>::API_KEY.0 == $key);
                assert!(<$module::$response as Message>::API_KEY.0 == $key);
                assert!(<$module::$request as Message>::VERSIONS.min == <$module::$response as Message>::VERSIONS.min);
                assert!(<$module::$request as Message>::VERSIONS.max == <$module::$response as Message>::VERSIONS.max);
            };
        )*

        /// Whether a request of that API and version has compact lengths and tagged fields.
        pub(crate) fn request_is_flexible(api_key: ApiKey, version: i16) -> bool {
            match api_key {
                $(ApiKey::$constant => <$module::$request as Message>::is_flexible(version),)*
                _ => false,
            }
        }

        /// Calls `$visitor.visit::<M>()` for each message: see [`Visitor`].
        pub fn visit_all(visitor: &mut impl Visitor) {
            $(
                visitor.visit::<$module::$request>("request");
                visitor.visit::<$module::$response>("response");
            )*
        }
    };
}

/// Something to be done with the type of every message, e.g. in tools and tests.
pub trait Visitor {
    /// Called once per message; `direction` is `request` or `response`.
    fn visit<M: Message>(&mut self, direction: &'static str);
}

messages! {
    PRODUCE "Produce" = 0: produce::ProduceRequest => ProduceResponse;
    FETCH "Fetch" = 1: fetch::FetchRequest => FetchResponse;
    LIST_OFFSETS "ListOffsets" = 2: list_offsets::ListOffsetsRequest => ListOffsetsResponse;
    METADATA "Metadata" = 3: metadata::MetadataRequest => MetadataResponse;
    FIND_COORDINATOR "FindCoordinator" = 10: find_coordinator::FindCoordinatorRequest => FindCoordinatorResponse;
    SASL_HANDSHAKE "SaslHandshake" = 17: sasl_handshake::SaslHandshakeRequest => SaslHandshakeResponse;
    API_VERSIONS "ApiVersions" = 18: api_versions::ApiVersionsRequest => ApiVersionsResponse;
    CREATE_TOPICS "CreateTopics" = 19: create_topics::CreateTopicsRequest => CreateTopicsResponse;
    DELETE_TOPICS "DeleteTopics" = 20: delete_topics::DeleteTopicsRequest => DeleteTopicsResponse;
    DELETE_RECORDS "DeleteRecords" = 21: delete_records::DeleteRecordsRequest => DeleteRecordsResponse;
    INIT_PRODUCER_ID "InitProducerId" = 22: init_producer_id::InitProducerIdRequest => InitProducerIdResponse;
    OFFSET_FOR_LEADER_EPOCH "OffsetForLeaderEpoch" = 23: offset_for_leader_epoch::OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    DESCRIBE_CONFIGS "DescribeConfigs" = 32: describe_configs::DescribeConfigsRequest => DescribeConfigsResponse;
    SASL_AUTHENTICATE "SaslAuthenticate" = 36: sasl_authenticate::SaslAuthenticateRequest => SaslAuthenticateResponse;
    CREATE_PARTITIONS "CreatePartitions" = 37: create_partitions::CreatePartitionsRequest => CreatePartitionsResponse;
    INCREMENTAL_ALTER_CONFIGS "IncrementalAlterConfigs" = 44: incremental_alter_configs::IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    DESCRIBE_CLUSTER "DescribeCluster" = 60: describe_cluster::DescribeClusterRequest => DescribeClusterResponse;
    DESCRIBE_PRODUCERS "DescribeProducers" = 61: describe_producers::DescribeProducersRequest => DescribeProducersResponse;
}

#[cfg(test)]
mod tests;
