//! How calls, clients and brokers come to an end, and what is said of the data then.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rskafka::client::OffsetAt;
use rskafka::client::env::Env;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::Fault;
use tokio::io::{AsyncReadExt, join, split};
use tokio::time::{Instant, timeout};

use super::common::record;
use super::kit::{TIMEOUT, TOPIC, builder, env, failure, fake, start};

#[test]
fn appends_in_line_end_with_the_runtime_of_the_client() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let (brokers, home, other) = (runtime(), runtime(), runtime());
    let cluster = brokers.block_on(fake().start()).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let log = home.block_on(async {
        let client = rskafka::client::Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
        client.partition_client(TOPIC, 0).await.unwrap()
    });
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let (first, second) = (log.produce([record("one")]), log.produce([record("two")]));
    brokers.block_on(cluster.requests_like(1, |request| request.api_key == ApiKey::PRODUCE));
    home.shutdown_timeout(Duration::from_secs(5));
    other.block_on(async {
        for (call, outcome) in [(first, Outcome::Unknown), (second, Outcome::NotWritten)] {
            let error = timeout(Duration::from_secs(5), call).await.expect("it ends").unwrap_err();
            assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Closed, outcome));
        }
        let late = timeout(Duration::from_secs(5), log.produce([record("three")])).await.expect("it ends");
        assert_eq!(late.unwrap_err().outcome(), Outcome::NotWritten);
    });
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_may_have_happened_is_never_called_undone() {
    // The topic is made, but the answer is lost or says that it took too long; then only refusals follow.
    let first =
        [Fault::close().after_applying(), Fault::answer(ErrorCode::REQUEST_TIMED_OUT).after_applying()];
    for first in first {
        let (cluster, client, _) = start(1).await;
        cluster.inject(first.on(ApiKey::CREATE_TOPICS));
        cluster.inject(Fault::answer(ErrorCode::NOT_CONTROLLER).on(ApiKey::CREATE_TOPICS).always());
        let error = failure(TIMEOUT, async { client.create_topic("second", 1, 1).await }).await;
        assert_eq!((error.outcome(), error.is_timeout()), (Outcome::Unknown, true), "{error}");
        assert!(cluster.topic_id("second").is_ok());
        cluster.clear_faults();
        cluster
            .inject(Fault::answer(ErrorCode::REQUEST_TIMED_OUT).after_applying().on(ApiKey::CREATE_TOPICS));
        client.create_topic("third", 1, 1).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_created_topic_that_may_not_be_looked_at_is_reported_at_once() {
    // In later versions, the fault stands at the answer and not at the topic.
    let cluster = fake().in_memory().advertise(ApiKey::METADATA, 1..=8).start().await.unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let refusal = Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).topic("second");
    cluster.inject(refusal.on(ApiKey::METADATA).always());
    let error = failure(Duration::ZERO, async { client.create_topic("second", 1, 1).await }).await;
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Broker(code), Outcome::Unknown), "{error}");
    assert!(!error.is_retriable() && !error.is_timeout() && cluster.topic_id("second").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_creation_waits_for_a_broker_that_restarts() {
    let (cluster, client, _) = start(1).await;
    cluster.stop_broker(1).await.unwrap();
    let creating = tokio::spawn({
        let client = client.clone();
        async move { client.create_topic("second", 1, 1).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.start_broker(1).await.unwrap();
    creating.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_ends_what_is_under_way_and_nothing_is_opened_again() {
    let (cluster, client, log) = start(1).await;
    let poll = tokio::spawn(async move { log.fetch_records(0, 1..1_000_000, 30_000).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    client.close().await;
    let error = poll.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed, "{error}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.open_connections(1).unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_slow_appends_that_have_a_place_in_line() {
    let (cluster, client, log) = start(1).await;
    cluster.inject(Fault::delay(Duration::from_millis(1_300)).on(ApiKey::PRODUCE).always());
    let calls = ["one", "two", "three"].map(|value| log.produce([record(value)]));
    let started = Instant::now();
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    // From now on no call is taken, though connections are open.
    for error in [
        log.produce([record("late")]).await.unwrap_err(),
        log.get_offset(OffsetAt::Latest).await.unwrap_err(),
        log.fetch_records(0, 1..1_000_000, 1).await.unwrap_err(),
        client.list_topics().await.unwrap_err(),
        client.create_topic("second", 1, 1).await.unwrap_err(),
        client.delete_topic(TOPIC).await.unwrap_err(),
        client.partition_client(TOPIC, 0).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Closed, Outcome::NotWritten), "{error}");
    }
    assert_eq!(started.elapsed().as_secs(), 1, "they fail at once");
    closing.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 3, "{:?}", started.elapsed());
    for (call, offset) in calls.into_iter().zip(0..) {
        let appended = timeout(Duration::ZERO, call).await.expect("close has waited for it").unwrap();
        assert_eq!(appended.base_offset, offset);
    }
    assert_eq!(cluster.log(TOPIC, 0).unwrap().values().unwrap(), ["one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn after_close_no_socket_is_open() {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    // Each stream holds it for as long as it lives.
    let held: Arc<[u8]> = Arc::from([]);
    let (holding, brokers) = (held.clone(), cluster.clone());
    let connector = move |host: String, port: u16| {
        let (holding, brokers) = (holding.clone(), brokers.clone());
        async move {
            let (read, write) = split(brokers.connect(&host, port).await?);
            Ok(join(read.chain(Cursor::new(holding)), write))
        }
    };
    let env = Env::builder().connector(connector).random_seed(1).build();
    let builder = rskafka::client::Client::builder(cluster.bootstrap_servers()).env(env);
    let others = Arc::strong_count(&held);
    for (is_used, open) in [(false, 1), (true, 3)] {
        let client = builder.clone().build().await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        if is_used {
            log.produce([record("one")]).await.unwrap();
            log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
        }
        assert_eq!(Arc::strong_count(&held), others + open);
        client.close().await;
        assert_eq!(Arc::strong_count(&held), others);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_pauses_between_two_attempts_ends_with_its_client() {
    let pause = Duration::from_secs(5);
    for api in [ApiKey::LIST_OFFSETS, ApiKey::METADATA] {
        let (cluster, _, _) = start(1).await;
        let client = builder(&cluster).backoff(pause, pause).build().await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::LIST_OFFSETS).always());
        cluster.inject(Fault::close().on(api).always());
        let call = tokio::spawn(async move { log.get_offset(OffsetAt::Latest).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let started = Instant::now();
        client.close().await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), started.elapsed()), (&ErrorKind::Closed, Duration::ZERO), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_a_broker_that_cannot_be_reached() {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let (is_gone, brokers) = (Arc::new(AtomicBool::new(false)), cluster.clone());
    let gone = is_gone.clone();
    let connector = move |host: String, port: u16| {
        let (gone, brokers) = (gone.clone(), brokers.clone());
        async move {
            if gone.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            brokers.connect(&host, port).await
        }
    };
    let env = Env::builder().connector(connector).random_seed(1).build();
    let client =
        rskafka::client::Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    is_gone.store(true, Ordering::Relaxed);
    cluster.cut_connections(1).unwrap();
    let calls = [log.clone(), log]
        .map(|log| tokio::spawn(async move { log.fetch_records(0, 1..1_000_000, 1).await }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    client.close().await;
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Closed, "{error}");
    }
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_broker_stalls_no_look_at_leaders_for_long() {
    let cluster = fake().brokers(3).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 3).unwrap();
    let client = rskafka::client::Client::builder(cluster.bootstrap_servers())
        .env(env(&cluster))
        .build()
        .await
        .unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();
    // Those that the client has a connection to, and so asks first.
    let requests = cluster.requests();
    let asked = requests.iter().filter(|request| request.api_key == ApiKey::METADATA);
    let asked: BTreeSet<i32> = asked.map(|request| request.broker).collect();
    assert!(asked.len() < 3);
    for broker in &asked {
        cluster.inject(Fault::swallow().on(ApiKey::METADATA).at_broker(*broker).always());
    }
    let started = Instant::now();
    client.partition_client(TOPIC, 0).await.unwrap();
    let stalled = started.elapsed();
    assert!(stalled >= Duration::from_secs(3) && stalled < Duration::from_secs(10), "{stalled:?}");
    log.produce([record("two")]).await.unwrap();
}
