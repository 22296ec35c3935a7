//! Clients that a real broker does not let in, or that do not trust it: each learns what to change, in time.

use std::time::{Duration, Instant};

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{ClientBuilder, OauthToken, Sasl, Socks5, Tls};

use crate::common::socks5::{ReplyCode, Socks5Server};

use crate::common::SLACK;
use crate::environment::{Environment, oauth_bearer, run, sasl};

/// Far more than a refusal takes, so that one that was tried again until the end would be seen.
const TIMEOUT: Duration = Duration::from_secs(15);
/// For mistakes that look like a broker that is just being restarted, and are tried again.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a refusal means to the client.
#[derive(Clone, Copy, PartialEq)]
enum Refusal {
    /// Nothing that passes by itself: the client does not wait for it to.
    Final,
    /// Final, and about who the client is.
    Authentication,
    /// It looks like a broker that is just being restarted.
    MayPass,
}
use Refusal::{Authentication, Final, MayPass};

macro_rules! refused {
    ($($name:ident: $listener:literal, $refusal:expr, $client:expr, says $says:expr;)*) => {$(
        #[test]
        #[ignore = "needs an environment of `cargo xtask`"]
        fn $name() {
            run(|environment, _| async move {
                let client: fn(&Environment, ClientBuilder) -> ClientBuilder = $client;
                let client = client(&environment, environment.client($listener));
                let address = &environment.list(concat!("listener.", $listener))[0];
                cannot_connect(client, $refusal, address, &$says).await;
            });
        }
    )*};
}

refused! {
    a_certificate_for_another_name: "SSL_BADNAME", Final,
        |e, client| client.tls(e.tls()),
        says ["not for localhost but for kafka.invalid", "set the server name"];
    an_expired_certificate: "SSL_EXPIRED", Final,
        |e, client| client.tls(e.tls()),
        says ["the broker's certificate has expired"];
    a_certificate_of_an_unknown_ca: "SSL", Final,
        |e, client| client.tls(e.tls_trusting("other-ca")),
        says ["signed by an unknown CA", "trust the CA"];
    a_certificate_that_browsers_would_not_trust: "SSL", Final,
        |_, client| client.tls(Tls::webpki_roots()),
        says ["signed by an unknown CA"];
    no_client_certificate: "MTLS", Final,
        |e, client| client.tls(e.tls()),
        says ["the broker wants a client certificate"];
    a_client_certificate_of_an_unknown_ca: "MTLS", Final,
        |e, client| client.tls(e.tls_as("other-client")),
        says ["the broker refuses the client certificate"];
    plaintext_to_a_tls_port: "SSL", Final,
        |_, client| client,
        says ["the port expects TLS"];
    tls_to_a_plaintext_port: "PLAINTEXT", MayPass,
        |e, client| client.tls(e.tls()),
        says ["check that the port expects TLS"];
    no_sasl_on_a_port_with_sasl: "SASL_PLAINTEXT", MayPass,
        |_, client| client,
        says ["the broker may ask for SASL", "closed by the broker"];
    tls_but_no_sasl_on_a_port_with_sasl: "SASL_SSL", MayPass,
        |e, client| client.tls(e.tls()),
        says ["the broker may ask for SASL", "closed by the broker"];
    sasl_but_no_tls_on_a_port_with_both: "SASL_SSL", Final,
        |e, client| client.sasl(sasl("SCRAM-SHA-256", e.login())),
        says ["the port expects TLS: connect with TLS"];
    tls_to_a_port_with_sasl_alone: "SASL_PLAINTEXT", MayPass,
        |e, client| client.tls(e.tls()).sasl(sasl("PLAIN", e.login())),
        says ["check that the port expects TLS"];
    sasl_on_a_port_without: "PLAINTEXT", Authentication,
        |e, client| client.sasl(sasl("PLAIN", e.login())),
        says ["the port does not expect SASL"];
    a_wrong_password_by_plain: "SASL_PLAINTEXT", Authentication,
        |e, client| client.sasl(sasl("PLAIN", (e.login().0, "wrong"))),
        says ["Invalid username or password", "check user and password"];
    a_wrong_password_by_scram_sha_256: "SASL_SSL", Authentication,
        |e, client| client.tls(e.tls()).sasl(sasl("SCRAM-SHA-256", (e.login().0, "wrong"))),
        says ["invalid credentials", "SCRAM-SHA-256"];
    a_wrong_password_by_scram_sha_512: "SASL_PLAINTEXT", Authentication,
        |e, client| client.sasl(sasl("SCRAM-SHA-512", (e.login().0, "wrong"))),
        says ["invalid credentials", "SCRAM-SHA-512"];
    an_unknown_user: "SASL_PLAINTEXT", Authentication,
        |e, client| client.sasl(sasl("SCRAM-SHA-256", ("nobody", e.login().1))),
        says ["invalid credentials"];
    a_mechanism_that_is_not_offered: "PROXY_SASL_SSL", Authentication,
        |e, client| client.tls(e.tls()).sasl(sasl("PLAIN", e.login())),
        says ["does not offer PLAIN, but SCRAM-SHA-512"];
    an_expired_token: "SASL_PLAINTEXT", Authentication,
        |e, client| client.sasl(oauth_bearer(e.login().0, -60)),
        says ["invalid_token", "check", "OAUTHBEARER"];
    a_token_that_is_none: "SASL_SSL", Authentication,
        |e, client| client.tls(e.tls()).sasl(Sasl::oauth_bearer(async || {
            Ok::<_, std::io::Error>(OauthToken::new("no-jwt"))
        })),
        says ["invalid_token"];
    a_token_callback_that_fails: "SASL_SSL", Authentication,
        |e, client| client.tls(e.tls()).sasl(Sasl::oauth_bearer(async || {
            Err::<OauthToken, _>(std::io::Error::other("the token server is on strike"))
        })),
        says ["the function that gives them failed", "the token server is on strike"];
    a_proxy_where_nobody_listens: "PLAINTEXT", MayPass,
        |_, client| client.socks5(Socks5::new("127.0.0.1:1").unwrap()),
        says ["cannot connect through proxy 127.0.0.1:1", "cannot be reached"];
    a_broker_in_the_place_of_the_proxy: "PLAINTEXT", MayPass,
        |e, client| client.socks5(Socks5::new(&e.list("listener.PLAINTEXT")[0]).unwrap()),
        says ["while connecting through the proxy"];
}

