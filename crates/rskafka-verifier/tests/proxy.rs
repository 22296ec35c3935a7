//! The proxy between clients and servers, over real sockets.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rskafka::client::Client;
use rskafka::client::env::Env;
use rskafka::client::error::Outcome;
use rskafka::protocol::ApiKey;
use rskafka::record::Record;
use rskafka_fake::FakeCluster;
use rskafka_verifier::proxy::{Action, BrokerProcess, Direction, FaultId, Moment, Proxy};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing has to come for it to count as nothing.
const SILENCE: Duration = Duration::from_millis(100);

/// A server that sends back what it gets, and the proxy in front of it.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().to_string()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    proxy
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// A request without a body. Its echo is an answer to it, whose correlation id is where the key was.
fn request(api: ApiKey) -> Vec<u8> {
    let [high, low] = api.0.to_be_bytes();
    vec![0, 0, 0, 8, high, low, 0, 0, high, low, 0, 0]
}

async fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    timeout(PATIENCE, stream.read_exact(&mut read)).await.unwrap().unwrap();
    read
}

async fn assert_silent(stream: &mut TcpStream) {
    assert!(timeout(SILENCE, stream.read_u8()).await.is_err(), "something came");
}

/// Waits until a fault has struck a connection.
async fn has_struck(proxy: &Proxy, fault: FaultId) {
    let striking = async {
        while proxy.struck(fault) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, striking).await.unwrap();
}

async fn end(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut read = Vec::new();
    let result = timeout(PATIENCE, stream.read_to_end(&mut read)).await.unwrap();
    (read, result.map(|_| ()))
}

#[tokio::test]
async fn every_piece_is_late_while_there_is_a_delay() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    let mut took = async || {
        let since = std::time::Instant::now();
        stream.write_all(&request(ApiKey::PRODUCE)).await.unwrap();
        read(&mut stream, 12).await;
        since.elapsed()
    };
    proxy.delay(SILENCE);
    assert!(took().await >= 2 * SILENCE);
    proxy.delay(Duration::ZERO);
    assert!(took().await < 2 * SILENCE);
}

