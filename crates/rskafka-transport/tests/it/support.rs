//! The broker's end of a connection, in the hands of the test.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::{Message, RequestHeader, encode_response};
use rskafka_transport::{
    CallError, CallOptions, CloseCause, Connection, ConnectionConfig, Deadline, Endpoint, Env, OpenError,
    Stream,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How late an operation may end after its deadline.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// Room in the pipes of most tests.
const ROOMY: usize = 16 << 20;

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::new("broker", 9092)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A deadline so far away that no test meets it by accident.
pub(crate) fn no_hurry() -> Deadline {
    Deadline::after(Instant::now(), seconds(100_000))
}

pub(crate) fn options(after: Duration) -> CallOptions {
    CallOptions::new(Deadline::after(Instant::now(), after))
}

/// An environment whose connections arrive at the test. Each pipe holds `room` bytes per direction.
pub(crate) fn env_with_room(room: usize) -> (Env, mpsc::Receiver<Peer>) {
    let (peers, arriving) = mpsc::channel(16);
    let env = Env::builder()
        .connector(move |_, _| {
            let (ours, theirs) = duplex(room);
            let sent = peers.try_send(Peer { stream: theirs });
            async move {
                sent.expect("the test takes its peers");
                Ok(ours)
            }
        })
        .build();
    (env, arriving)
}

pub(crate) fn env() -> (Env, mpsc::Receiver<Peer>) {
    env_with_room(ROOMY)
}

/// Opens a connection to a peer that answers by `script`.
pub(crate) async fn open<F: Future>(
    config: &ConnectionConfig,
    script: impl FnOnce(Peer) -> F,
) -> (Result<Connection, OpenError>, F::Output) {
    open_to(&endpoint(), config, script).await
}

pub(crate) async fn open_to<F: Future>(
    endpoint: &Endpoint,
    config: &ConnectionConfig,
    script: impl FnOnce(Peer) -> F,
) -> (Result<Connection, OpenError>, F::Output) {
    let (env, mut peers) = env();
    let opening = Connection::open(&env, endpoint, config, no_hurry());
    tokio::join!(opening, async { script(peers.recv().await.expect("a connection")).await })
}

/// A connection that is open, and its other end.
pub(crate) async fn connected_with(config: ConnectionConfig, room: usize) -> (Connection, Peer) {
    let (env, mut peers) = env_with_room(room);
    let endpoint = endpoint();
    let opening = Connection::open(&env, &endpoint, &config, no_hurry());
    let (connection, peer) = tokio::join!(opening, async {
        let mut peer = peers.recv().await.expect("a connection");
        peer.negotiate().await;
        peer
    });
    (connection.expect("the connection opens"), peer)
}

pub(crate) async fn connected() -> (Connection, Peer) {
    connected_with(ConnectionConfig::default(), ROOMY).await
}

/// A connection through a stream that `wrap` makes, and its other end.
pub(crate) async fn connected_through<S: Stream>(wrap: impl FnOnce(DuplexStream) -> S) -> (Connection, Peer) {
    let (ours, theirs) = duplex(ROOMY);
    let only = Mutex::new(Some(wrap(ours)));
    let env = Env::builder()
        .connector(move |_, _| {
            let stream = only.lock().unwrap().take().expect("one connection");
            async move { Ok(stream) }
        })
        .build();
    let mut peer = Peer { stream: theirs };
    let (endpoint, config) = (endpoint(), ConnectionConfig::default());
    let (connection, ()) =
        tokio::join!(Connection::open(&env, &endpoint, &config, no_hurry()), peer.negotiate());
    (connection.expect("the connection opens"), peer)
}

/// A stream that asks the test before each write, giving its size.
pub(crate) struct Hooked {
    pub(crate) stream: DuplexStream,
    pub(crate) on_write: Box<dyn FnMut(usize) -> io::Result<()> + Send>,
}

impl AsyncRead for Hooked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Hooked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        (self.on_write)(slices.iter().map(|slice| slice.len()).sum())?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The test in the broker's place.
pub(crate) struct Peer<S = DuplexStream> {
    pub(crate) stream: S,
}

/// A whole request as the broker sees it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) header: RequestHeader,
    pub(crate) body: Bytes,
}

