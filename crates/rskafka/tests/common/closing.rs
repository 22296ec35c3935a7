//! How calls and clients come to an end, and limits that never come.

use std::time::Duration;

use rskafka::client::Client;
use rskafka::client::error::ErrorKind;
use tokio::time::Instant;

use super::{Brokers, new_log, read_all, record, served, values};

pub async fn a_close_ends_a_long_poll(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "poll").await;
    let poll = tokio::spawn(async move { log.fetch_records(0, 1..1_000_000, 30_000).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    client.close().await;
    let error = poll.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed, "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

pub async fn limits_without_end_are_limits(brokers: Brokers) {
    // With a pause that never ends, a client cannot wait until a new topic is known everywhere.
    let (_, log) = new_log(&brokers, "limits").await;
    let client = Client::builder(brokers)
        .connect_timeout(Duration::MAX)
        .request_timeout(Duration::MAX)
        .delivery_timeout(Duration::MAX)
        .api_timeout(Duration::MAX)
        .backoff(Duration::MAX, Duration::MAX)
        .buffer_memory(usize::MAX)
        .max_frame_bytes(usize::MAX)
        .build()
        .await
        .unwrap();
    let log = served(&client, log.topic(), 0).await;
    log.produce([record("one")]).await.unwrap();
    assert_eq!(values(&read_all(&log).await), ["one"]);
    client.close().await;
}