/// A proxy that lets nobody through, each for a reason of its own.
#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_proxy_that_refuses() {
    run(|environment, _| async move {
        let closed = || Socks5Server::builder().password("proxy-user", "proxy-secret");
        let no_login: fn(Socks5) -> Socks5 = |proxy| proxy;
        let wrong: fn(Socks5) -> Socks5 = |proxy| proxy.login("proxy-user", "wrong");
        let cases = [
            (closed(), no_login, Final, "the proxy wants authentication that it was not given"),
            (closed(), wrong, Final, "the proxy refuses user and password"),
            (
                Socks5Server::builder().refuse(ReplyCode::NotAllowed),
                no_login,
                Final,
                "the proxy's rules do not allow a connection to the broker",
            ),
            (
                Socks5Server::builder().refuse(ReplyCode::HostUnreachable),
                no_login,
                MayPass,
                "the proxy cannot connect to the broker",
            ),
        ];
        for (server, login, refusal, said) in cases {
            let server = server.start().await.unwrap();
            let proxy = login(Socks5::new(&server.address().to_string()).unwrap());
            let says = [&format!("cannot connect through proxy {}", server.address()), said];
            let address = &environment.list("listener.PLAINTEXT")[0];
            cannot_connect(environment.client("PLAINTEXT").socks5(proxy), refusal, address, &says).await;
        }
    });
}

async fn cannot_connect(client: ClientBuilder, refusal: Refusal, address: &str, says: &[&str]) {
    let timeout = if refusal == MayPass { SHORT_TIMEOUT } else { TIMEOUT };
    let started = Instant::now();
    let error = client.api_timeout(timeout).build().await.expect_err("the client was let in");
    let elapsed = started.elapsed();
    let text = format!("{error:?}");
    println!("{elapsed:?}: {text}");
    for part in says.iter().chain([&address]) {
        assert!(text.contains(part), "{part:?} is not said by: {text}");
    }
    assert_eq!(error.outcome(), Outcome::NotWritten);
    assert_eq!(error.is_retriable(), refusal == MayPass, "{text}");
    let kind = match refusal {
        Authentication => ErrorKind::Authentication,
        Final | MayPass => ErrorKind::NoReachableBroker,
    };
    assert_eq!(error.kind(), &kind);
    let limit = if refusal == MayPass { timeout + SLACK } else { timeout / 2 };
    assert!(elapsed < limit, "{elapsed:?}: {text}");
    for secret in ["alice-secret", "wrong", "no-jwt", "proxy-secret"] {
        assert!(!text.contains(secret), "{text}");
    }
}
