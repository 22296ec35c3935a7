//! Certificates made for a test, and the broker's side of TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rskafka_transport::rustls::pki_types::pem::PemObject;
use rskafka_transport::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rskafka_transport::rustls::server::WebPkiClientVerifier;
use rskafka_transport::rustls::{self, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rskafka_transport::{ClientCertificate, ConnectionConfig, Security, Tls};
use tokio_rustls::TlsAcceptor;

use crate::support::Peer;

pub(crate) fn with_tls(tls: Tls) -> ConnectionConfig {
    ConnectionConfig { security: Security { tls: Some(tls), ..Default::default() }, ..Default::default() }
}

/// A certificate authority.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, each in PEM.
pub(crate) struct Identity {
    certificate: String,
    key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn sign(&self, names: &[&str]) -> Identity {
        self.sign_with(names, |_| {})
    }

    pub(crate) fn sign_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }
}

impl Identity {
    /// Both from one text.
    pub(crate) fn of_pem(text: &str) -> Self {
        Self { certificate: text.to_owned(), key: text.to_owned() }
    }

    pub(crate) fn certificate_pem(&self) -> String {
        self.certificate.clone()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.clone()
    }

    pub(crate) fn as_client(&self) -> ClientCertificate {
        ClientCertificate::from_pem(&self.certificate, &self.key).unwrap()
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// The broker's side, which asks for a certificate signed by `clients`.
pub(crate) fn acceptor_for(
    identity: &Identity,
    clients: Option<&Ca>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(ca.roots(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    TlsAcceptor::from(Arc::new(config.with_single_cert(identity.chain(), identity.key()).unwrap()))
}

pub(crate) fn acceptor(identity: &Identity) -> TlsAcceptor {
    acceptor_for(identity, None, rustls::ALL_VERSIONS)
}

pub(crate) type TlsPeer = Peer<tokio_rustls::server::TlsStream<tokio::io::DuplexStream>>;

/// The broker's side of the handshake; an error if the client ends it.
pub(crate) async fn accept(acceptor: &TlsAcceptor, peer: Peer) -> std::io::Result<TlsPeer> {
    Ok(Peer { stream: acceptor.accept(peer.stream).await? })
}
