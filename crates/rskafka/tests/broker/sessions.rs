//! SASL sessions that a real broker ends (KIP-368), under load.

use std::time::Duration;

use rskafka::client::OffsetAt;
use rskafka::protocol::messages::metadata::MetadataRequest;
use rskafka::protocol::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use rskafka::protocol::messages::sasl_handshake::SaslHandshakeRequest;
use rskafka::protocol::{Request, decode_response, encode_request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::common::{new_topic, read_all, record, served, values};
use crate::environment::{Environment, run, sasl};

/// What a broker logs, with the request, when one comes on a session that has ended; then it closes the connection.
const EXPIRED: &str = "Disconnecting expired channel";
const LATE: &str = "late-on-purpose";
const IN_TIME: &str = "in-time";
/// Each connection is replaced that often.
const SESSIONS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(5);

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn no_call_fails_and_no_request_meets_the_end_of_its_session() {
    run(|environment, _| async move {
        let session = Duration::from_millis(environment.fact("sasl.session.ms").parse().unwrap());
        let until = Instant::now() + session * SESSIONS + session / 2;
        // Not one of an earlier run on the same brokers.
        let client_id = new_topic(IN_TIME);
        let mut clients = Vec::new();
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
            clients.push(tokio::spawn(append_and_tail(
                mechanism,
                client_id.clone(),
                Environment::get(),
                until,
            )));
        }
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(expired_requests(&environment, &client_id), Vec::<String>::new());
    });
}

/// Shows that the test above could fail.
#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_request_after_the_end_of_its_session_is_seen_in_the_log() {
    run(|environment, _| async move {
        let (user, password) = environment.login();
        let mut stream = TcpStream::connect(&environment.list("listener.SASL_REAUTH")[0]).await.unwrap();
        let handshake = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
        assert!(ask(&mut stream, 1, &handshake).await.is_some());
        let auth_bytes = format!("\0{user}\0{password}").into();
        let asked = Instant::now();
        let frame = ask(&mut stream, 1, &SaslAuthenticateRequest { auth_bytes }).await.unwrap();
        let (_, answer) = decode_response::<SaslAuthenticateResponse>(1, &frame.into()).unwrap();
        let session = Duration::from_millis(answer.session_lifetime_ms.try_into().unwrap());
        assert_eq!(session.as_millis().to_string(), environment.fact("sasl.session.ms"));

        assert!(ask(&mut stream, 1, &MetadataRequest::default()).await.is_some());
        tokio::time::sleep_until(asked + session + Duration::from_secs(1)).await;
        assert_eq!(ask(&mut stream, 1, &MetadataRequest::default()).await, None);
        let seen = expired_requests(&environment, LATE);
        assert!(!seen.is_empty() && seen.iter().all(|line| line.contains("METADATA")), "{seen:?}");
    });
}

/// One request; the answer's frame, or nothing if the broker closes the connection.
async fn ask<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> Option<Vec<u8>> {
    let request = encode_request(request, version, 1, Some(LATE)).unwrap();
    stream.write_all(&request.to_bytes()).await.unwrap();
    let length = stream.read_u32().await.ok()?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

/// Appends one record after the other and reads what is there, until the time has come; then all must be there once.
async fn append_and_tail(
    mechanism: &'static str,
    client_id: String,
    environment: Environment,
    until: Instant,
) {
    let client =
        environment.client("SASL_REAUTH").client_id(client_id).sasl(sasl(mechanism, environment.login()));
    let client = client.build().await.unwrap();
    let topic = new_topic("sessions");
    client.create_topic(&topic, 1, 1).await.unwrap();
    let log = served(&client, &topic, 0).await;
    let mut written = Vec::new();
    let mut next = 0;
    while Instant::now() < until {
        let value = format!("{mechanism} {}", written.len());
        let produced = log.produce([record(value.clone())]).await.unwrap();
        assert_eq!(produced.base_offset, written.len() as i64);
        written.push(value);
        let (records, _) = log.fetch_records(next, 1..100_000, 100).await.unwrap();
        next += records.len() as i64;
        // The lane of metadata and offsets has a session of its own.
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, written.len() as i64);
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(next, written.len() as i64);
    assert_eq!(values(&read_all(&log).await), written);
    println!("{mechanism}: {} records", written.len());
    client.delete_topic(&topic).await.unwrap();
}

/// What the brokers have logged of a client's late requests.
fn expired_requests(environment: &Environment, client_id: &str) -> Vec<String> {
    let logs = environment.list("broker.logs");
    let logs: String = logs.iter().map(|log| std::fs::read_to_string(log).unwrap()).collect();
    let late = logs.lines().filter(|line| line.contains(EXPIRED) && line.contains(client_id));
    late.map(str::to_owned).collect()
}
