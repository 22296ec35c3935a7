//! Reads and changes the configs of topics.

use std::collections::BTreeMap;

use rskafka_cluster::Node;
use rskafka_cluster::transport::Deadline;
pub use rskafka_protocol::messages::describe_configs::DescribeConfigsResourceResult as ConfigEntry;
use rskafka_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use rskafka_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, DELETE, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, SET,
};

use crate::ask::Ask;
use crate::core::Core;
use crate::error::{Error, Result};

/// What has the configs: a topic (Kafka class `ConfigResource`).
const TOPIC: i8 = 2;

pub(crate) type Configs = BTreeMap<String, ConfigEntry>;

/// The topic's own configs over those of the broker that is asked.
pub(crate) async fn describe(core: &Core, node: Node, topic: &str, deadline: Deadline) -> Result<Configs> {
    let build = |_: &_, _| {
        let (resource_type, resource_name) = (TOPIC, topic.to_owned());
        let resource = DescribeConfigsResource { resource_type, resource_name, configuration_keys: None };
        DescribeConfigsRequest { resources: vec![resource], ..Default::default() }
    };
    let find = |response: DescribeConfigsResponse| {
        let found = response.results.into_iter().find(|found| found.resource_name == topic)?;
        Some((found.error_code, found.error_message, found.configs))
    };
    let ask = Ask { writes: false, ..Ask::new(core, node, topic, deadline) };
    let configs = ask.send(build, find).await?.into_iter();
    Ok(configs.map(|config| (config.name.clone(), config)).collect())
}

/// Sets configs, or with `None` takes the topic's own value back.
pub(crate) async fn alter(core: &Core, topic: &str, values: &[(&str, Option<&str>)]) -> Result<()> {
    if values.is_empty() {
        return Err(Error::invalid("there is no config to change").located(None, topic, None));
    }
    let change = |(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(str::to_owned),
    };
    let configs = values.iter().map(change).collect();
    let resource = AlterConfigsResource { resource_type: TOPIC, resource_name: topic.to_owned(), configs };
    let build = |_: &_, _| {
        let resources = vec![resource.clone()];
        IncrementalAlterConfigsRequest { resources, validate_only: false }
    };
    let find = |response: IncrementalAlterConfigsResponse| {
        let found = response.responses.into_iter().find(|found| found.resource_name == topic)?;
        Some((found.error_code, found.error_message, ()))
    };
    Ask::new(core, Node::Controller, topic, core.begin()?).send(build, find).await
}
