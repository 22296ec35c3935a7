//! Requests that are queued now and answered later, written by their callers where nothing is queued before them.

use std::collections::BTreeSet;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rskafka_protocol::messages::metadata::MetadataResponse;
use rskafka_transport::{
    Answer, CallError, CallErrorKind, CallOptions, CloseCause, Connection, ConnectionConfig, Nature,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::Instant;

use crate::support::*;

fn submit(
    connection: &Connection,
    topic: &str,
    options: CallOptions,
) -> Result<Answer<MetadataResponse>, CallError> {
    connection.submit(&request_for(topic), options)
}

async fn echoed(answer: Answer<MetadataResponse>) -> Result<String, CallError> {
    Ok(answer.await?.response.cluster_id.unwrap_or_default())
}

/// A stream that takes as much and flushes as soon as chance has it. What it has taken reaches the peer when it
/// is flushed, as with TLS.
struct Fitful {
    stream: DuplexStream,
    taken: Vec<u8>,
    random: fastrand::Rng,
}

impl Fitful {
    fn new(stream: DuplexStream, seed: u64) -> Self {
        Self { stream, taken: Vec::new(), random: fastrand::Rng::with_seed(seed) }
    }

    /// Whether to do nothing for now.
    fn stalls(&mut self, cx: &Context<'_>) -> bool {
        let stalls = self.random.u8(..3) == 0;
        if stalls {
            cx.waker().wake_by_ref();
        }
        stalls
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.taken.is_empty() {
            if self.stalls(cx) {
                return Poll::Pending;
            }
            let count = self.random.usize(1..=self.taken.len());
            let count = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &self.taken[..count]))?;
            self.taken.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Fitful {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Fitful {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.stalls(cx) {
            return Poll::Pending;
        }
        let count = self.random.usize(1..=bytes.len());
        self.taken.extend_from_slice(&bytes[..count]);
        // It may begin to send what it has taken.
        let _ = self.poll_drain(cx)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Echoes requests until the stream ends, letting some wait; gives their topics.
async fn echo_fitfully(mut peer: Peer, seed: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut topics, mut unanswered) = (Vec::new(), std::collections::VecDeque::new());
    while let Some(request) = peer.try_request().await {
        topics.push(request.topic());
        unanswered.push_back(request);
        // At the latest when the window is full.
        while unanswered.len() > 3 || (random.bool() && !unanswered.is_empty()) {
            let request = unanswered.pop_front().expect("there is one");
            match random.u8(..8) {
                0 => peer.echo_and_throttle(&request, Duration::from_millis(random.u64(1..20))).await,
                _ => peer.echo(&request).await,
            }
        }
        if random.u8(..4) == 0 {
            for request in unanswered.drain(..) {
                peer.echo(&request).await;
            }
        }
    }
    topics
}

#[tokio::test(start_paused = true)]
async fn a_lone_submit_is_written_before_it_returns_and_by_nobody_else() {
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let on_write = Box::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let (connection, mut peer) = connected_through(|stream| Hooked { stream, on_write }).await;
    let before = writes.load(Ordering::Relaxed);
    for n in 1..4 {
        let answer = submit(&connection, "now", options(seconds(5))).unwrap();
        assert_eq!(writes.load(Ordering::Relaxed), before + n, "no other task has run");
        let request = peer.request().await;
        peer.echo(&request).await;
        assert_eq!(echoed(answer).await.unwrap(), "now");
        assert_eq!(writes.load(Ordering::Relaxed), before + n);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_go_out_in_the_order_of_their_submits_and_get_their_own_answers_however_the_stream_behaves()
{
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (connection, peer) = connected_through(|stream| Fitful::new(stream, seed)).await;
        let peer = tokio::spawn(echo_fitfully(peer, seed));
        let mut answers = Vec::new();
        let mut dropped = BTreeSet::new();
        for n in 0..random.u32(1..30) {
            let topic = format!("{n:03}-{}", "x".repeat(random.usize(..300)));
            let answer = submit(&connection, &topic, options(seconds(500))).unwrap();
            if random.u8(..4) == 0 {
                dropped.insert(topic);
                drop(answer);
            } else {
                answers.push((topic, answer));
            }
            for _ in 0..random.u8(..6) {
                tokio::task::yield_now().await;
            }
        }
        let started = Instant::now();
        let mut echoed_topics = Vec::new();
        // The last is answered when the next comes, at the latest; these make sure that there is one.
        let flushing = [(); 8].map(|()| submit(&connection, "last", options(seconds(500))));
        for (topic, answer) in answers {
            assert_eq!(echoed(answer).await.unwrap(), topic, "seed {seed}");
            echoed_topics.push(topic);
        }
        assert!(started.elapsed() < seconds(5), "seed {seed}: a request waited for its deadline");
        drop((connection, flushing));
        let mut seen = peer.await.unwrap();
        seen.retain(|topic| topic != "last");
        assert!(seen.is_sorted(), "seed {seed}: {seen:?}");
        let unsent = echoed_topics.iter().find(|topic| !seen.contains(topic));
        assert_eq!(unsent, None);
        assert!(seen.iter().all(|topic| echoed_topics.contains(topic) || dropped.contains(topic)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_on_several_threads_that_submit_under_a_lock_of_theirs_are_not_swapped() {
    let (connection, peer) = connected_through(|stream| Fitful::new(stream, 7)).await;
    let peer = tokio::spawn(async move {
        let mut peer = peer;
        let mut numbers = Vec::new();
        while let Some(request) = peer.try_request().await {
            numbers.push(request.topic().parse::<usize>().unwrap());
            peer.echo(&request).await;
        }
        numbers
    });
    let next = Arc::new(Mutex::new(0));
    let callers = [(); 4].map(|()| {
        let (connection, next) = (connection.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            for _ in 0..300 {
                let (number, answer) = {
                    let mut next = next.lock().unwrap();
                    *next += 1;
                    (*next, submit(&connection, &next.to_string(), options(seconds(60))).unwrap())
                };
                assert_eq!(echoed(answer).await.unwrap(), number.to_string());
            }
        })
    });
    for caller in callers {
        caller.await.unwrap();
    }
    drop(connection);
    assert_eq!(peer.await.unwrap(), (1..=1200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_submit_behind_a_frame_that_is_partly_written_waits_for_its_end() {
    let (connection, mut peer) = connected_with(ConnectionConfig::default(), 1024).await;
    let topics = ["x".repeat(10_000), "second".to_owned(), "third".to_owned()];
    let answers = topics.each_ref().map(|topic| submit(&connection, topic, options(seconds(5))).unwrap());
    for topic in &topics {
        let request = peer.request().await;
        assert_eq!(request.topic(), *topic);
        peer.echo(&request).await;
    }
    for (answer, topic) in answers.into_iter().zip(topics) {
        assert_eq!(echoed(answer).await.unwrap(), topic);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_submit_reaches_the_broker_however_the_stream_takes_and_flushes_it() {
    for seed in 0..50 {
        let (connection, peer) = connected_through(|stream| Fitful::new(stream, seed)).await;
        tokio::spawn(peer.echo_all());
        let started = Instant::now();
        for _ in 0..5 {
            settle().await;
            let answer = submit(&connection, "lone", options(seconds(5))).unwrap();
            assert_eq!(echoed(answer).await.unwrap(), "lone", "seed {seed}");
        }
        assert_eq!(Instant::now(), started, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_submit_on_a_connection_at_rest_ends_by_its_own_deadline() {
    let (connection, mut peer) = connected().await;
    // Its timer is set for when it is idle.
    settle().await;
    let started = Instant::now();
    let answer = submit(&connection, "swallowed", options(seconds(3))).unwrap();
    peer.request().await;
    let error = echoed(answer).await.unwrap_err();
    assert_on_time(started + seconds(3));
    assert!(error.nature() == Nature::TimedOut && error.was_sent());
}

#[tokio::test(start_paused = true)]
async fn a_submit_without_a_place_or_room_says_so_at_once_and_after_an_answer_there_is_one() {
    let few = ConnectionConfig { max_in_flight: 1, max_queued: 1, ..Default::default() };
    let narrow = ConnectionConfig { max_in_flight_bytes: 200, ..Default::default() };
    for config in [few, narrow] {
        let (connection, mut peer) = connected_with(config, 1 << 20).await;
        let topics = ["a", "b", "c", "d"].map(|letter| letter.repeat(40));
        let started = Instant::now();
        let first = submit(&connection, &topics[0], options(seconds(5))).unwrap();
        let second = submit(&connection, &topics[1], options(seconds(5))).unwrap();
        let error = submit(&connection, &topics[2], options(seconds(5))).unwrap_err();
        assert!(matches!(error.kind(), CallErrorKind::Full), "{error:?}");
        assert!(!error.was_sent() && error.nature().is_transient() && !connection.is_closed());
        assert!(chain(&error).ends_with("the connection's queue is full (not sent)"), "{}", chain(&error));
        let request = peer.request().await;
        peer.echo(&request).await;
        assert_eq!(echoed(first).await.unwrap(), topics[0]);
        let third = submit(&connection, &topics[3], options(seconds(5))).unwrap();
        for (topic, answer) in [(&topics[1], second), (&topics[3], third)] {
            let request = peer.request().await;
            peer.echo(&request).await;
            assert_eq!(echoed(answer).await.unwrap(), *topic);
        }
        assert_eq!(Instant::now(), started);
    }
}

#[tokio::test(start_paused = true)]
async fn a_submit_in_a_silence_is_written_at_its_end() {
    let (connection, mut peer) = connected().await;
    let first = submit(&connection, "first", options(seconds(5))).unwrap();
    let request = peer.request().await;
    peer.echo_and_throttle(&request, seconds(7)).await;
    echoed(first).await.unwrap();
    let silent_at = Instant::now();
    let error = submit(&connection, "too early", options(seconds(7))).unwrap_err();
    assert!(matches!(error.kind(), CallErrorKind::Throttled { left } if *left == seconds(7)), "{error:?}");
    assert!(!error.was_sent());
    let answers = ["next", "after"].map(|topic| submit(&connection, topic, options(seconds(20))).unwrap());
    for topic in ["next", "after"] {
        let request = peer.request().await;
        assert_on_time(silent_at + seconds(7));
        assert_eq!(request.topic(), topic);
        peer.echo(&request).await;
    }
    for answer in answers {
        echoed(answer).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_window_begins_when_an_answer_comes() {
    let config = ConnectionConfig { max_in_flight: 1, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let answers = ["a", "b", "c"].map(|topic| submit(&connection, topic, options(seconds(5))).unwrap());
    for topic in ["a", "b", "c"] {
        let request = peer.request().await;
        assert_eq!(request.topic(), topic);
        settle().await;
        assert!(polled(peer.request(), 1).await.is_none(), "two are on the wire");
        peer.echo(&request).await;
    }
    for (answer, topic) in answers.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(echoed(answer).await.unwrap(), topic);
    }
}

#[tokio::test(start_paused = true)]
async fn a_submit_on_a_connection_that_the_broker_has_closed_is_not_sent() {
    let (connection, peer) = connected().await;
    settle().await;
    drop(peer);
    // The connection's task has not run since.
    let answer = submit(&connection, "late", options(seconds(5))).unwrap();
    let error = echoed(answer).await.unwrap_err();
    assert!(!error.was_sent(), "{error:?}");
    assert!(
        matches!(**error.close_cause().unwrap(), CloseCause::ByBroker { unanswered: 0, .. }),
        "{error:?}"
    );
}

/// Submits a request as soon as it is woken, as callers do whose requests stand in a line.
struct SubmitsNext {
    connection: Connection,
    next: Mutex<Option<Answer<MetadataResponse>>>,
}

impl Wake for SubmitsNext {
    fn wake(self: Arc<Self>) {
        *self.next.lock().unwrap() = Some(submit(&self.connection, "next", options(seconds(5))).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_submit_at_an_answer_behind_which_the_broker_closed_is_not_sent() {
    let (connection, mut peer) = connected().await;
    let mut first = pin!(submit(&connection, "first", options(seconds(5))).unwrap());
    let request = peer.request().await;
    let line = Arc::new(SubmitsNext { connection, next: Mutex::default() });
    let waker = Waker::from(Arc::clone(&line));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    // The connection's task does not run in between.
    peer.echo(&request).await;
    drop(peer);
    settle().await;
    let next = line.next.lock().unwrap().take().unwrap();
    let error = echoed(next).await.unwrap_err();
    assert!(!error.was_sent(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_submit_whose_write_fails_is_in_doubt_and_ends_the_connection() {
    let mut left = 2;
    let on_write = Box::new(move |_| {
        left -= 1;
        if left > 0 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    });
    let (connection, _peer) = connected_through(|stream| Hooked { stream, on_write }).await;
    let answer = submit(&connection, "lost", options(seconds(5))).unwrap();
    let behind = submit(&connection, "behind", options(seconds(5)));
    let error = echoed(answer).await.unwrap_err();
    assert!(error.was_sent(), "{error:?}");
    assert!(matches!(**error.close_cause().unwrap(), CloseCause::Write { .. }));
    let error = echoed(behind.unwrap()).await.unwrap_err();
    assert!(!error.was_sent(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_awaited_keeps_the_connection_open_and_a_dropped_one_does_not() {
    for is_dropped in [false, true] {
        let (connection, mut peer) = connected().await;
        let answer = submit(&connection, "last", options(seconds(5))).unwrap();
        drop(connection);
        let request = peer.request().await;
        if is_dropped {
            drop(answer);
            assert!(peer.try_request().await.is_none(), "the socket is closed");
        } else {
            settle().await;
            peer.echo(&request).await;
            assert_eq!(echoed(answer).await.unwrap(), "last");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_submit_that_is_dropped_before_it_begins_is_never_sent() {
    let config = ConnectionConfig { max_in_flight: 1, ..Default::default() };
    let (connection, mut peer) = connected_with(config, 1 << 20).await;
    let first = submit(&connection, "first", options(seconds(5))).unwrap();
    let dropped = submit(&connection, "dropped", options(seconds(5))).unwrap();
    let last = submit(&connection, "last", options(seconds(5))).unwrap();
    drop(dropped);
    for (topic, answer) in [("first", first), ("last", last)] {
        let request = peer.request().await;
        assert_eq!(request.topic(), topic);
        peer.echo(&request).await;
        assert_eq!(echoed(answer).await.unwrap(), topic);
    }
}

#[tokio::test(start_paused = true)]
async fn a_submit_that_is_dropped_while_the_socket_takes_no_more_is_never_sent() {
    let (connection, mut peer) = connected_with(ConnectionConfig::default(), 1024).await;
    let large = "x".repeat(10_000);
    let first = submit(&connection, &large, options(seconds(5))).unwrap();
    let dropped = submit(&connection, "dropped", options(seconds(5))).unwrap();
    let last = submit(&connection, "last", options(seconds(5))).unwrap();
    // The task waits for the socket.
    settle().await;
    drop(dropped);
    for (topic, answer) in [(large.as_str(), first), ("last", last)] {
        let request = peer.request().await;
        assert_eq!(request.topic(), topic);
        peer.echo(&request).await;
        assert_eq!(echoed(answer).await.unwrap(), topic);
    }
}

/// Notes at each wake whether the connection is closed.
struct Look {
    connection: Connection,
    was_closed: Mutex<Vec<bool>>,
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.was_closed.lock().unwrap().push(self.connection.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hears_of_a_failure_finds_the_connection_closed_already() {
    for is_answered in [false, true] {
        let config = ConnectionConfig { max_in_flight: 1, ..Default::default() };
        let (connection, mut peer) = connected_with(config, 1 << 20).await;
        let look = Arc::new(Look { connection: connection.clone(), was_closed: Mutex::default() });
        let waker = Waker::from(Arc::clone(&look));
        let mut answers = ["sent", "unsent"]
            .map(|topic| Box::pin(submit(&connection, topic, options(seconds(3))).unwrap()));
        for answer in &mut answers {
            assert!(answer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let request = peer.request().await;
        if is_answered {
            // A header without a body.
            let id = request.header.correlation_id.to_be_bytes();
            peer.send(&[&[0, 0, 0, 5], &id[..], &[0]].concat()).await;
        } else {
            tokio::time::sleep(seconds(4)).await;
        }
        settle().await;
        assert_eq!(*look.was_closed.lock().unwrap(), [true, true], "answered: {is_answered}");
        let [sent, unsent] = answers;
        assert!(sent.await.unwrap_err().was_sent() && !unsent.await.unwrap_err().was_sent());
    }
}

#[test]
fn requests_of_a_runtime_that_has_ended_have_an_end_that_says_whether_they_were_sent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ConnectionConfig { max_in_flight: 1, ..Default::default() };
    let (sent, unsent, _peer) = runtime.block_on(async {
        let (connection, peer) = connected_with(config, 1 << 20).await;
        let submit = |topic| submit(&connection, topic, options(seconds(5))).unwrap();
        (submit("sent"), submit("unsent"), peer)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (answer, was_sent) in [(sent, true), (unsent, false)] {
        let error = other.block_on(echoed(answer)).unwrap_err();
        assert_eq!(error.was_sent(), was_sent);
        assert!(matches!(**error.close_cause().unwrap(), CloseCause::RuntimeGone), "{error:?}");
    }
}
