//! TLS with a scripted peer.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rskafka_transport::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rskafka_transport::rustls::{self, ServerConfig};
use rskafka_transport::{ConnectionConfig, Security, Tls};
use tokio_rustls::TlsAcceptor;

use crate::support::*;

/// A certificate authority of the test.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn sign(&self, names: &[&str]) -> Identity {
        self.sign_params(
            CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap(),
        )
    }

    fn sign_params(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key }
    }
}

impl Identity {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.key())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn with_tls(tls: Tls) -> ConnectionConfig {
    ConnectionConfig { security: Security { tls: Some(tls), ..Default::default() }, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_an_own_ca_carries_requests() {
    let ca = Ca::new("ours");
    let acceptor = acceptor(&ca.sign(&["broker"]));
    let config = with_tls(Tls::ca_pem(ca.pem()).unwrap());
    let (connection, peer) = open(&config, async |peer: Peer| {
        let mut peer = Peer { stream: acceptor.accept(peer.stream).await.unwrap() };
        peer.negotiate().await;
        peer
    })
    .await;
    let connection = connection.unwrap();
    tokio::spawn(peer.echo_all());
    assert_eq!(ask(&connection, "over TLS", options(seconds(1))).await.unwrap(), "over TLS");
}
