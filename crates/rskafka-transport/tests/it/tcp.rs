//! Over real sockets on loopback, in real time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rskafka_protocol::messages::api_versions::ApiVersionsResponse;
use rskafka_protocol::messages::metadata::MetadataResponse;
use rskafka_protocol::{Message, RequestHeader};
use rskafka_transport::{Connection, ConnectionConfig, Deadline, Endpoint, Env, Nature, Phase};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::{chain, request_for, response_bytes, seconds, versions};

/// Answers ApiVersions at once, and everything else with Metadata's default answer.
async fn serve(mut stream: TcpStream, together: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = Vec::new();
    let mut waiting = 0;
    loop {
        let length = stream.read_u32().await?;
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await?;
        let (header, _) = RequestHeader::decode(&frame.into()).expect("a header");
        let (version, id) = (header.api_version, header.correlation_id);
        if header.api_key == ApiVersionsResponse::API_KEY {
            stream.write_all(&response_bytes(&versions(&[(3, 0, 13)]), version, id)).await?;
            continue;
        }
        answers.extend_from_slice(&response_bytes(&MetadataResponse::default(), version, id));
        waiting += 1;
        if waiting == together {
            stream.write_all(&std::mem::take(&mut answers)).await?;
            waiting = 0;
        }
    }
}

async fn broker() -> SocketAddr {
    broker_that_answers_together(1).await
}

/// A broker that answers requests only once so many have come.
async fn broker_that_answers_together(together: usize) -> SocketAddr {
    broker_at("127.0.0.1:0", together).await
}

async fn broker_at(address: &str, together: usize) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, together));
        }
    });
    address
}

/// A port on which nobody listens: taken until this process ends, so that no other test gets it.
fn refusing() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A listener whose backlog is full, so that the kernel lets further connections wait without an answer.
fn unresponsive() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..8 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address);
        sockets.push(socket);
    }
    (address.as_socket().unwrap(), sockets)
}

fn resolving_to(addresses: Vec<SocketAddr>) -> Env {
    Env::builder()
        .resolver(move |_, _| {
            let addresses = addresses.clone();
            async move { Ok(addresses) }
        })
        .build()
}

async fn open(env: &Env, limit: Duration) -> Result<Connection, rskafka_transport::OpenError> {
    let endpoint = Endpoint::new("broker.test", 9092);
    let deadline = Deadline::after(Instant::now(), limit);
    Connection::open(env, &endpoint, &ConnectionConfig::default(), deadline).await
}

async fn ask(connection: &Connection, topic: &str) {
    connection.call(&request_for(topic), crate::support::options(seconds(5))).await.unwrap();
}

#[tokio::test]
async fn a_connection_to_localhost_works() {
    let address = broker().await;
    let endpoint = Endpoint::new("localhost", address.port());
    let deadline = Deadline::after(Instant::now(), seconds(5));
    let connection =
        Connection::open(&Env::system(), &endpoint, &ConnectionConfig::default(), deadline).await.unwrap();
    ask(&connection, "topic").await;
    connection.close().await;
}

#[tokio::test]
async fn addresses_of_both_families_are_connected_to_as_they_are() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let address = broker_at(address, 1).await;
        let endpoint: Endpoint = address.to_string().parse().unwrap();
        let deadline = Deadline::after(Instant::now(), seconds(5));
        let config = ConnectionConfig::default();
        let connection = Connection::open(&Env::system(), &endpoint, &config, deadline).await.unwrap();
        ask(&connection, "topic").await;
    }
}

#[tokio::test]
async fn a_name_that_ends_with_a_dot_is_looked_up_with_it() {
    let address = broker().await;
    let resolve = move |host: String, port: u16| async move {
        assert_eq!((host.as_str(), port), ("kafka.example.com.", 9092));
        Ok(vec![address])
    };
    let env = Env::builder().resolver(resolve).build();
    let deadline = Deadline::after(Instant::now(), seconds(5));
    let endpoint = "kafka.example.com.:9092".parse().unwrap();
    let connection = Connection::open(&env, &endpoint, &ConnectionConfig::default(), deadline).await.unwrap();
    ask(&connection, "topic").await;
}

