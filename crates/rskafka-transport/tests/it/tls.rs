//! TLS with a scripted peer: what works, and that each mistake has an error of its own, at once.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rskafka_transport::rustls::pki_types::CertificateDer;
use rskafka_transport::rustls::{self, ClientConfig, RootCertStore};
use rskafka_transport::{
    ClientCertificate, Connection, ConnectionConfig, Endpoint, Nature, OpenError, Phase, Tls, TlsConfigError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::pki::*;
use crate::support::*;

/// Opens to a broker behind `acceptor` that answers all requests.
async fn open_tls(
    endpoint: &Endpoint,
    config: &ConnectionConfig,
    acceptor: &TlsAcceptor,
) -> Result<Connection, OpenError> {
    let (connection, ()) = open_to(endpoint, config, async |peer: Peer| {
        if let Ok(mut peer) = accept(acceptor, peer).await
            && let Some(request) = peer.try_request().await
        {
            peer.answer(&request.header, &versions(&[(3, 0, 13), (18, 0, 5)])).await;
            tokio::spawn(peer.echo_all());
        }
    })
    .await;
    connection
}

/// The error of an opening that fails at once.
async fn refused(config: &ConnectionConfig, acceptor: &TlsAcceptor) -> OpenError {
    let started = Instant::now();
    let error = open_tls(&endpoint(), config, acceptor).await.unwrap_err();
    assert_eq!(Instant::now(), started, "it needs no timeout");
    assert_eq!(error.phase(), Phase::Tls, "{error:?}");
    assert!(
        !error.nature().is_transient()
            && error.nature() != Nature::TimedOut
            && error.nature() != Nature::Authentication
    );
    assert!(
        chain(&error).starts_with("cannot open a connection to broker broker:9092: no TLS session: "),
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

#[tokio::test(start_paused = true)]
async fn requests_of_all_sizes_go_over_tls_of_both_versions() {
    let ca = Ca::new("ours");
    let identity = ca.sign(&["broker"]);
    let config = with_tls(Tls::ca_pem(ca.pem()).unwrap());
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let acceptor = acceptor_for(&identity, None, versions);
        let connection = open_tls(&endpoint(), &config, &acceptor).await.unwrap();
        for size in [0, 1, 20_000] {
            let topic = "x".repeat(size);
            assert_eq!(ask(&connection, &topic, options(seconds(1))).await.unwrap(), topic);
        }
        let calls: Vec<_> =
            (0..20).map(|n| asking(&connection, &n.to_string(), options(seconds(1)))).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().unwrap(), n.to_string());
        }
        connection.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_trailing_dots_and_another_name_are_found_in_the_certificate() {
    let ca = Ca::new("ours");
    let acceptor = acceptor(&ca.sign(&["kafka.example.com", "::1", "10.0.0.1"]));
    let tls = Tls::ca_pem(ca.pem()).unwrap();
    for host in ["kafka.example.com", "kafka.example.com.", "KAFKA.example.com", "::1", "::1%lo", "10.0.0.1"]
    {
        open_tls(&Endpoint::new(host, 9092), &with_tls(tls.clone()), &acceptor).await.unwrap();
    }
    for host in ["kafka", "::2", "10.0.0.2"] {
        let error =
            open_tls(&Endpoint::new(host, 9092), &with_tls(tls.clone()), &acceptor).await.unwrap_err();
        assert_says(&error, &["the broker's certificate is not for"]);
        for name in ["kafka.example.com", "::1"] {
            let tls = tls.clone().server_name(name).unwrap();
            open_tls(&Endpoint::new(host, 9092), &with_tls(tls), &acceptor).await.unwrap();
        }
    }
    let error = tls.server_name("not a name").unwrap_err();
    assert_eq!(error.to_string(), "\"not a name\" is neither a DNS name nor an address");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_can_be_in_no_certificate_is_refused() {
    let ca = Ca::new("ours");
    let config = with_tls(Tls::ca_pem(ca.pem()).unwrap());
    let endpoint = Endpoint::new("-broker-", 9092);
    let error = open_tls(&endpoint, &config, &acceptor(&ca.sign(&["broker"]))).await.unwrap_err();
    assert_says(&error, &["no certificate can be for \"-broker-\": set the name"]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_name_is_refused_and_both_names_are_said() {
    let ca = Ca::new("ours");
    let config = with_tls(Tls::ca_pem(ca.pem()).unwrap());
    let error = refused(&config, &acceptor(&ca.sign(&["other", "another", "10.0.0.1"]))).await;
    assert_says(
        &error,
        &["is not for broker but for other, another, 10.0.0.1: connect by", "set the server name"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_and_one_of_the_future_are_refused() {
    let ca = Ca::new("ours");
    let config = with_tls(Tls::ca_pem(ca.pem()).unwrap());
    let expired = ca.sign_with(&["broker"], |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let error = refused(&config, &acceptor(&expired)).await;
    assert_says(&error, &["has expired: renew it"]);

    let early = ca.sign_with(&["broker"], |params| params.not_before = rcgen::date_time_ymd(3000, 1, 1));
    let error = refused(&config, &acceptor(&early)).await;
    assert_says(&error, &["is not valid yet: check this machine's clock"]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_an_unknown_ca_is_refused() {
    let acceptor = acceptor(&Ca::new("theirs").sign(&["broker"]));
    let all = [Tls::ca_pem(Ca::new("ours").pem()).unwrap(), Tls::webpki_roots()];
    for tls in all {
        let error = refused(&with_tls(tls), &acceptor).await;
        assert_says(&error, &["signed by an unknown CA: trust the CA that signed it"]);
    }
    // A second CA with the same name.
    let error = refused(&with_tls(Tls::ca_pem(Ca::new("theirs").pem()).unwrap()), &acceptor).await;
    assert_says(&error, &["has the name of a trusted one, but another key: trust the CA that signed it"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_client_certificate_is_named_with_both_versions_of_tls() {
    let (ca, clients) = (Ca::new("ours"), Ca::new("clients"));
    let identity = ca.sign(&["broker"]);
    let config = with_tls(Tls::ca_pem(ca.pem()).unwrap());
    // With 1.3 the client's handshake succeeds, and the first read tells.
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let error = refused(&config, &acceptor_for(&identity, Some(&clients), versions)).await;
        assert_says(&error, &["wants a client certificate: set one", "CertificateRequired"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_certificate_is_shown_and_one_of_another_ca_is_refused() {
    let (ca, clients) = (Ca::new("ours"), Ca::new("clients"));
    let identity = ca.sign(&["broker"]);
    let tls = Tls::ca_pem(ca.pem()).unwrap();
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let acceptor = acceptor_for(&identity, Some(&clients), versions);
        let good = tls.clone().client_certificate(clients.sign(&["client"]).as_client()).unwrap();
        open_tls(&endpoint(), &with_tls(good), &acceptor).await.unwrap();

        let other = tls.clone().client_certificate(ca.sign(&["client"]).as_client()).unwrap();
        let error = refused(&with_tls(other), &acceptor).await;
        assert_says(
            &error,
            &["refuses the client certificate: check", "signed by a CA that the broker trusts"],
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_certificate_is_asked_for_at_each_connect() {
    let (ca, clients) = (Ca::new("ours"), Ca::new("clients"));
    let acceptor = acceptor_for(&ca.sign(&["broker"]), Some(&clients), rustls::ALL_VERSIONS);
    let current = Arc::new(Mutex::new(clients.sign(&["first"])));
    let asked = Arc::new(AtomicUsize::new(0));
    let (from, count) = (Arc::clone(&current), Arc::clone(&asked));
    let tls = Tls::ca_pem(ca.pem()).unwrap().client_certificate_from(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let certificate = from.lock().unwrap().as_client();
        async move { Ok::<_, TlsConfigError>(certificate) }
    });
    let config = with_tls(tls);
    let shown = async || {
        let (connection, shown) = open(&config, async |peer: Peer| {
            let mut peer = accept(&acceptor, peer).await.unwrap();
            peer.negotiate().await;
            peer.stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
        })
        .await;
        connection.unwrap();
        shown
    };
    let first: CertificateDer<'static> = shown().await;
    assert_eq!(first, current.lock().unwrap().chain()[0]);
    let next = clients.sign(&["next"]);
    let expected = next.chain()[0].clone();
    *current.lock().unwrap() = next;
    assert_eq!(shown().await, expected);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_certificate_callback_gives_its_error() {
    let ca = Ca::new("ours");
    let acceptor = acceptor(&ca.sign(&["broker"]));
    let tls = Tls::ca_pem(ca.pem()).unwrap();
    let failing = tls
        .clone()
        .client_certificate_from(async || Err::<ClientCertificate, _>(io::Error::other("vault is sealed")));
    let error = refused(&with_tls(failing), &acceptor).await;
    assert_says(&error, &["there is no usable client certificate: vault is sealed"]);

    let (one, other) = (ca.sign(&["one"]), ca.sign(&["other"]));
    let mixed = move || {
        let mixed = ClientCertificate::from_pem(one.certificate_pem(), other.key_pem());
        async move { mixed }
    };
    let error = refused(&with_tls(tls.client_certificate_from(mixed)), &acceptor).await;
    assert_says(
        &error,
        &["no usable client certificate: the private key in the client key given is not that of"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_configuration_of_the_callers_own_is_used() {
    let (ca, clients) = (Ca::new("ours"), Ca::new("clients"));
    let acceptor = acceptor_for(&ca.sign(&["broker"]), Some(&clients), rustls::ALL_VERSIONS);
    let mut roots = RootCertStore::empty();
    let pem = ca.pem();
    let der: CertificateDer<'_> = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
    roots.add(der).unwrap();
    let client = clients.sign(&["client"]);
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(client.chain(), client.key())
        .unwrap();
    let config = with_tls(Tls::from_config(config));
    let (connection, version) = open(&config, async |peer: Peer| {
        let mut peer = accept(&acceptor, peer).await.unwrap();
        peer.negotiate().await;
        peer.stream.get_ref().1.protocol_version()
    })
    .await;
    connection.unwrap();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_2));
}

#[tokio::test(start_paused = true)]
async fn tls_to_a_plaintext_port_is_recognised() {
    let config = with_tls(Tls::webpki_roots());
    let started = Instant::now();
    // Kafka closes without a byte: the hello reads as a frame that is too large. It may also be a restart.
    let (result, ()) = open(&config, async |mut peer: Peer| {
        let mut hello = [0; 4];
        peer.stream.read_exact(&mut hello).await.unwrap();
        assert!(u32::from_be_bytes(hello) > 100 * 1024 * 1024);
    })
    .await;
    let error = result.unwrap_err();
    assert!(error.nature().is_transient());
    assert_says(
        &error,
        &[
            "broker broker:9092",
            "closed the connection during the handshake: check that the port expects TLS",
        ],
    );

    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.6\r\n", &[0; 64]] {
        let (result, ()) = open(&config, async |mut peer: Peer| {
            peer.stream.read_u8().await.unwrap();
            peer.stream.write_all(answer).await.unwrap();
        })
        .await;
        let error = result.unwrap_err();
        assert!(!error.nature().is_transient());
        assert_says(
            &error,
            &["broker broker:9092", "does not speak TLS: check the port, or connect without TLS"],
        );
    }
    assert_eq!(Instant::now(), started);
}

#[tokio::test(start_paused = true)]
async fn plaintext_to_a_tls_port_is_recognised() {
    let ca = Ca::new("ours");
    let acceptor = acceptor(&ca.sign(&["broker"]));
    let started = Instant::now();
    // By rustls, and by Java, which answers a fatal `internal_error` alert.
    let (by_rustls, ()) = open(&ConnectionConfig::default(), async |peer: Peer| {
        accept(&acceptor, peer).await.map(|_| ()).unwrap_err();
    })
    .await;
    let (by_java, ()) = open(&ConnectionConfig::default(), async |mut peer: Peer| {
        peer.request().await;
        peer.send(&[0x15, 3, 3, 0, 2, 2, 80]).await;
    })
    .await;
    for result in [by_rustls, by_java] {
        let error = result.unwrap_err();
        assert_eq!(error.phase(), Phase::Negotiate);
        assert!(!error.nature().is_transient());
        assert_says(&error, &["broker broker:9092: the port expects TLS: connect with TLS"]);
    }
    assert_eq!(Instant::now(), started);
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_a_common_version_is_a_failed_handshake() {
    let ca = Ca::new("ours");
    let acceptor = acceptor_for(&ca.sign(&["broker"]), None, &[&rustls::version::TLS12]);
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let error = refused(&with_tls(Tls::from_config(config)), &acceptor).await;
    assert_says(&error, &["no TLS session: the handshake failed: "]);
}

#[test]
fn pem_files_are_read_and_their_mistakes_are_named_with_the_file() {
    let directory = std::env::temp_dir().join(format!("rskafka-pem-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let ca = Ca::new("ours");
    let (identity, other) = (ca.sign(&["client"]), ca.sign(&["other"]));
    let file = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let certificate = file("client.pem", identity.certificate_pem().as_bytes());
    let key = file("client.key", identity.key_pem().as_bytes());
    let both = file("both.pem", format!("{}{}", identity.key_pem(), identity.certificate_pem()).as_bytes());
    let (ca_pem, key_pem) = (ca.pem(), identity.key_pem());

    let tls = Tls::ca_file(file("ca.pem", format!("# ours\n{ca_pem}\n{ca_pem}").as_bytes())).unwrap();
    for (certificate, key) in [(&certificate, &key), (&both, &both)] {
        tls.clone().client_certificate(ClientCertificate::from_files(certificate, key).unwrap()).unwrap();
    }

    let missing = directory.join("missing");
    let cases: &[(&str, Option<&[u8]>, &str, &str)] = &[
        ("missing", None, "cannot be read: No such file", "cannot be read: No such file"),
        ("empty", Some(b" \n"), "is empty", "is empty"),
        ("garbage", Some(&[0xff, 0, 13, 10, 0x30]), "not valid PEM: it has no line", "not valid PEM: it has no line"),
        ("text", Some(b"-----BEGIN"), "not valid PEM: it has no line", "not valid PEM: it has no line"),
        ("key", Some(key_pem.as_bytes()), "has no certificate, but PRIVATE KEY", ""),
        ("ca", Some(ca_pem.as_bytes()), "", "has no private key, but CERTIFICATE"),
        (
            "cut",
            Some(&ca_pem.as_bytes()[..ca_pem.len() - 30]),
            "not valid PEM: a section does not end",
            "not valid PEM: a section does not end",
        ),
        (
            "no-base64",
            Some(b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n"),
            "not valid PEM: a section is not base64",
            "not valid PEM: a section is not base64",
        ),
        (
            "no-der",
            Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "certificate 1 in the CA file",
            "cannot be used",
        ),
        (
            "encrypted",
            Some(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
            "has no certificate, but ENCRYPTED PRIVATE KEY",
            "is encrypted: decrypt it",
        ),
        (
            "encrypted-old",
            Some(b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"),
            "not valid PEM: a section is not base64",
            "is encrypted: decrypt it",
        ),
    ];
    for (name, content, as_ca, as_key) in cases {
        let path = content.map_or(missing.clone(), |content| file(name, content));
        if !as_ca.is_empty() {
            let error = Tls::ca_file(&path).unwrap_err();
            let said = chain(&error);
            assert!(said.contains(as_ca) && said.contains(path.to_str().unwrap()), "{name}: {said}");
        }
        if !as_key.is_empty() {
            let error = ClientCertificate::from_files(&certificate, &path)
                .and_then(|client| tls.clone().client_certificate(client))
                .unwrap_err();
            let said = chain(&error);
            assert!(said.contains(as_key) && said.contains(path.to_str().unwrap()), "{name}: {said}");
        }
    }

    let other = file("other.key", other.key_pem().as_bytes());
    let mixed = ClientCertificate::from_files(&certificate, &other).unwrap();
    let error = tls.client_certificate(mixed).unwrap_err();
    assert!(error.to_string().contains("other.key is not that of the certificate in"), "{error}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn no_key_is_shown() {
    let ca = Ca::new("ours");
    let identity = ca.sign(&["client"]);
    let certificate = identity.as_client();
    let mut shown = format!("{certificate:?}");
    let tls = Tls::ca_pem(ca.pem()).unwrap().client_certificate(certificate).unwrap();
    shown += &format!("{tls:?}{:?}", with_tls(tls.clone()));
    let key = identity.key_pem();
    for line in key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!shown.contains(line));
    }
    let der: Vec<String> = identity.key().secret_der().iter().map(u8::to_string).collect();
    assert!(!shown.contains(&der[der.len() - 8..].join(", ")), "{shown}");
}

/// Run by the test below, in a process whose trust is its own.
#[tokio::test(start_paused = true)]
#[ignore = "needs the environment of the test below"]
async fn with_the_roots_of_this_process() {
    let tls = match Tls::native_roots() {
        Ok(tls) => tls,
        Err(error) => return println!("error: {error}"),
    };
    let identity =
        Identity::of_pem(&std::fs::read_to_string(std::env::var("TEST_IDENTITY").unwrap()).unwrap());
    match open_tls(&endpoint(), &with_tls(tls), &acceptor(&identity)).await {
        Ok(_) => println!("opened"),
        Err(error) => println!("error: {}", chain(&error)),
    }
}

#[test]
fn the_platforms_roots_are_trusted_and_their_lack_is_an_error() {
    let directory = std::env::temp_dir().join(format!("rskafka-roots-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let ca = Ca::new("ours");
    let identity = ca.sign(&["broker"]);
    let identity = file("broker.pem", &(identity.certificate_pem() + &identity.key_pem()));
    let with_roots = |roots| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "tls::with_the_roots_of_this_process"])
            .env("SSL_CERT_FILE", roots)
            .env("TEST_IDENTITY", &identity)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = with_roots(file("ca.pem", &ca.pem()));
    assert!(said.contains("opened"), "{said}");
    let said = with_roots(file("other.pem", &Ca::new("theirs").pem()));
    assert!(said.contains("signed by an unknown CA"), "{said}");
    let said = with_roots(file("empty.pem", ""));
    assert!(said.contains("error: this machine has no CA certificates that can be read"), "{said}");
    std::fs::remove_dir_all(&directory).unwrap();
}
