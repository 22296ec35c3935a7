//! IncrementalAlterConfigs: changes single configs and leaves the others as they are (KIP-339).

use crate::ErrorCode;
use crate::schema::schema;

/// `config_operation` that sets the value.
pub const SET: i8 = 0;
/// `config_operation` that goes back to the default.
pub const DELETE: i8 = 1;
/// `config_operation` that adds to a list.
pub const APPEND: i8 = 2;
/// `config_operation` that takes out of a list.
pub const SUBTRACT: i8 = 3;

schema! {
    /// Changes configs. A broker's own are to be sent to that broker; any other's to any broker.
    pub struct IncrementalAlterConfigsRequest (IncrementalAlterConfigs = 44, versions 0..=1, flexible 1..) {
        /// Whose configs to change.
        resources: Vec<AlterConfigsResource>,
        /// Whether to check the request only.
        validate_only: bool,
    }

    /// Something that has configs.
    pub struct AlterConfigsResource {
        /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers (KIP-412), 16 client metrics
        /// (KIP-714), 32 a group (KIP-848).
        resource_type: i8,
        /// The topic's name, or the broker's id; empty for the defaults of all brokers.
        resource_name: String,
        /// The changes, all made or none.
        configs: Vec<AlterableConfig>,
    }

    /// A change of one config.
    pub struct AlterableConfig {
        /// The config's name.
        name: String,
        /// What to do: one of this module's constants.
        config_operation: i8,
        /// The value; null to delete.
        value: Option<String> = Some(String::new()),
    }

    /// What became of the changes.
    pub struct IncrementalAlterConfigsResponse (IncrementalAlterConfigs = 44, versions 0..=1, flexible 1..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [.., client_waits 0..],
        /// One entry for each resource.
        responses: Vec<AlterConfigsResourceResponse>,
    }

    /// What became of one resource's changes.
    pub struct AlterConfigsResourceResponse {
        /// The outcome for this resource.
        error_code: ErrorCode,
        /// Why it was not changed.
        error_message: Option<String> = Some(String::new()),
        /// What the resource is.
        resource_type: i8,
        /// The resource's name.
        resource_name: String,
    }
}
