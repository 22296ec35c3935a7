//! The order and the packing of requests and answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rskafka_transport::{CloseCause, ConnectionConfig};
use tokio::io::BufStream;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn two_requests_are_on_the_wire_before_the_first_answer() {
    let (connection, mut peer) = connected().await;
    let first = asking(&connection, "first", options(seconds(5)));
    let second = asking(&connection, "second", options(seconds(5)));
    let (one, two) = (peer.request().await, peer.request().await);
    assert_eq!((one.topic().as_str(), two.topic().as_str()), ("first", "second"));
    peer.echo(&one).await;
    peer.echo(&two).await;
    assert_eq!(first.await.unwrap().unwrap(), "first");
    assert_eq!(second.await.unwrap().unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn many_calls_each_get_their_own_answer_in_the_order_of_the_calls() {
    let (connection, mut peer) = connected().await;
    let calls: Vec<_> =
        (0..500).map(|n| asking(&connection, &format!("topic-{n}"), options(seconds(5)))).collect();
    let peer = tokio::spawn(async move {
        for n in 0..500 {
            let request = peer.request().await;
            assert_eq!(request.topic(), format!("topic-{n}"));
            peer.echo(&request).await;
        }
        peer
    });
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), format!("topic-{n}"));
    }
    peer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn answers_that_arrive_together_or_byte_by_byte_are_taken_apart() {
    let (connection, mut peer) = connected().await;
    let calls: Vec<_> = ["a", "b", "c"].map(|topic| asking(&connection, topic, options(seconds(5)))).into();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        let request = peer.request().await;
        let response = rskafka_protocol::messages::metadata::MetadataResponse {
            cluster_id: Some(request.topic()),
            ..Default::default()
        };
        bytes.extend_from_slice(&response_bytes(&response, 13, request.header.correlation_id));
    }
    let (dribbled, at_once) = bytes.split_at(bytes.len() / 2);
    for byte in dribbled {
        peer.send(&[*byte]).await;
        settle().await;
    }
    peer.send(at_once).await;
    for (call, topic) in calls.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(call.await.unwrap().unwrap(), topic);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_is_on_the_wire_and_further_calls_wait_for_a_place() {
    let config = ConnectionConfig { max_in_flight: 2, max_queued: 1, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let calls: Vec<_> = (0..6).map(|n| asking(&connection, &n.to_string(), options(seconds(5)))).collect();
    let mut unanswered = VecDeque::new();
    for n in 0..6 {
        let request = peer.request().await;
        assert_eq!(request.topic(), n.to_string());
        unanswered.push_back(request);
        if unanswered.len() == 2 {
            settle().await;
            assert!(polled(peer.request(), 1).await.is_none(), "a third is on the wire");
            peer.echo(&unanswered.pop_front().unwrap()).await;
        }
    }
    peer.echo(&unanswered.pop_front().unwrap()).await;
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_tells_version_and_size() {
    let (connection, mut peer) = connected().await;
    let call = tokio::spawn(async move { connection.call(&request_for("topic"), options(seconds(5))).await });
    let request = peer.request().await;
    peer.echo(&request).await;
    let reply = call.await.unwrap().unwrap();
    assert_eq!(reply.version, 13);
    let whole = response_bytes(&reply.response, 13, request.header.correlation_id);
    assert_eq!(reply.bytes, whole.len() - 4);
}

#[tokio::test(start_paused = true)]
async fn close_ends_the_connection_and_says_so_to_every_call() {
    let (connection, mut peer) = connected().await;
    let under_way = asking(&connection, "under way", options(seconds(5)));
    peer.request().await;
    connection.close().await;
    let error = under_way.await.unwrap().unwrap_err();
    assert!(error.was_sent());
    assert!(matches!(**error.close_cause().unwrap(), CloseCause::ByClient));
    assert!(peer.try_request().await.is_none(), "the socket is closed");
    let error = ask(&connection, "late", options(seconds(5))).await.unwrap_err();
    assert!(!error.was_sent());
    assert!(connection.is_closed());
    connection.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_closed_when_the_last_handle_is_dropped() {
    let (connection, mut peer) = connected().await;
    let clone = connection.clone();
    drop(connection);
    settle().await;
    assert!(polled(peer.request(), 1).await.is_none(), "a clone keeps it open");
    drop(clone);
    assert!(peer.try_request().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn small_requests_that_wait_together_go_out_in_one_write_and_a_large_one_is_never_split() {
    let writes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&writes);
    let (connection, mut peer) = connected_through(|stream| Hooked {
        stream,
        on_write: Box::new(move |size| {
            noted.lock().unwrap().push(size);
            Ok(())
        }),
    })
    .await;
    let taken = || std::mem::take(&mut *writes.lock().unwrap());
    assert_eq!(taken().len(), 1, "length and body of the first request");
    let throttled = asking(&connection, "throttled", options(seconds(5)));
    let request = peer.request().await;
    peer.echo_and_throttle(&request, seconds(1)).await;
    throttled.await.unwrap().unwrap();
    assert_eq!(taken().len(), 1);
    tokio::spawn(peer.echo_all());

    let calls: Vec<_> = (0..20).map(|n| asking(&connection, &n.to_string(), options(seconds(5)))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(taken().len(), 1);

    ask(&connection, &"x".repeat(10 * 1024), options(seconds(5))).await.unwrap();
    let sizes = taken();
    assert!(sizes.len() == 1 && sizes[0] > 10 * 1024, "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_buffers_is_flushed() {
    let (connection, peer) = connected_through(BufStream::new).await;
    tokio::spawn(peer.echo_all());
    for n in 0..3 {
        ask(&connection, &n.to_string(), options(seconds(5))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_no_time_of_its_own() {
    let (connection, peer) = connected().await;
    tokio::spawn(peer.echo_all());
    let started = Instant::now();
    for n in 0..100 {
        ask(&connection, &n.to_string(), options(seconds(5))).await.unwrap();
    }
    assert_eq!(Instant::now(), started);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_idle_for_long_is_closed_and_one_in_use_is_not() {
    let (connection, mut peer) = connected().await;
    let idle_timeout = ConnectionConfig::default().idle_timeout;
    for _ in 0..3 {
        tokio::time::sleep(idle_timeout - seconds(1)).await;
        let call = asking(&connection, "again", options(seconds(5)));
        let request = peer.request().await;
        peer.echo(&request).await;
        assert_eq!(call.await.unwrap().unwrap(), "again");
    }
    tokio::time::sleep(idle_timeout - seconds(1)).await;
    assert!(!connection.is_closed());
    tokio::time::sleep(seconds(2)).await;
    assert!(connection.is_closed());
    let cause = connection.close_cause().unwrap();
    assert!(matches!(*cause, CloseCause::Idle));
}