#[tokio::test]
async fn of_two_addresses_one_may_refuse() {
    let env = resolving_to(vec![refusing(), broker().await]);
    let connection = open(&env, seconds(5)).await.unwrap();
    ask(&connection, "topic").await;
}

#[tokio::test]
async fn of_two_addresses_one_may_be_silent() {
    let (silent, _sockets) = unresponsive();
    let started = Instant::now();
    let connection = open(&resolving_to(vec![silent, broker().await]), seconds(5)).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(200), "the first address answered after {took:?}");
    assert!(took < seconds(2), "a silent address took {took:?}");
    ask(&connection, "topic").await;
}

#[tokio::test]
async fn when_no_address_answers_each_is_listed_with_its_cause() {
    let (one, two) = (refusing(), refusing());
    let error = open(&resolving_to(vec![one, two]), seconds(5)).await.unwrap_err();
    let text = chain(&error);
    assert!(
        text.starts_with("cannot open a connection to broker broker.test:9092: no address can be reached")
    );
    assert!(
        text.contains(&format!("({one}: Connection refused"))
            && text.contains(&format!("; {two}: Connection refused")),
        "{text}"
    );
}

#[tokio::test]
async fn when_time_runs_out_while_connecting_each_address_is_listed_too() {
    let (silent, _sockets) = unresponsive();
    let refused = refusing();
    let started = Instant::now();
    let limit = Duration::from_millis(700);
    let error = open(&resolving_to(vec![silent, refused]), limit).await.unwrap_err();
    let took = started.elapsed();
    assert!(took >= limit && took <= limit + crate::support::GRACE, "{took:?}");
    assert!(error.nature() == Nature::TimedOut);
    assert_eq!(error.phase(), Phase::Connect);
    let text = error.to_string();
    assert!(text.contains(&format!("{refused}: Connection refused")), "{text}");
    assert!(text.contains(&format!("{silent}: no answer in time")), "{text}");
}

#[tokio::test]
async fn an_address_that_answered_is_not_listed_when_time_runs_out_later() {
    // The kernel takes the connection; nobody ever reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![refusing(), listener.local_addr().unwrap()];
    let error = open(&resolving_to(addresses), Duration::from_millis(400)).await.unwrap_err();
    assert_eq!((error.phase(), error.nature() == Nature::TimedOut), (Phase::Negotiate, true));
    assert!(error.to_string().ends_with("while negotiating versions"), "{error}");
}

#[tokio::test]
async fn requests_of_10_kib_one_by_one_do_not_wait_for_delayed_acknowledgements() {
    let connection = open(&resolving_to(vec![broker().await]), seconds(5)).await.unwrap();
    let topic = "x".repeat(10 * 1024);
    ask(&connection, &topic).await;
    let started = Instant::now();
    for _ in 0..50 {
        ask(&connection, &topic).await;
    }
    // With a delayed acknowledgement each, they would take 2 s.
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_small_request_does_not_wait_for_the_acknowledgement_of_the_one_before() {
    let connection =
        open(&resolving_to(vec![broker_that_answers_together(2).await]), seconds(5)).await.unwrap();
    let started = Instant::now();
    for _ in 0..50 {
        let first = tokio::spawn({
            let connection = connection.clone();
            async move { ask(&connection, "first").await }
        });
        // So that the two go out in a write each.
        tokio::time::sleep(Duration::from_millis(1)).await;
        ask(&connection, "second").await;
        first.await.unwrap();
    }
    // Without TCP_NODELAY, each second request waits 40 ms for the peer's delayed acknowledgement.
    assert!(started.elapsed() < Duration::from_millis(1000), "{:?}", started.elapsed());
}
