//! Listeners that ask for a login.

use std::time::Duration;

use rskafka_fake::{FakeCluster, FakeSasl, FakeToken, Fault, SaslMechanism};
use rskafka_protocol::messages::api_versions::ApiVersionsRequest;
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use rskafka_protocol::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use rskafka_protocol::scram::{ClientFirst, Credentials, Mechanism};
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::support::*;

fn alice() -> FakeSasl {
    FakeSasl::new(SaslMechanism::ALL).user("alice", "secret").user("bob", "hidden").accept_tokens(|token| {
        let user = token.strip_prefix("token of ")?;
        Some(FakeToken::of(user).expires_after(Duration::from_secs(60)))
    })
}

async fn start(sasl: FakeSasl) -> FakeCluster {
    fake().in_memory().sasl(sasl).start().await.unwrap()
}

async fn handshake(client: &mut RawClient, mechanism: &str) -> SaslHandshakeResponse {
    client.call(1, &SaslHandshakeRequest { mechanism: mechanism.to_owned() }).await
}

async fn send(client: &mut RawClient, message: impl AsRef<[u8]>) -> SaslAuthenticateResponse {
    let auth_bytes = message.as_ref().to_vec().into();
    client.call(2, &SaslAuthenticateRequest { auth_bytes }).await
}

async fn plain(client: &mut RawClient, user: &str, password: &str) -> SaslAuthenticateResponse {
    assert_eq!(handshake(client, "PLAIN").await.error_code, ErrorCode::NONE);
    send(client, format!("\0{user}\0{password}")).await
}

#[tokio::test]
async fn while_a_client_logs_in_which_broker_it_means_is_not_looked_at() {
    needs!(ApiVersionsRequest, 5, "its requests do not say which broker is meant");
    let cluster = start(alice()).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    let request = ApiVersionsRequest {
        client_software_name: "raw".to_owned(),
        client_software_version: "1.0".to_owned(),
        cluster_id: Some("another".to_owned()),
        node_id: 7,
    };
    assert_eq!(client.call(5, &request).await.error_code, ErrorCode::NONE);
    assert_eq!(plain(&mut client, "alice", "secret").await.error_code, ErrorCode::NONE);
    assert_eq!(client.call(5, &request).await.error_code, ErrorCode::REBOOTSTRAP_REQUIRED);
}

async fn scram(
    client: &mut RawClient,
    mechanism: Mechanism,
    user: &str,
    password: &str,
) -> Result<(), SaslAuthenticateResponse> {
    assert_eq!(handshake(client, mechanism.name()).await.error_code, ErrorCode::NONE);
    let first = ClientFirst::new(mechanism, &Credentials::new(user, password), "a-nonce").unwrap();
    let answer = send(client, first.message()).await;
    if !answer.error_code.is_ok() {
        return Err(answer);
    }
    let last = first.server_first(&answer.auth_bytes).unwrap();
    let answer = send(client, last.message()).await;
    if !answer.error_code.is_ok() {
        return Err(answer);
    }
    last.server_final(&answer.auth_bytes).unwrap();
    Ok(())
}

async fn is_served(client: &mut RawClient) -> bool {
    client.send(9, &MetadataRequest::default()).await;
    client.frame().await.is_some()
}

