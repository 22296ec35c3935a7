//! Peers that break off, fall silent or lie in the middle of a frame: the call concerned ends honestly and in
//! time, and no other connection notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::ApiKey;
use rskafka::protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rskafka_fake::{ByteFault, FakeCluster, Fault};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::common::{SLACK, read_all, record, values};
use super::kit::{
    DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, builder, env, failure, fake, start, start_plain,
};
use super::relay::{Asked, change, env_meddling};

/// A cluster, a client, a log whose connections are open, and a long poll on one of its own that goes on
/// meanwhile.
struct Stage {
    cluster: FakeCluster,
    client: Client,
    log: PartitionClient,
    poll: tokio::task::JoinHandle<usize>,
}

/// Longer than any call here.
const LONG_POLL: Duration = Duration::from_secs(30);

impl Stage {
    async fn new() -> Self {
        let (cluster, client, log) = start_plain(1).await;
        log.produce([record("first")]).await.unwrap();
        log.get_offset(OffsetAt::Latest).await.unwrap();
        let reader = client.partition_client(TOPIC, 0).await.unwrap();
        let poll = tokio::spawn(async move {
            let wait = LONG_POLL.as_millis() as i32;
            reader.fetch_records(0, 1_000_000..2_000_000, wait).await.unwrap().0.len()
        });
        cluster.requests_like(1, |request| request.api_key == ApiKey::FETCH).await;
        Self { cluster, client, log, poll }
    }

    /// Appends while something goes wrong with the connection; gives the error and the time it took.
    async fn fails(&self) -> (Error, Duration) {
        let started = Instant::now();
        let error = self.log.produce([record("struck")]).await.unwrap_err();
        (error, started.elapsed())
    }

    /// The log goes on, without what was not written, and nobody else has noticed anything.
    async fn goes_on(self, outcome: Outcome) {
        let Self { cluster, client, log, poll } = self;
        cluster.clear_faults();
        log.produce([record("next")]).await.unwrap();
        let all = values(&read_all(&log).await);
        let copies = all.iter().filter(|value| *value == "struck").count();
        assert!(copies <= usize::from(outcome == Outcome::Unknown), "{outcome:?}: {all:?}");
        assert_eq!((all.first().unwrap(), all.last().unwrap()), (&"first".to_owned(), &"next".to_owned()));
        client.list_topics().await.unwrap();
        let polls = |cluster: &FakeCluster| {
            let asked = cluster.requests().into_iter().filter(|request| request.api_key == ApiKey::FETCH);
            asked.map(|request| request.connection).min()
        };
        let connection = polls(&cluster).unwrap();
        assert_eq!(poll.await.unwrap(), all.len(), "the long poll");
        let asked = cluster.requests().into_iter().filter(|request| request.connection == connection);
        let fetches = asked.filter(|request| request.api_key == ApiKey::FETCH).count();
        assert_eq!(fetches, 1, "the long poll was asked again");
        let control: std::collections::BTreeSet<_> = cluster
            .requests()
            .iter()
            .filter(|request| request.api_key == ApiKey::LIST_OFFSETS)
            .map(|request| request.connection)
            .collect();
        assert_eq!(control.len(), 1, "the connection for all else was replaced");
    }
}

/// Bytes of a request or an answer; each has more than 50. A fault at byte 0 meets whichever connection
/// is the first to move.
const PLACES: [u64; 7] = [1, 3, 4, 9, 20, 40, 50];

