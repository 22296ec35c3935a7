//! Brokers that close the connection on an ApiVersions request that is too new, instead of answering it
//! (KIP-511), as Azure Event Hubs does; and those that close for another reason.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::api_versions::ApiVersionsResponse;
use rskafka_transport::{
    AddressMemory, CloseCause, Connection, ConnectionConfig, Deadline, Env, Nature, OpenError, OpenProgress,
    Phase,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, sleep};

use crate::support::*;

/// How a broker ends a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Close,
    /// As the operating system gives it.
    Reset,
    /// As TLS gives a close without its own farewell.
    Eof,
}

const ENDS: [End; 3] = [End::Close, End::Reset, End::Eof];

/// A broker that takes no version above `max`, and the versions that it was asked in, one per connection.
#[derive(Clone)]
struct Broker {
    max: Arc<Mutex<i16>>,
    asked: Arc<Mutex<Vec<i16>>>,
}

impl Broker {
    fn new(max: i16) -> Self {
        Self { max: Arc::new(Mutex::new(max)), asked: Arc::default() }
    }

    fn env(&self, end: End) -> Env {
        let broker = self.clone();
        let connect = move |_: String, _: u16| {
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(broker.clone().serve(Peer { stream: theirs }));
            async move { Ok(Ending { stream: ours, end }) }
        };
        Env::builder().connector(connect).build()
    }

    async fn serve(self, mut peer: Peer) {
        let Some(request) = peer.try_request().await else { return };
        let version = request.header.api_version;
        self.asked.lock().unwrap().push(version);
        if version <= *self.max.lock().unwrap() {
            peer.answer(&request.header, &versions(&[(3, 0, 5)])).await;
            peer.echo_all().await;
        }
    }

    fn asked(&self) -> Vec<i16> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// A stream that ends like this where the other side has only closed it.
struct Ending {
    stream: DuplexStream,
    end: End,
}

impl AsyncRead for Ending {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        match self.end {
            End::Reset if buf.filled().len() == before => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            End::Eof if buf.filled().len() == before => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Ending {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn open(env: &Env, memory: &AddressMemory) -> Result<Connection, OpenError> {
    let (config, shown) = (ConnectionConfig::default(), OpenProgress::default());
    Connection::open_after(env, &endpoint(), &config, memory, None, no_hurry(), &shown).await
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_on_a_version_too_new_is_asked_in_lower_ones_over_new_connections() {
    let started = Instant::now();
    for end in ENDS {
        for (max, asked) in [(5, &[5][..]), (4, &[5, 3]), (3, &[5, 3]), (2, &[5, 3, 0]), (0, &[5, 3, 0])] {
            let broker = Broker::new(max);
            let connection = open(&broker.env(end), &AddressMemory::new(&endpoint())).await.unwrap();
            assert_eq!(broker.asked(), asked);
            assert_eq!(ask(&connection, "works", options(seconds(1))).await.unwrap(), "works");
        }
    }
    assert_eq!(Instant::now(), started, "none of them needs a timeout");
}

#[tokio::test(start_paused = true)]
async fn later_connections_to_the_address_begin_with_the_version_that_was_taken() {
    let broker = Broker::new(3);
    let (env, memory) = (broker.env(End::Reset), AddressMemory::new(&endpoint()));
    open(&env, &memory).await.unwrap();
    assert_eq!(broker.asked(), [5, 3]);
    open(&env, &memory).await.unwrap();
    assert_eq!(broker.asked(), [3]);
    // A broker that has taken it closes for another reason, and costs no more than one connection.
    *broker.max.lock().unwrap() = -1;
    open(&env, &memory).await.unwrap_err();
    assert_eq!(broker.asked(), [3]);
    // But the address may have got an older broker.
    *broker.max.lock().unwrap() = 0;
    open(&env, &memory).await.unwrap();
    assert_eq!(broker.asked(), [5, 3, 0], "what did not serve any more is forgotten");
    open(&env, &memory).await.unwrap();
    assert_eq!(broker.asked(), [0]);
    let stats = memory.counters.snapshot();
    assert_eq!((stats.connects, stats.failed_connects), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_on_every_version_is_left_after_three_connections() {
    for end in ENDS {
        let broker = Broker::new(-1);
        let error = open(&broker.env(end), &AddressMemory::new(&endpoint())).await.unwrap_err();
        assert_eq!(broker.asked(), [5, 3, 0]);
        assert_eq!(error.phase(), Phase::Negotiate);
        assert!(error.nature().is_transient() && error.nature() != Nature::TimedOut);
        match &**call_error(&error).close_cause().unwrap() {
            CloseCause::ByBroker { unanswered: 1, received_any: false } => {
                assert_eq!(end, End::Close);
                let said = chain(&error);
                assert!(
                    said.contains("before its first byte: check that the port is a Kafka listener"),
                    "{said}"
                );
            }
            cause => assert!(end != End::Close && matches!(cause, CloseCause::Read { .. }), "{cause:?}"),
        }
    }
}

/// Connections that each meet what `script` does; how many there were.
async fn scripted<F: Future<Output = ()> + Send + 'static>(
    script: fn(Peer) -> F,
    deadline: Deadline,
) -> (OpenError, usize) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let connect = move |_: String, _: u16| {
        let (ours, theirs) = duplex(1 << 16);
        counted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(script(Peer { stream: theirs }));
        async move { Ok(ours) }
    };
    let env = Env::builder().connector(connect).build();
    let opened = Connection::open(&env, &endpoint(), &ConnectionConfig::default(), deadline).await;
    (opened.unwrap_err(), connections.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn only_a_close_without_a_byte_on_the_first_request_leads_to_another_connection() {
    let (error, connections) = scripted(
        |mut peer| async move {
            peer.request().await;
            peer.send(&[0, 0]).await;
        },
        no_hurry(),
    )
    .await;
    assert_eq!(connections, 1, "cut off: {error:?}");

    let (error, connections) = scripted(
        |mut peer| async move {
            let request = peer.request().await;
            let refusal =
                ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..versions(&[(18, 0, 3)]) };
            peer.send(&response_bytes(&refusal, 0, request.header.correlation_id)).await;
            peer.request().await;
        },
        no_hurry(),
    )
    .await;
    assert_eq!(connections, 1, "after an answer: {error:?}");

    let (error, connections) = scripted(|peer| async move { drop(peer) }, no_hurry()).await;
    assert_eq!(connections, 1, "before the request was sent: {error:?}");
}

#[tokio::test(start_paused = true)]
async fn all_tries_share_the_deadline_of_the_opening() {
    let deadline = Deadline::after(Instant::now(), seconds(5));
    let (error, connections) = scripted(
        |mut peer| async move {
            peer.request().await;
            sleep(seconds(2)).await;
        },
        deadline,
    )
    .await;
    assert_on_time(deadline.instant());
    assert!(error.nature() == Nature::TimedOut && error.phase() == Phase::Negotiate, "{error:?}");
    assert_eq!(connections, 3);
}
