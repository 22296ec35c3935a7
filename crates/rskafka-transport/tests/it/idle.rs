//! The end of connections that nobody uses, and what comes at the moment of it.

use std::io;
use std::time::Duration;

use rskafka_protocol::messages::metadata::MetadataResponse;
use rskafka_transport::{CloseCause, ConnectionConfig, OauthToken, Sasl};
use tokio::time::Instant;

use crate::sasl_server::{SaslServer, with_sasl};
use crate::support::*;

const IDLE: Duration = Duration::from_secs(5);

fn config() -> ConnectionConfig {
    ConnectionConfig { idle_timeout: IDLE, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_call_at_the_moment_at_which_the_connection_is_idle_for_too_long_is_sent() {
    let (connection, peer) = connected_with(config(), 1 << 20).await;
    tokio::spawn(peer.echo_all());
    for _ in 0..3 {
        // Both wake at the same moment, and this task goes first.
        tokio::time::sleep(IDLE).await;
        tokio::select! { biased;
            answer = ask(&connection, "just in time", options(seconds(1))) => {
                assert_eq!(answer.unwrap(), "just in time");
            }
            () = settle() => panic!("the connection is busy with itself"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_idle_while_it_is_silent_and_uses_no_time_until_then() {
    let (connection, mut peer) = connected_with(config(), 1 << 20).await;
    let call = asking(&connection, "first", options(seconds(1)));
    let request = peer.request().await;
    let response = MetadataResponse { throttle_time_ms: 60_000, ..Default::default() };
    peer.answer(&request.header, &response).await;
    call.await.unwrap().unwrap();
    let silent_at = Instant::now();
    // With paused time, it only passes while no task has anything to do.
    let passed = tokio::spawn(tokio::time::sleep(seconds(59)));
    for _ in 0..200 {
        settle().await;
    }
    passed.await.unwrap();
    assert!(!connection.is_closed());
    connection.ended().await;
    assert_on_time(silent_at + seconds(60) + IDLE);
    assert!(matches!(*cause_of(&connection), CloseCause::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_idle_while_it_is_being_opened() {
    let sasl = Sasl::oauth_bearer(|| async {
        tokio::time::sleep(IDLE + seconds(1)).await;
        Ok::<_, io::Error>(OauthToken::new("t0ken"))
    });
    let server = SaslServer { secret: "t0ken".to_owned(), ..Default::default() };
    let config = ConnectionConfig { idle_timeout: IDLE, ..with_sasl(sasl) };
    let (connection, _peer) = open(&config, async |mut peer: Peer| {
        server.serve(&mut peer).await;
        peer
    })
    .await;
    let connection = connection.unwrap();
    let opened_at = Instant::now();
    connection.ended().await;
    assert_on_time(opened_at + IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_connection_can_be_used_for_a_second_however_short_it_may_be_idle() {
    let config = ConnectionConfig { idle_timeout: Duration::ZERO, ..Default::default() };
    let (connection, peer) = connected_with(config, 1 << 20).await;
    tokio::spawn(peer.echo_all());
    tokio::time::sleep(seconds(1) - Duration::from_millis(1)).await;
    ask(&connection, "late", options(seconds(1))).await.unwrap();
    let asked_at = Instant::now();
    connection.ended().await;
    assert_on_time(asked_at + seconds(1));
}
