//! A future may be dropped at any await: no half frame, no answer to the wrong caller, no lost place.

use rskafka_transport::{CallError, CallErrorKind, CloseCause, Connection, ConnectionConfig};
use tokio::time::{Instant, timeout};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_poll_leaves_the_connection_usable() {
    let mut most = 0;
    for polls in 0.. {
        let (connection, peer) = connected().await;
        let peer = tokio::spawn(peer.echo_all());
        let done = polled(ask(&connection, "dropped", options(seconds(5))), polls).await;
        // `echo_all` panics on half a frame.
        assert_eq!(ask(&connection, "next", options(seconds(5))).await.unwrap(), "next");
        drop(connection);
        let received = peer.await.unwrap();
        assert!((1..=2).contains(&received));
        if done.is_some() {
            most = polls;
            break;
        }
    }
    println!("a call took {most} polls");
    assert!(most >= 2);
}

#[tokio::test(start_paused = true)]
async fn an_opening_dropped_at_any_poll_closes_what_it_had_opened() {
    let mut most = 0;
    for polls in 0.. {
        let (env, mut peers) = env();
        let peer = tokio::spawn(async move {
            let mut peer = peers.recv().await?;
            let request = peer.try_request().await?;
            peer.answer(&request.header, &versions(&[(3, 0, 13)])).await;
            Some(peer.echo_all().await)
        });
        let config = ConnectionConfig::default();
        let endpoint = endpoint();
        let done = polled(Connection::open(&env, &endpoint, &config, no_hurry()), polls).await;
        let is_open = done.is_some();
        drop((env, done));
        timeout(seconds(1), peer).await.expect("the stream ends").expect("no half frame");
        if is_open {
            most = polls;
            break;
        }
    }
    println!("an opening took {most} polls");
    assert!(most >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_dropped_at_any_poll_still_closes() {
    for polls in 1..5 {
        let (connection, peer) = connected().await;
        let done = polled(connection.close(), polls).await;
        assert_eq!(timeout(seconds(1), peer.echo_all()).await, Ok(0));
        if done.is_some() {
            return;
        }
    }
    panic!("close never ends");
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_dropped_call_is_discarded_and_the_next_call_gets_its_own() {
    let (connection, mut peer) = connected().await;
    let dropped = asking(&connection, "dropped", options(seconds(5)));
    let request = peer.request().await;
    dropped.abort();
    let next = asking(&connection, "next", options(seconds(5)));
    let second = peer.request().await;
    peer.echo(&request).await;
    peer.echo(&second).await;
    assert_eq!(next.await.unwrap().unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_begun_is_written_to_its_end_after_its_call_was_dropped() {
    let (connection, mut peer) = connected_with(ConnectionConfig::default(), 1024).await;
    let topic = "x".repeat(30_000);
    let dropped = asking(&connection, &topic, options(seconds(5)));
    settle().await;
    dropped.abort();
    let next = asking(&connection, "next", options(seconds(5)));
    settle().await;
    let request = peer.request().await;
    assert_eq!(request.topic(), topic);
    tokio::spawn(async move {
        peer.echo(&request).await;
        peer.echo_all().await
    });
    assert_eq!(next.await.unwrap().unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_begun_is_written_to_its_end_after_the_last_handle_was_dropped() {
    let (connection, peer) = connected_with(ConnectionConfig::default(), 1024).await;
    let dropped = asking(&connection, &"x".repeat(900), options(seconds(5)));
    let partly = asking(&connection, &"y".repeat(900), options(seconds(5)));
    settle().await;
    dropped.abort();
    partly.abort();
    drop(connection);
    settle().await;
    let mut peer = peer;
    assert_eq!(peer.request().await.topic(), "x".repeat(900));
    assert_eq!(peer.request().await.topic(), "y".repeat(900));
    assert!(peer.try_request().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_caller_is_gone_before_it_began_is_not_sent() {
    let config = ConnectionConfig { max_in_flight: 1, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let first = asking(&connection, "first", options(seconds(5)));
    settle().await;
    let gone = asking(&connection, "gone", options(seconds(5)));
    let last = asking(&connection, "last", options(seconds(5)));
    settle().await;
    gone.abort();
    let request = peer.request().await;
    peer.echo(&request).await;
    let request = peer.request().await;
    assert_eq!(request.topic(), "last");
    peer.echo(&request).await;
    first.await.unwrap().unwrap();
    last.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_give_back_their_places() {
    let config = ConnectionConfig { max_in_flight: 1, max_queued: 1, ..Default::default() };
    let (connection, peer) = connected_with(config, 1 << 20).await;
    tokio::spawn(peer.echo_all());
    for polls in 0..200 {
        polled(ask(&connection, "dropped", options(seconds(5))), polls % 5).await;
    }
    assert_eq!(ask(&connection, "next", options(seconds(5))).await.unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn the_place_and_the_room_of_a_dropped_call_are_free_at_once_while_the_broker_stands_still() {
    let room = 4 * 1024;
    let config =
        ConnectionConfig { max_in_flight: 1, max_queued: 2, max_in_flight_bytes: room, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let large = "x".repeat(room / 3);
    let submit = |topic: &str| connection.submit(&request_for(topic), options(seconds(5)));
    let first = submit("first").unwrap();
    let (one, two) = (submit(&large).unwrap(), submit(&large).unwrap());
    assert!(matches!(submit("no place").unwrap_err().kind(), CallErrorKind::Full));
    drop((one, two));
    // No other task has run since.
    let dropped = submit(&large).unwrap();
    let called = asking(&connection, &large, options(seconds(5)));
    settle().await;
    drop(dropped);
    let last = submit("last").unwrap();
    called.abort();
    settle().await;
    let request = peer.request().await;
    peer.echo(&request).await;
    first.await.unwrap();
    let request = peer.request().await;
    assert_eq!(request.topic(), "last", "the others are not sent");
    peer.echo(&request).await;
    last.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_from_the_moment_at_which_its_last_call_is_dropped() {
    let config = ConnectionConfig { idle_timeout: seconds(2), ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let first = asking(&connection, "first", options(seconds(100)));
    let request = peer.request().await;
    peer.echo_and_throttle(&request, seconds(10)).await;
    first.await.unwrap().unwrap();
    let waiting = connection.submit(&request_for("waiting"), options(seconds(100))).unwrap();
    tokio::time::sleep(seconds(1)).await;
    drop(waiting);
    let dropped = Instant::now();
    connection.ended().await;
    // Idleness counts from the end of the silence.
    assert_on_time(dropped + seconds(9 + 2));
    assert!(matches!(*cause_of(&connection), CloseCause::Idle));
}

#[test]
fn calls_after_the_runtime_of_the_connection_has_ended_fail() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (connection, _peer) = first.block_on(connected());
    let under_way = asking_on(&second, &connection, "under way");
    second.block_on(settle());
    first.block_on(settle());
    drop(first);
    assert!(matches!(*cause_of(&connection), CloseCause::RuntimeGone));
    let error = second.block_on(under_way).unwrap().unwrap_err();
    assert!(error.was_sent(), "nobody knows any more");
    let error = second.block_on(ask(&connection, "late", options(seconds(5)))).unwrap_err();
    assert!(!error.was_sent());
    assert!(chain(&error).ends_with("the runtime of the connection has ended"), "{}", chain(&error));
    second.block_on(connection.close());
}

fn asking_on(
    runtime: &tokio::runtime::Runtime,
    connection: &Connection,
    topic: &str,
) -> tokio::task::JoinHandle<Result<String, CallError>> {
    let _entered = runtime.enter();
    asking(connection, topic, options(seconds(5)))
}
