//! The same raw requests to the fake and to a real Apache Kafka: where the answers differ, the fake is
//! wrong.
//!
//! Runs with `TEST_INTEGRATION=1 KAFKA_CONNECT=host:port`; the cluster may have any number of brokers. One
//! that does not speak every version of the fake is not compared.

mod cases;
mod differences;
mod records;
mod target;

use rskafka_fake::FakeCluster;
use rskafka_protocol::messages::api_versions::ApiVersionsRequest;

use self::differences::differences;
use self::target::Target;
use crate::support::RawClient;

#[tokio::test]
async fn the_fake_answers_what_kafka_answers() {
    let integration = std::env::var("TEST_INTEGRATION").is_ok_and(|value| value != "0");
    let Some(addresses) = std::env::var("KAFKA_CONNECT").ok().filter(|_| integration) else {
        eprintln!("not compared: set TEST_INTEGRATION=1 and KAFKA_CONNECT=host:port");
        return;
    };
    let bootstrap: Vec<String> = addresses.split(',').map(str::to_owned).collect();
    let single = FakeCluster::builder().start().await.unwrap();
    let lacking = lacking(&bootstrap[0], &single.bootstrap_servers()[0]).await;
    if !lacking.is_empty() {
        eprintln!("not compared: the broker does not speak all versions of API {lacking:?}");
        return;
    }
    let mut real = Target::new(bootstrap).await;

    let builder = FakeCluster::builder().brokers(real.broker_count());
    let cluster = builder.start().await.unwrap();
    let mut fake = Target::new(cluster.bootstrap_servers()).await;

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
    println!("{} answers compared", expected.len());
    assert_eq!(count, 0, "differences between Kafka and the fake");
}

/// The APIs of which a broker speaks fewer versions than the fake.
async fn lacking(real: &str, fake: &str) -> Vec<i16> {
    let request = ApiVersionsRequest::default();
    let real = RawClient::tcp(real).await.call(0, &request).await.api_keys;
    let mut wanted = RawClient::tcp(fake).await.call(0, &request).await.api_keys;
    wanted.retain(|wanted| {
        !real.iter().any(|api| {
            api.api_key == wanted.api_key
                && api.min_version <= wanted.min_version
                && api.max_version >= wanted.max_version
        })
    });
    wanted.into_iter().map(|api| api.api_key).collect()
}
