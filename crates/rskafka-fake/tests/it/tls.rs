//! Listeners with TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rskafka_fake::{ByteFault, FakeCluster, FakeIdentity, FakeTls};
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::{ErrorCode, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use crate::support::*;

async fn start(tls: &FakeTls) -> FakeCluster {
    fake().brokers(2).in_memory().tls(tls.clone()).start().await.unwrap()
}

/// Shakes hands over any stream, trusting one CA.
async fn shake<S: Stream>(
    stream: S,
    name: &str,
    ca: &FakeTls,
    identity: Option<FakeIdentity>,
) -> io::Result<TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.ca_pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn over_pipe(
    cluster: &FakeCluster,
    ca: &FakeTls,
    identity: Option<FakeIdentity>,
) -> io::Result<RawClient> {
    let pipe = cluster.connect("broker-2", 9092).await.unwrap();
    Ok(RawClient::over(shake(pipe, "broker-2", ca, identity).await?).of(cluster))
}

fn tls_error(error: &io::Error) -> Error {
    error.get_ref().unwrap().downcast_ref::<Error>().unwrap().clone()
}

#[tokio::test]
async fn requests_are_served_over_pipes_and_ports() {
    let tls = FakeTls::new().unwrap();
    let cluster = start(&tls).await;
    cluster.create_topic("t", 1, 2).unwrap();
    cluster.move_leader("t", 0, 2).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = over_pipe(&cluster, &tls, None).await.unwrap();
    let large = vec![b'x'; 900_000];
    assert_eq!(produce(&mut client, &topic, 0, batch([&large])).await.error_code, ErrorCode::NONE);
    assert_eq!(records(&fetch(&mut client, &topic, 0, 0).await)[0].1, large);

    let cluster = fake().tls(tls.clone()).start().await.unwrap();
    let address = cluster.bootstrap_servers().remove(0);
    for name in ["localhost", "127.0.0.1"] {
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let mut client = RawClient::over(shake(stream, name, &tls, None).await.unwrap()).of(&cluster);
        client.call(9, &MetadataRequest::default()).await;
    }
    assert_eq!(cluster.partial_frames(), 0);
}

#[tokio::test]
async fn bad_certificates_are_refused_by_clients_each_for_its_own_reason() {
    let expired = FakeTls::expired().unwrap();
    let error = over_pipe(&start(&expired).await, &expired, None).await.err().unwrap();
    let is_expired =
        |error: &_| matches!(error, CertificateError::Expired | CertificateError::ExpiredContext { .. });
    assert!(matches!(tls_error(&error), Error::InvalidCertificate(error) if is_expired(&error)));

    let wrong = FakeTls::wrong_name().unwrap();
    let error = over_pipe(&start(&wrong).await, &wrong, None).await.err().unwrap();
    let is_name = |error: &_| {
        matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
    };
    assert!(matches!(tls_error(&error), Error::InvalidCertificate(error) if is_name(&error)));

    let (mine, other) = (FakeTls::new().unwrap(), FakeTls::new().unwrap());
    let error = over_pipe(&start(&mine).await, &other, None).await.err().unwrap();
    let is_unknown =
        |error: &_| matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature);
    assert!(matches!(tls_error(&error), Error::InvalidCertificate(error) if is_unknown(&error)));
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_checked() {
    let tls = FakeTls::new().unwrap().require_client_certificate();
    let cluster = start(&tls).await;
    let mut client = over_pipe(&cluster, &tls, Some(tls.client_identity("alice").unwrap())).await.unwrap();
    client.call(9, &MetadataRequest::default()).await;

    // With TLS 1.3 the handshake of a client without one succeeds; the alert comes with the first read.
    let pipe = cluster.connect("broker-1", 9092).await.unwrap();
    let mut stream = shake(pipe, "broker-1", &tls, None).await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(tls_error(&error), Error::AlertReceived(AlertDescription::CertificateRequired));

    let stranger = FakeTls::new().unwrap().client_identity("alice").unwrap();
    let pipe = cluster.connect("broker-1", 9092).await.unwrap();
    let mut stream = shake(pipe, "broker-1", &tls, Some(stranger)).await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert!(matches!(tls_error(&error), Error::AlertReceived(_)), "{error}");

    // With TLS 1.2 it comes within the handshake.
    let old = tls.clone().only_1_2();
    let error = over_pipe(&start(&old).await, &old, None).await.err().unwrap();
    assert!(matches!(tls_error(&error), Error::AlertReceived(_)), "{error}");
}

#[tokio::test]
async fn a_client_without_tls_gets_an_alert_that_would_be_a_huge_frame() {
    let cluster = start(&FakeTls::new().unwrap()).await;
    let mut stream = cluster.connect("broker-1", 9092).await.unwrap();
    let request = encode_request(&MetadataRequest::default(), 9, 1, None).unwrap().to_bytes();
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 0x50]);
    assert_eq!(i32::from_be_bytes(*answer.first_chunk().unwrap()), 352_518_912);
}

#[tokio::test(start_paused = true)]
async fn byte_faults_strike_below_tls() {
    let tls = FakeTls::new().unwrap();
    let cluster = start(&tls).await;
    // In the middle of the client's first message.
    let fault = cluster.inject_bytes(ByteFault::freeze().after_received(50));
    let shaking = tokio::time::timeout(Duration::from_secs(30), over_pipe(&cluster, &tls, None));
    assert!(shaking.await.is_err());
    assert_eq!(cluster.struck(fault), 1);
    cluster.clear_faults();

    let mut client = over_pipe(&cluster, &tls, None).await.unwrap();
    cluster.inject_bytes(ByteFault::flip(1).after_sent(30));
    client.send(9, &MetadataRequest::default()).await;
    assert!(client.frame().await.is_none(), "a record that was changed is noticed");
}

#[tokio::test]
async fn a_connection_that_the_broker_ends_says_so() {
    let tls = FakeTls::new().unwrap();
    let cluster = start(&tls).await;
    let pipe = cluster.connect("broker-1", 9092).await.unwrap();
    let mut stream = shake(pipe, "broker-1", &tls, None).await.unwrap();
    stream.write_all(&[0xff; 4]).await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0, "no truncation");
}
