//! SASL sessions that end while the client works: connections are replaced before, and no call notices.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, OauthToken, OffsetAt, PartitionClient, Sasl};
use rskafka_fake::FakeCluster;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::common::{read_all, record, values};
use super::guard::Guard;
use super::kit::{DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, assert_says, failure, fake, hang_ups};

/// As long as a request to a slow token server.
const A_TOKEN_TAKES: Duration = Duration::from_millis(200);

/// Gives a new token each time, unless it is told to fail.
#[derive(Clone, Default)]
struct Tokens {
    guard: Guard,
    given: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl Tokens {
    fn sasl(&self) -> Sasl {
        let tokens = self.clone();
        Sasl::oauth_bearer(move || {
            let tokens = tokens.clone();
            async move {
                sleep(A_TOKEN_TAKES).await;
                if tokens.fails.load(Ordering::Relaxed) {
                    tokens.failed.fetch_add(1, Ordering::Relaxed);
                    return Err(io::Error::other("the token server is down"));
                }
                let token = format!("token-{}", tokens.given.fetch_add(1, Ordering::Relaxed));
                tokens.guard.state().tokens.push(token.clone());
                Ok(OauthToken::new(token))
            }
        })
    }
}

/// A guarded cluster with a topic, and a client that the guard lets in for `lifetime`.
async fn start(lifetime: Duration) -> (FakeCluster, Client, PartitionClient, Tokens) {
    let cluster = fake().brokers(2).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 2).unwrap();
    let tokens = Tokens::default();
    tokens.guard.state().lifetime = lifetime;
    // A clock that steps by an hour each time it is looked at: nothing waits by it.
    let clock = AtomicI64::new(1_700_000_000);
    let wall_clock =
        move || OffsetDateTime::from_unix_timestamp(clock.fetch_add(3600, Ordering::Relaxed)).unwrap();
    let client = Client::builder(cluster.bootstrap_servers())
        .env(tokens.guard.env(&cluster).wall_clock(wall_clock).build())
        .sasl(tokens.sasl())
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .api_timeout(TIMEOUT)
        .build()
        .await
        .unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    (cluster, client, log, tokens)
}

/// Appends, reads and asks without a pause of more than a moment; gives what was appended. Panics if a call
/// fails.
async fn load(client: &Client, [log, tail]: [&PartitionClient; 2], time: Duration) -> Vec<String> {
    let until = Instant::now() + time;
    let appending = async {
        let (mut appended, mut slowest) = (Vec::new(), Duration::ZERO);
        while Instant::now() < until {
            let values: Vec<_> = (0..3).map(|n| (appended.len() + n).to_string()).collect();
            let calls: Vec<_> = values.iter().map(|value| log.produce([record(value.as_str())])).collect();
            let started = Instant::now();
            for call in calls {
                call.await.unwrap();
            }
            slowest = slowest.max(started.elapsed());
            appended.extend(values);
            sleep(Duration::from_millis(47)).await;
        }
        assert!(slowest < A_TOKEN_TAKES, "a call waited {slowest:?} for a session");
        appended
    };
    let reading = async {
        let mut next = 0;
        while Instant::now() < until {
            let (records, _) = log.fetch_records(next, 1..1_000_000, 500).await.unwrap();
            next += records.len() as i64;
        }
    };
    let polling = async {
        while Instant::now() < until {
            // In flight across the end of a session.
            let end = tail.get_offset(OffsetAt::Latest).await.unwrap().offset;
            tail.fetch_records(end, 1_000_000..2_000_000, 2_500).await.unwrap();
        }
    };
    let asking = async {
        while Instant::now() < until {
            log.get_offset(OffsetAt::Latest).await.unwrap();
            client.list_topics().await.unwrap();
            sleep(Duration::from_millis(31)).await;
        }
    };
    tokio::join!(appending, reading, polling, asking).0
}

#[tokio::test(start_paused = true)]
async fn sessions_end_under_load_without_a_failed_call_or_a_late_request() {
    let lifetime = Duration::from_secs(5);
    let (_cluster, client, log, tokens) = start(lifetime).await;
    let tail = client.partition_client(TOPIC, 0).await.unwrap();
    let appended = load(&client, [&log, &tail], Duration::from_secs(60)).await;
    let (let_in, open) = {
        let state = tokens.guard.state();
        assert_eq!(state.late, [], "sent when the session was over");
        (state.let_in, state.open)
    };
    println!("{let_in} sessions for {} appends, {open} open at the end", appended.len());
    // Each of the lanes in use is renewed every 4 to 4.75 s.
    assert!((4 * 12..=8 * 15).contains(&let_in), "{let_in}");
    assert!(open <= 10, "{open} connections are open");
    assert_eq!(tokens.given.load(Ordering::Relaxed), let_in, "a token for each session");
    let all = values(&read_all(&log).await);
    assert_eq!((&*all[0], &all[1..]), ("first", &*appended));
}

