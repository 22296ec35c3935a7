//! Whatever the peer does or leaves undone, a call ends by its deadline.

use std::future::pending;
use std::io;
use std::time::Duration;

use rskafka_protocol::Message;
use rskafka_protocol::messages::metadata::MetadataResponse;
use rskafka_transport::{
    CallErrorKind, CallOptions, CloseCause, Connection, ConnectionConfig, Deadline, Env, Nature, Phase,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use crate::support::*;

fn short() -> ConnectionConfig {
    ConnectionConfig { max_in_flight: 2, max_queued: 1, ..Default::default() }
}

/// Opens by an environment, and gives the phase and the text of its timeout.
async fn open_times_out(
    env: &Env,
    config: &ConnectionConfig,
    after: Duration,
    limit: Duration,
) -> (Phase, String) {
    let started = Instant::now();
    let error =
        Connection::open(env, &endpoint(), config, Deadline::after(started, limit)).await.unwrap_err();
    assert_on_time(started + after);
    assert!(error.nature() == Nature::TimedOut, "{error:?}");
    (error.phase(), error.to_string())
}

#[tokio::test(start_paused = true)]
async fn opening_ends_by_the_earlier_of_its_deadline_and_the_connect_timeout() {
    let config = ConnectionConfig { connect_timeout: seconds(4), ..Default::default() };
    let env = Env::builder().connector(|_, _| pending::<io::Result<DuplexStream>>()).build();
    let (phase, text) = open_times_out(&env, &config, seconds(4), seconds(9)).await;
    assert_eq!(phase, Phase::Connect);
    assert_eq!(text, "cannot open a connection to broker broker:9092: timed out after 4s while connecting");
    open_times_out(&env, &config, seconds(2), seconds(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_named_as_the_phase_that_took_the_time() {
    let env = Env::builder().resolver(|_, _| pending()).build();
    let (phase, text) = open_times_out(&env, &ConnectionConfig::default(), seconds(3), seconds(3)).await;
    assert_eq!(phase, Phase::Resolve);
    assert!(text.ends_with("timed out after 3s while resolving the name"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_silent_on_the_first_request_is_given_up_in_time() {
    let (env, mut peers) = env();
    let silent = tokio::spawn(async move {
        let mut peer = peers.recv().await.unwrap();
        peer.request().await;
        peer.try_request().await
    });
    let (phase, text) = open_times_out(&env, &ConnectionConfig::default(), seconds(10), seconds(60)).await;
    assert_eq!(phase, Phase::Negotiate);
    assert!(text.ends_with("timed out after 10s while negotiating versions"), "{text}");
    assert!(silent.await.unwrap().is_none(), "the connection is closed");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_one_byte_a_second_during_the_opening_is_given_up_in_time() {
    let (env, mut peers) = env_with_room(1);
    let slow = tokio::spawn(async move { slow_both_ways(peers.recv().await.unwrap().stream).await });
    let (phase, _) = open_times_out(&env, &ConnectionConfig::default(), seconds(10), seconds(60)).await;
    assert_eq!(phase, Phase::Negotiate);
    slow.await.unwrap();
}

/// Reads and writes one byte a second until the other side goes away.
async fn slow_both_ways(mut stream: DuplexStream) {
    loop {
        sleep(seconds(1)).await;
        let mut byte = [0];
        if !matches!(stream.read(&mut byte).await, Ok(1)) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_swallowed_request_ends_at_its_deadline_and_its_connection_with_it() {
    let (connection, mut peer) = connected().await;
    let started = Instant::now();
    let swallowed = asking(&connection, "swallowed", options(seconds(3)));
    let behind = asking(&connection, "behind", options(seconds(8)));
    peer.request().await;
    peer.request().await;
    let error = swallowed.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(3));
    assert!(error.nature() == Nature::TimedOut && error.was_sent());
    assert_eq!(error.to_string(), "Metadata request to broker broker:9092 failed: timed out after 3s");
    let error = behind.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(3));
    assert!(error.was_sent() && error.nature() != Nature::TimedOut);
    assert!(chain(&error).ends_with("no answer to Metadata by its deadline"), "{}", chain(&error));
    assert!(matches!(*cause_of(&connection), CloseCause::Unanswered { .. }));
    assert!(peer.try_request().await.is_none(), "the socket is closed");
}

#[tokio::test(start_paused = true)]
async fn the_shorter_deadline_counts_also_behind_a_longer_one() {
    let (connection, mut peer) = connected().await;
    let started = Instant::now();
    let long = asking(&connection, "long", options(seconds(9)));
    settle().await;
    let short = asking(&connection, "short", options(seconds(2)));
    peer.request().await;
    peer.request().await;
    let error = short.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(2));
    assert!(error.nature() == Nature::TimedOut && error.was_sent());
    assert!(long.await.unwrap().unwrap_err().nature() != Nature::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn the_request_timeout_bounds_a_call_and_a_fetchs_wait_is_added_to_it() {
    for (wait, limit, after) in [(0, 100_000, 30), (7, 100_000, 37), (7, 12, 12)] {
        let (connection, mut peer) = connected().await;
        let started = Instant::now();
        let options = CallOptions { wait: seconds(wait), ..options(seconds(limit)) };
        let call = asking(&connection, "swallowed", options);
        peer.request().await;
        assert!(call.await.unwrap().unwrap_err().nature() == Nature::TimedOut);
        assert_on_time(started + seconds(after));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_after_its_deadline_sends_nothing() {
    let (connection, peer) = connected().await;
    let error = ask(&connection, "late", options(Duration::ZERO)).await.unwrap_err();
    assert!(error.nature() == Nature::TimedOut && !error.was_sent());
    assert_eq!(
        error.to_string(),
        "Metadata request to broker broker:9092 failed: timed out after 0ns (not sent)"
    );
    drop(connection);
    assert_eq!(peer.echo_all().await, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_in_the_queue_ends_at_the_deadline_and_the_connection_stays() {
    let (connection, mut peer) = connected_with(short(), 1 << 20).await;
    let served: Vec<_> = (0..3).map(|n| asking(&connection, &n.to_string(), options(seconds(20)))).collect();
    settle().await;
    // Two on the wire, one queued: there is no place.
    let started = Instant::now();
    let error = ask(&connection, "no place", options(seconds(4))).await.unwrap_err();
    assert_on_time(started + seconds(4));
    assert!(error.nature() == Nature::TimedOut && !error.was_sent());
    for n in 0..3 {
        let request = peer.request().await;
        assert_eq!(request.topic(), n.to_string());
        peer.echo(&request).await;
    }
    for (n, call) in served.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_queued_request_that_is_not_begun_ends_unsent_at_its_deadline_and_the_connection_stays() {
    let (connection, mut peer) = connected_with(short(), 1 << 20).await;
    let started = Instant::now();
    let sent = [0, 1].map(|n| asking(&connection, &n.to_string(), options(seconds(20))));
    settle().await;
    let queued = asking(&connection, "queued", options(seconds(4)));
    let error = queued.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(4));
    assert!(error.nature() == Nature::TimedOut && !error.was_sent());
    assert!(!connection.is_closed());
    for call in sent {
        let request = peer.request().await;
        peer.echo(&request).await;
        call.await.unwrap().unwrap();
    }
    drop(connection);
    assert_eq!(peer.echo_all().await, 0, "the one that timed out is never sent");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_holds_no_call_beyond_its_deadline() {
    let (connection, peer) = connected_with(ConnectionConfig::default(), 1024).await;
    let started = Instant::now();
    let large = asking(&connection, &"x".repeat(30_000), options(seconds(6)));
    settle().await;
    let unsent = asking(&connection, "unsent", options(seconds(2)));
    let behind = asking(&connection, "behind", options(seconds(9)));
    let error = unsent.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(2));
    assert!(error.nature() == Nature::TimedOut && !error.was_sent());
    assert!(!connection.is_closed(), "the others still have time");
    let error = large.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(6));
    assert!(error.nature() == Nature::TimedOut && error.was_sent());
    let error = behind.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(6));
    assert!(!error.was_sent() && error.nature() != Nature::TimedOut);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_one_byte_a_second_holds_no_call_beyond_its_deadline() {
    let (connection, peer) = connected_with(ConnectionConfig::default(), 256).await;
    let started = Instant::now();
    tokio::spawn(slow_both_ways(peer.stream));
    let error = ask(&connection, &"x".repeat(1000), options(seconds(7))).await.unwrap_err();
    assert_on_time(started + seconds(7));
    assert!(error.nature() == Nature::TimedOut && error.was_sent());
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_one_byte_a_second_holds_no_call_beyond_its_deadline() {
    let (connection, mut peer) = connected().await;
    let started = Instant::now();
    let call = asking(&connection, "slow", options(seconds(7)));
    let request = peer.request().await;
    let dribble = tokio::spawn(async move {
        let response = MetadataResponse { cluster_id: Some("x".repeat(100)), ..Default::default() };
        for byte in response_bytes(&response, MetadataResponse::VERSIONS.max, request.header.correlation_id) {
            sleep(seconds(1)).await;
            if peer.stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let error = call.await.unwrap().unwrap_err();
    assert_on_time(started + seconds(7));
    assert!(matches!(error.kind(), CallErrorKind::TimedOut { .. }));
    assert!(error.was_sent());
    dribble.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_long_for_a_peer_that_stopped_reading() {
    let (connection, peer) = connected_with(ConnectionConfig::default(), 1024).await;
    let call = asking(&connection, &"x".repeat(30_000), options(seconds(20)));
    settle().await;
    let started = Instant::now();
    connection.close().await;
    assert!(Instant::now() - started <= seconds(1) + GRACE);
    assert!(call.await.unwrap().unwrap_err().was_sent());
    drop(peer);
}
