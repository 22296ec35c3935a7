//! Silence that a broker asks for (KIP-219), and the room for requests on a connection.

use std::time::Duration;

use rskafka_transport::{CallErrorKind, Connection, ConnectionConfig, Nature};
use tokio::time::Instant;

use crate::support::*;

/// A connection whose broker has just asked for silence.
async fn throttled(config: ConnectionConfig, throttle: Duration) -> (Connection, Peer) {
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let first = asking(&connection, "first", options(seconds(5)));
    let request = peer.request().await;
    peer.echo_and_throttle(&request, throttle).await;
    assert_eq!(first.await.unwrap().unwrap(), "first", "the answer itself counts");
    (connection, peer)
}

#[tokio::test(start_paused = true)]
async fn after_a_throttled_answer_the_next_request_waits_until_the_silence_is_over() {
    let (connection, mut peer) = throttled(ConnectionConfig::default(), seconds(7)).await;
    let asked_at = Instant::now();
    let next = asking(&connection, "next", options(seconds(20)));
    let request = peer.request().await;
    assert_on_time(asked_at + seconds(7));
    peer.echo(&request).await;
    assert_eq!(next.await.unwrap().unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_is_in_the_silence_fails_at_once_and_unsent() {
    let (connection, peer) = throttled(ConnectionConfig::default(), seconds(7)).await;
    let asked_at = Instant::now();
    for limit in [seconds(7), seconds(1)] {
        let error = ask(&connection, "too early", options(limit)).await.unwrap_err();
        assert_on_time(asked_at);
        assert!(!error.was_sent() && error.nature() != Nature::TimedOut);
        let CallErrorKind::Throttled { left } = error.kind() else { panic!("{error:?}") };
        assert_eq!(*left, seconds(7));
        assert!(chain(&error).contains("asks for silence for another 7s"), "{}", chain(&error));
    }
    drop(connection);
    assert_eq!(peer.echo_all().await, 0, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn requests_that_have_not_begun_when_the_silence_begins_wait_or_fail_unsent() {
    let config = ConnectionConfig { max_in_flight: 1, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let first = asking(&connection, "first", options(seconds(5)));
    let request = peer.request().await;
    let patient = asking(&connection, "patient", options(seconds(20)));
    let hurried = asking(&connection, "hurried", options(seconds(6)));
    settle().await;
    let silent_at = Instant::now();
    peer.echo_and_throttle(&request, seconds(7)).await;
    first.await.unwrap().unwrap();
    let error = hurried.await.unwrap().unwrap_err();
    assert_on_time(silent_at);
    assert!(matches!(error.kind(), CallErrorKind::Throttled { .. }) && !error.was_sent(), "{error:?}");
    let request = peer.request().await;
    assert_on_time(silent_at + seconds(7));
    assert_eq!(request.topic(), "patient");
    peer.echo(&request).await;
    patient.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_request_timeout_counts_from_the_end_of_the_silence() {
    let config = ConnectionConfig { request_timeout: seconds(3), ..Default::default() };
    let (connection, mut peer) = throttled(config, seconds(60)).await;
    let asked_at = Instant::now();
    let swallowed = asking(&connection, "swallowed", options(seconds(100)));
    peer.request().await;
    assert_on_time(asked_at + seconds(60));
    let error = swallowed.await.unwrap().unwrap_err();
    assert_on_time(asked_at + seconds(63));
    assert!(error.nature() == Nature::TimedOut && error.was_sent());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_broker_has_but_takes_after_the_silence_is_not_given_up_during_it() {
    let config = ConnectionConfig { request_timeout: seconds(3), ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let [first, second] = ["first", "second"].map(|topic| asking(&connection, topic, options(seconds(100))));
    let (request, behind) = (peer.request().await, peer.request().await);
    peer.echo_and_throttle(&request, seconds(60)).await;
    first.await.unwrap().unwrap();
    tokio::time::sleep(seconds(62)).await;
    peer.echo(&behind).await;
    assert_eq!(second.await.unwrap().unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_shorter_silence_does_not_end_a_longer_one() {
    let (connection, mut peer) = connected().await;
    let [first, second] = ["first", "second"].map(|topic| asking(&connection, topic, options(seconds(9))));
    let requests = [peer.request().await, peer.request().await];
    let silent_at = Instant::now();
    peer.echo_and_throttle(&requests[0], seconds(7)).await;
    peer.echo_and_throttle(&requests[1], seconds(1)).await;
    for call in [first, second] {
        call.await.unwrap().unwrap();
    }
    let third = asking(&connection, "third", options(seconds(20)));
    let request = peer.request().await;
    assert_on_time(silent_at + seconds(7));
    peer.echo(&request).await;
    third.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_still_has_its_silence_kept() {
    let (connection, mut peer) = connected().await;
    let dropped = asking(&connection, "dropped", options(seconds(5)));
    let request = peer.request().await;
    dropped.abort();
    settle().await;
    let silent_at = Instant::now();
    peer.echo_and_throttle(&request, seconds(7)).await;
    settle().await;
    let next = asking(&connection, "next", options(seconds(20)));
    let request = peer.request().await;
    assert_on_time(silent_at + seconds(7));
    peer.echo(&request).await;
    next.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_the_broker_itself_has_waited_nobody_waits_again() {
    let (env, mut peers) = env();
    let (endpoint, config) = (endpoint(), ConnectionConfig::default());
    let (connection, mut peer) =
        tokio::join!(Connection::open(&env, &endpoint, &config, no_hurry()), async {
            let mut peer = peers.recv().await.unwrap();
            let request = peer.request().await;
            peer.answer(&request.header, &versions(&[(3, 0, 5), (18, 0, 5)])).await;
            peer
        });
    let connection = connection.unwrap();
    let started = Instant::now();
    for topic in ["first", "second"] {
        let call = asking(&connection, topic, options(seconds(5)));
        let request = peer.request().await;
        peer.echo_and_throttle(&request, seconds(2)).await;
        assert_eq!(call.await.unwrap().unwrap(), topic);
    }
    assert_on_time(started);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_room_for_their_bytes_until_their_deadline() {
    let config = ConnectionConfig { max_in_flight_bytes: 3000, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let name = |letter: &str| letter.repeat(1000);
    let [a, b] = ["a", "b"].map(|letter| asking(&connection, &name(letter), options(seconds(20))));
    settle().await;
    let started = Instant::now();
    let error = ask(&connection, &name("c"), options(seconds(4))).await.unwrap_err();
    assert_on_time(started + seconds(4));
    assert!(error.nature() == Nature::TimedOut && !error.was_sent());
    let d = asking(&connection, &name("d"), options(seconds(20)));
    for (letter, call) in [("a", a), ("b", b), ("d", d)] {
        let request = peer.request().await;
        assert_eq!(request.topic(), name(letter));
        peer.echo(&request).await;
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_all_the_room_goes_alone() {
    let config = ConnectionConfig { max_in_flight_bytes: 100, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let large = asking(&connection, &"x".repeat(1000), options(seconds(5)));
    settle().await;
    let next = asking(&connection, "next", options(seconds(5)));
    let request = peer.request().await;
    settle().await;
    assert!(polled(peer.request(), 1).await.is_none(), "there is no room beside it");
    peer.echo(&request).await;
    large.await.unwrap().unwrap();
    let request = peer.request().await;
    peer.echo(&request).await;
    next.await.unwrap().unwrap();
}
