//! What a client counts.

use std::time::Duration;

use rskafka::client::OffsetAt;
use rskafka::client::stats::{BrokerStats, Stats};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::Fault;

use super::common::record;
use super::kit::{TOPIC, hang_ups, start};

fn of_broker(stats: Stats, id: i32) -> BrokerStats {
    stats.brokers.into_iter().find(|broker| broker.id == Some(id)).unwrap().stats
}

#[tokio::test(start_paused = true)]
async fn requests_bytes_and_latencies_are_counted_as_the_broker_sees_them() {
    let (cluster, client, log) = start(1).await;
    for number in 0..5 {
        log.produce([record(number.to_string())]).await.unwrap();
    }
    cluster.inject(Fault::delay(Duration::from_millis(600)).on(ApiKey::LIST_OFFSETS));
    log.get_offset(OffsetAt::Latest).await.unwrap();
    let counted = of_broker(client.stats(), 1);
    let seen = cluster.requests();
    assert_eq!(counted.requests, seen.len() as u64);
    assert_eq!(counted.bytes_out, seen.iter().map(|request| request.size as u64).sum::<u64>());
    assert!(counted.bytes_in > 0);
    assert_eq!(counted.latency.count, counted.requests - hang_ups() as u64);
    assert_eq!(counted.latency.max, Duration::from_millis(600));
    assert_eq!((counted.in_flight, counted.retries, counted.throttled), (0, 0, 0));
    // One for metadata and one to produce.
    assert_eq!((counted.connects, counted.reconnects, counted.failed_connects), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_counted_too() {
    let (cluster, client, log) = start(1).await;
    log.produce([record("one")]).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE).times(2));
    log.produce([record("two")]).await.unwrap();
    assert_eq!(of_broker(client.stats(), 1).retries, 2);

    cluster.inject(Fault::swallow().on(ApiKey::FETCH));
    let poll = tokio::spawn({
        let log = log.clone();
        async move { log.fetch_records(0, 1..1_000_000, 1).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(of_broker(client.stats(), 1).in_flight, 1);
    poll.await.unwrap();
    assert_eq!(of_broker(client.stats(), 1).in_flight, 0);

    cluster.stop_broker(1).await.unwrap();
    let waiting = log.produce([record("three")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.start_broker(1).await.unwrap();
    waiting.await.unwrap();
    let counted = of_broker(client.stats(), 1);
    assert!(counted.failed_connects >= 2 && counted.reconnects >= 2, "{counted:?}");
}

#[tokio::test(start_paused = true)]
async fn there_are_as_many_numbers_as_brokers() {
    let (cluster, client, _) = start(3).await;
    for _ in 0..20 {
        for broker in 1..=3 {
            cluster.move_leader(TOPIC, 0, broker).unwrap();
            let log = client.partition_client(TOPIC, 0).await.unwrap();
            log.produce([record("one")]).await.unwrap();
        }
    }
    let mut ids: Vec<_> = client.stats().brokers.iter().map(|broker| broker.id).collect();
    ids.sort();
    assert_eq!(ids, [Some(1), Some(2), Some(3)]);
}
