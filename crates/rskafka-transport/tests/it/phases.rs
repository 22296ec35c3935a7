//! All phases of an opening under one deadline, and an opening dropped in any of them.

use std::convert::Infallible;
use std::future::pending;

use rskafka_transport::{
    ClientCertificate, Connection, ConnectionConfig, Credentials, Env, Nature, OauthToken, Phase, Sasl,
    Security, Socks5, Tls,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::pki::*;
use crate::sasl_server::*;
use crate::support::*;

/// Everything that a connection can have, and the broker to it.
struct All {
    config: ConnectionConfig,
    acceptor: TlsAcceptor,
    server: SaslServer,
}

impl All {
    fn new() -> Self {
        let (ca, clients) = (Ca::new("ours"), Ca::new("clients"));
        let client = clients.sign(&["client"]);
        let security = Security {
            tls: Some(Tls::ca_pem(ca.pem()).unwrap().client_certificate(client.as_client()).unwrap()),
            sasl: Some(Sasl::scram_sha_256("alice", "s3cret-w0rd")),
            socks5: Some(Socks5::new("proxy:1080").unwrap()),
        };
        let acceptor =
            acceptor_for(&ca.sign(&["broker"]), Some(&clients), rskafka_transport::rustls::ALL_VERSIONS);
        let server = SaslServer { lifetime_ms: 3_600_000, ..Default::default() };
        Self { config: ConnectionConfig { security, ..Default::default() }, acceptor, server }
    }

    /// The broker behind the proxy, until the client is authenticated; `None` if it goes away before.
    async fn serve(&self, mut stream: DuplexStream) -> Option<TlsPeer> {
        stream.read_exact(&mut [0; 3]).await.ok()?;
        stream.write_all(&[5, 0]).await.ok()?;
        stream.read_exact(&mut [0; 13]).await.ok()?;
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        let mut peer = accept(&self.acceptor, Peer { stream }).await.ok()?;
        self.server.serve(&mut peer).await.then_some(peer)
    }
}

/// A pipe between client and broker that lets `budget` bytes of the client through, and then nothing more in
/// either direction.
async fn freeze_after(budget: usize, mut client: DuplexStream, mut broker: DuplexStream) {
    let (mut from_client, mut from_broker) = ([0; 1], [0; 1024]);
    let mut left = budget;
    while left > 0 {
        tokio::select! { biased;
            read = broker.read(&mut from_broker) => match read {
                Ok(count) if count > 0 => client.write_all(&from_broker[..count]).await.unwrap(),
                _ => return,
            },
            read = client.read(&mut from_client) => match read {
                Ok(1) => broker.write_all(&from_client).await.unwrap(),
                _ => return,
            },
        }
        left -= 1;
    }
    // Reads on, so that the client is not held up by a full buffer.
    while client.read(&mut from_broker).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test(start_paused = true)]
async fn a_broker_frozen_after_any_step_is_given_up_at_the_deadline_and_the_phase_is_named() {
    let all = All::new();
    let mut phases = Vec::new();
    let mut steps = 0;
    // Each step is a read of the pipe: a byte of the client, or a piece of the broker.
    for budget in (0..).step_by(7) {
        let (env, mut peers) = env();
        let endpoint = endpoint();
        let started = Instant::now();
        let opening = Connection::open(&env, &endpoint, &all.config, no_hurry());
        let (opened, ()) = tokio::join!(opening, async {
            let client = peers.recv().await.unwrap().stream;
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::join!(all.serve(theirs), freeze_after(budget, client, ours));
        });
        let Err(error) = opened else { break };
        assert!(error.nature() == Nature::TimedOut, "{error:?}");
        assert_on_time(started + seconds(10));
        assert!(error.nature().is_transient() && error.nature() != Nature::Authentication);
        if phases.last() != Some(&error.phase()) {
            phases.push(error.phase());
        }
        steps = budget;
    }
    println!("frozen after 0 to {steps} steps");
    assert_eq!(phases, [Phase::Proxy, Phase::Tls, Phase::Negotiate, Phase::Sasl]);
}

/// An opening to a broker that does nothing, or takes a byte a second, with the phase that took the time.
async fn hangs(security: Security, phase: Phase, said: &str) {
    let config = ConnectionConfig { security, connect_timeout: seconds(4), ..Default::default() };
    for limit in [seconds(3), seconds(100)] {
        let (env, mut peers) = env();
        let endpoint = endpoint();
        let started = Instant::now();
        let deadline = rskafka_transport::Deadline::after(started, limit);
        let (opened, _peer) = tokio::join!(Connection::open(&env, &endpoint, &config, deadline), async {
            let mut peer = peers.recv().await.unwrap();
            if phase == Phase::Sasl {
                let request = peer.request().await;
                peer.answer(&request.header, &versions(&[(17, 0, 1), (36, 0, 2)])).await;
            }
            peer
        });
        let error = opened.unwrap_err();
        assert_on_time(started + limit.min(seconds(4)));
        assert_eq!((error.phase(), error.nature() == Nature::TimedOut), (phase, true));
        let expected = format!("timed out after {:?} while {said}", limit.min(seconds(4)));
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_hangs_is_bounded_by_the_deadline() {
    let tls = Tls::webpki_roots().client_certificate_from(pending::<Result<ClientCertificate, Infallible>>);
    hangs(Security { tls: Some(tls), ..Default::default() }, Phase::Tls, "doing the TLS handshake").await;
    for sasl in [
        Sasl::plain_from(pending::<Result<Credentials, Infallible>>),
        Sasl::scram_sha_512_from(pending::<Result<Credentials, Infallible>>),
        Sasl::oauth_bearer(pending::<Result<OauthToken, Infallible>>),
    ] {
        hangs(Security { sasl: Some(sasl), ..Default::default() }, Phase::Sasl, "authenticating").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_one_byte_a_second_is_given_up_at_the_deadline() {
    let all = All::new();
    for phase in [Phase::Proxy, Phase::Tls] {
        let security = Security {
            socks5: all.config.security.socks5.clone().filter(|_| phase == Phase::Proxy),
            ..all.config.security.clone()
        };
        let config = ConnectionConfig { security, ..Default::default() };
        let (env, mut peers) = env_with_room(1);
        let started = Instant::now();
        let slow = tokio::spawn(async move {
            let mut stream = peers.recv().await.unwrap().stream;
            // The first bytes of a right answer, forever.
            let answer: &[u8] =
                if phase == Phase::Proxy { &[5, 0, 5, 0, 0, 3, 255] } else { &[0x16, 3, 3, 0x3f, 0xff] };
            for byte in answer.iter().chain(std::iter::repeat(&b'x')) {
                sleep(seconds(1)).await;
                if stream.read_u8().await.is_err() || stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        });
        let error = Connection::open(&env, &endpoint(), &config, no_hurry()).await.unwrap_err();
        assert_on_time(started + seconds(10));
        assert_eq!((error.phase(), error.nature() == Nature::TimedOut), (phase, true));
        slow.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_hangs_is_named_as_the_phase_that_took_the_time() {
    let security = Security { socks5: Some(Socks5::new("proxy:1080").unwrap()), ..Default::default() };
    hangs(security, Phase::Proxy, "connecting through the proxy").await;
    let tls = Security { tls: Some(Tls::webpki_roots()), ..Default::default() };
    hangs(tls, Phase::Tls, "doing the TLS handshake").await;
    let sasl = Security { sasl: Some(Sasl::plain("alice", "s3cret-w0rd")), ..Default::default() };
    hangs(sasl, Phase::Sasl, "authenticating").await;
}

#[tokio::test(start_paused = true)]
async fn a_name_of_the_proxy_that_hangs_counts_as_resolving() {
    let env = Env::builder().resolver(|_, _| pending()).build();
    let security = Security { socks5: Some(Socks5::new("proxy:1080").unwrap()), ..Default::default() };
    let config = ConnectionConfig { security, ..Default::default() };
    let error = Connection::open(&env, &endpoint(), &config, no_hurry()).await.unwrap_err();
    assert_eq!((error.phase(), error.nature() == Nature::TimedOut), (Phase::Resolve, true));
}

#[tokio::test(start_paused = true)]
async fn an_opening_through_all_phases_dropped_at_any_poll_closes_what_it_had_opened() {
    let all = All::new();
    let mut most = 0;
    for polls in 0.. {
        let (env, mut peers) = env();
        let config = &all.config;
        let broker = async {
            let stream = peers.recv().await?.stream;
            let mut peer = all.serve(stream).await?;
            assert!(peer.try_request().await.is_none(), "no half frame");
            Some(())
        };
        let client = async move {
            let endpoint = endpoint();
            let opened = polled(Connection::open(&env, &endpoint, config, no_hurry()), polls).await;
            drop(env);
            opened.map(|opened| opened.unwrap().is_closed())
        };
        let (opened, served) =
            timeout(seconds(5), async { tokio::join!(client, broker) }).await.expect("the stream ends");
        if opened.is_some() {
            assert!(served.is_some());
            most = polls;
            break;
        }
    }
    println!("an opening through all phases took {most} polls");
    assert!(most >= 8);
}