#[tokio::test]
async fn bytes_pass_both_ways_and_so_does_the_end() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let (mut from, mut to) = stream.split();
    let writing = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let reading = async { from.read_to_end(&mut received).await.unwrap() };
    timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.unwrap();
    assert!(received == sent);
    timeout(PATIENCE, async {
        while proxy.open_connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_frozen_direction_passes_what_was_before_and_goes_on_after_a_thaw() {
    let proxy = echo().await;
    for (direction, moment) in [
        (Direction::ToBroker, Moment::Request(ApiKey::PRODUCE)),
        (Direction::ToClient, Moment::Answer(ApiKey::PRODUCE)),
    ] {
        let fault = proxy.inject(moment, Action::Freeze(direction));
        let mut stream = connect(&proxy).await;
        let requests = [ApiKey::METADATA, ApiKey::PRODUCE].map(request);
        stream.write_all(&requests.concat()).await.unwrap();
        assert_eq!(read(&mut stream, 12).await, requests[0]);
        has_struck(&proxy, fault).await;
        assert_silent(&mut stream).await;
        proxy.thaw();
        assert_eq!(read(&mut stream, 12).await, requests[1]);
        assert_eq!(proxy.struck(fault), 1);
    }
}

#[tokio::test]
async fn a_direction_may_be_frozen_by_what_goes_the_other_way() {
    let proxy = echo().await;
    let moment = Moment::EndOfRequest(ApiKey::PRODUCE);
    let fault = proxy.inject(moment, Action::Freeze(Direction::ToClient));
    let mut stream = connect(&proxy).await;
    stream.write_all(&request(ApiKey::PRODUCE)).await.unwrap();
    has_struck(&proxy, fault).await;
    // Less than a header of the echo had come by then.
    assert_silent(&mut stream).await;
    proxy.thaw();
    assert_eq!(read(&mut stream, 12).await, request(ApiKey::PRODUCE));
}

#[tokio::test]
async fn any_bytes_are_passed_on_however_they_come() {
    let proxy = echo().await;
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        let mut stream = connect(&proxy).await;
        // Frames of any length, cut off at the end; now and then bytes that are no frames.
        let mut sent = Vec::new();
        for _ in 0..random.usize(1..6) {
            let body = random.usize(..40);
            sent.extend(if random.u8(..8) == 0 { u32::MAX } else { 8 + body as u32 }.to_be_bytes());
            sent.extend((0..8 + body).map(|_| random.u8(..4)));
        }
        sent.truncate(sent.len() - random.usize(..8));
        let (mut from, mut to) = stream.split();
        let writing = async {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(random.usize(1..=rest.len().min(30)));
                to.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
                rest = later;
            }
            to.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let reading = async { from.read_to_end(&mut received).await.unwrap() };
        timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.unwrap();
        assert_eq!(received, sent);
    }
}

#[tokio::test]
async fn a_peer_that_is_frozen_stops_reading_until_the_buffers_are_full() {
    let proxy = echo().await;
    let moment = Moment::Request(ApiKey::PRODUCE);
    proxy.inject(moment, Action::Freeze(Direction::ToBroker));
    let mut stream = connect(&proxy).await;
    stream.write_all(&request(ApiKey::PRODUCE)).await.unwrap();
    let full = timeout(Duration::from_secs(2), async {
        let chunk = vec![0; 1 << 20];
        for _ in 0..64 {
            stream.write_all(&chunk).await.unwrap();
        }
    });
    assert!(full.await.is_err(), "64 MiB went nowhere");
}

#[tokio::test]
async fn a_cut_is_an_end_and_a_reset_an_error() {
    let proxy = echo().await;
    for (action, error) in [(Action::Cut, None), (Action::Reset, Some(io::ErrorKind::ConnectionReset))] {
        let fault = proxy.inject(Moment::EndOfRequest(ApiKey::PRODUCE), action);
        let mut stream = connect(&proxy).await;
        stream.write_all(&request(ApiKey::METADATA)).await.unwrap();
        read(&mut stream, 12).await;
        stream.write_all(&request(ApiKey::PRODUCE)).await.unwrap();
        let (rest, result) = end(&mut stream).await;
        assert_eq!(result.err().map(|error| error.kind()), error, "{action:?}");
        assert!(rest.len() <= 11, "all but the last byte: {rest:?}");
        assert_eq!(proxy.struck(fault), 1);
    }
}

#[tokio::test]
async fn requests_and_answers_are_told_apart() {
    let proxy = echo().await;
    let on_answer = Moment::Answer(ApiKey::PRODUCE);
    let frozen = proxy.inject(on_answer, Action::Freeze(Direction::ToClient));
    let mut stream = connect(&proxy).await;
    stream.write_all(&request(ApiKey::METADATA)).await.unwrap();
    read(&mut stream, 12).await;
    stream.write_all(&request(ApiKey::PRODUCE)).await.unwrap();
    has_struck(&proxy, frozen).await;
    assert_silent(&mut stream).await;
}

#[tokio::test]
async fn a_target_that_is_not_there_resets_the_client() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(nobody.to_string()).await.unwrap();
    let (_, result) = end(&mut connect(&proxy).await).await;
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// Ends the process when dropped.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_process_stands_still_from_a_moment_on_until_the_thaw() {
    let cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let cat = Owned(cat);
    let process = BrokerProcess::with_pid(cat.0.id()).unwrap();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", cat.0.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    };
    let proxy = echo().await;
    proxy.inject(Moment::Request(ApiKey::PRODUCE), Action::Stop(process));
    let mut stream = connect(&proxy).await;
    stream.write_all(&request(ApiKey::METADATA)).await.unwrap();
    read(&mut stream, 12).await;
    assert_ne!(state(), 'T');
    stream.write_all(&request(ApiKey::PRODUCE)).await.unwrap();
    // It is passed on only when the process stands still.
    read(&mut stream, 12).await;
    assert_eq!(state(), 'T');
    proxy.thaw();
    assert_ne!(state(), 'T');
    drop(cat);
}

#[tokio::test]
async fn what_a_client_asks_is_seen_and_its_append_is_cut_off() {
    let cluster = FakeCluster::builder().start().await.unwrap();
    cluster.create_topic("wal", 1, 1).unwrap();
    let proxy = Proxy::start(cluster.bootstrap_servers().remove(0)).await.unwrap();
    let address = proxy.address();
    let env = Env::builder().connector(move |_, _| TcpStream::connect(address)).build();
    let cut = proxy.inject(Moment::EndOfRequest(ApiKey::PRODUCE), Action::Cut);
    let client = Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap();
    let log = client.partition_client("wal", 0).idempotence(false).await.unwrap();
    let record = || Record { key: (), value: "hello", headers: (), timestamp: OffsetDateTime::UNIX_EPOCH };
    let error = log.produce([record()]).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(proxy.struck(cut), 1);
    assert!(cluster.log("wal", 0).unwrap().values().unwrap().is_empty());
    assert_eq!(log.produce([record()]).await.unwrap().base_offset, 0);
}
