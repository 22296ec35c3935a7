//! Peers that break the protocol after the connection was opened: it ends with a cause, and all that was
//! under way fails with it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rskafka_protocol::messages::metadata::MetadataResponse;
use rskafka_transport::{CallError, CallErrorKind, CloseCause, Connection, ConnectionConfig, Nature};
use tokio::time::Instant;

use crate::support::*;

/// Three requests on the wire, the peer does `act`; gives the connection and the three results.
async fn three_under_way<F: Future<Output = Peer>>(
    act: impl FnOnce(Peer, Vec<Received>) -> F,
) -> (Connection, Vec<Result<String, CallError>>) {
    let (connection, mut peer) = connected().await;
    let calls: Vec<_> = ["a", "b", "c"].map(|topic| asking(&connection, topic, options(seconds(5)))).into();
    let mut received = Vec::new();
    for _ in 0..3 {
        received.push(peer.request().await);
    }
    let started = Instant::now();
    // Its end stays open, so that nothing but the breach itself ends the connection.
    let _peer = act(peer, received).await;
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.unwrap());
    }
    assert_eq!(Instant::now(), started, "a breach is noticed without a timeout");
    (connection, results)
}

fn answer(topic: &str, correlation_id: i32) -> Vec<u8> {
    let response = MetadataResponse { cluster_id: Some(topic.to_owned()), ..Default::default() };
    response_bytes(&response, 13, correlation_id).to_vec()
}

