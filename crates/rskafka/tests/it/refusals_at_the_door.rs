//! Clients that a cluster does not let in, or that do not trust it: each learns what to change, in time, as
//! on real brokers (`tests/broker/refusals_at_the_door.rs`).

use std::time::Duration;

use crate::common::socks5::{ReplyCode, Socks5Server};
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{ClientBuilder, ClientCertificate, Credentials, OauthToken, Sasl, Socks5, Tls};
use rskafka::protocol::ApiKey;
use rskafka_fake::{FakeCluster, FakeClusterBuilder, FakeSasl, FakeTls, FakeToken, Fault, SaslMechanism};
use tokio::time::Instant;

use super::common::SLACK;
use super::kit::{self, TIMEOUT, assert_says, builder, failure};

const PASSWORD: &str = "alice-secret";

/// What a refusal means to the client.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Refusal {
    /// Nothing that passes by itself: the client does not wait for it to.
    Final,
    /// Final, and about who the client is.
    Authentication,
    /// It looks like a broker that is just being restarted.
    MayPass,
}
use Refusal::{Authentication, Final, MayPass};

fn tls(tls: &FakeTls) -> FakeClusterBuilder {
    kit::fake().tls(tls.clone())
}

fn sasl(mechanisms: &[SaslMechanism]) -> FakeClusterBuilder {
    let sasl = FakeSasl::new(mechanisms.iter().copied()).user("alice", PASSWORD);
    let sasl = sasl.accept_tokens(|token| (token == "good").then(|| FakeToken::of("alice")));
    kit::fake().brokers(3).sasl(sasl)
}

fn trusting(tls: &FakeTls) -> Tls {
    Tls::ca_pem(tls.ca_pem()).unwrap()
}

/// Builds a client of such a cluster in vain.
async fn refused(
    fake: FakeClusterBuilder,
    refusal: Refusal,
    change: impl Fn(ClientBuilder) -> ClientBuilder,
    says: &[&str],
) {
    let cluster = fake.in_memory().start().await.unwrap();
    refused_by(&cluster, refusal, change(builder(&cluster)), says).await;
    if refusal != MayPass {
        let logins = cluster.requests().into_iter().filter(|it| it.api_key == ApiKey::SASL_AUTHENTICATE);
        assert!(logins.count() <= 2, "a login is tried once, and OAUTHBEARER asks for the error then");
    }
}

