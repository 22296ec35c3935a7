//! The table of outcomes, row by row: what the documentation says is provoked, and looked up in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use rskafka::client::env::Env;
use rskafka::client::error::{Error, ErrorClass, ErrorKind, Outcome};
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::client::{Client, ClientBuilder, OffsetAt, PartitionClient, Produce};
use rskafka::protocol::messages::metadata::MetadataResponse;
use rskafka::protocol::messages::produce::ProduceResponse;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::wal::Position;
use rskafka_fake::{FakeCluster, Fault, Profile};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::batching::{Joined, When};
use super::common::{exclusive, record};
use super::kit::{REQUEST_TIMEOUT, TIMEOUT, TOPIC, builder, fake, has_topic_ids, profile, start_plain};
use super::relay::{Asked, change, env_meddling};

const DOCUMENT: &str = include_str!("../../../../docs/outcomes.md");

/// A row of one of the document's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    what: String,
    outcome: Outcome,
    is_retriable: bool,
    /// Of a row without an answer: the kinds of errors that it makes.
    kinds: Vec<String>,
}

/// The rows of the table below a heading; without those that stand for many.
fn rows(heading: &str) -> Vec<Row> {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let rows = lines.filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let is_retriable = match cells[3] {
            "yes" => true,
            "no" => false,
            _ => return None,
        };
        let outcome = match cells[2] {
            "`NotWritten`" => Outcome::NotWritten,
            "`Unknown`" => Outcome::Unknown,
            other => panic!("{other}"),
        };
        let kinds = cells[4].split(", ").map(|kind| kind.trim_matches('`').to_owned()).collect();
        Some(Row { what: cells[1].to_owned(), outcome, is_retriable, kinds })
    });
    rows.collect()
}

fn said(error: &Error) -> (Outcome, bool) {
    (error.outcome(), error.is_retriable())
}

fn kind(error: &Error) -> String {
    format!("{:?}", error.kind()).split(['(', ' ']).next().unwrap().to_owned()
}

/// The class says no more and no less than outcome and retriable; what is refused for good, the kind tells.
fn check_class(error: &Error) {
    let is_final = matches!(
        error.kind(),
        ErrorKind::TopicRecreated
            | ErrorKind::LogTruncated { .. }
            | ErrorKind::Fenced { .. }
            | ErrorKind::LogDamaged { .. }
            | ErrorKind::Authentication
            | ErrorKind::Closed
            | ErrorKind::ProducerClosed
    );
    let class = match said(error) {
        (Outcome::Unknown, _) => ErrorClass::InDoubt,
        (Outcome::NotWritten, true) => ErrorClass::Retry,
        (Outcome::NotWritten, false) if is_final => ErrorClass::Fatal,
        (Outcome::NotWritten, false) => ErrorClass::Refused,
    };
    assert_eq!(error.class(), class, "{error:?}");
}

fn appends(cluster: &FakeCluster) -> usize {
    cluster.requests().iter().filter(|request| request.api_key == ApiKey::PRODUCE).count()
}

