//! When a produce is sent again: only where it surely was not written.

use std::time::Duration;

use rskafka::client::OffsetAt;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::Fault;
use tokio::time::Instant;

use super::common::{read_all, record, values};
use super::kit::{DELIVERY_TIMEOUT, TOPIC, builder, failure, start, start_plain};

/// How many Produce requests came in.
async fn produce_requests(cluster: &rskafka_fake::FakeCluster) -> usize {
    cluster.requests().iter().filter(|request| request.api_key == ApiKey::PRODUCE).count()
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_in_sync_are_waited_for() {
    let (cluster, _, log) = start(1).await;
    let refused = cluster.inject(Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE).times(3));
    assert_eq!(log.produce([record("patient")]).await.unwrap().base_offset, 0);
    assert_eq!(cluster.struck(refused), 3);
    assert_eq!(values(&read_all(&log).await), ["patient"]);

    cluster.inject(Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE).always());
    let error = failure(DELIVERY_TIMEOUT, log.produce([record("never")])).await;
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert_eq!(
        (error.outcome(), error.is_timeout(), error.is_retriable()),
        (Outcome::NotWritten, true, true)
    );
}

#[tokio::test(start_paused = true)]
async fn codes_that_may_follow_an_append_are_reported_and_not_sent_again() {
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::UNKNOWN_SERVER_ERROR,
        ErrorCode(31_000),
    ] {
        let (cluster, _, log) = start_plain(1).await;
        cluster.inject(Fault::answer(code).after_applying().on(ApiKey::PRODUCE));
        let error = failure(DELIVERY_TIMEOUT, log.produce([record("once")])).await;
        assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::Unknown));
        assert_eq!(error.attempts(), 1, "{code}");
        assert_eq!(produce_requests(&cluster).await, 1);
        // The next one works, and nothing was written twice.
        log.produce([record("twice")]).await.unwrap();
        assert_eq!(values(&read_all(&log).await), ["once", "twice"], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_one_copy_and_an_unknown_outcome() {
    let (cluster, _, log) = start_plain(1).await;
    cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE));
    let error = failure(DELIVERY_TIMEOUT, log.produce([record("once")])).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Connection, Outcome::Unknown));
    assert!(error.is_retriable());
    assert_eq!(values(&read_all(&log).await), ["once"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_is_sent_once_the_broker_is_back() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("before")]).await.unwrap();
    cluster.stop_broker(1).await.unwrap();
    let waiting = log.produce([record("during")]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.start_broker(1).await.unwrap();
    assert_eq!(waiting.await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["before", "during"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_by_its_deadline_is_not_written() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("before")]).await.unwrap();
    cluster.stop_broker(1).await.unwrap();
    let (first, second) = (log.produce([record("one")]), log.produce([record("two")]));
    let started = tokio::time::Instant::now();
    let error = failure(DELIVERY_TIMEOUT, first).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true), "{error:?}");
    // Waiting in line counts: both had the same time.
    let error = failure(DELIVERY_TIMEOUT - started.elapsed(), second).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true), "{error:?}");
    cluster.start_broker(1).await.unwrap();
    log.produce([record("after")]).await.unwrap();
    assert_eq!(values(&read_all(&log).await), ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_over_passing_errors() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("one")]).await.unwrap();
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::OFFSET_NOT_AVAILABLE,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::FENCED_LEADER_EPOCH,
    ] {
        let fetch = cluster.inject(Fault::answer(code).on(ApiKey::FETCH).times(2));
        let list = cluster.inject(Fault::answer(code).on(ApiKey::LIST_OFFSETS).times(2));
        assert_eq!(log.fetch_records(0, 1..1_000_000, 1).await.unwrap().0.len(), 1, "{code}");
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 1, "{code}");
        assert_eq!((cluster.struck(fetch), cluster.struck(list)), (2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_by_an_attempt_whose_answer_was_lost_is_created() {
    let (cluster, client, _) = start(1).await;
    let lost = cluster.inject(Fault::close().after_applying().on(ApiKey::CREATE_TOPICS));
    client.create_topic("second", 1, 1).await.unwrap();
    assert_eq!(cluster.struck(lost), 1);
    let lost = cluster.inject(Fault::close().after_applying().on(ApiKey::DELETE_TOPICS));
    client.delete_topic("second").await.unwrap();
    assert_eq!(cluster.struck(lost), 1);
}

#[tokio::test(start_paused = true)]
async fn partition_clients_share_the_memory_of_their_client_in_the_order_of_the_calls() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).buffer_memory(1_000).build().await.unwrap();
    client.create_topic("shared", 2, 1).await.unwrap();
    let first = client.partition_client("shared", 0).await.unwrap();
    let second = client.partition_client("shared", 1).await.unwrap();
    let large = |letter: &str| [record(letter.repeat(700))];

    let written = first.produce(large("a"));
    let taken_back = second.produce(large("b"));
    let behind = second.produce([record("behind")]);
    drop(taken_back);
    assert_eq!(behind.await.unwrap().base_offset, 0, "it waits for what was taken back");
    written.await.unwrap();

    // Each waits for the one before it, at the other partition. A small one does not pass those that wait.
    cluster.inject(Fault::delay(Duration::from_millis(100)).on(ApiKey::PRODUCE).always());
    let started = Instant::now();
    let calls: Vec<_> =
        (0..6).map(|number| [&first, &second][number % 2].produce(large(&number.to_string()))).collect();
    let small = second.produce([record("small")]);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(small.await.unwrap().base_offset, 4);
    assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn appends_over_the_buffer_wait_and_can_be_taken_back() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).buffer_memory(1000).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    let calls: Vec<_> =
        (0..6).map(|number| log.produce([record(format!("{number}{}", "x".repeat(400)))])).collect();
    // Two have a place; the rest has none, and a dropped one is not written.
    for (number, call) in calls.into_iter().enumerate() {
        if number == 4 {
            drop(call);
        } else {
            call.await.unwrap();
        }
    }
    let first_letters: Vec<_> =
        values(&read_all(&log).await).iter().map(|value| value[..1].to_owned()).collect();
    // Awaiting one after the other gave the fifth a place in the meantime: it is in, or it is not, but
    // order and number of all others hold.
    let others: Vec<_> = first_letters.iter().filter(|letter| *letter != "4").cloned().collect();
    assert_eq!(others, ["0", "1", "2", "3", "5"]);

    let calls: Vec<_> =
        (0..6).map(|number| log.produce([record(format!("{number}{}", "y".repeat(400)))])).collect();
    drop(calls);
    let last = log.produce([record("last")]).await.unwrap();
    let all = values(&read_all(&log).await);
    let second_round: Vec<_> =
        all.iter().filter(|value| value.ends_with('y')).map(|value| &value[..1]).collect();
    assert_eq!(second_round, ["0", "1"], "what had no place was written");
    assert_eq!(last.base_offset, all.len() as i64 - 1);
}
