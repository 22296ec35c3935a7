//! Peers and answers that are not what they should be: each is its own error, says where, and comes in time.

use std::time::Duration;

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, OffsetAt};
use rskafka::protocol::ApiKey;
use rskafka_fake::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::common::record;
use super::kit::{
    DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, assert_says, failure, fake, nobody, start, start_plain,
};

/// A peer on a port of its own that answers the first bytes with `answer` and closes.
async fn peer(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1000];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

async fn cannot_connect(brokers: Vec<String>) -> rskafka::client::error::Error {
    let timeout = Duration::from_millis(1500);
    failure(timeout, Client::builder(brokers).api_timeout(timeout).build()).await
}

#[tokio::test]
async fn no_reachable_broker_lists_each_address_with_its_own_cause() {
    let (_socket, refusing) = nobody();
    let closing = peer(b"").await;
    let error =
        cannot_connect(vec![refusing.clone(), closing.clone(), "no-such-host.invalid:9092".to_owned()]).await;
    assert_eq!(error.kind(), &ErrorKind::NoReachableBroker);
    assert!(error.is_retriable() && error.is_timeout());
    let causes = [refusing.as_str(), "refused", closing.as_str(), "before its first byte"];
    assert_says(&error, &causes);
    assert_says(&error, &["no-such-host.invalid:9092", "the name cannot be resolved"]);
}

