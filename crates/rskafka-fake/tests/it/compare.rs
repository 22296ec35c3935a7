//! The same raw requests to the fake and to a real Apache Kafka: where the answers differ, the fake is
//! wrong.
//!
//! Runs with `TEST_INTEGRATION=1 KAFKA_CONNECT=host:port`; the cluster may have any number of brokers. The
//! fake has the profile that advertises what the broker does; another broker is not compared. With
//! `KAFKA_ENVIRONMENT` and three brokers of `cargo xtask env`, one of them is also frozen.

mod cases;
mod control;
mod differences;
#[path = "../../../rskafka-protocol/tests/golden/json.rs"]
mod json;
mod records;
mod target;

use std::collections::BTreeMap;

use rskafka_fake::{FakeCluster, Profile};
use rskafka_protocol::messages::api_versions::ApiVersionsRequest;
use rskafka_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};

use self::control::Control;
use self::differences::differences;
use self::target::Target;
use crate::support::{RawClient, skipped};

#[tokio::test]
async fn the_fake_answers_what_kafka_answers() {
    let integration = std::env::var("TEST_INTEGRATION").is_ok_and(|value| value != "0");
    let Some(addresses) = std::env::var("KAFKA_CONNECT").ok().filter(|_| integration) else {
        return skipped("it takes TEST_INTEGRATION=1 and KAFKA_CONNECT=host:port");
    };
    let bootstrap: Vec<String> = addresses.split(',').map(str::to_owned).collect();
    let versions = versions(&bootstrap[0]).await;
    let mut profile = None;
    for candidate in Profile::ALL {
        let cluster = FakeCluster::builder().profile(candidate).start().await.unwrap();
        let own = self::versions(&cluster.bootstrap_servers()[0]).await;
        if own.iter().all(|(api_key, range)| versions.get(api_key) == Some(range)) {
            profile = Some((candidate, own));
        }
    }
    let Some((profile, versions)) = profile else {
        return skipped(&format!("no profile advertises what the broker does: {versions:?}"));
    };
    let mut real = Target::new(bootstrap, versions.clone(), Control::of_environment()).await;

    let mut builder = FakeCluster::builder().profile(profile).brokers(real.broker_count());
    for (name, value) in properties(&mut real).await {
        builder = builder.config(&name, &value);
    }
    let cluster = builder.start().await.unwrap();
    let control = Control::Fake { cluster: cluster.clone(), can_freeze: real.can_freeze() };
    let mut fake = Target::new(cluster.bootstrap_servers(), versions, control).await;

    let expected = cases::run(&mut real).await;
    let found = cases::run(&mut fake).await;
    assert_eq!(expected.len(), found.len());
    let mut count = 0;
    for ((case, expected), (_, found)) in expected.iter().zip(&found) {
        for difference in differences(expected, found) {
            println!("{case}: {difference}");
            count += 1;
        }
    }
    println!("{} answers compared with {profile}", expected.len());
    assert_eq!(count, 0, "differences between Kafka and the fake");
}

/// What stands in a broker's properties of the configs that answers depend on.
async fn properties(target: &mut Target) -> Vec<(String, String)> {
    const STATIC: i8 = 4;
    let broker = target.any_broker();
    let resource = DescribeConfigsResource {
        resource_type: 4,
        resource_name: broker.to_string(),
        configuration_keys: Some(PROPERTIES.map(str::to_owned).into()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: false,
    };
    let answer = target.client(broker).call(1, &request).await;
    let configs = answer.results.into_iter().flat_map(|result| result.configs);
    let property = |config: DescribeConfigsResourceResult| {
        let mut synonyms = config.synonyms.into_iter();
        // What the controller sets for all brokers is what it has in its own properties.
        let is_property = |source| source == STATIC || config.name == "min.insync.replicas";
        let synonym = synonyms.find(|known| is_property(known.source) && known.name == config.name)?;
        Some((synonym.name, synonym.value?))
    };
    configs.filter_map(property).collect()
}

const PROPERTIES: [&str; 12] = [
    "default.replication.factor",
    "log.retention.check.interval.ms",
    "log.segment.delete.delay.ms",
    "min.insync.replicas",
    "num.io.threads",
    "num.network.threads",
    "num.partitions",
    "offsets.topic.num.partitions",
    "offsets.topic.replication.factor",
    "transaction.state.log.num.partitions",
    "transaction.state.log.replication.factor",
    "unclean.leader.election.enable",
];

/// The versions that a broker advertises.
async fn versions(address: &str) -> BTreeMap<i16, (i16, i16)> {
    let answer = RawClient::tcp(address).await.call(0, &ApiVersionsRequest::default()).await;
    answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
}
