//! The TLS handshake of one connection, and what its failure means.
//!
//! Invariant: when a connection fails, it is known whether the broker asked for a client certificate. With TLS 1.3
//! the handshake succeeds without one, and the first read fails.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, Error, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::Tls;
use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, CallError, CloseCause, Failure, Nature};

impl Tls {
    /// Does the handshake with `endpoint` over `stream`.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        stream: BoxStream,
    ) -> Result<(BoxStream, Arc<Watched>), Failure> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(&endpoint.host).ok_or_else(|| {
                let host = &endpoint.host;
                Failure::lasting(format!(
                    "no certificate can be for {host:?}: set the name that the broker's certificate has"
                ))
            })?,
        };
        let mut config = ClientConfig::clone(&self.config);
        if let Some(certificate) = &self.certificate {
            let unusable =
                |error: BoxError| Failure::lasting("there is no usable client certificate").because(error);
            let certificate = certificate.provide().await.map_err(unusable)?;
            let resolver = certificate.resolver(config.crypto_provider());
            config.client_auth_cert_resolver = resolver.map_err(|error| unusable(error.into()))?;
        }
        let watched = Arc::new(Watched { inner: config.client_auth_cert_resolver, given: OnceLock::new() });
        config.client_auth_cert_resolver = Arc::clone(&watched) as Arc<dyn ResolvesClientCert>;
        config.resumption = Resumption::disabled();
        let shaking = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream);
        match shaking.await {
            Ok(stream) => Ok((Box::new(stream), watched)),
            Err(error) => Err(failed(error, &name, &watched)),
        }
    }
}

/// The name or address that a certificate for `host` has.
pub(super) fn server_name(host: &str) -> Option<ServerName<'static>> {
    // Certificates have neither the root's dot nor an interface.
    let host = host.strip_suffix('.').unwrap_or(host);
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    ServerName::try_from(host.to_owned()).ok()
}

/// Notes whether the broker asks for a client certificate.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn ResolvesClientCert>,
    /// Whether there was one to give; not set unless the broker asks.
    given: OnceLock<bool>,
}

impl ResolvesClientCert for Watched {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let resolved = self.inner.resolve(hints, schemes);
        let _ = self.given.set(resolved.is_some());
        resolved
    }

    fn only_raw_public_keys(&self) -> bool {
        self.inner.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

impl Watched {
    /// What the end of a connection that has just begun says about the session, if anything.
    pub(crate) fn explain(&self, error: &CallError) -> Option<Failure> {
        let (CloseCause::Read { source } | CloseCause::Write { source }) = &**error.close_cause()? else {
            return None;
        };
        Some(Failure::lasting(self.refusal(rustls_error(source)?)?).because(error.clone()))
    }

    /// What a protocol failure means if the broker had asked for a client certificate.
    fn refusal(&self, error: &Error) -> Option<&'static str> {
        // Java in Kafka 2.8 answers a missing certificate by what cannot be decrypted.
        let is_refusal = matches!(
            error,
            Error::AlertReceived(_)
                | Error::DecryptError
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
        );
        Some(match self.given.get().filter(|_| is_refusal)? {
            true => {
                "the broker refuses the client certificate: check that it is valid and signed by a CA that \
                the broker trusts"
            }
            false => "the broker wants a client certificate: set one that it trusts",
        })
    }
}

fn failed(error: io::Error, name: &ServerName<'_>, watched: &Watched) -> Failure {
    let Some(tls) = rustls_error(&error) else {
        // A Kafka listener without TLS does that.
        let text = "the peer closed the connection during the handshake: check that the port expects TLS";
        return Failure::new(Nature::Transient, text).because(error);
    };
    let text = match tls {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            let presented: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            return Failure::lasting(format!(
                "the broker's certificate is not for {} but for {}: connect by a name that it has, or set the \
                server name",
                name.to_str(),
                presented.join(", ")
            ));
        }
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the broker's certificate has expired: renew it, or check this machine's clock"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the broker's certificate is not valid yet: check this machine's clock"
            }
            CertificateError::UnknownIssuer => {
                "the broker's certificate is signed by an unknown CA: trust the CA that signed it"
            }
            CertificateError::NotValidForName => {
                "the broker's certificate is for other names: connect by one of them, or set the server name"
            }
            CertificateError::BadSignature => {
                "the broker's certificate is signed by a CA that has the name of a trusted one, but another \
                key: trust the CA that signed it"
            }
            _ => "the broker's certificate is not acceptable",
        },
        Error::InvalidMessage(_) => "the peer does not speak TLS: check the port, or connect without TLS",
        tls => watched.refusal(tls).unwrap_or("the handshake failed"),
    };
    Failure::lasting(text).because(tls.clone())
}

/// A name as rustls shows it, e.g. `DnsName("kafka")`, without its kind.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