#[tokio::test(start_paused = true)]
async fn every_mechanism_accepts_a_client_that_has_the_secret() {
    let cluster = start(alice()).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.call(4, &ApiVersionsRequest::default()).await;
    let answer = plain(&mut client, "alice", "secret").await;
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (ErrorCode::NONE, 0));
    assert!(is_served(&mut client).await);
    for mechanism in Mechanism::ALL {
        let mut client = RawClient::pipe(&cluster, 1).await;
        scram(&mut client, mechanism, "bob", "hidden").await.unwrap();
        assert!(is_served(&mut client).await);
    }
    let mut client = RawClient::pipe(&cluster, 1).await;
    handshake(&mut client, "OAUTHBEARER").await;
    let answer = send(&mut client, "n,,\u{1}auth=Bearer token of alice\u{1}\u{1}").await;
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (ErrorCode::NONE, 60_000));
    assert!(is_served(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_answered_late_and_ends_the_connection() {
    let cluster = start(alice()).await;
    let refused = |answer: SaslAuthenticateResponse| {
        assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
        answer.error_message.unwrap()
    };
    for (user, password) in [("alice", "wrong"), ("nobody", "secret"), ("alice", ""), ("", "secret")] {
        let start = Instant::now();
        let mut client = RawClient::pipe(&cluster, 1).await;
        let why = refused(plain(&mut client, user, password).await);
        assert!(!why.contains("secret") && why.starts_with("Authentication failed"), "{why}");
        assert_eq!(start.elapsed(), Duration::from_millis(300));
        assert!(client.is_closed().await);
    }
    for mechanism in Mechanism::ALL {
        for (user, password) in [("alice", "wrong"), ("nobody", "secret")] {
            let start = Instant::now();
            let mut client = RawClient::pipe(&cluster, 1).await;
            let answer = scram(&mut client, mechanism, user, password).await.unwrap_err();
            assert!(refused(answer).contains("invalid credentials with SASL mechanism"));
            assert_eq!(start.elapsed(), Duration::from_millis(300));
            assert!(client.is_closed().await);
        }
    }
    let mut client = RawClient::pipe(&cluster, 1).await;
    handshake(&mut client, "PLAIN").await;
    assert!(refused(send(&mut client, "bob\0alice\0secret").await).contains("authorization id"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_valid_is_refused_with_success_first() {
    let cluster = start(alice()).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    handshake(&mut client, "OAUTHBEARER").await;
    let answer = send(&mut client, "n,,\u{1}auth=Bearer stolen\u{1}\u{1}").await;
    assert_eq!(answer.error_code, ErrorCode::NONE);
    assert_eq!(answer.auth_bytes, r#"{"status":"invalid_token"}"#);
    let answer = send(&mut client, [1]).await;
    assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert_eq!(answer.error_message.as_deref(), Some(r#"{"status":"invalid_token"}"#));
    assert!(client.is_closed().await);

    for message in ["", "auth=Bearer token of alice", "n,a=bob,\u{1}auth=Bearer token of alice\u{1}\u{1}"] {
        let mut client = RawClient::pipe(&cluster, 1).await;
        handshake(&mut client, "OAUTHBEARER").await;
        assert_eq!(send(&mut client, message).await.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mechanism_that_is_not_offered_is_answered_with_those_that_are() {
    let cluster = start(FakeSasl::new([SaslMechanism::ScramSha512, SaslMechanism::Plain])).await;
    for mechanism in ["GSSAPI", "SCRAM-SHA-256", ""] {
        let mut client = RawClient::pipe(&cluster, 1).await;
        let answer = handshake(&mut client, mechanism).await;
        assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
        assert_eq!(answer.mechanisms, ["SCRAM-SHA-512", "PLAIN"]);
        assert!(client.is_closed().await);
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_login_only_the_login_is_served() {
    let cluster = start(alice()).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    assert!(!is_served(&mut client).await);
    let mut client = RawClient::pipe(&cluster, 1).await;
    handshake(&mut client, "PLAIN").await;
    assert!(!is_served(&mut client).await);
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.send(2, &SaslAuthenticateRequest { auth_bytes: "\0alice\0secret".into() }).await;
    assert!(client.is_closed().await, "without a handshake before it");
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.call(4, &ApiVersionsRequest::default()).await;
    client.send(4, &ApiVersionsRequest::default()).await;
    assert!(client.is_closed().await, "it is asked for once");
}

#[tokio::test(start_paused = true)]
async fn a_request_on_an_expired_session_ends_the_connection() {
    let cluster = start(alice().session_lifetime(Duration::from_secs(5))).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    assert_eq!(plain(&mut client, "alice", "secret").await.session_lifetime_ms, 5000);
    tokio::time::sleep(Duration::from_millis(4999)).await;
    assert!(is_served(&mut client).await);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!is_served(&mut client).await);
    // The shorter of the two counts.
    let mut client = RawClient::pipe(&cluster, 1).await;
    handshake(&mut client, "OAUTHBEARER").await;
    let answer = send(&mut client, "n,a=alice,\u{1}auth=Bearer token of alice\u{1}\u{1}").await;
    assert_eq!(answer.session_lifetime_ms, 5000);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_authenticate_again_as_the_same_user_only() {
    let cluster = start(alice().session_lifetime(Duration::from_secs(5))).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    plain(&mut client, "alice", "secret").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(plain(&mut client, "alice", "secret").await.error_code, ErrorCode::NONE);
    }
    let answer = handshake(&mut client, "PLAIN").await;
    assert_eq!(answer.error_code, ErrorCode::ILLEGAL_SASL_STATE, "not twice in a second");
    assert!(is_served(&mut client).await);

    // Even after the session has ended, if no other request came first.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let answer = plain(&mut client, "bob", "hidden").await;
    assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert_eq!(
        answer.error_message.as_deref(),
        Some("Cannot change principals during re-authentication from User.alice: User.bob")
    );
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn passwords_rotate_while_the_cluster_runs() {
    let cluster = start(alice()).await;
    cluster.set_sasl_password("alice", Some("new")).await;
    for (password, code) in [("secret", ErrorCode::SASL_AUTHENTICATION_FAILED), ("new", ErrorCode::NONE)] {
        let mut client = RawClient::pipe(&cluster, 1).await;
        assert_eq!(plain(&mut client, "alice", password).await.error_code, code);
        let mut client = RawClient::pipe(&cluster, 1).await;
        assert_eq!(scram(&mut client, Mechanism::Sha256, "alice", password).await.is_ok(), code.is_ok());
    }
    cluster.set_sasl_password("alice", None).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    assert!(!plain(&mut client, "alice", "new").await.error_code.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_listener_without_sasl_says_so_and_goes_on() {
    let cluster = cluster(1).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    assert_eq!(handshake(&mut client, "PLAIN").await.error_code, ErrorCode::ILLEGAL_SASL_STATE);
    assert_eq!(send(&mut client, "\0a\0b").await.error_code, ErrorCode::ILLEGAL_SASL_STATE);
    assert!(is_served(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn faults_strike_a_login_like_any_request() {
    let cluster = start(alice()).await;
    cluster.inject(Fault::swallow().on(ApiKey::SASL_AUTHENTICATE));
    let mut client = RawClient::pipe(&cluster, 1).await;
    handshake(&mut client, "PLAIN").await;
    client.send(2, &SaslAuthenticateRequest { auth_bytes: "\0alice\0secret".into() }).await;
    assert!(tokio::time::timeout(Duration::from_secs(9), client.frame()).await.is_err());
    let shown = format!("{:?} {:?}", cluster, alice());
    assert!(!shown.contains("secret") && !shown.contains("hidden"), "{shown}");
}