#[tokio::test(start_paused = true)]
async fn a_token_callback_that_fails_for_a_while_before_the_end_fails_no_call() {
    let started = Instant::now();
    let (_cluster, client, log, tokens) = start(Duration::from_secs(60)).await;
    let tail = client.partition_client(TOPIC, 0).await.unwrap();
    load(&client, [&log, &tail], Duration::from_secs(3)).await;
    // Due from 48 to 54 s on, and over after 57 s.
    sleep_until(started + Duration::from_secs(46)).await;
    let before = tokens.guard.state().let_in;
    tokens.fails.store(true, Ordering::Relaxed);
    load(&client, [&log, &tail], Duration::from_secs(8)).await;
    let failed = tokens.failed.load(Ordering::Relaxed);
    println!("{failed} attempts failed");
    assert!((4..=30).contains(&failed), "asked again, after a pause each: {failed}");
    assert_eq!(tokens.guard.state().let_in, before);
    tokens.fails.store(false, Ordering::Relaxed);
    load(&client, [&log, &tail], Duration::from_secs(10)).await;
    let state = tokens.guard.state();
    assert!(state.let_in > before);
    assert_eq!(state.late, []);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_no_new_connection_for_a_while_before_the_end_fails_no_call() {
    let started = Instant::now();
    let (_cluster, client, log, tokens) = start(Duration::from_secs(60)).await;
    let tail = client.partition_client(TOPIC, 0).await.unwrap();
    load(&client, [&log, &tail], Duration::from_secs(3)).await;
    // Due from 48 to 54 s on, and over after 57 s.
    sleep_until(started + Duration::from_secs(46)).await;
    tokens.guard.state().is_shut = true;
    let before = tokens.guard.state().dialled;
    load(&client, [&log, &tail], Duration::from_secs(8)).await;
    let dialled = tokens.guard.state().dialled - before;
    assert!((4..=30).contains(&dialled), "tried again, after a pause each: {dialled}");
    tokens.guard.state().is_shut = false;
    load(&client, [&log, &tail], Duration::from_secs(10)).await;
    assert_eq!(tokens.guard.state().late, []);
}

/// Lines that this thread logs.
#[tokio::test(start_paused = true)]
async fn a_token_callback_that_fails_beyond_the_end_is_the_error_of_the_calls_until_it_works_again() {
    let (_cluster, client, log, tokens) = start(Duration::from_secs(10)).await;
    tokens.fails.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(10)).await;
    let error = failure(Duration::from_secs(1), log.produce([record("lost")])).await;
    assert_eq!(error.kind(), &ErrorKind::Authentication);
    assert_eq!(error.outcome(), Outcome::NotWritten);
    assert!(!error.is_timeout());
    assert_says(&error, &["broker-", "authentication failed", "the token server is down"]);
    let error = failure(Duration::from_secs(1), client.list_topics()).await;
    assert_eq!(error.kind(), &ErrorKind::Authentication);

    tokens.fails.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(1)).await;
    log.produce([record("after")]).await.unwrap();
    assert_eq!(values(&read_all(&log).await), ["first", "after"]);
    assert_eq!(tokens.guard.state().late, []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_let_in_fails_at_once_and_does_not_try_again() {
    let cluster = fake().brokers(3).in_memory().start().await.unwrap();
    let guard = Guard::default();
    let sasl = Sasl::oauth_bearer(async || Ok::<_, io::Error>(OauthToken::new("a-f0rged-token")));
    let building = Client::builder(cluster.bootstrap_servers())
        .env(guard.env(&cluster).build())
        .sasl(sasl)
        .api_timeout(TIMEOUT)
        .build();
    let error = failure(Duration::from_secs(1), async { building.await.map(|_| ()) }).await;
    assert_eq!(error.kind(), &ErrorKind::Authentication);
    assert!(!error.is_retriable() && !error.is_timeout());
    assert_says(&error, &["authentication failed", "no such token", "OAUTHBEARER"]);
    assert!(!format!("{error:?}{error}").contains("a-f0rged-token"));
    assert!(guard.state().dialled <= 3 * (1 + hang_ups()), "once for each broker");
}

#[tokio::test(start_paused = true)]
async fn a_client_closes_while_its_sessions_are_renewed() {
    for wait in 4000..4020 {
        let (_cluster, client, log, tokens) = start(Duration::from_secs(5)).await;
        sleep(Duration::from_millis(wait)).await;
        // Begins to open the successor.
        log.produce([record("after")]).await.unwrap();
        timeout(Duration::from_secs(2), client.close()).await.unwrap();
        drop((client, log));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(tokens.guard.state().open, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn close_ends_what_is_under_way_on_a_connection_whose_place_another_has_taken() {
    let (_cluster, client, log, tokens) = start(Duration::from_secs(100)).await;
    log.fetch_records(0, 0..1_000_000, 0).await.unwrap();
    sleep(Duration::from_secs(91)).await;
    // Goes over the old connection, and begins to open the other one.
    let poll = tokio::spawn({
        let log = log.clone();
        async move { log.fetch_records(1, 1..1_000_000, 30_000).await }
    });
    sleep(2 * A_TOKEN_TAKES).await;
    let given = tokens.given.load(Ordering::Relaxed);
    log.fetch_records(0, 0..1_000_000, 0).await.unwrap();
    assert_eq!(tokens.given.load(Ordering::Relaxed), given, "it has gone over the other one");
    let started = Instant::now();
    client.close().await;
    let error = poll.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed, "{error}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}