#[tokio::test]
async fn a_silent_peer_does_not_use_up_the_time_of_the_others() {
    // The kernel accepts, nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = fake().start().await.unwrap();
    let brokers = vec![silent.local_addr().unwrap().to_string(), cluster.bootstrap_servers()[0].clone()];
    let timeout = Duration::from_secs(2);
    Client::builder(brokers).api_timeout(timeout).build().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_speaks_http_is_no_broker() {
    let error = cannot_connect(vec![peer(b"HTTP/1.1 400 Bad Request\r\n\r\n").await]).await;
    assert_eq!(error.kind(), &ErrorKind::NoReachableBroker);
    assert!(!error.is_retriable(), "asked again for nothing: {error}");
    assert_says(&error, &["Metadata: ", "the peer speaks HTTP"]);
}

#[tokio::test]
async fn a_peer_that_speaks_tls_is_no_plaintext_broker() {
    // What a broker's TLS listener answers to plaintext.
    let error = cannot_connect(vec![peer(&[0x15, 3, 3, 0, 2, 2, 80]).await]).await;
    assert_eq!(error.kind(), &ErrorKind::NoReachableBroker);
    assert_says(&error, &["the peer speaks TLS", "connect with TLS"]);
}

#[tokio::test]
async fn a_peer_that_sends_garbage_is_no_broker() {
    let error = cannot_connect(vec![peer(&[0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await]).await;
    assert_eq!(error.kind(), &ErrorKind::NoReachableBroker);
    assert_says(&error, &["correlation id 16909060"]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_half_way_through_an_answer_is_asked_again() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("read twice")]).await.unwrap();
    let cut = cluster.inject(Fault::cut_at(20).on(ApiKey::FETCH));
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!((records.len(), cluster.struck(cut)), (1, 1));

    cluster.inject(Fault::cut_at(20).on(ApiKey::FETCH).always());
    let error = failure(TIMEOUT, log.fetch_records(0, 1..1_000_000, 1)).await;
    assert!(error.is_timeout() && error.is_retriable());
    assert!(error.attempts() > 2);
    assert_says(
        &error,
        &["Fetch on topic wal partition 0 at broker 1 (", "in the middle of an answer, after 20 bytes"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_half_way_through_a_produce_answer_leaves_the_outcome_unknown() {
    let (cluster, _, log) = start_plain(1).await;
    cluster.inject(Fault::cut_at(20).on(ApiKey::PRODUCE));
    let error = failure(DELIVERY_TIMEOUT, log.produce([record("once")])).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Connection, Outcome::Unknown));
    assert_eq!(error.attempts(), 1);
    assert_says(&error, &["Produce on topic wal partition 0 at broker 1 (", "in the middle of an answer"]);
    assert_says(&error, &["it is not known whether it took effect"]);
    assert_eq!(cluster.log(TOPIC, 0).unwrap().records().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_missing_bytes_is_an_error() {
    let (cluster, _, log) = start_plain(1).await;
    log.produce([record("one")]).await.unwrap();
    cluster.inject(Fault::shorten(3).on(ApiKey::FETCH));
    let error = failure(TIMEOUT, log.fetch_records(0, 1..1_000_000, 1)).await;
    assert_eq!(error.kind(), &ErrorKind::InvalidAnswer);
    assert_says(&error, &["Fetch on topic wal partition 0 at broker 1 (", "cannot decode FetchResponse"]);
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();

    cluster.inject(Fault::shorten(3).on(ApiKey::PRODUCE));
    let error = failure(DELIVERY_TIMEOUT, log.produce([record("two")])).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::InvalidAnswer, Outcome::Unknown));
    assert_says(&error, &["Produce on topic wal partition 0 at broker 1 (", "cannot decode ProduceResponse"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_an_answer_are_passed_over() {
    let (cluster, client, log) = start(1).await;
    cluster.inject(Fault::lengthen(&b"abc"[..]).always());
    // So that connections are opened with such answers too.
    cluster.cut_connections(1).unwrap();
    for (offset, value) in ["one", "two"].into_iter().enumerate() {
        assert_eq!(log.produce([record(value)]).await.unwrap().base_offset, offset as i64);
    }
    let (records, high_watermark) = log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!(
        (super::common::values(&records), high_watermark),
        (vec!["one".to_owned(), "two".to_owned()], 2)
    );
    assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 2);
    client.create_topic("another", 1, 1).await.unwrap();
    assert_eq!(client.list_topics().await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_ends_the_connection() {
    let (cluster, _, log) = start(1).await;
    cluster.inject(Fault::wrong_correlation_id(7).on(ApiKey::FETCH));
    let error = failure(TIMEOUT, log.fetch_records(0, 1..1_000_000, 1)).await;
    assert_eq!(error.kind(), &ErrorKind::InvalidAnswer);
    assert_says(&error, &["an answer with correlation id"]);
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_batch_is_named_by_its_offset() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("good")]).await.unwrap();
    log.produce([record("bad, in a moment")]).await.unwrap();
    // The answer ends with the value of the last record and a few zeroes.
    let (answer, _) = log.fetch_records(1, 1..1_000_000, 1).await.unwrap();
    assert_eq!(answer.len(), 1);
    cluster.inject(Fault::flip(140, 1).on(ApiKey::FETCH));
    let error = failure(TIMEOUT, log.fetch_records(1, 1..1_000_000, 1)).await;
    assert_eq!(error.kind(), &ErrorKind::CorruptBatch { base_offset: Some(1) }, "{error:?}");
    assert_says(&error, &["Fetch on topic wal partition 0 at broker 1 (", "the record batch at offset 1"]);
    assert!(!error.is_retriable());
}

#[tokio::test(start_paused = true)]
async fn intact_batches_before_a_corrupt_one_are_given() {
    let (cluster, _, log) = start(1).await;
    for value in ["first", "second", "third"] {
        log.produce([record(value)]).await.unwrap();
    }
    // An answer has some 70 bytes before the first batch, and each batch here has 74 or 75.
    cluster.inject(Fault::flip(280, 1).on(ApiKey::FETCH));
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!(super::common::values(&records), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_swallowed_request_ends_by_its_timeout_and_is_made_again() {
    let (cluster, _, log) = start_plain(1).await;
    log.produce([record("one")]).await.unwrap();
    cluster.inject(Fault::swallow().on(ApiKey::FETCH));
    let started = tokio::time::Instant::now();
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!(records.len(), 1);
    assert!(started.elapsed() >= REQUEST_TIMEOUT && started.elapsed() < TIMEOUT);

    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let error = failure(REQUEST_TIMEOUT, log.produce([record("two")])).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::Unknown, true));
    assert_eq!(error.kind(), &ErrorKind::TimedOut);
}
