//! Certificates and keys from PEM, with errors that say where they came from and what is wrong.
//!
//! Invariant: nothing of a file's content is in an error but the kinds of its sections.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use snafu::{ResultExt, Snafu, ensure};

use crate::error::WithCauses;

/// Where a certificate or a key was to come from: its use, and its file if it is in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemSource {
    usage: &'static str,
    file: Option<PathBuf>,
}

impl PemSource {
    pub(super) fn file(usage: &'static str, file: &Path) -> Self {
        Self { usage, file: Some(file.to_owned()) }
    }

    pub(super) fn given(usage: &'static str) -> Self {
        Self { usage, file: None }
    }

    /// The file, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "the {} file {}", self.usage, file.display()),
            None => write!(f, "the {} given", self.usage),
        }
    }
}

/// What is wrong with the certificates, keys or names that were given.
#[derive(Snafu)]
#[snafu(visibility(pub(super)))]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The file cannot be read.
    #[snafu(display("{pem} cannot be read"))]
    Unreadable {
        /// Which.
        pem: PemSource,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[snafu(display("{pem} is empty"))]
    Empty {
        /// Which.
        pem: PemSource,
    },
    /// It is not PEM, or broken.
    #[snafu(display("{pem} is not valid PEM: {problem}"))]
    NotPem {
        /// Which.
        pem: PemSource,
        /// What is wrong.
        problem: &'static str,
    },
    /// It has no certificate.
    #[snafu(display("{pem} has no certificate, but {}", found.join(", ")))]
    NoCertificate {
        /// Which.
        pem: PemSource,
        /// The kinds of its sections.
        found: Vec<String>,
    },
    /// It has no private key.
    #[snafu(display("{pem} has no private key, but {}", found.join(", ")))]
    NoKey {
        /// Which.
        pem: PemSource,
        /// The kinds of its sections.
        found: Vec<String>,
    },
    /// The private key is encrypted.
    #[snafu(display("the private key in {pem} is encrypted: decrypt it, e.g. with `openssl pkey`"))]
    EncryptedKey {
        /// Which.
        pem: PemSource,
    },
    /// A certificate cannot be used.
    #[snafu(display("certificate {number} in {pem} cannot be used"))]
    InvalidCertificate {
        /// Which.
        pem: PemSource,
        /// Its position, from 1.
        number: usize,
        /// Why.
        source: rustls::Error,
    },
    /// The private key cannot be used.
    #[snafu(display("the private key in {pem} cannot be used"))]
    InvalidKey {
        /// Which.
        pem: PemSource,
        /// Why.
        source: rustls::Error,
    },
    /// The private key is another certificate's.
    #[snafu(display("the private key in {key} is not that of the certificate in {certificate}"))]
    KeyMismatch {
        /// Where the certificate is.
        certificate: PemSource,
        /// Where the key is.
        key: PemSource,
    },
    /// The machine has no CAs that it trusts.
    #[snafu(display("this machine has no CA certificates that can be read{}",
        problems.iter().map(|problem| format!("; {problem}")).collect::<String>()))]
    NoNativeRoots {
        /// What went wrong while they were looked for.
        problems: Vec<String>,
    },
    /// The name can be in no certificate.
    #[snafu(display("{name:?} is neither a DNS name nor an address"))]
    ServerName {
        /// The name.
        name: String,
    },
}

impl fmt::Debug for TlsConfigError {
    /// The message with its causes: what `unwrap`, and `main`, show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", WithCauses(self))
    }
}

pub(super) fn read(source: &PemSource) -> Result<Vec<u8>, TlsConfigError> {
    let path = source.path().unwrap_or(Path::new(""));
    std::fs::read(path).with_context(|_| UnreadableSnafu { pem: source.clone() })
}

pub(super) fn certificates(
    text: &[u8],
    source: &PemSource,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let found = sections(text, source)?;
    let parsed = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = parsed.map_err(|error| broken(source, &error))?;
    ensure!(!certificates.is_empty(), NoCertificateSnafu { pem: source.clone(), found });
    Ok(certificates)
}

pub(super) fn private_key(text: &[u8], source: &PemSource) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let found = sections(text, source)?;
    // PKCS#8 says it in the section's name, the older forms in a header.
    let header = b"Proc-Type: 4,ENCRYPTED";
    let is_encrypted = found.iter().any(|kind| kind == "ENCRYPTED PRIVATE KEY")
        || text.windows(header.len()).any(|window| window == header);
    ensure!(!is_encrypted, EncryptedKeySnafu { pem: source.clone() });
    match PrivateKeyDer::pem_slice_iter(text).next() {
        Some(key) => key.map_err(|error| broken(source, &error)),
        None => NoKeySnafu { pem: source.clone(), found }.fail(),
    }
}

pub(super) fn invalid_certificate(source: &PemSource, number: usize, error: rustls::Error) -> TlsConfigError {
    TlsConfigError::InvalidCertificate { pem: source.clone(), number, source: error }
}

pub(super) fn invalid_key(chain: &PemSource, key: &PemSource, error: rustls::Error) -> TlsConfigError {
    let (certificate, key) = (chain.clone(), key.clone());
    match error {
        rustls::Error::InconsistentKeys(_) => TlsConfigError::KeyMismatch { certificate, key },
        // From reading the public key in it.
        error @ rustls::Error::InvalidCertificate(_) => invalid_certificate(chain, 1, error),
        error => TlsConfigError::InvalidKey { pem: key, source: error },
    }
}

/// The kinds of the sections, of which there is at least one.
fn sections(text: &[u8], source: &PemSource) -> Result<Vec<String>, TlsConfigError> {
    ensure!(!text.trim_ascii().is_empty(), EmptySnafu { pem: source.clone() });
    let kinds: Vec<_> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"))
        .map(|kind| String::from_utf8_lossy(kind).into_owned())
        .collect();
    let problem = "it has no line `-----BEGIN …-----`";
    ensure!(!kinds.is_empty(), NotPemSnafu { pem: source.clone(), problem });
    Ok(kinds)
}

fn broken(source: &PemSource, error: &rustls::pki_types::pem::Error) -> TlsConfigError {
    use rustls::pki_types::pem::Error;
    let problem = match error {
        Error::MissingSectionEnd { .. } => "a section does not end",
        Error::Base64Decode(_) => "a section is not base64",
        _ => "a section is malformed",
    };
    TlsConfigError::NotPem { pem: source.clone(), problem }
}
