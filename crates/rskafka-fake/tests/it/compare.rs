//! The same raw requests to the fake and to a real Apache Kafka: where the answers differ, the fake is
//! wrong.
//!
//! Runs with `TEST_INTEGRATION=1 KAFKA_CONNECT=host:port`; the cluster may have any number of brokers.

mod cases;
mod differences;
mod records;
mod target;

use rskafka_fake::FakeCluster;

use self::differences::differences;
use self::target::Target;

#[tokio::test]
async fn the_fake_answers_what_kafka_answers() {
    let integration = std::env::var("TEST_INTEGRATION").is_ok_and(|value| value != "0");
    let Some(addresses) = std::env::var("KAFKA_CONNECT").ok().filter(|_| integration) else {
        eprintln!("not compared: set TEST_INTEGRATION=1 and KAFKA_CONNECT=host:port");
        return;
    };
    let bootstrap: Vec<String> = addresses.split(',').map(str::to_owned).collect();
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
