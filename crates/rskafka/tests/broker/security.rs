//! TLS, SASL and SOCKS5 against every listener of a real broker: what works, and what each mistake is told.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rskafka::client::error::{Error, ErrorKind};
use rskafka::client::{
    Client, ClientBuilder, ClientCertificate, OauthToken, OffsetAt, PartitionClient, Sasl, Socks5, Tls,
};
use rskafka_verifier::socks5::Socks5Server;
use tokio::time::{Instant, sleep};

use crate::common::{Brokers, new_topic, read_all, record, values};
use crate::environment::{self, Environment};

impl Environment {
    fn brokers_at(&self, listener: &str) -> Brokers {
        self.fact(&format!("listener.{listener}")).split(',').map(str::to_owned).collect()
    }

    fn client(&self, listener: &str) -> ClientBuilder {
        Client::builder(self.brokers_at(listener)).api_timeout(Duration::from_secs(20))
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(self.fact("certificates")).join(name)
    }

    fn tls(&self) -> Tls {
        Tls::ca_file(self.file("ca.pem")).unwrap()
    }

    fn mtls(&self, name: &str) -> Tls {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let certificate = ClientCertificate::from_files(self.file(&certificate), self.file(&key)).unwrap();
        self.tls().client_certificate(certificate).unwrap()
    }

    fn sasl(&self) -> [Sasl; 4] {
        let (user, password) = (self.fact("sasl.user").to_owned(), self.fact("sasl.password"));
        [
            Sasl::plain(&user, password),
            Sasl::scram_sha_256(&user, password),
            Sasl::scram_sha_512(&user, password),
            tokens(user, Duration::from_secs(60)),
        ]
    }
}

/// Tokens that nobody has signed, as the brokers take them.
fn tokens(user: String, lifetime: Duration) -> Sasl {
    Sasl::oauth_bearer(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (iat, exp) = (now.as_secs(), (now + lifetime).as_secs());
        let claims = format!(r#"{{"sub":"{user}","iat":{iat},"exp":{exp}}}"#);
        let token = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(claims));
        async move { Ok::<_, Infallible>(OauthToken::new(token).expires_in(lifetime)) }
    })
}

