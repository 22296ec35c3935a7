//! Long polls, and what goes on beside them.

use std::time::{Duration, Instant};

use rskafka::client::{Client, PartitionClient};

use super::{Brokers, PATIENCE, SLACK, new_log, new_topic, record, values};

pub async fn a_fetch_waits_for_records(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "poll").await;
    let reader = log.clone();
    let started = Instant::now();
    let poll = tokio::spawn(async move { reader.fetch_records(0, 1..1_000_000, 20_000).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!poll.is_finished());
    log.produce([record("at last")]).await.unwrap();
    let (records, _) = tokio::time::timeout(PATIENCE, poll).await.unwrap().unwrap();
    assert_eq!(values(&records), ["at last"]);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

pub async fn a_fetch_without_records_ends_with_its_wait(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "quiet").await;
    // The connection is made beforehand.
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    let started = Instant::now();
    assert_eq!(log.fetch_records(0, 1..1_000_000, 500).await.unwrap(), (Vec::new(), 0));
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(490), "{elapsed:?}");
    assert!(elapsed <= Duration::from_millis(500) + SLACK, "{elapsed:?}");
}

/// The slowest of 20 appends, one after the other.
async fn slowest_append(log: &PartitionClient) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let started = Instant::now();
        log.produce([record(number.to_string())]).await.unwrap();
        slowest = slowest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    slowest
}

/// By how much appends are slower beside a poll than alone.
async fn delay_by_a_long_poll(log: &PartitionClient) -> Duration {
    let alone = slowest_append(log).await;
    // The poll stays open because it asks for more than is written.
    let reader = log.clone();
    let poll =
        tokio::spawn(async move { reader.fetch_records(0, 1_000_000..2_000_000, 5_000).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let beside_the_poll = slowest_append(log).await;
    assert!(!poll.is_finished(), "the poll was over before the appends");
    poll.abort();
    beside_the_poll.saturating_sub(alone)
}

pub async fn a_long_poll_delays_no_produce(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "lanes").await;
    log.produce([record("first")]).await.unwrap();
    // A poll in the way would be in the way each time; what else the machine does is not.
    let mut delays = Vec::new();
    for _ in 0..3 {
        let delay = delay_by_a_long_poll(&log).await;
        if delay <= Duration::from_millis(50) {
            return;
        }
        delays.push(delay);
    }
    panic!("appends are slower beside a poll by {delays:?}");
}

pub async fn many_partitions_at_once(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let topic = new_topic("many");
    client.create_topic(&topic, 12, 1).await.unwrap();
    let mut tasks = Vec::new();
    for index in 0..12 {
        let (client, topic) = (client.clone(), topic.clone());
        tasks.push(tokio::spawn(async move {
            let log = client.partition_client(topic, index).await.unwrap();
            for number in 0..20 {
                let produced = log.produce([record(format!("{index}/{number}"))]).await.unwrap();
                assert_eq!(produced.base_offset, number);
            }
            super::read_all(&log).await
        }));
    }
    for (index, task) in tasks.into_iter().enumerate() {
        let expected: Vec<_> = (0..20).map(|number| format!("{index}/{number}")).collect();
        assert_eq!(values(&task.await.unwrap()), expected);
    }
}
