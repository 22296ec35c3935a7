//! SOCKS5: the way through a proxy, and each way in which it does not lead there.

use std::io;

use rskafka_transport::{
    Connection, ConnectionConfig, Endpoint, Env, OpenError, Phase, Security, Socks5, Tls,
};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::time::Instant;

use crate::pki::*;
use crate::support::*;

fn proxy() -> Socks5 {
    Socks5::new("proxy:1080").unwrap()
}

fn with_proxy(proxy: Socks5) -> ConnectionConfig {
    ConnectionConfig {
        security: Security { socks5: Some(proxy), ..Default::default() },
        ..Default::default()
    }
}

/// The proxy's side: chooses `method`, and gives the request that follows, without its port.
async fn negotiate(peer: &mut Peer, method: u8) -> Vec<u8> {
    let mut head = [0; 2];
    peer.stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 5);
    let mut offered = vec![0; head[1].into()];
    peer.stream.read_exact(&mut offered).await.unwrap();
    assert!(offered.contains(&method), "{offered:?}");
    peer.send(&[5, method]).await;
    if method == 2 {
        let mut login = vec![0; 2];
        peer.stream.read_exact(&mut login).await.unwrap();
        let mut user = vec![0; login[1].into()];
        peer.stream.read_exact(&mut user).await.unwrap();
        let mut password = vec![0; peer.stream.read_u8().await.unwrap().into()];
        peer.stream.read_exact(&mut password).await.unwrap();
        let is_known = (&*user, &*password) == (b"user", b"pr0xy-w0rd");
        peer.send(&[1, u8::from(!is_known)]).await;
        if !is_known {
            return Vec::new();
        }
    }
    request(peer).await
}

async fn request(peer: &mut Peer) -> Vec<u8> {
    let mut head = [0; 4];
    peer.stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..3], [5, 1, 0]);
    let length = match head[3] {
        1 => 4,
        4 => 16,
        _ => peer.stream.read_u8().await.unwrap(),
    };
    let mut host = vec![0; length.into()];
    peer.stream.read_exact(&mut host).await.unwrap();
    assert_eq!(peer.stream.read_u16().await.unwrap(), 9092);
    host
}

async fn let_through(peer: &mut Peer) {
    peer.send(&[5, 0, 0, 1, 10, 0, 0, 1, 0, 80]).await;
    peer.negotiate().await;
}

/// The error of an opening that fails at once.
async fn refused(config: &ConnectionConfig, script: impl AsyncFnOnce(&mut Peer)) -> OpenError {
    let started = Instant::now();
    let (result, ()) = open(config, async |mut peer: Peer| script(&mut peer).await).await;
    let error = result.unwrap_err();
    assert_eq!(Instant::now(), started, "it needs no timeout");
    assert_eq!(error.phase(), Phase::Proxy);
    let said = chain(&error);
    let named = "cannot open a connection to broker broker:9092: cannot connect through proxy proxy:1080: ";
    assert!(said.starts_with(named), "{said}");
    assert!(!said.contains("pr0xy-w0rd") && !format!("{error:?}").contains("pr0xy-w0rd"));
    error
}

#[track_caller]
fn assert_says(error: &OpenError, text: &str) {
    assert!(chain(error).contains(text), "{error:?} does not say {text:?}");
}

