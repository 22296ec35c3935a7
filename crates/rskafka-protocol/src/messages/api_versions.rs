//! ApiVersions: which APIs a broker speaks, in which versions. The first request on every connection.

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Asks for the broker's versions.
    pub struct ApiVersionsRequest (ApiVersions = 18, versions 0..=5, flexible 3..) {
        /// The client library's name (KIP-511).
        client_software_name: String [3.., ignorable],
        /// The client library's version.
        client_software_version: String [3.., ignorable],
        /// The cluster that the client means to reach, if it knows that (KIP-1242).
        cluster_id: Option<String> [5.., ignorable],
        /// The broker that the client means to reach; -1 if it knows none.
        node_id: i32 [5.., ignorable] = -1,
    }

    /// The broker's versions. A request of a version that the broker does not know is answered in
    /// version 0, with `UNSUPPORTED_VERSION` and, from Kafka 2.4 on, the versions of this API (KIP-511).
    pub struct ApiVersionsResponse (ApiVersions = 18, versions 0..=5, flexible 3..) {
        /// The outcome of the whole request.
        error_code: ErrorCode,
        /// One entry for each API.
        api_keys: Vec<ApiVersion>,
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [1.., ignorable, client_waits 2..],
    } tagged {
        /// Features that the broker supports (KIP-584).
        0 => supported_features: Vec<SupportedFeatureKey> [3.., ignorable],
        /// The epoch of the finalized features; -1 if unknown.
        1 => finalized_features_epoch: i64 [3.., ignorable] = -1,
        /// Features that the cluster has switched on.
        2 => finalized_features: Vec<FinalizedFeatureKey> [3.., ignorable],
        /// Whether a KRaft controller is ready to take over from ZooKeeper (KIP-866).
        3 => zk_migration_ready: bool [3.., ignorable],
    }

    /// The versions of one API.
    pub struct ApiVersion {
        /// The API's key.
        api_key: i16,
        /// The lowest version.
        min_version: i16,
        /// The highest version.
        max_version: i16,
    }

    /// A feature that the broker supports.
    pub struct SupportedFeatureKey {
        /// The feature's name.
        name: String [3..],
        /// The lowest level.
        min_version: i16 [3..],
        /// The highest level.
        max_version: i16 [3..],
    }

    /// A feature that the cluster has switched on.
    pub struct FinalizedFeatureKey {
        /// The feature's name.
        name: String [3..],
        /// The highest level in force.
        max_version_level: i16 [3..],
        /// The lowest level in force.
        min_version_level: i16 [3..],
    }
}
