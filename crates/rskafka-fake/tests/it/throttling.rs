//! Throttling (KIP-219): the answer is out at once, and then the broker is silent.

use std::time::Duration;

use rskafka_fake::{Fault, Rewritten};
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_throttled_append_is_written_once_and_the_connection_is_silent_after_its_answer() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    cluster.inject(Fault::throttle(Duration::from_millis(4200)).on(ApiKey::PRODUCE));
    let mut client = RawClient::pipe(&cluster, 1).await;
    let start = Instant::now();
    let answer = client.call(9, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
    assert_eq!((start.elapsed(), answer.throttle_time_ms), (Duration::ZERO, 4200));
    assert_eq!(produced(answer).error_code, ErrorCode::NONE);
    assert_eq!(cluster.log("t", 0).unwrap().high_watermark, 1);

    RawClient::pipe(&cluster, 1).await.call(9, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "another connection is not");
    let answer = client.call(9, &MetadataRequest::default()).await;
    assert_eq!((start.elapsed(), answer.throttle_time_ms), (Duration::from_millis(4200), 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_above_its_quota_is_throttled_and_others_are_not() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    cluster.set_produce_quota(Some(10_000));
    let records = batch([vec![0; 50_000]]);
    let mut throttled = Vec::new();
    for _ in 0..3 {
        let request = produce_request(&topic, 0, -1, Some(records.clone()));
        let answer = client.call(9, &request).await;
        throttled.push(answer.throttle_time_ms);
        assert_eq!(produced(answer).error_code, ErrorCode::NONE, "it is appended all the same");
    }
    assert_eq!(throttled[0], 0);
    assert!(throttled[1] > 0 && throttled[2] > 0, "{throttled:?}");
    cluster.set_produce_quota(None);

    cluster.set_fetch_quota(Some(10_000));
    let start = Instant::now();
    let mut empty = 0;
    for _ in 0..6 {
        let answer = client.call(11, &fetch_request(&topic, 0, 0)).await;
        if answer.throttle_time_ms > 0 {
            assert!(answer.responses.is_empty(), "nothing is given to a client that is throttled");
            empty += 1;
        }
    }
    assert!(empty >= 1 && start.elapsed() > Duration::from_secs(1), "{empty} in {:?}", start.elapsed());
    cluster.set_fetch_quota(None);
    let answer = client.call(11, &FetchRequest { max_wait_ms: 10, ..fetch_request(&topic, 0, 0) }).await;
    assert_eq!((answer.throttle_time_ms, answer.responses.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn versions_without_the_field_are_throttled_all_the_same() {
    let cluster = cluster(1).await;
    cluster.inject(Fault::throttle(Duration::from_secs(3)).on(ApiKey::METADATA));
    let mut client = RawClient::pipe(&cluster, 1).await;
    let start = Instant::now();
    client.call(1, &MetadataRequest::default()).await;
    client.call(1, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let request = ProduceRequest { acks: 1, ..Default::default() };
    assert_eq!(client.call(9, &request).await.throttle_time_ms, 0);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_rewritten_is_throttled_and_recorded_like_any() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    cluster.inject(Fault::throttle(Duration::from_secs(3)).on(ApiKey::METADATA));
    client.call(1, &MetadataRequest::default()).await;
    cluster.inject(Fault::rewrite(|_, body| Rewritten::honest(body)).on(ApiKey::PRODUCE));
    cluster.set_produce_quota(Some(10_000));
    let request = produce_request(&topic, 0, -1, Some(batch([vec![0; 150_000]])));
    let throttle_ms = client.call(9, &request).await.throttle_time_ms;
    assert!(throttle_ms > 3000, "by the quota, not by what was before: {throttle_ms}");
    assert!(cluster.requests().last().unwrap().taken.is_some());
    let start = Instant::now();
    client.call(1, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::from_millis(throttle_ms as u64));
}