fn stored(cluster: &FakeCluster) -> Vec<String> {
    let values = cluster.log(TOPIC, 0).unwrap().values().unwrap();
    values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_code_of_the_table_is_as_it_says() {
    let rows = rows("The broker answered with a code");
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let name = row.what.split(' ').next().unwrap();
        let code = *ErrorCode::ALL.iter().find(|code| code.name() == Some(name)).unwrap();
        // A broker that answers a code of the first kind has not appended; of the second, it may have.
        for applied in [false, true] {
            if applied && row.outcome == Outcome::NotWritten {
                continue;
            }
            let (cluster, _, log) = start_plain(1).await;
            let fault = Fault::answer(code).on(ApiKey::PRODUCE).always();
            cluster.inject(if applied { fault.after_applying() } else { fault });
            let error = log.produce([record("the one")]).await.unwrap_err();
            assert_eq!(said(&error), (row.outcome, row.is_retriable), "{row:?}: {error:?}");
            assert_eq!(error.code(), Some(code));
            check_class(&error);
            let is_sent_again = row.outcome == Outcome::NotWritten && row.is_retriable;
            assert_eq!(error.is_timeout(), is_sent_again, "{row:?}: {error:?}");
            assert_eq!(appends(&cluster) > 1, is_sent_again, "{row:?}");
            assert_eq!(stored(&cluster).len(), usize::from(applied));
            // The next one is none the worse for it.
            cluster.clear_faults();
            log.produce([record("next")]).await.unwrap();
            assert_eq!(stored(&cluster).last().unwrap(), "next");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_the_table_does_not_have_is_unknown() {
    for code in [ErrorCode(31_000), ErrorCode::FENCED_LEADER_EPOCH, ErrorCode::THROTTLING_QUOTA_EXCEEDED] {
        let (cluster, _, log) = start_plain(1).await;
        cluster.inject(Fault::answer(code).after_applying().on(ApiKey::PRODUCE));
        let error = log.produce([record("the one")]).await.unwrap_err();
        assert_eq!(said(&error), (Outcome::Unknown, code.is_retriable()));
        assert_eq!((appends(&cluster), stored(&cluster).len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn success_without_an_offset_is_no_success() {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let meddle = |asked: &Asked, frame: Bytes| {
        if asked.api != ApiKey::PRODUCE {
            return frame;
        }
        change(asked, &frame, |answer: &mut ProduceResponse| {
            answer.responses[0].partition_responses[0].base_offset = -1;
        })
    };
    let client = with(&cluster, env_meddling(&cluster, meddle).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    let error = log.produce([record("the one")]).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::InvalidAnswer, Outcome::Unknown), "{error:?}");
    assert_eq!((appends(&cluster), stored(&cluster).len()), (1, 1), "it is not sent again");
}

#[tokio::test(start_paused = true)]
async fn a_code_that_a_broker_answered_is_told_by_every_call() {
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let (cluster, client, log) = start_plain(1).await;
    log.get_offset(OffsetAt::Latest).await.unwrap();
    for api in [ApiKey::LIST_OFFSETS, ApiKey::FETCH, ApiKey::PRODUCE] {
        cluster.inject(Fault::answer(code).on(api).topic(TOPIC).always());
    }
    let refused = [
        log.get_offset(OffsetAt::Latest).await.unwrap_err(),
        log.fetch(0).await.unwrap_err(),
        log.produce([record("the one")]).await.unwrap_err(),
    ];
    assert_eq!(refused.map(|error| error.code()), [Some(code); 3]);
    cluster.clear_faults();
    cluster.inject(Fault::answer(code).on(ApiKey::METADATA).always());
    let created = client.create_topic("second", 1, 1).await.unwrap_err();
    assert_eq!((created.code(), created.outcome()), (Some(code), Outcome::Unknown), "{created:?}");
    let opened = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap_err();
    assert_eq!(opened.code(), Some(code), "{opened:?}");
    if has_topic_ids() {
        let looked_at = log.get_offset(OffsetAt::Latest).await.unwrap_err();
        assert_eq!(looked_at.code(), Some(code), "{looked_at:?}");
        cluster.clear_faults();
        let cluster_of_log = cluster.clone();
        cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::LIST_OFFSETS));
        let asking = tokio::spawn(async move { log.get_offset(OffsetAt::Latest).await });
        sleep(Duration::from_millis(500)).await;
        cluster_of_log.delete_topic(TOPIC).unwrap();
        let gone = asking.await.unwrap().unwrap_err();
        assert_eq!(gone.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{gone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_produce_that_is_polled_after_its_end_panics_as_other_futures_do() {
    let (_, _, log) = start_plain(1).await;
    let endings: [Produce; 2] = [log.produce::<(), (), ()>([]), log.produce([record("the one")])];
    for mut produce in endings {
        let _ = (&mut produce).await;
        let again = tokio::spawn(produce).await;
        assert!(again.unwrap_err().is_panic());
    }
}

/// What came of a provoked ending: the error, or nothing where the client has made the call good itself.
type Ended = (FakeCluster, Option<Error>);

#[tokio::test(start_paused = true)]
async fn every_ending_of_the_table_is_as_it_says() {
    let rows = rows("There was no answer");
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        if row.what == RECREATED && !has_topic_ids() {
            assert_eq!(written_to_the_new_topic().await, ["the one"]);
            continue;
        }
        let (cluster, error) = provoke(&row.what).await;
        match error {
            Some(error) => {
                assert_eq!(said(&error), (row.outcome, row.is_retriable), "{row:?}: {error:?}");
                let known = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::OFFSET_OUT_OF_RANGE];
                assert_eq!(error.code().filter(|code| !known.contains(code)), None);
                assert!(row.kinds.contains(&kind(&error)), "{row:?}: {error:?}");
                check_class(&error);
            }
            None => assert_eq!((row.outcome, row.is_retriable), (Outcome::NotWritten, true), "{row:?}"),
        }
        if row.outcome == Outcome::NotWritten && cluster.topic_id(TOPIC).is_ok() {
            assert!(!stored(&cluster).contains(&"the one".to_owned()), "{row:?}: it is in the log");
        }
    }
}

const RECREATED: &str = "the topic was deleted and created again";

/// Where topics have names only, nobody can tell.
async fn written_to_the_new_topic() -> Vec<String> {
    let (cluster, _, log) = start_plain(1).await;
    cluster.delete_topic(TOPIC).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    log.produce([record("the one")]).await.unwrap();
    stored(&cluster)
}

async fn the_one(log: &PartitionClient) -> Option<Error> {
    Some(log.produce([record("the one")]).await.unwrap_err())
}

async fn provoke(what: &str) -> Ended {
    match what {
        "an argument is invalid" => {
            let (cluster, _, log) = start_plain(1).await;
            (cluster, Some(log.produce::<(), (), ()>([]).await.unwrap_err()))
        }
        "the client was closed before it was sent" => {
            let (cluster, client, log) = start_plain(1).await;
            client.close().await;
            (cluster, the_one(&log).await)
        }
        "the batch producer was closed before it was sent" => {
            let (cluster, _, log) = start_plain(1).await;
            let producer = BatchProducer::builder(log).build(RecordAggregator::new(1_000));
            assert!(producer.close(TIMEOUT).await.is_empty());
            (cluster, Some(producer.produce(record("the one")).await.unwrap_err()))
        }
        "the aggregator failed or panicked before its batch was sent" => joined(When::Flush).await,
        "the batch was written, and its aggregator failed to give the output" => joined(When::Output).await,
        "it waited in line until the deadline" => waited_in_line().await,
        "a batch is larger than `max_request_bytes`" => {
            let (cluster, client, _) = start_plain(1).await;
            let log = client.partition_client(TOPIC, 0).max_request_bytes(70).await.unwrap();
            (cluster, the_one(&log).await)
        }
        "an append before it failed, with `stop_on_failure`" => {
            let (cluster, client, _) = start_plain(1).await;
            let log = client.partition_client(TOPIC, 0).stop_on_failure(true).await.unwrap();
            cluster.inject(Fault::answer(ErrorCode::MESSAGE_TOO_LARGE).on(ApiKey::PRODUCE));
            log.produce([record("first")]).await.unwrap_err();
            (cluster, the_one(&log).await)
        }
        "records that were acknowledged or read are lost" => {
            let (cluster, client, _) = start_plain(1).await;
            let log = client.partition_client(TOPIC, 0).await.unwrap();
            log.produce([record("first")]).await.unwrap();
            cluster.truncate(TOPIC, 0, 0).unwrap();
            cluster.cut_connections(1).unwrap();
            log.produce([record("second")]).await.unwrap_err();
            (cluster, the_one(&log).await)
        }
        "metadata has no such topic or partition" => {
            let (cluster, _, log) = start_plain(1).await;
            cluster.delete_topic(TOPIC).unwrap();
            // The first one's broker tells that it does not know.
            log.produce([record("first")]).await.unwrap_err();
            (cluster, the_one(&log).await)
        }
        RECREATED => {
            let (cluster, _, log) = start_plain(1).await;
            cluster.delete_topic(TOPIC).unwrap();
            cluster.create_topic(TOPIC, 1, 1).unwrap();
            if profile() != Profile::Kafka4_4 {
                // Appends name the topic: it takes a look at metadata to see that it is another one.
                cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::PRODUCE));
            }
            log.produce([record("first")]).await.unwrap_err();
            (cluster, the_one(&log).await)
        }
        "the partition has no leader" => no_leader().await,
        "no connection, or no metadata, for a reason that may pass" => {
            let (cluster, _, log) = start_plain(1).await;
            cluster.stop_broker(1).await.unwrap();
            let error = the_one(&log).await;
            cluster.start_broker(1).await.unwrap();
            (cluster, error)
        }
        "no connection, or no metadata, for a reason that retrying will not fix: TLS, credentials, rights" => {
            no_kafka().await
        }
        "no version that the broker supports can carry the request" => {
            let cluster = fake().in_memory().without(ApiKey::PRODUCE).start().await.unwrap();
            cluster.create_topic(TOPIC, 1, 1).unwrap();
            let client = builder(&cluster).build().await.unwrap();
            let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
            (cluster, the_one(&log).await)
        }
        "the broker throttles the client until after the deadline" => throttled().await,
        "the time ran out before a byte was sent" => timed_out_unsent().await,
        "the connection ended before a byte was sent" => ended_unsent().await,
        "it was sent, and not answered in time" => struck(Fault::swallow()).await,
        "it was sent, and the connection ended before the answer" => struck(Fault::close()).await,
        "it was sent, and the answer is invalid" => struck(Fault::shorten(3)).await,
        "it was sent, and the client's runtime ended" => runtime_gone(),
        "the offset to read from is not in the log" => {
            let (cluster, _, log) = start_plain(1).await;
            let error = log.fetch(5).await.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
            (cluster, Some(error))
        }
        "the position to read from is of another log" => {
            let (cluster, client, log) = start_plain(1).await;
            cluster.create_topic("other", 2, 1).unwrap();
            let other = client.partition_client("other", 1).await.unwrap();
            let position = other.fetch(0).await.unwrap().next();
            (cluster, Some(log.fetch_at(position).await.unwrap_err()))
        }
        "a batch in the log cannot be read" => {
            let (cluster, _, log) = start_plain(1).await;
            log.produce([record("good, but the reader sees it otherwise")]).await.unwrap();
            cluster.inject(Fault::flip(140, 1).on(ApiKey::FETCH));
            (cluster, Some(log.fetch(0).await.unwrap_err()))
        }
        "another writer has claimed the exclusive log" => {
            let (cluster, client, _) = start_plain(1).await;
            let log = exclusive::wal(&client, TOPIC).await;
            let (first, _) = exclusive::claim(&log, Position::START, "first").await;
            let _second = exclusive::claim(&log, Position::START, "second").await;
            first.append([record("late")]).await.unwrap_err();
            (cluster, first.append([record("the one")]).await.err())
        }
        "a batch of an exclusive log cannot be judged" => {
            let (cluster, client, log) = start_plain(1).await;
            log.produce([record("").with_headers(vec![("rskafka.wal", "")])]).await.unwrap();
            let log = client.wal(TOPIC, 0).await.unwrap();
            (cluster, log.read(Position::START).build().try_next().await.err())
        }
        "the topic's settings cannot keep what an exclusive log promises" => {
            let (cluster, client, _) = start_plain(1).await;
            (cluster, client.wal(TOPIC, 0).await.unwrap().claim(Position::START, "").await.err())
        }
        other => panic!("nothing provokes this row: {other}"),
    }
}

/// An aggregator that fails.
async fn joined(when: When) -> Ended {
    let (cluster, _, log) = start_plain(1).await;
    let producer = BatchProducer::builder(log).build(Joined::default());
    (cluster, Some(producer.produce(("the one", when, false)).await.unwrap_err()))
}

/// An append whose answer goes wrong.
async fn struck(fault: Fault) -> Ended {
    let (cluster, _, log) = start_plain(1).await;
    cluster.inject(fault.on(ApiKey::PRODUCE));
    let error = the_one(&log).await;
    assert_eq!(appends(&cluster), 1, "it is not sent again");
    (cluster, error)
}

/// One append takes all the time of those behind it.
async fn waited_in_line() -> Ended {
    let (cluster, _, _) = start_plain(1).await;
    let client = builder(&cluster).request_timeout(TIMEOUT * 2).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let (first, second) = (log.produce([record("first")]), log.produce([record("the one")]));
    assert_eq!(first.await.unwrap_err().outcome(), Outcome::Unknown);
    let error = second.await.unwrap_err();
    assert!(error.is_timeout());
    (cluster, Some(error))
}

async fn no_leader() -> Ended {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let is_led = Arc::new(AtomicBool::new(true));
    let led = is_led.clone();
    let meddle = move |asked: &Asked, frame: Bytes| {
        if asked.api != ApiKey::METADATA || led.load(Ordering::Relaxed) {
            return frame;
        }
        change(asked, &frame, |answer: &mut MetadataResponse| {
            let partitions = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.leader_id = -1);
        })
    };
    let client = with(&cluster, env_meddling(&cluster, meddle).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    is_led.store(false, Ordering::Relaxed);
    // Makes the client ask who leads before the next one.
    cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::PRODUCE));
    log.produce([record("first")]).await.unwrap_err();
    (cluster, the_one(&log).await)
}

fn with(cluster: &FakeCluster, env: Env) -> ClientBuilder {
    builder(cluster).env(env)
}

/// The leader's address leads to something that is no broker.
async fn no_kafka() -> Ended {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let is_gone = Arc::new(AtomicBool::new(false));
    let (dialed, gone) = (cluster.clone(), is_gone.clone());
    let connector = move |host: String, port: u16| {
        let (cluster, is_gone) = (dialed.clone(), gone.load(Ordering::Relaxed));
        async move {
            if !is_gone {
                return cluster.connect(&host, port).await;
            }
            let (ours, mut theirs) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let _ = theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                sleep(TIMEOUT).await;
            });
            Ok(ours)
        }
    };
    let env = Env::builder().connector(connector).build();
    let client = with(&cluster, env).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    is_gone.store(true, Ordering::Relaxed);
    (cluster, the_one(&log).await)
}

