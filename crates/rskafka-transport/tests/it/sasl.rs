//! SASL with a scripted broker: every mechanism, and every way to be refused.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rskafka_protocol::messages::sasl_handshake::SaslHandshakeResponse;
use rskafka_protocol::{ApiKey, ErrorCode};
use rskafka_transport::{Connection, Credentials, Nature, OauthToken, OpenError, Phase, Sasl};
use tokio::time::Instant;
use tracing::subscriber::set_global_default;

use crate::sasl_server::*;
use crate::support::*;

const SECRET: &str = "s3cret-w0rd";

/// Opens to a broker that answers all requests once the client is authenticated.
async fn open_sasl(sasl: &Sasl, server: &SaslServer) -> Result<Connection, OpenError> {
    let (connection, ()) = open(&with_sasl(sasl.clone()), async |mut peer: Peer| {
        if server.serve(&mut peer).await {
            tokio::spawn(peer.echo_all());
        }
    })
    .await;
    connection
}

/// The error of an opening that fails at once, and that is not to be tried again.
async fn refused(sasl: &Sasl, server: &SaslServer) -> OpenError {
    let started = Instant::now();
    let error = open_sasl(sasl, server).await.unwrap_err();
    assert_eq!(Instant::now(), started, "it needs no timeout");
    assert_eq!(error.phase(), Phase::Sasl);
    assert!(
        error.nature() == Nature::Authentication
            && !error.nature().is_transient()
            && error.nature() != Nature::TimedOut,
        "{error:?}"
    );
    assert!(
        chain(&error).starts_with("cannot open a connection to broker broker:9092: authentication failed: "),
        "{}",
        chain(&error)
    );
    error
}

#[track_caller]
fn assert_says(error: &OpenError, texts: &[&str]) {
    let said = chain(error);
    for text in texts {
        assert!(said.contains(text), "{said:?} does not say {text:?}");
    }
}

fn token(token: &'static str) -> Sasl {
    Sasl::oauth_bearer(move || async move { Ok::<_, io::Error>(OauthToken::new(token)) })
}