impl Received {
    /// The topic in a request made by [`ask`].
    pub(crate) fn topic(&self) -> String {
        let request = MetadataRequest::decode(self.header.api_version, &self.body).expect("a request");
        request.topics.expect("topics")[0].name.clone().expect("a name")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// The next request; `None` at the end of the stream. Panics if the stream ends within a frame.
    pub(crate) async fn try_request(&mut self) -> Option<Received> {
        let frame = self.try_frame().await?.split_off(4);
        let (header, body) = RequestHeader::decode(&frame.into()).expect("a header");
        Some(Received { header, body })
    }

    /// The next frame, with its length.
    pub(crate) async fn try_frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 4];
        match self.stream.read(&mut frame[..1]).await {
            Ok(0) => return None,
            // The end of TLS without a word.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            read => read.expect("a pipe does not fail"),
        };
        self.stream.read_exact(&mut frame[1..]).await.expect("a whole length");
        let length = u32::from_be_bytes(frame[..].try_into().expect("four bytes"));
        frame.resize(4 + length as usize, 0);
        self.stream.read_exact(&mut frame[4..]).await.expect("a whole frame");
        Some(frame)
    }

    pub(crate) async fn request(&mut self) -> Received {
        self.try_request().await.expect("a request")
    }

    /// Sends, unless the connection has ended.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes).await {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
        }
    }

    pub(crate) async fn answer<M: Message>(&mut self, header: &RequestHeader, response: &M) {
        let bytes = response_bytes(response, header.api_version, header.correlation_id);
        self.send(&bytes).await;
    }

    /// Answers a request made by [`ask`] with its own topic.
    pub(crate) async fn echo(&mut self, request: &Received) {
        self.answer(&request.header, &echo_of(&request.topic())).await;
    }

    /// The same, and asks for silence.
    pub(crate) async fn echo_and_throttle(&mut self, request: &Received, throttle: Duration) {
        let response =
            MetadataResponse { throttle_time_ms: throttle.as_millis() as i32, ..echo_of(&request.topic()) };
        self.answer(&request.header, &response).await;
    }

    /// Answers the first request of a connection: the latest versions of everything.
    pub(crate) async fn negotiate(&mut self) {
        let request = self.request().await;
        self.answer(&request.header, &versions(&[(3, 0, 13), (18, 0, 5)])).await;
    }

    /// Answers requests made by [`ask`] until the stream ends; gives how many.
    pub(crate) async fn echo_all(mut self) -> usize {
        let mut count = 0;
        while let Some(request) = self.try_request().await {
            self.echo(&request).await;
            count += 1;
        }
        count
    }
}

pub(crate) fn response_bytes<M: Message>(response: &M, version: i16, correlation_id: i32) -> Bytes {
    encode_response(response, version, correlation_id).expect("a response").to_bytes()
}

pub(crate) fn versions(keys: &[(i16, i16, i16)]) -> ApiVersionsResponse {
    let keys = keys.iter();
    let api_keys = keys
        .map(|&(api_key, min_version, max_version)| ApiVersion { api_key, min_version, max_version })
        .collect();
    ApiVersionsResponse { api_keys, ..Default::default() }
}

/// A request that carries `topic`, for a peer that echoes it.
pub(crate) fn request_for(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

fn echo_of(topic: &str) -> MetadataResponse {
    MetadataResponse { cluster_id: Some(topic.to_owned()), ..Default::default() }
}

/// Sends `topic` and gives what the peer echoed.
pub(crate) async fn ask(
    connection: &Connection,
    topic: &str,
    options: CallOptions,
) -> Result<String, CallError> {
    let reply = connection.call(&request_for(topic), options).await?;
    Ok(reply.response.cluster_id.unwrap_or_default())
}

/// [`ask`] on a task of its own, so that it goes on while the test does other things.
pub(crate) fn asking(
    connection: &Connection,
    topic: &str,
    options: CallOptions,
) -> tokio::task::JoinHandle<Result<String, CallError>> {
    let (connection, topic) = (connection.clone(), topic.to_owned());
    tokio::spawn(async move { ask(&connection, &topic, options).await })
}

/// An error and all its causes, on one line.
/// The failed request that kept a connection from being opened.
pub(crate) fn call_error(error: &OpenError) -> &CallError {
    error.source().and_then(|source| source.downcast_ref()).unwrap_or_else(|| panic!("{error:?}"))
}

pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

pub(crate) fn cause_of(connection: &Connection) -> Arc<CloseCause> {
    connection.close_cause().expect("the connection has ended")
}

/// Lets every task run until none can go on without time passing.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// That an operation ended at its deadline and not long after.
#[track_caller]
pub(crate) fn assert_on_time(deadline: Instant) {
    let now = Instant::now();
    assert!(now >= deadline, "{:?} too early", deadline - now);
    assert!(now <= deadline + GRACE, "{:?} too late", now - deadline);
}

/// The future's output, or `None` if it was dropped after `polls` polls.
pub(crate) async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // The future wakes the test when it can go on; the last poll is followed by its drop.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