async fn throttled() -> Ended {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let meddle = |asked: &Asked, frame: Bytes| {
        if asked.api != ApiKey::PRODUCE {
            return frame;
        }
        change(asked, &frame, |answer: &mut ProduceResponse| answer.throttle_time_ms = 3_600_000)
    };
    let client = with(&cluster, env_meddling(&cluster, meddle).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    (cluster, the_one(&log).await)
}

/// Two writers on one connection that has room for one request.
async fn two_on_one(timeout: Duration) -> (FakeCluster, Client, [PartitionClient; 2]) {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let client = builder(&cluster)
        .share_produce_connections()
        .max_in_flight_bytes(1)
        .request_timeout(timeout)
        .build()
        .await
        .unwrap();
    let logs = [
        client.partition_client(TOPIC, 0).idempotence(false).await.unwrap(),
        client.partition_client(TOPIC, 0).idempotence(false).await.unwrap(),
    ];
    (cluster, client, logs)
}

/// The request waits for room behind another, made later, that holds it until after the deadline.
async fn timed_out_unsent() -> Ended {
    let (cluster, _client, [log, other]) = two_on_one(TIMEOUT * 2).await;
    cluster.inject(Fault::delay(Duration::from_secs(6)).on(ApiKey::PRODUCE));
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let (before, the_one) = (log.produce([record("before")]), log.produce([record("the one")]));
    sleep(Duration::from_secs(5)).await;
    let hog = other.produce([record("hog")]);
    before.await.unwrap();
    let error = the_one.await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(hog.await.unwrap_err().outcome(), Outcome::Unknown);
    (cluster, Some(error))
}

/// The request waits for room behind another that takes the connection down.
async fn ended_unsent() -> Ended {
    let (cluster, _client, [log, other]) = two_on_one(REQUEST_TIMEOUT).await;
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let hog = other.produce([record("hog")]);
    sleep(Duration::from_secs(1)).await;
    let waiting = log.produce([record("the other one")]);
    assert_eq!(hog.await.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(waiting.await.unwrap().base_offset, 0);
    assert_eq!(stored(&cluster), ["the other one"], "once");
    (cluster, None)
}

/// On threads of its own, because runtimes cannot be ended from within one.
fn runtime_gone() -> Ended {
    let provoking = || {
        let runtime =
            || tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
        let (brokers, home) = (runtime(), runtime());
        let cluster = brokers.block_on(fake().start()).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let log = home.block_on(async {
            let client = Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
            client.partition_client(TOPIC, 0).idempotence(false).await.unwrap()
        });
        cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
        let call = log.produce([record("the one")]);
        brokers.block_on(cluster.requests_like(1, |request| request.api_key == ApiKey::PRODUCE));
        home.shutdown_timeout(Duration::from_secs(5));
        let error = brokers.block_on(call).unwrap_err();
        (cluster, Some(error))
    };
    std::thread::spawn(provoking).join().unwrap()
}