/// That all failed for the reason that the connection gives, and as sent.
fn assert_all_failed_with(connection: &Connection, results: &[Result<String, CallError>], said: &str) {
    let cause = cause_of(connection);
    assert!(chain(&cause).contains(said), "{}", chain(&cause));
    for result in results {
        let error = result.as_ref().unwrap_err();
        assert!(error.was_sent() && error.nature() != Nature::TimedOut, "{error:?}");
        assert!(Arc::ptr_eq(error.close_cause().unwrap(), &cause), "the cause is shared");
        assert!(
            chain(error)
                .starts_with("Metadata request to broker broker:9092 failed: the connection has ended: "),
            "{}",
            chain(error)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_correlation_id_ends_the_connection() {
    let (connection, results) = three_under_way(async |mut peer: Peer, _| {
        peer.send(&answer("a", 4711)).await;
        peer
    })
    .await;
    assert_all_failed_with(&connection, &results, "correlation id 4711 came, where that with 1 was due");
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_order_ends_the_connection() {
    let (connection, results) = three_under_way(async |mut peer: Peer, received: Vec<Received>| {
        peer.echo(&received[1]).await;
        peer
    })
    .await;
    assert_all_failed_with(&connection, &results, "correlation id 2 came, where that with 1 was due");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_answer_ends_the_connection_and_is_given_to_nobody() {
    let (connection, results) = three_under_way(async |mut peer: Peer, received: Vec<Received>| {
        peer.echo(&received[0]).await;
        peer.echo(&received[0]).await;
        peer
    })
    .await;
    assert_eq!(results[0].as_deref().unwrap(), "a");
    assert_all_failed_with(&connection, &results[1..], "correlation id 1 came, where that with 2 was due");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_waits_for_ends_the_connection() {
    let (connection, results) = three_under_way(async |mut peer: Peer, received: Vec<Received>| {
        for request in &received {
            peer.echo(request).await;
        }
        peer.echo(&received[2]).await;
        peer
    })
    .await;
    assert!(results.iter().all(Result::is_ok));
    settle().await;
    assert!(matches!(*cause_of(&connection), CloseCause::UnexpectedAnswer { received: 3, expected: None }));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_nobody_asked_for_end_the_connection() {
    let (connection, mut peer) = connected().await;
    peer.send(&[0, 0]).await;
    settle().await;
    assert!(matches!(*cause_of(&connection), CloseCause::Unsolicited { received: 2 }));
    let error = ask(&connection, "late", options(seconds(1))).await.unwrap_err();
    assert!(!error.was_sent());
}

#[tokio::test(start_paused = true)]
async fn impossible_lengths_end_the_connection() {
    for (bytes, said) in [
        (&[0xff, 0xff, 0xff, 0xff][..], "invalid frame length -1"),
        (&[0, 0, 0, 0], "invalid frame length 0"),
        (&[0, 0, 0, 3, 0, 0, 0], "invalid frame length 3"),
        (&[0x7f, 0xff, 0xff, 0xff], "larger than the limit of 104857600"),
        (&[0x15, 3, 3, 0, 2, 2, 80], "the peer speaks TLS"),
    ] {
        let (connection, results) = three_under_way(async |mut peer: Peer, _| {
            peer.send(bytes).await;
            peer
        })
        .await;
        assert_all_failed_with(&connection, &results, said);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_largest_size_is_taken_and_one_byte_more_ends_the_connection() {
    let topic = "x".repeat(5000);
    let whole = answer(&topic, 1);
    let limit = whole.len() - 4;
    for (max_frame_bytes, fits) in [(limit, true), (limit - 1, false)] {
        let config = ConnectionConfig { max_frame_bytes, ..Default::default() };
        let (connection, mut peer) = connected_with(config, 1 << 20).await;
        let call = asking(&connection, "a", options(seconds(5)));
        peer.request().await;
        peer.send(&whole).await;
        let result = call.await.unwrap();
        assert_eq!(result.is_ok(), fits);
        if let Err(error) = result {
            assert!(chain(&error).contains(&format!("frame of {limit} bytes is larger than the limit")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_at_any_byte_of_an_answer_fails_what_is_under_way() {
    let whole = answer("a", 1);
    for cut in 0..whole.len() {
        let (connection, mut peer) = connected().await;
        let calls = ["a", "b"].map(|topic| asking(&connection, topic, options(seconds(5))));
        peer.request().await;
        peer.request().await;
        peer.send(&whole[..cut]).await;
        drop(peer);
        let mut results = Vec::new();
        for call in calls {
            results.push(call.await.unwrap());
        }
        let said = match cut {
            0 => "closed by the broker with 2 requests unanswered".to_owned(),
            _ => format!("in the middle of an answer, after {cut} bytes of it"),
        };
        assert_all_failed_with(&connection, &results, &said);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_at_any_byte_of_a_request_fails_it_as_sent_and_those_behind_as_unsent() {
    let header = 4 + 2 + 2 + 4 + 2 + "rskafka".len() + 1;
    let (connection, mut peer) = connected().await;
    let _call = asking(&connection, "a", options(seconds(5)));
    let length = header + peer.request().await.body.len();

    for taken in 1..=length {
        // The pipe takes so many bytes of the request and no more; then the broker goes away.
        let (connection, peer) = connected_with(ConnectionConfig::default(), taken).await;
        let calls = ["a", "b"].map(|topic| asking(&connection, topic, options(seconds(5))));
        settle().await;
        drop(peer);
        let [first, behind] = calls;
        let (first, behind) = (first.await.unwrap().unwrap_err(), behind.await.unwrap().unwrap_err());
        assert!(first.was_sent(), "{taken} bytes were");
        assert!(!behind.was_sent(), "only {taken} bytes were");
        assert!(Arc::ptr_eq(first.close_cause().unwrap(), behind.close_cause().unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_counts_all_that_it_was_given_as_sent() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let (connection, mut peer) = connected_through(|stream| Hooked {
        stream,
        on_write: Box::new(move |_| match is_broken.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }),
    })
    .await;
    // In a silence both wait, and then they are written together.
    let throttled = asking(&connection, "throttled", options(seconds(5)));
    let request = peer.request().await;
    peer.echo_and_throttle(&request, seconds(1)).await;
    throttled.await.unwrap().unwrap();
    broken.store(true, Ordering::Relaxed);
    let calls = ["a", "b"].map(|topic| asking(&connection, topic, options(seconds(5))));
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(error.was_sent(), "a stream may have passed bytes on before it failed");
        assert!(chain(&error).ends_with("writing failed: broken pipe"), "{}", chain(&error));
    }
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_short_fails_its_call_and_ends_the_connection() {
    let whole = answer("a", 1);
    let shorter = whole.len() - 5;
    let mut truncated = whole[..whole.len() - 1].to_vec();
    truncated[..4].copy_from_slice(&(shorter as u32).to_be_bytes());
    let (connection, results) = three_under_way(async |mut peer: Peer, _| {
        peer.send(&truncated).await;
        peer
    })
    .await;
    let error = results[0].as_ref().unwrap_err();
    assert!(matches!(error.kind(), CallErrorKind::Decode { .. }), "{error:?}");
    assert!(error.was_sent());
    assert!(chain(error).contains("the bytes end before the field does"), "{}", chain(error));
    assert_all_failed_with(&connection, &results[1..], "an answer to Metadata could not be decoded");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_not_sent_may_be_repeated_after_bad_bytes() {
    let config = ConnectionConfig { max_in_flight: 1, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let [sent, unsent] = ["sent", "unsent"].map(|topic| asking(&connection, topic, options(seconds(5))));
    peer.request().await;
    peer.send(b"HTTP/1.1 400 Bad Request").await;
    let error = sent.await.unwrap().unwrap_err();
    assert!(
        error.was_sent() && error.nature() == Nature::InvalidAnswer && !error.nature().is_transient(),
        "{error:?}"
    );
    let error = unsent.await.unwrap().unwrap_err();
    assert!(!error.was_sent() && error.nature().is_transient(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_may_close_an_idle_connection() {
    let (connection, peer) = connected().await;
    drop(peer);
    settle().await;
    let cause = cause_of(&connection);
    assert!(matches!(*cause, CloseCause::ByBroker { unanswered: 0, received_any: true }));
    let error = ask(&connection, "late", options(seconds(1))).await.unwrap_err();
    assert!(!error.was_sent(), "it can be sent on another connection");
    assert!(chain(&error).ends_with("closed by the broker while it was idle"));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_sent_on_a_connection_that_the_broker_has_just_closed() {
    let (connection, peer) = connected().await;
    // Both happen before the connection's task runs again.
    drop(peer);
    let error = ask(&connection, "late", options(seconds(1))).await.unwrap_err();
    assert!(!error.was_sent());
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_hurts_no_other() {
    let (connection, peer) = connected().await;
    tokio::spawn(peer.echo_all());
    let (broken, mut peer) = connected().await;
    peer.send(b"HTTP/1.1 400 Bad Request").await;
    settle().await;
    assert!(broken.is_closed());
    assert_eq!(ask(&connection, "fine", options(seconds(1))).await.unwrap(), "fine");
}
