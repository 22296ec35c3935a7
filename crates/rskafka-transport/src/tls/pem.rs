//! Reads certificates and keys from PEM.
//!
//! Invariant: nothing of a file's content is in an error but the kinds of its sections.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use snafu::{ResultExt, Snafu, ensure_whatever, whatever};

use crate::error::{BoxError, WithCauses};

/// What is wrong with the certificates, keys or names that were given. The message names the file.
///
/// Needs the feature `tls` or `aws-lc-rs`.
#[derive(Snafu, derive_more::Debug)]
#[snafu(whatever, display("{message}"))]
#[debug("{}", WithCauses(self))]
pub struct TlsConfigError {
    message: String,
    #[snafu(source(from(BoxError, Some)))]
    source: Option<BoxError>,
}

/// A file's content, and how errors call it.
pub(super) fn read(usage: &str, path: &Path) -> Result<(Vec<u8>, String), TlsConfigError> {
    let name = format!("the {usage} file {}", path.display());
    let content = std::fs::read(path).with_whatever_context(|_| format!("{name} cannot be read"))?;
    Ok((content, name))
}

pub(super) fn certificates(text: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let found = sections(text, name)?;
    let parsed = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = parsed.or_else(|error| broken(name, &error))?;
    ensure_whatever!(!certificates.is_empty(), "{name} has no certificate, but {found}");
    Ok(certificates)
}

pub(super) fn private_key(text: &[u8], name: &str) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let found = sections(text, name)?;
    // PKCS#8 says it in the section's name, the older forms in a header.
    let header = b"Proc-Type: 4,ENCRYPTED";
    let is_encrypted =
        found.contains("ENCRYPTED PRIVATE KEY") || text.windows(header.len()).any(|window| window == header);
    ensure_whatever!(
        !is_encrypted,
        "the private key in {name} is encrypted: decrypt it, e.g. with `openssl pkey`"
    );
    match PrivateKeyDer::pem_slice_iter(text).next() {
        Some(key) => key.or_else(|error| broken(name, &error)),
        None => whatever!("{name} has no private key, but {found}"),
    }
}

/// The kinds of the sections; at least one.
fn sections(text: &[u8], name: &str) -> Result<String, TlsConfigError> {
    ensure_whatever!(!text.trim_ascii().is_empty(), "{name} is empty");
    let kinds: Vec<_> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"))
        .map(String::from_utf8_lossy)
        .collect();
    ensure_whatever!(!kinds.is_empty(), "{name} is not valid PEM: it has no line `-----BEGIN …-----`");
    Ok(kinds.join(", "))
}

fn broken<T>(name: &str, error: &pem::Error) -> Result<T, TlsConfigError> {
    let problem = match error {
        pem::Error::MissingSectionEnd { .. } => "a section does not end",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "a section is malformed",
    };
    whatever!("{name} is not valid PEM: {problem}")
}