/// The same on each listener: appends, reads, asks. Gives a client of the topic.
async fn append_and_read(builder: ClientBuilder, what: &str) -> PartitionClient {
    let client = builder.build().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let topic = new_topic("security");
    client.create_topic(&topic, 1, 1).await.unwrap();
    let log = client.partition_client(&topic, 0).await.unwrap();
    let large = "x".repeat(300_000);
    for value in ["first", &large, "last"] {
        log.produce([record(value)]).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    }
    assert_eq!(values(&read_all(&log).await), ["first", &large, "last"], "{what}");
    log
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn every_listener_takes_appends_and_gives_them_back() {
    environment::run(|environment, _| async move {
        let environment = &environment;
        append_and_read(environment.client("PLAINTEXT"), "PLAINTEXT").await;
        append_and_read(environment.client("SSL").tls(environment.tls()), "SSL").await;
        append_and_read(environment.client("MTLS").tls(environment.mtls("client")), "MTLS").await;
        for sasl in environment.sasl() {
            let what = format!("SASL_PLAINTEXT {sasl:?}");
            append_and_read(environment.client("SASL_PLAINTEXT").sasl(sasl.clone()), &what).await;
            let what = format!("SASL_SSL {sasl:?}");
            append_and_read(environment.client("SASL_SSL").tls(environment.tls()).sasl(sasl), &what).await;
        }
        let named = environment.tls().server_name("kafka.invalid").unwrap();
        append_and_read(environment.client("SSL_BADNAME").tls(named), "SSL_BADNAME").await;
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn every_listener_is_reached_through_a_socks5_proxy() {
    environment::run(|environment, _| async move {
        let open = Socks5Server::builder().start().await.unwrap();
        let locked = Socks5Server::builder().password("user", "pr0xy-w0rd").start().await.unwrap();
        let proxies = [
            Socks5::new(&open.address().to_string()).unwrap(),
            Socks5::new(&locked.address().to_string()).unwrap().login("user", "pr0xy-w0rd"),
        ];
        for proxy in proxies {
            append_and_read(environment.client("PLAINTEXT").socks5(proxy.clone()), "PLAINTEXT").await;
            append_and_read(environment.client("SSL").socks5(proxy.clone()).tls(environment.tls()), "SSL")
                .await;
            let [_, scram, ..] = environment.sasl();
            let builder = environment.client("SASL_SSL").socks5(proxy).tls(environment.tls()).sasl(scram);
            append_and_read(builder, "SASL_SSL").await;
        }
    });
}

/// Builds a client that is to fail within `limit`, and asserts what it says.
async fn refused(builder: ClientBuilder, kind: ErrorKind, limit: Duration, said: &[&str]) -> Error {
    let started = Instant::now();
    let error = builder.build().await.map(|_| ()).unwrap_err();
    let elapsed = started.elapsed();
    println!("{elapsed:.1?}: {error:?}");
    assert_eq!(error.kind(), &kind, "{error:?}");
    for said in said {
        assert!(format!("{error:?}").contains(said), "{said:?} is missing in: {error:?}");
    }
    assert!(elapsed < limit, "{elapsed:?}: {error:?}");
    error
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn each_mistake_has_an_error_of_its_own() {
    environment::run(|environment, _| async move {
        let environment = &environment;
        let (at_once, unreachable) = (Duration::from_secs(5), ErrorKind::NoReachableBroker);
        let client = |listener: &str| environment.client(listener);
        let tls = async |listener: &str, tls: Tls, said: &[&str]| {
            let error = refused(client(listener).tls(tls), ErrorKind::NoReachableBroker, at_once, said).await;
            assert!(!error.is_retriable(), "{error:?}");
        };
        tls("SSL_BADNAME", environment.tls(), &["is not for localhost but for kafka.invalid"]).await;
        tls("SSL_EXPIRED", environment.tls(), &["has expired"]).await;
        tls("SSL", Tls::webpki_roots(), &["unknown CA"]).await;
        tls("SSL", Tls::ca_file(environment.file("other-ca.pem")).unwrap(), &["unknown CA"]).await;
        tls("MTLS", environment.tls(), &["wants a client certificate"]).await;
        tls("MTLS", environment.mtls("other-client"), &["refuses the client certificate"]).await;
        refused(client("SSL"), unreachable.clone(), at_once, &["the port expects TLS"]).await;
        // It may also be a broker that restarts, so it is tried again.
        let plaintext = client("PLAINTEXT").tls(environment.tls()).api_timeout(Duration::from_secs(2));
        refused(plaintext, unreachable.clone(), at_once, &["check that the port expects TLS"]).await;

        let user = environment.fact("sasl.user");
        for sasl in [
            Sasl::plain(user, "wr0ng-w0rd"),
            Sasl::scram_sha_256(user, "wr0ng-w0rd"),
            Sasl::scram_sha_512("nobody", "wr0ng-w0rd"),
        ] {
            let builder = client("SASL_SSL").tls(environment.tls()).sasl(sasl);
            let error =
                refused(builder, ErrorKind::Authentication, at_once, &["refuses the credentials"]).await;
            assert!(!error.is_retriable() && !format!("{error:?}").contains("wr0ng-w0rd"));
        }
        let forged = Sasl::oauth_bearer(async || Ok::<_, Infallible>(OauthToken::new("f0rged")));
        let builder = client("SASL_PLAINTEXT").sasl(forged);
        refused(builder, ErrorKind::Authentication, at_once, &["invalid_token"]).await;
        let failing = Sasl::oauth_bearer(async || Err::<OauthToken, _>(io::Error::other("it is down")));
        let builder = client("SASL_PLAINTEXT").sasl(failing);
        refused(builder, ErrorKind::Authentication, at_once, &["it is down"]).await;
        let builder = client("PLAINTEXT").sasl(Sasl::plain(user, "wr0ng-w0rd"));
        refused(builder, ErrorKind::Authentication, at_once, &["the port does not expect SASL"]).await;

        let nobody = Socks5::new("127.0.0.1:1").unwrap();
        let builder = client("PLAINTEXT").socks5(nobody).api_timeout(Duration::from_secs(2));
        refused(builder, unreachable.clone(), at_once, &["proxy 127.0.0.1:1", "cannot be reached"]).await;
        let proxy = Socks5::new(&environment.brokers_at("PLAINTEXT")[0]).unwrap();
        let builder = client("PLAINTEXT").socks5(proxy).api_timeout(Duration::from_secs(2));
        refused(builder, unreachable, at_once, &["while asking the proxy for the way"]).await;
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn sessions_are_renewed_under_load_without_a_failed_call() {
    environment::run(|environment, _| async move {
        let lifetime: u64 = environment.fact("sasl.session.ms").parse().unwrap();
        let environment = &environment;
        let load = async |sasl: Sasl| {
            let what = format!("{sasl:?}");
            let log = append_and_read(environment.client("SASL_REAUTH").sasl(sasl), &what).await;
            let until = Instant::now() + 4 * Duration::from_millis(lifetime);
            let mut next = log.get_offset(OffsetAt::Latest).await.unwrap().offset;
            let mut appends = 0;
            while Instant::now() < until {
                let produced = log.produce([record("more")]).await;
                produced.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let read = log.fetch_records(next, 1..1_000_000, 100).await;
                next += read.unwrap_or_else(|error| panic!("{what}: {error:?}")).0.len() as i64;
                appends += 1;
                sleep(Duration::from_millis(3)).await;
            }
            assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, next, "{what}");
            println!("{what}: {appends} appends");
        };
        let [plain, scram, _, oauth] = environment.sasl();
        tokio::join!(load(plain), load(scram), load(oauth));
    });
}
