//! SASL sessions that end: the connection says so in time, and nothing is sent once one is over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rskafka_transport::{
    CallErrorKind, CloseCause, Connection, ConnectionConfig, Env, Nature, OauthToken, Sasl,
};
use time::OffsetDateTime;
use tokio::io::duplex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::sasl_server::*;
use crate::support::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An open connection with a session of `lifetime`, and its other end.
async fn session(sasl: Sasl, lifetime: Duration, config: ConnectionConfig) -> (Connection, Peer) {
    let server = SaslServer { lifetime_ms: lifetime.as_millis() as i64, ..Default::default() };
    let config = ConnectionConfig { security: with_sasl(sasl).security, ..config };
    let (connection, peer) = open(&config, async |mut peer: Peer| {
        assert!(server.serve(&mut peer).await);
        peer
    })
    .await;
    (connection.unwrap(), peer)
}

fn plain() -> Sasl {
    Sasl::plain("alice", "s3cret-w0rd")
}

/// How exactly that is looked at.
const STEP: Duration = Duration::from_millis(20);

/// When a connection becomes due, from now.
async fn due_after(connection: &Connection) -> Duration {
    let started = Instant::now();
    while !connection.needs_replacement() {
        sleep(STEP).await;
    }
    Instant::now() - started
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_due_after_80_to_90_percent_of_its_session() {
    let mut seen = Vec::new();
    for _ in 0..20 {
        let (connection, _peer) = session(plain(), seconds(10), ConnectionConfig::default()).await;
        let after = due_after(&connection).await;
        assert!(after >= seconds(8) && after <= seconds(9) + STEP, "{after:?}");
        assert!(!connection.is_closed(), "it still serves");
        seen.push(after);
    }
    seen.sort();
    assert!(seen[19] - seen[0] > millis(100), "spread: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_earlier_end_of_session_and_token_counts_and_the_wall_clock_does_not() {
    let wall_clock = Arc::new(AtomicI64::new(1_000_000));
    let now = {
        let wall_clock = Arc::clone(&wall_clock);
        move || OffsetDateTime::from_unix_timestamp(wall_clock.load(Ordering::Relaxed)).unwrap()
    };
    let at = now() + seconds(50);
    let tokens = [
        (OauthToken::new("s3cret-w0rd"), 100, 100),
        (OauthToken::new("s3cret-w0rd").expires_in(seconds(20)), 100, 20),
        (OauthToken::new("s3cret-w0rd").expires_in(seconds(200)), 100, 100),
        (OauthToken::new("s3cret-w0rd").expires_in(seconds(30)), 0, 30),
        (OauthToken::new("s3cret-w0rd").expires_at(at), 0, 50),
        (OauthToken::new("s3cret-w0rd").expires_in(Duration::MAX), 60, 60),
    ];
    for (token, lifetime, expected) in tokens {
        wall_clock.store(1_000_000, Ordering::Relaxed);
        let sasl = Sasl::oauth_bearer(move || {
            let token = token.clone();
            async move { Ok::<_, io::Error>(token) }
        });
        let (ours, theirs) = duplex(1 << 16);
        let pipe = std::sync::Mutex::new(Some(ours));
        let env = Env::builder()
            .connector(move |_, _| {
                let ours = pipe.lock().unwrap().take().unwrap();
                async move { Ok(ours) }
            })
            .wall_clock(now.clone())
            .build();
        let server = SaslServer { lifetime_ms: lifetime * 1000, ..Default::default() };
        let mut peer = Peer { stream: theirs };
        let (endpoint, config) = (endpoint(), with_sasl(sasl));
        let opening = Connection::open(&env, &endpoint, &config, no_hurry());
        let (connection, _) = tokio::join!(opening, server.serve(&mut peer));
        let connection = connection.unwrap();
        // The clock steps by a day; nothing waits by it.
        wall_clock.fetch_add(86_400, Ordering::Relaxed);
        let after = due_after(&connection).await;
        assert!(after >= seconds(expected) * 8 / 10, "{after:?} for {expected}");
        assert!(after <= seconds(expected) * 9 / 10 + STEP, "{after:?} for {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_is_not_sent() {
    let tokens = [
        OauthToken::new("t").expires_in(Duration::ZERO),
        OauthToken::new("t").expires_at(OffsetDateTime::UNIX_EPOCH),
    ];
    for token in tokens {
        let sasl = Sasl::oauth_bearer(move || {
            let token = token.clone();
            async move { Ok::<_, io::Error>(token) }
        });
        let (result, ()) = open(&with_sasl(sasl), async |mut peer: Peer| {
            peer.negotiate().await;
            assert!(peer.try_frame().await.is_none());
        })
        .await;
        let error = result.unwrap_err();
        assert!(error.to_string().contains("the token given has expired already"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_have_not_begun_at_the_end_fail_unsent_and_those_in_flight_are_answered() {
    let config = ConnectionConfig { max_in_flight: 2, ..Default::default() };
    let started = Instant::now();
    let (connection, mut peer) = session(plain(), seconds(10), config).await;
    // The end is a twentieth before the broker's.
    let end = started + millis(9500);
    sleep_until(end - millis(100)).await;
    let begun = [0, 1].map(|n| asking(&connection, &n.to_string(), options(seconds(60))));
    settle().await;
    let waiting = [2, 3].map(|n| asking(&connection, &n.to_string(), options(seconds(60))));
    settle().await;
    assert!(!connection.is_closed());
    sleep_until(end + millis(2)).await;
    assert!(connection.is_closed());
    for call in waiting {
        let error = call.await.unwrap().unwrap_err();
        assert!(!error.was_sent() && error.nature().is_transient(), "{error:?}");
        assert!(
            matches!(error.kind(), CallErrorKind::Closed { source } if matches!(**source, CloseCause::SessionExpired))
        );
        assert!(chain(&error).ends_with("(not sent): the SASL session has ended"), "{}", chain(&error));
    }
    let late = ask(&connection, "late", options(seconds(60))).await.unwrap_err();
    assert!(!late.was_sent());

    for _ in 0..2 {
        sleep(seconds(1)).await;
        let request = peer.request().await;
        peer.echo(&request).await;
    }
    for (n, call) in begun.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), n.to_string());
    }
    assert!(peer.try_frame().await.is_none(), "nothing more is sent, and the connection is closed");
    assert!(matches!(*cause_of(&connection), CloseCause::SessionExpired | CloseCause::ByBroker { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_reckoned_from_before_the_broker_began_to() {
    for sasl in [plain(), Sasl::scram_sha_256("alice", "s3cret-w0rd")] {
        let server = SaslServer { lifetime_ms: 10_000, delay: seconds(2), ..Default::default() };
        let (connection, mut peer) = open(&with_sasl(sasl), async |mut peer: Peer| {
            assert!(server.serve(&mut peer).await);
            peer
        })
        .await;
        let (_connection, opened) = (connection.unwrap(), Instant::now());
        assert!(peer.try_frame().await.is_none());
        // The last request went out two seconds before its answer came.
        assert_on_time(opened + millis(7500));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_closes_at_the_end_of_its_session() {
    let started = Instant::now();
    let (connection, mut peer) = session(
        plain(),
        seconds(3600),
        ConnectionConfig { idle_timeout: seconds(100_000), ..Default::default() },
    )
    .await;
    assert!(peer.try_frame().await.is_none());
    // Of a long session, five seconds are kept back.
    assert_on_time(started + seconds(3595));
    assert!(matches!(*cause_of(&connection), CloseCause::SessionExpired));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_gets_its_answer_still_ends_after_the_session() {
    let (connection, mut peer) = session(plain(), seconds(10), ConnectionConfig::default()).await;
    sleep(seconds(9)).await;
    let started = Instant::now();
    let call = asking(&connection, "swallowed", options(seconds(7)));
    peer.request().await;
    let error = call.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(7));
    assert!(error.nature() == Nature::TimedOut && error.was_sent());
    assert!(peer.try_frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_connection_whose_session_has_ended() {
    let (connection, mut peer) = session(plain(), seconds(10), ConnectionConfig::default()).await;
    sleep(seconds(9)).await;
    let call = asking(&connection, "swallowed", options(seconds(70)));
    peer.request().await;
    sleep(seconds(5)).await;
    let started = Instant::now();
    connection.close().await;
    assert_on_time(started);
    assert!(call.await.unwrap().unwrap_err().was_sent());
}

#[tokio::test(start_paused = true)]
async fn a_submit_at_the_end_of_the_session_is_refused_though_the_connections_task_has_not_noticed() {
    let started = Instant::now();
    let (connection, mut peer) = session(plain(), seconds(10), ConnectionConfig::default()).await;
    let begun = asking(&connection, "begun", options(seconds(60)));
    let request = peer.request().await;
    // Time passes, but no other task runs.
    polled(tokio::time::advance(started + millis(9500) - Instant::now()), 1).await;
    let error = connection.submit(&request_for("late"), options(seconds(5))).unwrap_err();
    assert!(!error.was_sent());
    assert!(matches!(**error.close_cause().unwrap(), CloseCause::SessionExpired), "{error:?}");
    settle().await;
    peer.echo(&request).await;
    assert_eq!(begun.await.unwrap().unwrap(), "begun", "what is in flight is still answered");
    assert!(peer.try_frame().await.is_none());
}
