//! Connections that end and come back: without an error where nothing was lost, and without a stampede.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka::client::env::Env;
use rskafka::client::error::Outcome;
use rskafka::client::{Client, PartitionClient};
use rskafka_fake::FakeCluster;
use tokio::time::Instant;

use super::common::{read_all, record, values};
use super::kit::{
    DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, close_connections, failure, fake, start,
};

/// When each connection was asked for.
type Dials = Arc<Mutex<Vec<Instant>>>;

fn counting_env(cluster: &FakeCluster) -> (Env, Dials) {
    let (cluster, dials) = (cluster.clone(), Dials::default());
    let noted = dials.clone();
    let connector = move |host: String, port: u16| {
        noted.lock().unwrap().push(Instant::now());
        let cluster = cluster.clone();
        async move { cluster.connect(&host, port).await }
    };
    (Env::builder().connector(connector).random_seed(1).build(), dials)
}

/// A cluster of one broker, and many writers with a connection each.
async fn writers(count: usize) -> (FakeCluster, Client, Vec<PartitionClient>, Dials) {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let (env, dials) = counting_env(&cluster);
    let client = Client::builder(cluster.bootstrap_servers())
        .env(env)
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .api_timeout(TIMEOUT)
        .build()
        .await
        .unwrap();
    let mut writers = Vec::new();
    for _ in 0..count {
        let writer = client.partition_client(TOPIC, 0).await.unwrap();
        writer.produce([record("before")]).await.unwrap();
        writers.push(writer);
    }
    (cluster, client, writers, dials)
}

#[tokio::test(start_paused = true)]
async fn many_lanes_do_not_stampede_a_broker_that_is_down() {
    const WRITERS: usize = 200;
    let (cluster, _client, writers, dials) = writers(WRITERS).await;
    cluster.stop_broker(1).await.unwrap();
    dials.lock().unwrap().clear();
    let calls: Vec<_> = writers.iter().map(|writer| writer.produce([record("during")])).collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let made = std::mem::take(&mut *dials.lock().unwrap());
    // A few at once find the broker dead; from then on one tries at a time, after 50 ms to 1 s.
    assert!(made.len() < 25, "{} connections were tried in 5 s", made.len());
    let gaps: Vec<_> = made.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let burst = gaps.iter().take_while(|gap| gap.is_zero()).count();
    assert!(burst < 8, "{burst} at once");
    assert!(gaps[burst..].iter().all(|gap| *gap >= Duration::from_millis(40)), "{gaps:?}");
    assert!(gaps.last().unwrap() >= &Duration::from_millis(800), "{gaps:?}");

    let back_at = Instant::now();
    cluster.start_broker(1).await.unwrap();
    for call in calls {
        call.await.unwrap();
    }
    assert!(back_at.elapsed() < Duration::from_secs(3), "{:?}", back_at.elapsed());
    let all = values(&read_all(&writers[0]).await);
    assert_eq!(all.iter().filter(|value| *value == "during").count(), WRITERS);
}

#[tokio::test(start_paused = true)]
async fn every_call_to_a_broker_that_is_down_fails_by_its_own_deadline() {
    let (cluster, _client, writers, _) = writers(50).await;
    cluster.stop_broker(1).await.unwrap();
    let started = Instant::now();
    let calls: Vec<_> = writers.iter().map(|writer| writer.produce([record("never")])).collect();
    for call in calls {
        let error = failure(DELIVERY_TIMEOUT - started.elapsed(), call).await;
        assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_broker_closed_while_idle_costs_no_error_and_no_pause() {
    let (cluster, _client, log) = start(1).await;
    for round in 0..5 {
        log.produce([record("again")]).await.unwrap();
        log.fetch_records(round, 1..1_000_000, 1).await.unwrap();
        close_connections(&cluster, 1).await;
        // With and without a moment in which to notice.
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let started = Instant::now();
        log.produce([record("again")]).await.unwrap();
        log.fetch_records(round, 1..1_000_000, 1).await.unwrap();
        assert!(started.elapsed() < Duration::from_millis(10), "round {round}: {:?}", started.elapsed());
        cluster.delete_records(TOPIC, 0, round).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_writer_at_a_broken_address_does_not_hold_up_another_address() {
    let cluster = fake().brokers(2).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 2, 1).unwrap();
    let (env, _) = counting_env(&cluster);
    let client = Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap();
    let mut logs = Vec::new();
    for partition in 0..2 {
        logs.push(client.partition_client(TOPIC, partition).await.unwrap());
    }
    let dead = cluster.leader(TOPIC, 0).unwrap().unwrap();
    assert_ne!(cluster.leader(TOPIC, 1).unwrap().unwrap(), dead);
    cluster.stop_broker(dead).await.unwrap();
    let _waiting = logs[0].produce([record("waits")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    logs[1].produce([record("goes on")]).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
}
