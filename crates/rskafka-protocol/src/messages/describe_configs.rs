//! DescribeConfigs: the configs of topics and brokers, and where their values come from (KIP-133).

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Asks for configs. A broker's are to be asked of that broker; any other's of any broker.
    pub struct DescribeConfigsRequest (DescribeConfigs = 32, versions 1..=4, flexible 4..) {
        /// Whose configs are asked for.
        resources: Vec<DescribeConfigsResource>,
        /// Whether to list, for each value, those that it overrides (KIP-226).
        include_synonyms: bool [1..],
        /// Whether the configs' documentation is wanted (KIP-569).
        include_documentation: bool [3..],
    }

    /// Something that has configs.
    pub struct DescribeConfigsResource {
        /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers (KIP-412), 16 client metrics
        /// (KIP-714), 32 a group (KIP-848).
        resource_type: i8,
        /// The topic's name, or the broker's id; empty for the defaults of all brokers.
        resource_name: String,
        /// The configs asked for; null for all.
        configuration_keys: Option<Vec<String>> = Some(Vec::new()),
    }

    /// Configs.
    pub struct DescribeConfigsResponse (DescribeConfigs = 32, versions 1..=4, flexible 4..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [.., client_waits 2..],
        /// One entry for each resource.
        results: Vec<DescribeConfigsResult>,
    }

    /// The configs of one resource.
    pub struct DescribeConfigsResult {
        /// The outcome for this resource.
        error_code: ErrorCode,
        /// Why there are no configs.
        error_message: Option<String> = Some(String::new()),
        /// What the resource is.
        resource_type: i8,
        /// The resource's name.
        resource_name: String,
        /// The configs.
        configs: Vec<DescribeConfigsResourceResult>,
    }

    /// A config.
    pub struct DescribeConfigsResourceResult {
        /// The config's name.
        name: String,
        /// The config's value; null if it is sensitive or has none.
        value: Option<String> = Some(String::new()),
        /// Whether it cannot be changed.
        read_only: bool,
        /// Where the value comes from (KIP-226): 1 the topic, 2 the broker, 3 the defaults of all
        /// brokers, 4 the broker's properties, 5 Kafka's default, 6 the broker's loggers, 7 client
        /// metrics, 8 the group; 0 or -1 if unknown.
        config_source: i8 [1.., ignorable] = -1,
        /// Whether it is sensitive.
        is_sensitive: bool,
        /// The value in force, then those that it overrides.
        synonyms: Vec<DescribeConfigsSynonym> [1.., ignorable],
        /// The type of the value (KIP-569): 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double,
        /// 7 list, 8 class, 9 password; 0 if unknown.
        config_type: i8 [3.., ignorable],
        /// What the config is for.
        documentation: Option<String> [3.., ignorable] = Some(String::new()),
    }

    /// A value that a config has or would have.
    pub struct DescribeConfigsSynonym {
        /// The name of the config that it comes from.
        name: String [1..],
        /// The value; null if it is sensitive or has none.
        value: Option<String> [1..] = Some(String::new()),
        /// Where the value comes from, as in `config_source`.
        source: i8 [1..],
    }
}
