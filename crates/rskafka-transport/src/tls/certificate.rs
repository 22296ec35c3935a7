//! The client's own certificate and key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::pem::{self, PemSource, TlsConfigError};

/// A certificate, those that lead from it to its CA, and its private key. `Debug` does not show the key.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    chain_source: PemSource,
    key_source: PemSource,
}

impl ClientCertificate {
    /// Reads a certificate, followed by those that signed it, and a key from PEM files; both may be in one.
    /// The key is in PKCS#8, PKCS#1 or SEC1, and not encrypted.
    ///
    /// # Errors
    ///
    /// Which file, and what is wrong with it.
    pub fn from_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        let chain_source = PemSource::file("client certificate", certificate.as_ref());
        let key_source = PemSource::file("client key", key.as_ref());
        Self::parse(&pem::read(&chain_source)?, &pem::read(&key_source)?, chain_source, key_source)
    }

    /// The same from PEM texts.
    ///
    /// # Errors
    ///
    /// Which text, and what is wrong with it.
    pub fn from_pem(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsConfigError> {
        let chain_source = PemSource::given("client certificate");
        let key_source = PemSource::given("client key");
        Self::parse(certificate.as_ref(), key.as_ref(), chain_source, key_source)
    }

    fn parse(
        chain: &[u8],
        key: &[u8],
        chain_source: PemSource,
        key_source: PemSource,
    ) -> Result<Self, TlsConfigError> {
        let chain = pem::certificates(chain, &chain_source)?;
        let key = pem::private_key(key, &key_source)?;
        Ok(Self { chain, key, chain_source, key_source })
    }

    pub(super) fn resolver(
        self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn ResolvesClientCert>, TlsConfigError> {
        let Self { chain, key, chain_source, key_source } = self;
        let certified = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| pem::invalid_key(&chain_source, &key_source, error))?;
        Ok(Arc::new(SingleCertAndKey::from(certified)))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}
