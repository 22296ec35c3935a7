//! Connections that say which broker they are meant for (KIP-1242).

use rskafka_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka_protocol::{ErrorCode, Message};
use rskafka_transport::{
    AddressMemory, BrokerIdentity, Connection, ConnectionConfig, IdentityCheck, OpenError, OpenProgress,
    Sasl, Security,
};

use crate::support::*;

fn broker_7() -> BrokerIdentity {
    BrokerIdentity { cluster_id: "ours".to_owned(), broker_id: 7 }
}

/// Opens a connection meant for broker 7 to a peer that answers by `script`.
async fn meant_for_7<F: Future>(
    config: &ConnectionConfig,
    memory: &AddressMemory,
    script: impl FnOnce(Peer) -> F,
) -> (Result<Connection, OpenError>, F::Output) {
    let (env, mut peers) = env();
    let endpoint = endpoint();
    let shown = OpenProgress::default();
    let opening =
        Connection::open_after(&env, &endpoint, config, memory, Some(broker_7()), no_hurry(), &shown);
    tokio::join!(opening, async { script(peers.recv().await.expect("a connection")).await })
}

/// The version of a request for versions, and the broker that it is meant for.
fn meant(received: &Received) -> (i16, Option<String>, i32) {
    let version = received.header.api_version;
    let request = ApiVersionsRequest::decode(version, &received.body).unwrap();
    (version, request.cluster_id, request.node_id)
}

fn denial() -> ApiVersionsResponse {
    ApiVersionsResponse { error_code: ErrorCode::REBOOTSTRAP_REQUIRED, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn the_request_for_versions_says_which_broker_it_is_meant_for() {
    let (config, memory) = (ConnectionConfig::default(), AddressMemory::new(&endpoint()));
    let (opened, asked) = meant_for_7(&config, &memory, async |mut peer: Peer| {
        let request = peer.request().await;
        peer.answer(&request.header, &versions(&[(3, 0, 13), (18, 0, 5)])).await;
        meant(&request)
    })
    .await;
    assert_eq!(asked, (5, Some("ours".to_owned()), 7));
    assert_eq!(opened.unwrap().identity_check(), IdentityCheck::Confirmed);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_another_is_asked_again_on_the_same_connection_which_stays_usable() {
    let (config, memory) = (ConnectionConfig::default(), AddressMemory::new(&endpoint()));
    let (opened, mut peer) = meant_for_7(&config, &memory, async |mut peer: Peer| {
        let request = peer.request().await;
        assert_eq!(meant(&request), (5, Some("ours".to_owned()), 7));
        peer.answer(&request.header, &denial()).await;
        let request = peer.request().await;
        assert_eq!(meant(&request), (5, None, -1));
        peer.answer(&request.header, &versions(&[(3, 0, 13), (18, 0, 5)])).await;
        peer
    })
    .await;
    let connection = opened.unwrap();
    assert_eq!(connection.identity_check(), IdentityCheck::Denied);
    let asking = asking(&connection, "who then", options(seconds(1)));
    let request = peer.request().await;
    peer.echo(&request).await;
    assert_eq!(asking.await.unwrap().unwrap(), "who then");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_another_and_closes_or_says_so_again_refuses_the_connection() {
    let config = ConnectionConfig::default();
    for says_so_again in [true, false] {
        let (opened, ()) = meant_for_7(&config, &AddressMemory::new(&endpoint()), async |mut peer: Peer| {
            let request = peer.request().await;
            peer.answer(&request.header, &denial()).await;
            let request = peer.request().await;
            if says_so_again {
                peer.answer(&request.header, &denial()).await;
            }
        })
        .await;
        let error = opened.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::REBOOTSTRAP_REQUIRED));
        assert!(error.nature().is_transient());
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_broker_costs_a_round_trip_more_on_the_first_connection_only() {
    let (config, memory) = (ConnectionConfig::default(), AddressMemory::new(&endpoint()));
    for (newest, expected) in [(4, &[5, 4][..]), (4, &[4]), (5, &[4]), (5, &[5])] {
        let (opened, asked) = meant_for_7(&config, &memory, async |mut peer: Peer| {
            let mut asked = Vec::new();
            loop {
                let request = peer.request().await;
                asked.push(request.header.api_version);
                let answer = versions(&[(3, 0, 13), (18, 0, newest)]);
                if request.header.api_version <= newest {
                    peer.answer(&request.header, &answer).await;
                    break asked;
                }
                let refusal = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..answer };
                peer.send(&response_bytes(&refusal, 0, request.header.correlation_id)).await;
            }
        })
        .await;
        assert_eq!(asked, expected, "a broker that speaks up to version {newest}");
        let check = opened.unwrap().identity_check();
        let expected =
            if expected.last() == Some(&5) { IdentityCheck::Confirmed } else { IdentityCheck::NotMade };
        assert_eq!(check, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn before_a_login_the_broker_is_not_told_because_kafka_does_not_look() {
    let security = Security { sasl: Some(Sasl::plain("alice", "secret")), ..Default::default() };
    let config = ConnectionConfig { security, ..Default::default() };
    let (_, asked) = meant_for_7(&config, &AddressMemory::new(&endpoint()), async |mut peer: Peer| {
        let request = peer.request().await;
        meant(&request)
    })
    .await;
    assert_eq!(asked, (5, None, -1));
}