#[tokio::test(start_paused = true)]
async fn the_proxy_resolves_the_brokers_name_and_addresses_go_as_such() {
    for (host, expected) in [
        ("broker", &b"broker"[..]),
        ("kafka.example.com.", b"kafka.example.com."),
        ("10.0.0.1", &[10, 0, 0, 1]),
        ("::1", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        let (connection, ()) =
            open_to(&Endpoint::new(host, 9092), &with_proxy(proxy()), async |mut peer: Peer| {
                assert_eq!(negotiate(&mut peer, 0).await, expected);
                let_through(&mut peer).await;
            })
            .await;
        assert_eq!(connection.unwrap().endpoint().host, host);
    }
}

#[tokio::test(start_paused = true)]
async fn the_proxy_itself_is_dialled_and_the_broker_is_not() {
    let env = Env::builder()
        .connector(async |host: String, port: u16| -> io::Result<DuplexStream> {
            assert_eq!((host.as_str(), port), ("proxy", 1080));
            Err(io::ErrorKind::ConnectionRefused.into())
        })
        .build();
    let config = with_proxy(proxy());
    let error = Connection::open(&env, &endpoint(), &config, no_hurry()).await.unwrap_err();
    assert!(error.nature().is_transient());
    let said = chain(&error);
    assert!(
        said.contains(
            "to broker broker:9092: cannot connect through proxy proxy:1080: the proxy cannot be reached: check"
        ),
        "{said}"
    );
    assert!(said.ends_with("connection refused"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn user_and_password_are_shown_where_the_proxy_asks_for_them() {
    let config = with_proxy(proxy().login("user", "pr0xy-w0rd"));
    for method in [0, 2] {
        let (connection, ()) = open(&config, async |mut peer: Peer| {
            assert_eq!(negotiate(&mut peer, method).await, b"broker");
            let_through(&mut peer).await;
        })
        .await;
        connection.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_refuses_the_login_is_named() {
    let config = with_proxy(proxy().login("mallory", "pr0xy-w0rd"));
    let error = refused(&config, async |peer: &mut Peer| {
        assert!(negotiate(peer, 2).await.is_empty());
    })
    .await;
    assert!(!error.nature().is_transient());
    assert!(chain(&error).ends_with("refuses user and password"), "{error}");

    for method in [0xff, 2, 1] {
        let error = refused(&with_proxy(proxy()), async |peer: &mut Peer| {
            peer.stream.read_u8().await.unwrap();
            peer.send(&[5, method]).await;
        })
        .await;
        // A method that was not offered is no SOCKS5.
        // A method that was not offered.
        let said = if method == 1 { "a code that RFC 1928 does not have" } else { "set user and password" };
        assert_says(&error, said);
    }
    for login in [("", "p"), ("u", "")] {
        let error = refused(&with_proxy(proxy().login(login.0, login.1)), async |_: &mut Peer| {}).await;
        assert_says(&error, "user and password for the proxy must each have 1 to 255 bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn each_refusal_of_a_proxy_is_a_sentence() {
    let cases = [
        (1, true, "it failed, without saying why"),
        (2, false, "the proxy's rules do not allow a connection to the broker"),
        (3, true, "cannot reach the broker's network"),
        (4, true, "cannot reach the broker's host, or does not know its name"),
        (5, true, "nothing listens at the broker's port"),
        (6, true, "too many hops"),
        (7, false, "the proxy does not support the CONNECT command"),
        (8, false, "does not take this kind of address"),
        (77, true, "a code that RFC 1928 does not have"),
    ];
    for (code, is_transient, expected) in cases {
        let error = refused(&with_proxy(proxy()), async |peer: &mut Peer| {
            negotiate(peer, 0).await;
            peer.send(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        })
        .await;
        assert_eq!(error.nature().is_transient(), is_transient, "{code}");
        assert!(chain(&error).contains(expected), "{code}: {}", chain(&error));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_no_proxy_or_closes_is_recognised() {
    for bytes in [&b"HTTP/1.1 400 Bad Request"[..], &[0, 0, 0, 10], &[4, 90]] {
        let error = refused(&with_proxy(proxy()), async |peer: &mut Peer| {
            peer.stream.read_u8().await.unwrap();
            peer.send(bytes).await;
        })
        .await;
        assert_says(&error, "what listens there is not a SOCKS5 proxy: check its address");
        assert!(!error.nature().is_transient());
    }
    let error = refused(&with_proxy(proxy()), async |_: &mut Peer| {}).await;
    assert_says(&error, "the connection to the proxy ended");
    assert!(error.nature().is_transient());
}

#[tokio::test(start_paused = true)]
async fn a_name_too_long_for_the_protocol_is_refused() {
    let endpoint = Endpoint::new("x".repeat(256), 9092);
    let (result, ()) = open_to(&endpoint, &with_proxy(proxy()), async |_: Peer| {}).await;
    assert_says(&result.unwrap_err(), "the broker's name has more than 255 bytes");
}

#[tokio::test(start_paused = true)]
async fn tls_is_spoken_with_the_broker_through_the_proxy() {
    let ca = Ca::new("ours");
    let acceptor = acceptor(&ca.sign(&["broker"]));
    let security =
        Security { socks5: Some(proxy()), tls: Some(Tls::ca_pem(ca.pem()).unwrap()), ..Default::default() };
    let config = ConnectionConfig { security, ..Default::default() };
    let (connection, ()) = open(&config, async |mut peer: Peer| {
        negotiate(&mut peer, 0).await;
        peer.send(&[5, 0, 0, 3, 1, b'x', 0, 80]).await;
        accept(&acceptor, peer).await.unwrap().negotiate().await;
    })
    .await;
    connection.unwrap();
}

#[test]
fn an_address_that_is_none_is_refused_and_the_password_is_not_shown() {
    assert!(Socks5::new("proxy").is_err());
    let shown = format!("{:?}", with_proxy(proxy().login("user", "pr0xy-w0rd")));
    assert!(shown.contains("user") && !shown.contains("pr0xy-w0rd"), "{shown}");
}
