//! TLS as the caller configures it: trusted CAs, client certificate, server name.
//!
//! Invariant: a faulty file or certificate is an error when it is given, not at the first connection; no key is
//! in `Debug` or in an error.

mod certificate;
mod handshake;
mod pem;

use std::sync::Arc;

use derive_more::Debug;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use snafu::OptionExt;

pub use self::certificate::ClientCertificate;
pub(crate) use self::handshake::Watched;
pub use self::pem::TlsConfigError;
use crate::callback::Provider;

/// TLS for a client's connections: 1.2 and 1.3, with the broker's certificate always checked. Clones share
/// the configuration.
///
/// Needs the feature `tls` or `aws-lc-rs`.
///
/// All constructors but [`Tls::from_config`] need a provider of cryptography: the feature `ring` or `aws-lc-rs`.
#[derive(Clone, Debug)]
pub struct Tls {
    #[debug(skip)]
    config: Arc<ClientConfig>,
    #[debug(skip)]
    certificate: Option<Arc<dyn Provider<ClientCertificate>>>,
    server_name: Option<ServerName<'static>>,
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod roots {
    use std::path::Path;

    use rustls::RootCertStore;
    use rustls::crypto::CryptoProvider;
    use snafu::ResultExt;
    #[cfg(feature = "tls-native-roots")]
    use snafu::whatever;

    use super::*;

    impl Tls {
        /// Trusts the CAs that browsers trust (Mozilla's list, as compiled in by `webpki-roots`).
        pub fn webpki_roots() -> Self {
            Self::trusting(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
        }

        /// Trusts the CAs that this machine trusts, as they are now.
        ///
        /// Needs the feature `tls-native-roots`.
        ///
        /// # Errors
        ///
        /// The machine has none, or they cannot be read.
        #[cfg(feature = "tls-native-roots")]
        pub fn native_roots() -> Result<Self, TlsConfigError> {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            // A machine's list may hold certificates that cannot be used.
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let problems: String = found.errors.iter().map(|problem| format!("; {problem}")).collect();
                whatever!("this machine has no CA certificates that can be read{problems}");
            }
            Ok(Self::trusting(roots))
        }

        /// Trusts the CAs in a PEM file, and no others.
        ///
        /// # Errors
        ///
        /// The file cannot be read, or what is in it is not a list of certificates.
        pub fn ca_file(path: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
            let (text, name) = pem::read("CA", path.as_ref())?;
            Self::ca(&text, &name)
        }

        /// Trusts the CAs in this PEM text, and no others.
        ///
        /// # Errors
        ///
        /// It is not a list of certificates.
        pub fn ca_pem(pem: impl AsRef<[u8]>) -> Result<Self, TlsConfigError> {
            Self::ca(pem.as_ref(), "the CA given")
        }

        fn ca(text: &[u8], name: &str) -> Result<Self, TlsConfigError> {
            let mut roots = RootCertStore::empty();
            for (number, certificate) in (1..).zip(pem::certificates(text, name)?) {
                let added = roots.add(certificate);
                added.with_whatever_context(|_| format!("certificate {number} in {name} cannot be used"))?;
            }
            Ok(Self::trusting(roots))
        }

        fn trusting(roots: RootCertStore) -> Self {
            let config = ClientConfig::builder_with_provider(provider().into())
                .with_safe_default_protocol_versions()
                // Both providers have cipher suites for both versions.
                .expect("TLS 1.2 and 1.3")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Self::from_config(config)
        }
    }

    fn provider() -> CryptoProvider {
        #[cfg(feature = "aws-lc-rs")]
        return rustls::crypto::aws_lc_rs::default_provider();
        #[cfg(not(feature = "aws-lc-rs"))]
        return rustls::crypto::ring::default_provider();
    }
}

impl Tls {
    /// TLS by a configuration of your own: verifier, provider, versions, client certificates.
    ///
    /// Sessions are not resumed, even if the configuration says so: each connection is authenticated by itself.
    pub fn from_config(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { config: config.into(), certificate: None, server_name: None }
    }

    /// Shows this certificate to brokers that ask for one (mTLS).
    ///
    /// # Errors
    ///
    /// The key is of no supported kind, or is not the certificate's.
    pub fn client_certificate(mut self, certificate: ClientCertificate) -> Result<Self, TlsConfigError> {
        let resolver = certificate.resolver(self.config.crypto_provider())?;
        Arc::make_mut(&mut self.config).client_auth_cert_resolver = resolver;
        self.certificate = None;
        Ok(self)
    }

    /// Calls `certificate` on each connect for the certificate to show, so that it can be replaced while the
    /// client runs. The call counts towards the connect timeout.
    #[must_use]
    pub fn client_certificate_from(mut self, certificate: impl Provider<ClientCertificate>) -> Self {
        self.certificate = Some(Arc::new(certificate));
        self
    }

    /// Expects this name, or address, in the certificate of each broker, instead of the host connected to.
    ///
    /// # Errors
    ///
    /// It is neither a DNS name nor an address.
    pub fn server_name(mut self, name: &str) -> Result<Self, TlsConfigError> {
        let problem = || format!("{name:?} is neither a DNS name nor an address");
        self.server_name = Some(handshake::server_name(name).with_whatever_context(problem)?);
        Ok(self)
    }
}
