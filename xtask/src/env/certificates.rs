//! The certificates of an environment. Each environment gets new ones.
//!
//! Invariant: a certificate that clients must refuse has exactly one defect.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// All of an environment, as PEM.
pub(crate) struct Certificates {
    /// Signs all but `other_client`.
    pub(crate) ca: String,
    /// An authority that brokers do not trust.
    pub(crate) other_ca: String,
    pub(crate) server: Identity,
    /// For a name under which no broker is reached.
    pub(crate) server_with_wrong_name: Identity,
    pub(crate) expired_server: Identity,
    pub(crate) client: Identity,
    /// Signed by the other CA.
    pub(crate) other_client: Identity,
}

/// A certificate and its private key (PKCS #8), as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificates {
    pub(crate) fn new() -> Result<Certificates> {
        let ca = authority("rskafka test CA")?;
        let other_ca = authority("another CA")?;
        let names = ["localhost", "127.0.0.1", "::1"];
        let server = |names: &[&str]| params("broker", names, ExtendedKeyUsagePurpose::ServerAuth);
        let client = || params("client", &[], ExtendedKeyUsagePurpose::ClientAuth);
        let mut expired = server(&names)?;
        expired.not_after = date_time_ymd(2021, 1, 1);
        Ok(Certificates {
            server: identity(server(&names)?, &ca)?,
            server_with_wrong_name: identity(server(&["kafka.invalid"])?, &ca)?,
            expired_server: identity(expired, &ca)?,
            client: identity(client()?, &ca)?,
            other_client: identity(client()?, &other_ca)?,
            ca: ca.pem(),
            other_ca: other_ca.pem(),
        })
    }

    /// Writes what clients need into a folder; what brokers need is in their properties.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder)?;
        let files = [
            ("ca.pem", &self.ca),
            ("other-ca.pem", &self.other_ca),
            ("client.pem", &self.client.certificate),
            ("client.key", &self.client.key),
            ("other-client.pem", &self.other_client.certificate),
            ("other-client.key", &self.other_client.key),
        ];
        Ok(files.into_iter().try_for_each(|(file, text)| fs::write(folder.join(file), text))?)
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn params(name: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

fn identity(params: CertificateParams, ca: &CertifiedIssuer<'_, KeyPair>) -> Result<Identity> {
    let key = KeyPair::generate()?;
    Ok(Identity { certificate: params.signed_by(&key, ca)?.pem(), key: key.serialize_pem() })
}
