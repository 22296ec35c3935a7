//! Opening a connection: versions, and what a peer may answer instead of them.

use std::io;

use rskafka_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka_protocol::messages::list_offsets::ListOffsetsRequest;
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::{ApiKey, ErrorCode, Message, VersionRange};
use rskafka_transport::{
    CallErrorKind, CallOptions, CloseCause, Connection, ConnectionConfig, Deadline, Env, Nature, Phase,
};
use tokio::io::DuplexStream;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_first_request_asks_for_versions_and_names_the_client() {
    let config = ConnectionConfig { client_id: "db-7".to_owned(), ..Default::default() };
    let (connection, (received, _peer)) = open(&config, async |mut peer: Peer| {
        let request = peer.request().await;
        peer.answer(&request.header, &versions(&[(3, 1, 9), (1, 7, 2), (12_345, 0, 1)])).await;
        (request, peer)
    })
    .await;
    let connection = connection.unwrap();
    assert_eq!(received.header.api_key, ApiKey::API_VERSIONS);
    assert_eq!(received.header.api_version, 5);
    assert_eq!(received.header.client_id.as_deref(), Some("db-7"));
    let body = ApiVersionsRequest::decode(5, &received.body).unwrap();
    assert_eq!(body.client_software_name, "rskafka");
    assert_eq!(body.client_software_version, env!("CARGO_PKG_VERSION"));

    assert_eq!(connection.endpoint(), &endpoint());
    assert_eq!(connection.versions().version_of::<MetadataRequest>(0, None), Ok(9));
    assert_eq!(connection.versions().version_of::<MetadataRequest>(0, Some(4)), Ok(4));
    assert_eq!(connection.versions().range(ApiKey(1)), None, "an empty range is no range");
    assert_eq!(connection.versions().range(ApiKey(12_345)), Some(VersionRange { min: 0, max: 1 }));
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_our_version_is_asked_again_on_the_same_connection() {
    for (named, asked_next) in [(&[(18, 0, 2)][..], 2), (&[][..], 0)] {
        let (connection, ()) = open(&ConnectionConfig::default(), async |mut peer: Peer| {
            let request = peer.request().await;
            let refusal =
                ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..versions(named) };
            peer.send(&response_bytes(&refusal, 0, request.header.correlation_id)).await;
            let request = peer.request().await;
            assert_eq!(request.header.api_version, asked_next);
            peer.answer(&request.header, &versions(&[(3, 0, 5)])).await;
        })
        .await;
        assert_eq!(connection.unwrap().versions().version_of::<MetadataRequest>(0, None), Ok(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_every_version_is_an_error() {
    let (result, asked) = open(&ConnectionConfig::default(), async |mut peer: Peer| {
        let mut asked = Vec::new();
        while let Some(request) = peer.try_request().await {
            asked.push(request.header.api_version);
            let refusal = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..versions(&[]) };
            peer.send(&response_bytes(&refusal, 0, request.header.correlation_id)).await;
        }
        asked
    })
    .await;
    let error = result.unwrap_err();
    assert_eq!(asked, [5, 0]);
    assert_eq!(error.code(), Some(ErrorCode::UNSUPPORTED_VERSION));
    assert_eq!(
        chain(&error),
        "cannot open a connection to broker broker:9092: the broker refuses to tell its versions: \
        UNSUPPORTED_VERSION (35)"
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_that_the_broker_lacks_is_refused_here_and_the_connection_stays() {
    let (connection, peer) = connected().await;
    tokio::spawn(peer.echo_all());
    let error =
        connection.call(&ListOffsetsRequest::default(), CallOptions::new(no_hurry())).await.unwrap_err();
    assert!(!error.was_sent() && error.nature() != Nature::TimedOut);
    assert!(matches!(error.kind(), CallErrorKind::UnsupportedVersion { .. }));
    assert_eq!(
        chain(&error),
        "ListOffsets request to broker broker:9092 failed: the API cannot be used (not sent): no common \
        version: this client can use 1..=11, the broker does not have this API"
    );
    assert_eq!(ask(&connection, "next", options(seconds(1))).await.unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_version_cannot_carry_is_refused_here_and_the_connection_stays() {
    let (connection, peer) = connected().await;
    tokio::spawn(peer.echo_all());
    let request = MetadataRequest { allow_auto_topic_creation: false, ..request_for("a") };
    let capped = CallOptions { max_version: Some(3), ..options(seconds(1)) };
    let error = connection.call(&request, capped).await.unwrap_err();
    assert!(!error.was_sent());
    assert!(matches!(error.kind(), CallErrorKind::Encode { .. }), "{error:?}");
    assert_eq!(connection.call(&request, options(seconds(1))).await.unwrap().version, 13);
}

/// Opens to a peer that answers the first request with `bytes` and closes.
async fn answered_with(bytes: &[u8]) -> (String, &'static str) {
    let (result, ()) = open(&ConnectionConfig::default(), async |mut peer: Peer| {
        peer.request().await;
        peer.send(bytes).await;
    })
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.phase(), Phase::Negotiate);
    assert!(error.nature() != Nature::TimedOut);
    let source = call_error(&error);
    let is_tls = error.to_string().contains("the port expects TLS");
    assert_eq!(error.nature().is_transient(), !is_tls && source.nature().is_transient());
    assert_eq!(error.nature() == Nature::InvalidAnswer, !is_tls && source.nature() == Nature::InvalidAnswer);
    let name = match (source.kind(), source.close_cause().map(|cause| &**cause)) {
        (CallErrorKind::Decode { .. }, None) => "decode",
        _ if is_tls => "tls",
        (CallErrorKind::Closed { .. }, Some(CloseCause::Frame { .. })) => "frame",
        (CallErrorKind::Closed { .. }, Some(CloseCause::Truncated { .. })) => "truncated",
        (CallErrorKind::Closed { .. }, Some(CloseCause::UnexpectedAnswer { .. })) => "unexpected",
        _ => "other",
    };
    (chain(&error), name)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_kafka_is_recognised() {
    let started = Instant::now();
    let (tls, kind) = answered_with(&[0x15, 3, 3, 0, 2, 2, 80]).await;
    assert_eq!(kind, "tls");
    assert!(tls.contains("the port expects TLS: connect with TLS, or to a plaintext port"), "{tls}");
    assert!(tls.contains("ApiVersions request to broker broker:9092"), "{tls}");

    let (http, kind) = answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(kind, "frame");
    assert!(http.contains("check host and port") && http.contains("speaks HTTP"), "{http}");

    let (ssh, kind) = answered_with(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    assert_eq!(kind, "frame", "{ssh}");
    let (zeros, kind) = answered_with(&[0; 64]).await;
    assert_eq!(kind, "frame", "{zeros}");
    assert_eq!(Instant::now(), started, "none of them needs a timeout");
}

#[tokio::test(start_paused = true)]
async fn versions_cut_off_at_any_byte_are_an_error() {
    let whole = response_bytes(&versions(&[(3, 0, 13), (18, 0, 5)]), 5, 0);
    for cut in 1..whole.len() {
        let (text, kind) = answered_with(&whole[..cut]).await;
        assert_eq!(kind, "truncated", "cut at {cut}: {text}");
    }
    let mut other = whole.to_vec();
    other[7] = 9;
    assert_eq!(answered_with(&other).await.1, "unexpected");
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_fails_gives_its_error() {
    let env = Env::builder()
        .connector(async |_host: String, _port: u16| -> io::Result<DuplexStream> {
            Err(io::Error::other("no route in this test"))
        })
        .build();
    let error =
        Connection::open(&env, &endpoint(), &ConnectionConfig::default(), no_hurry()).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Connect);
    assert!(chain(&error).ends_with("the connector failed: no route in this test"));
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_protocol_that_greets_first_is_recognised() {
    let (result, ()) = open(&ConnectionConfig::default(), async |mut peer: Peer| {
        peer.send(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    })
    .await;
    let error = result.unwrap_err();
    assert!(!call_error(&error).was_sent(), "the greeting comes before the request");
    assert!(error.nature() == Nature::InvalidAnswer && !error.nature().is_transient(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resolver_without_an_address_is_an_error_of_its_own() {
    let config = ConnectionConfig::default();
    let env = Env::builder().resolver(async |_: String, _: u16| Ok(Vec::new())).build();
    let error = Connection::open(&env, &endpoint(), &config, no_hurry()).await.unwrap_err();
    assert!(chain(&error).ends_with("the name has no address") && error.nature().is_transient(), "{error}");
    assert_eq!(error.phase(), Phase::Resolve);

    let env = Env::builder()
        .resolver(async |host: String, _: u16| Err(io::Error::other(format!("{host} is unknown"))))
        .build();
    let error = Connection::open(&env, &endpoint(), &config, Deadline::after(Instant::now(), seconds(1)))
        .await
        .unwrap_err();
    assert!(chain(&error).ends_with("the name cannot be resolved: broker is unknown"), "{}", chain(&error));
}