async fn refused_by(cluster: &FakeCluster, refusal: Refusal, client: ClientBuilder, says: &[&str]) {
    let started = Instant::now();
    let error = client.api_timeout(TIMEOUT).build().await.expect_err("the client was let in");
    let elapsed = started.elapsed();
    assert_says(&error, says);
    if refusal == MayPass {
        let text = format!("{error:?}");
        assert!(cluster.bootstrap_servers().iter().any(|server| text.contains(server)), "{text}");
    } else {
        assert_says(&error, &[&cluster.bootstrap_servers()[0]]);
    }
    assert_eq!(error.outcome(), Outcome::NotWritten);
    assert_eq!(error.is_retriable(), refusal == MayPass, "{error:?}");
    let kind = match refusal {
        Authentication => ErrorKind::Authentication,
        Final | MayPass => ErrorKind::NoReachableBroker,
    };
    assert_eq!(error.kind(), &kind);
    // A refused login is answered late, by 300 ms.
    let limit = if refusal == MayPass { TIMEOUT } else { Duration::from_millis(300) };
    assert!(elapsed <= limit + SLACK, "{elapsed:?}: {error:?}");
    for secret in [PASSWORD, "wr0ng", "t0ken"] {
        assert!(!format!("{error:?}{error}").contains(secret), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_name() {
    let fake = FakeTls::wrong_name().unwrap();
    let says = ["the broker's certificate is not for", "set the server name"];
    refused(tls(&fake), Final, |client| client.tls(trusting(&fake)), &says).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate() {
    let fake = FakeTls::expired().unwrap();
    let says = ["the broker's certificate has expired: renew it"];
    refused(tls(&fake), Final, |client| client.tls(trusting(&fake)), &says).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_an_unknown_ca() {
    let (fake, other) = (FakeTls::new().unwrap(), FakeTls::new().unwrap());
    let says = ["signed by an unknown CA: trust the CA that signed it"];
    refused(tls(&fake), Final, |client| client.tls(Tls::webpki_roots()), &says).await;
    // Each fake's CA has the same name.
    let says = ["signed by a CA that has the name of a trusted one, but another key"];
    refused(tls(&fake), Final, |client| client.tls(trusting(&other)), &says).await;
}

#[tokio::test(start_paused = true)]
async fn no_client_certificate() {
    for fake in [FakeTls::new().unwrap(), FakeTls::new().unwrap().only_1_2()] {
        let fake = fake.require_client_certificate();
        let says = ["the broker wants a client certificate: set one that it trusts"];
        refused(tls(&fake), Final, |client| client.tls(trusting(&fake)), &says).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_certificate_of_an_unknown_ca() {
    for fake in [FakeTls::new().unwrap(), FakeTls::new().unwrap().only_1_2()] {
        let fake = fake.require_client_certificate();
        let identity = FakeTls::new().unwrap().client_identity("mallory").unwrap();
        let with_certificate = |client: ClientBuilder| {
            let shown = ClientCertificate::from_pem(&identity.certificate_pem, &identity.key_pem).unwrap();
            client.tls(trusting(&fake).client_certificate(shown).unwrap())
        };
        let says = ["the broker refuses the client certificate: check"];
        refused(tls(&fake), Final, with_certificate, &says).await;
    }
}

#[tokio::test(start_paused = true)]
async fn plaintext_to_a_tls_port() {
    let says = ["the port expects TLS: connect with TLS"];
    refused(tls(&FakeTls::new().unwrap()), Final, |client| client, &says).await;
}

#[tokio::test(start_paused = true)]
async fn tls_to_a_plaintext_port() {
    let says = ["closed the connection during the handshake: check that the port expects TLS"];
    for fake in [kit::fake(), sasl(&SaslMechanism::ALL)] {
        refused(fake, MayPass, |client| client.tls(Tls::webpki_roots()), &says).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_sasl_on_a_port_with_sasl() {
    let says = ["the broker may ask for SASL, which this client does not use", "closed by the broker"];
    refused(sasl(&SaslMechanism::ALL), MayPass, |client| client, &says).await;
    let fake = FakeTls::new().unwrap();
    let over_tls = |client: ClientBuilder| client.tls(trusting(&fake));
    refused(sasl(&SaslMechanism::ALL).tls(fake.clone()), MayPass, over_tls, &says).await;
}

#[tokio::test(start_paused = true)]
async fn sasl_is_not_suspected_where_it_is_used_or_where_nothing_was_closed() {
    let silent = Fault::swallow().on(ApiKey::METADATA).always();
    not_suspected(kit::fake(), silent, |client| client).await;
    let closed = Fault::close().on(ApiKey::METADATA).always();
    let with_sasl = |client: ClientBuilder| client.sasl(Sasl::plain("alice", PASSWORD));
    not_suspected(sasl(&SaslMechanism::ALL), closed, with_sasl).await;
}

async fn not_suspected(
    fake: FakeClusterBuilder,
    fault: Fault,
    change: impl Fn(ClientBuilder) -> ClientBuilder,
) {
    let cluster = fake.in_memory().start().await.unwrap();
    cluster.inject(fault);
    let error = failure(TIMEOUT, change(builder(&cluster)).build()).await;
    assert_says(&error, &["no answer to which cluster it belongs"]);
    assert!(!format!("{error:?}").contains("SASL"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn sasl_on_a_port_without() {
    let says = ["the port does not expect SASL: choose another port, or connect without SASL"];
    let with_sasl = |client: ClientBuilder| client.sasl(Sasl::plain("alice", PASSWORD));
    refused(kit::fake(), Authentication, with_sasl, &says).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_an_unknown_user() {
    for (user, password) in [("alice", "wr0ng"), ("nobody", PASSWORD)] {
        for wrong in [
            Sasl::plain(user, password),
            Sasl::scram_sha_256(user, password),
            Sasl::scram_sha_512(user, password),
        ] {
            let says = ["SASL_AUTHENTICATION_FAILED", "check user and password", wrong.mechanism()];
            let with_sasl = |client: ClientBuilder| client.sasl(wrong.clone());
            refused(sasl(&SaslMechanism::ALL), Authentication, with_sasl, &says).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mechanism_that_is_not_offered() {
    let says = ["does not offer PLAIN, but SCRAM-SHA-512: choose another mechanism or port"];
    let with_sasl = |client: ClientBuilder| client.sasl(Sasl::plain("alice", PASSWORD));
    refused(sasl(&[SaslMechanism::ScramSha512]), Authentication, with_sasl, &says).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_valid() {
    let token = async || Ok::<_, std::io::Error>(OauthToken::new("bad-t0ken"));
    let says = ["check", "the token, for OAUTHBEARER"];
    let with_sasl = |client: ClientBuilder| client.sasl(Sasl::oauth_bearer(token));
    refused(sasl(&SaslMechanism::ALL), Authentication, with_sasl, &says).await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_fails() {
    for failing in [
        Sasl::oauth_bearer(async || Err::<OauthToken, _>("the vault is closed")),
        Sasl::plain_from(async || Err::<Credentials, _>("the vault is closed")),
    ] {
        let says = ["the function that gives them failed: the vault is closed"];
        let with_sasl = |client: ClientBuilder| client.sasl(failing.clone());
        refused(sasl(&SaslMechanism::ALL), Authentication, with_sasl, &says).await;
    }
}

/// Over TCP and in real time, as the proxy is.
async fn refused_by_proxy(refusal: Refusal, proxy: Socks5, says: &[&str]) {
    let cluster = kit::fake().start().await.unwrap();
    let client = rskafka::client::Client::builder(cluster.bootstrap_servers()).socks5(proxy);
    let timeout = Duration::from_secs(2);
    let started = std::time::Instant::now();
    let error = client.api_timeout(timeout).build().await.expect_err("the proxy lets it through");
    let limit = if refusal == MayPass { timeout + SLACK } else { timeout / 2 };
    assert!(started.elapsed() <= limit, "{:?}: {error:?}", started.elapsed());
    assert_says(&error, says);
    assert_says(&error, &[&cluster.bootstrap_servers()[0], "cannot connect through proxy 127.0.0.1:"]);
    assert_eq!(error.is_retriable(), refusal == MayPass, "{error:?}");
    assert!(!format!("{error:?}{error}").contains("wr0ng"), "{error:?}");
}

#[tokio::test]
async fn a_proxy_where_nobody_listens() {
    let says = ["the proxy cannot be reached: check its address"];
    refused_by_proxy(MayPass, Socks5::new("127.0.0.1:1").unwrap(), &says).await;
}

#[tokio::test]
async fn a_proxy_that_refuses_the_login() {
    let server = Socks5Server::builder().password("proxy-user", PASSWORD).start().await.unwrap();
    let proxy = Socks5::new(&server.address().to_string()).unwrap();
    let says = ["the proxy wants authentication that it was not given: set user and password"];
    refused_by_proxy(Final, proxy.clone(), &says).await;
    let says = ["the proxy refuses user and password"];
    refused_by_proxy(Final, proxy.login("proxy-user", "wr0ng"), &says).await;
    assert!(server.destinations().is_empty());
}

#[tokio::test]
async fn a_proxy_that_refuses_the_way() {
    for (code, refusal, said) in [
        (ReplyCode::NotAllowed, Final, "the proxy's rules do not allow a connection to the broker"),
        (ReplyCode::HostUnreachable, MayPass, "cannot reach the broker's host, or does not know its name"),
    ] {
        let server = Socks5Server::builder().refuse(code).start().await.unwrap();
        refused_by_proxy(refusal, Socks5::new(&server.address().to_string()).unwrap(), &[said]).await;
    }
}