#[tokio::test(start_paused = true)]
async fn a_reset_in_the_middle_of_a_request_leaves_the_outcome_unknown() {
    for place in PLACES {
        for fault in [ByteFault::reset(), ByteFault::cut()] {
            let stage = Stage::new().await;
            let id = stage.cluster.inject_bytes(fault.after_received(place));
            let (error, elapsed) = stage.fails().await;
            assert_eq!(stage.cluster.struck(id), 1, "at byte {place}");
            assert_eq!(
                (error.kind(), error.outcome()),
                (&ErrorKind::Connection, Outcome::Unknown),
                "{error:?}"
            );
            assert!(elapsed < SLACK, "{elapsed:?}");
            stage.goes_on(Outcome::Unknown).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_the_middle_of_an_answer_leaves_the_outcome_unknown() {
    for place in PLACES {
        let stage = Stage::new().await;
        let id = stage.cluster.inject_bytes(ByteFault::reset().after_sent(place));
        let (error, elapsed) = stage.fails().await;
        assert_eq!(stage.cluster.struck(id), 1, "at byte {place}");
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Connection, Outcome::Unknown), "{error:?}");
        assert!(elapsed < SLACK, "{elapsed:?}");
        stage.goes_on(Outcome::Unknown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_answers_end_their_connection_and_no_other() {
    let faults = [
        ("a wrong correlation id", Fault::wrong_correlation_id(7), ErrorKind::InvalidAnswer),
        (
            "the correlation id of the answer before",
            Fault::wrong_correlation_id(-1),
            ErrorKind::InvalidAnswer,
        ),
        ("bytes missing", Fault::shorten(5), ErrorKind::InvalidAnswer),
        ("cut off", Fault::cut_at(17), ErrorKind::Connection),
        ("no Kafka at all", Fault::raw(&b"HTTP/1.1 200 OK\r\n\r\n"[..]), ErrorKind::InvalidAnswer),
        ("a negative length", Fault::raw(&[0xff; 8][..]), ErrorKind::InvalidAnswer),
        ("a length beyond all limits", Fault::raw(&[0x7f, 0xff, 0xff, 0xff][..]), ErrorKind::InvalidAnswer),
    ];
    for (what, fault, kind) in faults {
        let stage = Stage::new().await;
        stage.cluster.inject(fault.on(ApiKey::PRODUCE));
        let (error, elapsed) = stage.fails().await;
        assert_eq!((error.kind(), error.outcome()), (&kind, Outcome::Unknown), "{what}: {error:?}");
        assert!(elapsed < SLACK, "{what}: {elapsed:?}");
        stage.goes_on(Outcome::Unknown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_freezes_is_given_up_in_time_at_any_byte() {
    for place in [1, 4, 50] {
        let stage = Stage::new().await;
        stage.cluster.inject_bytes(ByteFault::freeze().after_received(place));
        let (error, elapsed) = stage.fails().await;
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::Unknown), "{error:?}");
        assert!(elapsed >= REQUEST_TIMEOUT && elapsed <= REQUEST_TIMEOUT + SLACK, "{elapsed:?}");
        stage.goes_on(Outcome::Unknown).await;
    }
    for place in [1, 4, 50] {
        let stage = Stage::new().await;
        stage.cluster.inject_bytes(ByteFault::freeze().after_sent(place));
        let (error, elapsed) = stage.fails().await;
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::Unknown), "{error:?}");
        assert!(elapsed >= REQUEST_TIMEOUT && elapsed <= REQUEST_TIMEOUT + SLACK, "{elapsed:?}");
        stage.goes_on(Outcome::Unknown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_reading_holds_no_large_append_beyond_its_deadline() {
    // The pipe is full long before the request is out.
    let cluster = fake().in_memory().pipe_bytes(4096).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    cluster.inject_bytes(ByteFault::freeze().after_received(1000));
    let error = failure(REQUEST_TIMEOUT, log.produce([record(vec![b'x'; 100_000])])).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::Unknown, true));
    cluster.clear_faults();
    log.produce([record("next")]).await.unwrap();
    assert_eq!(values(&read_all(&log).await), ["first", "next"]);
}

#[tokio::test(start_paused = true)]
async fn one_byte_a_second_each_way_holds_no_call_beyond_its_deadline() {
    for fault in [ByteFault::slow(1).after_received(1), ByteFault::slow(1).after_sent(1)] {
        let stage = Stage::new().await;
        stage.cluster.inject_bytes(fault);
        let (error, elapsed) = stage.fails().await;
        assert_eq!((error.outcome(), error.is_timeout()), (Outcome::Unknown, true), "{error:?}");
        assert!(elapsed >= REQUEST_TIMEOUT && elapsed <= REQUEST_TIMEOUT + SLACK, "{elapsed:?}");
        stage.goes_on(Outcome::Unknown).await;
    }
    // From the first byte of every connection on, also the whole of building a client ends in time.
    let (cluster, ..) = start(1).await;
    for fault in [ByteFault::slow(1).after_received(0), ByteFault::slow(1).after_sent(0)] {
        cluster.inject_bytes(fault.always());
        let error = failure(TIMEOUT, builder(&cluster).build()).await;
        assert!(error.is_timeout(), "{error:?}");
        cluster.clear_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn a_swallowed_request_is_noticed_and_its_connection_replaced() {
    let stage = Stage::new().await;
    stage.cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let (error, elapsed) = stage.fails().await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::Unknown));
    assert!(elapsed <= REQUEST_TIMEOUT + SLACK, "{elapsed:?}");
    let before = stage.client.stats().brokers[0].stats.reconnects;
    stage.log.produce([record("over another connection")]).await.unwrap();
    assert_eq!(stage.client.stats().brokers[0].stats.reconnects, before + 1);
    stage.goes_on(Outcome::Unknown).await;
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_anywhere_is_never_a_wrong_answer() {
    let mut silences = 0;
    for place in (0..54).step_by(2) {
        let stage = Stage::new().await;
        stage.cluster.inject_bytes(ByteFault::flip(0x40).after_sent(place));
        // TCP or TLS would have noticed; what they let through may still be an answer.
        let result = stage.log.produce([record("struck")]).await;
        if let Err(error) = &result {
            assert_eq!(error.outcome(), Outcome::Unknown, "at byte {place}: {error:?}");
        } else if let Err(error) = stage.log.produce([record("after it")]).await {
            // It has made a throttle time of hours, which is believed as any other.
            let said = (error.kind(), error.outcome());
            assert_eq!(said, (&ErrorKind::Throttled, Outcome::NotWritten), "at byte {place}: {error:?}");
            silences += 1;
            continue;
        }
        stage.goes_on(Outcome::Unknown).await;
    }
    assert!(silences <= 2, "the throttle time has four bytes");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_steps_by_hours_moves_no_timeout() {
    let (cluster, _, _) = start(1).await;
    let steps = Arc::new(AtomicI64::new(0));
    let clock = steps.clone();
    let dialed = cluster.clone();
    let connector = move |host: String, port: u16| {
        let cluster = dialed.clone();
        async move { cluster.connect(&host, port).await }
    };
    let hours = move || {
        // An hour ahead, two hours back, three ahead, …
        let step = clock.fetch_add(1, Ordering::Relaxed);
        let hours = if step % 2 == 0 { step + 1 } else { -step - 1 };
        OffsetDateTime::UNIX_EPOCH + time::Duration::hours(400_000 + hours)
    };
    let env = rskafka::client::env::Env::builder().connector(connector).wall_clock(hours).build();
    let client = builder(&cluster).env(env).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    for _ in 0..3 {
        log.produce([record("kept")]).await.unwrap();
        cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
        let started = Instant::now();
        let error = log.produce([record("lost")]).await.unwrap_err();
        assert!(error.is_timeout());
        assert!(started.elapsed() >= REQUEST_TIMEOUT && started.elapsed() <= REQUEST_TIMEOUT + SLACK);
        cluster.inject(
            Fault::answer(rskafka::protocol::ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE).always(),
        );
        let error = failure(DELIVERY_TIMEOUT, log.produce([record("refused")])).await;
        assert_eq!(error.outcome(), Outcome::NotWritten);
        cluster.clear_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn versions_told_in_the_oldest_form_with_unknown_and_empty_ranges_are_understood() {
    // Answers in version 0, whatever it is asked in.
    let old = fake().in_memory().advertise(ApiKey::API_VERSIONS, 0..=0).start().await.unwrap();
    old.create_topic(TOPIC, 1, 1).unwrap();
    let client = builder(&old).env(env(&old)).build().await.unwrap();
    client.partition_client(TOPIC, 0).await.unwrap().produce([record("one")]).await.unwrap();

    let strange = |asked: &Asked, frame: Bytes| {
        if asked.api != ApiKey::API_VERSIONS {
            return frame;
        }
        change(asked, &frame, |answer: &mut ApiVersionsResponse| {
            for (api_key, min_version, max_version) in [(31_000, 0, 7), (-5, 0, 0), (44, 3, 1), (61, 9, -9)] {
                answer.api_keys.push(ApiVersion { api_key, min_version, max_version });
            }
        })
    };
    let (cluster, ..) = start(1).await;
    let client = builder(&cluster).env(env_meddling(&cluster, strange).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();
    assert_eq!(values(&read_all(&log).await), ["one"]);

    // Without a common version of what is asked, the error says so at once.
    let empty = |asked: &Asked, frame: Bytes| {
        if asked.api != ApiKey::API_VERSIONS {
            return frame;
        }
        change(asked, &frame, |answer: &mut ApiVersionsResponse| {
            let produce = answer.api_keys.iter_mut().find(|api| api.api_key == ApiKey::PRODUCE.0).unwrap();
            (produce.min_version, produce.max_version) = (9, 3);
        })
    };
    let client = builder(&cluster).env(env_meddling(&cluster, empty).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    let error = failure(SLACK, log.produce([record("never")])).await;
    assert_eq!((error.outcome(), error.is_retriable()), (Outcome::NotWritten, false), "{error:?}");
}
