//! The TLS handshake of one connection, and what its failure means.
//!
//! Invariant: whether the broker asked for a client certificate is known when the connection fails, because
//! with TLS 1.3 the handshake succeeds without one and only the first read tells.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, Error, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::Tls;
use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, CallError, CloseCause, TlsError};

impl Tls {
    /// Does the handshake with `endpoint` over `stream`.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        stream: BoxStream,
    ) -> Result<(BoxStream, Arc<Watched>), TlsError> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(&endpoint.host)
                .ok_or_else(|| TlsError::InvalidHost { host: endpoint.host.clone() })?,
        };
        let mut config = ClientConfig::clone(&self.config);
        if let Some(certificate) = &self.certificate {
            let unusable = |source| TlsError::ClientCertificate { source };
            let certificate = certificate().await.map_err(unusable)?;
            let resolver = certificate.resolver(config.crypto_provider());
            config.client_auth_cert_resolver = resolver.map_err(|error| unusable(error.into()))?;
        }
        let watched = Arc::new(Watched {
            inner: config.client_auth_cert_resolver,
            was_asked: AtomicBool::new(false),
            was_given: AtomicBool::new(false),
        });
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
    was_asked: AtomicBool,
    was_given: AtomicBool,
}

impl ResolvesClientCert for Watched {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let resolved = self.inner.resolve(hints, schemes);
        self.was_asked.store(true, Ordering::Relaxed);
        self.was_given.store(resolved.is_some(), Ordering::Relaxed);
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
    pub(crate) fn explain(&self, error: &CallError) -> Option<TlsError> {
        let (CloseCause::Read { source } | CloseCause::Write { source }) = &**error.close_cause()? else {
            return None;
        };
        self.refusal(rustls_error(source)?, || error.clone().into())
    }

    /// What a protocol failure means if the broker had asked for a client certificate.
    fn refusal(&self, error: &Error, source: impl FnOnce() -> BoxError) -> Option<TlsError> {
        // Java in Kafka 2.8 answers a missing certificate by what cannot be decrypted.
        let is_refusal = matches!(
            error,
            Error::AlertReceived(_)
                | Error::DecryptError
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
        );
        if !is_refusal || !self.was_asked.load(Ordering::Relaxed) {
            None
        } else if self.was_given.load(Ordering::Relaxed) {
            Some(TlsError::ClientCertificateRefused { source: source() })
        } else {
            Some(TlsError::ClientCertificateMissing { source: source() })
        }
    }
}

fn failed(error: io::Error, name: &ServerName<'_>, watched: &Watched) -> TlsError {
    let Some(tls) = rustls_error(&error) else {
        return TlsError::Closed { source: error };
    };
    let source = || tls.clone().into();
    match tls {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::NotValidForNameContext { presented, .. } => {
                let server_name = name.to_str().into_owned();
                TlsError::WrongName {
                    server_name,
                    presented: presented.iter().map(|name| bare(name)).collect(),
                }
            }
            CertificateError::NotValidForName => {
                TlsError::WrongName { server_name: name.to_str().into_owned(), presented: Vec::new() }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsError::Expired { source: source() }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsError::NotValidYet { source: source() }
            }
            CertificateError::UnknownIssuer => TlsError::UnknownCa,
            CertificateError::BadSignature => TlsError::OtherCa { source: source() },
            _ => TlsError::InvalidCertificate { source: source() },
        },
        Error::InvalidMessage(_) => TlsError::NotTls { source: source() },
        tls => watched.refusal(tls, source).unwrap_or_else(|| TlsError::Handshake { source: source() }),
    }
}

/// A name as rustls shows it, e.g. `DnsName("kafka")`, without its kind.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
