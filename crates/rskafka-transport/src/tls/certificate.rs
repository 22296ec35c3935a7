//! The client's own certificate and key.

use std::path::Path;
use std::sync::Arc;

use derive_more::Debug;
use rustls::Error;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use snafu::ResultExt;

use super::pem::{self, TlsConfigError};

/// A certificate, those that lead from it to its CA, and its private key. `Debug` does not show the key.
///
/// Needs the feature `tls` or `aws-lc-rs`.
#[derive(Debug)]
#[debug("ClientCertificate({} in the chain)", chain.len())]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// How errors call the two.
    chain_name: String,
    key_name: String,
}

impl ClientCertificate {
    /// Reads a certificate, followed by those that signed it, and a key from PEM files; both may be in one.
    /// The key is in PKCS#8, PKCS#1 or SEC1, and not encrypted.
    ///
    /// # Errors
    ///
    /// Which file, and what is wrong with it.
    pub fn from_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        let (chain, chain_name) = pem::read("client certificate", certificate.as_ref())?;
        let (key, key_name) = pem::read("client key", key.as_ref())?;
        Self::parse(&chain, &key, chain_name, key_name)
    }

    /// The same from PEM texts.
    ///
    /// # Errors
    ///
    /// Which text, and what is wrong with it.
    pub fn from_pem(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsConfigError> {
        let [chain_name, key_name] = ["certificate", "key"].map(|part| format!("the client {part} given"));
        Self::parse(certificate.as_ref(), key.as_ref(), chain_name, key_name)
    }

    fn parse(chain: &[u8], key: &[u8], chain_name: String, key_name: String) -> Result<Self, TlsConfigError> {
        let chain = pem::certificates(chain, &chain_name)?;
        let key = pem::private_key(key, &key_name)?;
        Ok(Self { chain, key, chain_name, key_name })
    }

    pub(super) fn resolver(
        self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn ResolvesClientCert>, TlsConfigError> {
        let Self { chain, key, chain_name, key_name } = self;
        let certified = CertifiedKey::from_der(chain, key, provider);
        let certified = certified.with_whatever_context(|error| match error {
            Error::InconsistentKeys(_) => {
                format!("the private key in {key_name} is not that of the certificate in {chain_name}")
            }
            // From reading the public key in it.
            Error::InvalidCertificate(_) => format!("certificate 1 in {chain_name} cannot be used"),
            _ => format!("the private key in {key_name} cannot be used"),
        })?;
        Ok(Arc::new(SingleCertAndKey::from(certified)))
    }
}