fn all(user: &str, secret: &'static str) -> [Sasl; 4] {
    [
        Sasl::plain(user, secret),
        Sasl::scram_sha_256(user, secret),
        Sasl::scram_sha_512(user, secret),
        token(secret),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_mechanism_authenticates_with_every_version_of_the_api() {
    for max_version in 0..=2 {
        let server = SaslServer { max_version, ..Default::default() };
        for sasl in all("alice", SECRET) {
            let connection = open_sasl(&sasl, &server).await.unwrap();
            assert_eq!(ask(&connection, "known", options(seconds(1))).await.unwrap(), "known");
            assert!(!connection.needs_replacement(), "a session without an end");
        }
    }
}

#[test]
fn a_password_is_hashed_where_blocking_is_allowed() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        let holding = tokio::task::spawn_blocking(move || held.recv());
        let opening = tokio::spawn(async {
            open_sasl(&Sasl::scram_sha_512("alice", SECRET), &SaslServer::default()).await.unwrap();
        });
        for _ in 0..20 {
            settle().await;
        }
        assert!(!opening.is_finished(), "the one thread for blocking is taken, so it was hashed elsewhere");
        release.send(()).unwrap();
        holding.await.unwrap().unwrap();
        opening.await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_an_unknown_user_are_refused_with_the_brokers_words() {
    let server = SaslServer::default();
    for sasl in [all("alice", "wrong"), all("mallory", SECRET)].into_iter().flatten() {
        if sasl.mechanism() == "OAUTHBEARER" {
            continue;
        }
        let error = refused(&sasl, &server).await;
        assert_says(
            &error,
            &["SASL_AUTHENTICATION_FAILED", "Authentication failed", "check user and password"],
        );
        assert_says(&error, &[sasl.mechanism()]);
        assert_eq!(error.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_know_the_password_is_not_believed() {
    let server = SaslServer { secret: "guessed".to_owned(), is_impostor: true, ..Default::default() };
    for sasl in [Sasl::scram_sha_256("alice", SECRET), Sasl::scram_sha_512("alice", SECRET)] {
        let error = refused(&sasl, &server).await;
        assert_says(&error, &["authentication failed: SCRAM-SHA-"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_an_error_although_the_broker_answers_error_0() {
    let error = refused(&token("expired"), &SaslServer::default()).await;
    assert_says(&error, &[r#"{"status":"invalid_token"}"#, "or the token, for OAUTHBEARER"]);
    assert_eq!(error.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED));
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_mechanism_is_an_error_with_the_brokers_list() {
    let server = SaslServer { mechanisms: &["GSSAPI", "SCRAM-SHA-512"], ..Default::default() };
    let error = refused(&Sasl::plain("alice", SECRET), &server).await;
    assert_says(&error, &["does not offer PLAIN, but GSSAPI, SCRAM-SHA-512: choose another mechanism"]);
    assert_eq!(error.code(), Some(ErrorCode::UNSUPPORTED_SASL_MECHANISM));
}

#[tokio::test(start_paused = true)]
async fn a_port_without_sasl_is_recognised() {
    let config = with_sasl(Sasl::plain("alice", SECRET));
    let (result, ()) = open(&config, async |mut peer: Peer| {
        let request = peer.request().await;
        peer.answer(&request.header, &versions(&[(17, 0, 1), (36, 0, 2)])).await;
        let request = peer.request().await;
        let error_code = ErrorCode::ILLEGAL_SASL_STATE;
        peer.answer(&request.header, &SaslHandshakeResponse { error_code, ..Default::default() }).await;
        assert!(peer.try_request().await.is_none(), "no password goes out");
    })
    .await;
    let error = result.unwrap_err();
    assert_says(&error, &["broker:9092", "the port does not expect SASL"]);
    assert_eq!(error.code(), Some(ErrorCode::ILLEGAL_SASL_STATE));
}

#[tokio::test(start_paused = true)]
async fn a_broker_too_old_for_sasl_is_named_as_such() {
    for known in [&[(17, 0, 0)][..], &[(17, 0, 1)], &[]] {
        let (result, ()) = open(&with_sasl(Sasl::plain("alice", SECRET)), async |mut peer: Peer| {
            let request = peer.request().await;
            peer.answer(&request.header, &versions(known)).await;
            while let Some(request) = peer.try_request().await {
                assert_eq!(request.header.api_key, ApiKey::SASL_HANDSHAKE, "no password goes out");
                peer.answer(&request.header, &SaslHandshakeResponse::default()).await;
            }
        })
        .await;
        let error = result.unwrap_err();
        assert_says(&error, &["too old for SASL"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_callback_gives_its_error() {
    let server = SaslServer::default();
    let failing = [
        Sasl::oauth_bearer(async || Err::<OauthToken, _>(io::Error::other("the token server is down"))),
        Sasl::plain_from(async || Err::<Credentials, _>("the token server is down")),
        Sasl::scram_sha_256_from(async || Err::<Credentials, _>("the token server is down")),
        Sasl::scram_sha_512_from(async || Err::<Credentials, _>("the token server is down")),
    ];
    for sasl in failing {
        let error = refused(&sasl, &server).await;
        assert_says(&error, &["the function that gives them failed: the token server is down"]);
    }
    let sasl = Sasl::oauth_bearer(async || Ok::<_, io::Error>(OauthToken::new("").expires_in(seconds(1))));
    let error = refused(&sasl, &server).await;
    assert_says(
        &error,
        &[
            "cannot be used with OAUTHBEARER: the token is empty or contains characters other than visible ASCII",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_are_asked_for_at_each_connect() {
    let current = Arc::new(Mutex::new("first".to_owned()));
    let asked = Arc::new(AtomicUsize::new(0));
    let credentials = || {
        let (current, asked) = (Arc::clone(&current), Arc::clone(&asked));
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            let password = current.lock().unwrap().clone();
            async move { Ok::<_, io::Error>(Credentials::new("alice", password)) }
        }
    };
    let all = [
        Sasl::plain_from(credentials()),
        Sasl::scram_sha_256_from(credentials()),
        Sasl::scram_sha_512_from(credentials()),
    ];
    for secret in ["first", "second"] {
        *current.lock().unwrap() = secret.to_owned();
        let server = SaslServer { secret: secret.to_owned(), ..Default::default() };
        for sasl in &all {
            open_sasl(sasl, &server).await.unwrap();
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_during_the_exchange_may_be_tried_again() {
    for requests in 1..=3 {
        let (result, ()) = open(&with_sasl(Sasl::scram_sha_256("alice", SECRET)), async |mut peer: Peer| {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            // The server sees only so many requests.
            let serving =
                tokio::spawn(async move { SaslServer::default().serve(&mut Peer { stream: ours }).await });
            for _ in 0..requests {
                let request = peer.try_frame().await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut theirs, &request).await.unwrap();
                let answer = Peer { stream: &mut theirs }.try_frame().await.unwrap();
                peer.send(&answer).await;
            }
            peer.try_frame().await.unwrap();
            serving.abort();
        })
        .await;
        let error = result.unwrap_err();
        assert!(error.nature().is_transient() && error.nature() != Nature::Authentication);
        assert_says(&error, &["the exchange broke off", "closed by the broker"]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_exchange_has_a_nonce_of_its_own() {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (_, message) = open(&with_sasl(Sasl::scram_sha_256("alice", SECRET)), async |mut peer: Peer| {
            let request = peer.request().await;
            peer.answer(&request.header, &versions(&[(17, 0, 1), (36, 0, 2)])).await;
            let request = peer.request().await;
            peer.answer(&request.header, &SaslHandshakeResponse::default()).await;
            peer.request().await.body
        })
        .await;
        assert!(!seen.contains(&message));
        seen.push(message);
    }
}

/// What is logged goes here.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_debug_errors_or_logs() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads: a subscriber of one thread alone misses events that other threads meet first.
    set_global_default(subscriber).unwrap();
    let discreet = SaslServer::default();
    let repeating = SaslServer { repeats_secrets: true, ..Default::default() };
    let mut shown = String::new();
    for secret in [SECRET, "wr0ng-w0rd"] {
        for (sasl, server) in
            all("alice", secret).iter().flat_map(|sasl| [(sasl, &discreet), (sasl, &repeating)])
        {
            shown += &format!("{sasl:?}{:?}", with_sasl(sasl.clone()));
            match open_sasl(sasl, server).await {
                Ok(connection) => shown += &format!("{connection:?}"),
                Err(error) => shown += &format!("{error:?}{error:#?}{}", chain(&error)),
            }
        }
        shown += &format!("{:?}", OauthToken::new(secret).principal("p").expires_in(seconds(1)));
        shown += &format!("{:?}", Credentials::new("alice", secret));
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("connection opened") && log.contains("connection not opened"), "{log}");
    assert!(shown.contains("repeats the secret"), "{shown}");
    for secret in [SECRET, "wr0ng-w0rd"] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!log.contains(secret), "{log}");
    }
}
