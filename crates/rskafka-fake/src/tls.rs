//! TLS at the brokers' listeners, with certificates that are made for one cluster and thrown away.
//!
//! Invariant: no key ever leaves the process, except a client's own that the test asks for.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, version};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The first byte of a TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;
/// What a broker answers to anything else: a TLS alert, `internal_error`.
const NOT_TLS: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

/// TLS for a cluster, given to [`FakeClusterBuilder::tls`](crate::FakeClusterBuilder::tls): a CA of its
/// own and a certificate for the brokers, for the names `localhost` and `broker-1`, `broker-2`, … and the
/// loopback addresses.
///
/// Needs the feature `tls`.
///
/// As the CA is made with it, a second `FakeTls` is an authority that the first's cluster does not know.
///
/// Differs from Kafka in its alerts: a client without certificate gets `certificate_required` (Kafka:
/// `bad_certificate`), one with a certificate of another CA `unknown_ca` (Kafka: `certificate_unknown`).
#[derive(Clone)]
pub struct FakeTls {
    ca: Arc<CertifiedIssuer<'static, KeyPair>>,
    certificate: ServerCertificate,
    wants_client_certificate: bool,
    only_1_2: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerCertificate {
    Good,
    Expired,
    WrongName,
}

/// A certificate and its key, in PEM.
///
/// Needs the feature `tls`.
#[derive(Clone)]
#[non_exhaustive]
pub struct FakeIdentity {
    /// The certificate.
    pub certificate_pem: String,
    /// The key, as PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for FakeTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeTls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FakeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeIdentity").finish_non_exhaustive()
    }
}

impl FakeTls {
    /// Brokers whose certificate is as it should be. Clients need none.
    ///
    /// # Errors
    ///
    /// The operating system gives no random numbers.
    pub fn new() -> io::Result<Self> {
        Self::with(ServerCertificate::Good)
    }

    /// Brokers whose certificate has expired.
    ///
    /// # Errors
    ///
    /// As [`FakeTls::new`].
    pub fn expired() -> io::Result<Self> {
        Self::with(ServerCertificate::Expired)
    }

    /// Brokers whose certificate is for another name.
    ///
    /// # Errors
    ///
    /// As [`FakeTls::new`].
    pub fn wrong_name() -> io::Result<Self> {
        Self::with(ServerCertificate::WrongName)
    }

    fn with(certificate: ServerCertificate) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "rskafka-fake CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, new_key()?).map_err(io::Error::other)?;
        Ok(Self { ca: Arc::new(ca), certificate, wants_client_certificate: false, only_1_2: false })
    }

    /// Clients need a certificate of this CA: see [`FakeTls::client_identity`].
    #[must_use]
    pub fn require_client_certificate(mut self) -> Self {
        self.wants_client_certificate = true;
        self
    }

    /// Only TLS 1.2, as with Kafka before 2.6.
    #[must_use]
    pub fn only_1_2(mut self) -> Self {
        self.only_1_2 = true;
        self
    }

    /// The CA's certificate in PEM, for clients to trust.
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// A certificate of this CA for a client, for that name.
    ///
    /// # Errors
    ///
    /// As [`FakeTls::new`].
    pub fn client_identity(&self, name: &str) -> io::Result<FakeIdentity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        self.identity(params)
    }

    fn identity(&self, params: CertificateParams) -> io::Result<FakeIdentity> {
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.ca).map_err(io::Error::other)?;
        Ok(FakeIdentity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// What the listeners of a cluster with so many brokers need.
    pub(crate) fn acceptor(&self, brokers: usize) -> io::Result<Acceptor> {
        let mut names = vec!["elsewhere.invalid".to_owned()];
        if self.certificate != ServerCertificate::WrongName {
            names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
            names.extend((1..=brokers).map(|id| format!("broker-{id}")));
        }
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, "rskafka-fake broker");
        if self.certificate == ServerCertificate::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2001, 1, 2));
        }
        let identity = self.identity(params)?;
        let config = self.config(&identity).map_err(io::Error::other)?;
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    fn config(
        &self,
        identity: &FakeIdentity,
    ) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[_] =
            if self.only_1_2 { &[&version::TLS12] } else { &[&version::TLS13, &version::TLS12] };
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
        let builder = if self.wants_client_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.der().clone())?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
        Ok(builder.with_single_cert(vec![certificate], key)?)
    }
}

fn new_key() -> io::Result<KeyPair> {
    KeyPair::generate().map_err(io::Error::other)
}

/// A listener's side of TLS.
#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

/// What lies below TLS: the stream, with the byte that was looked at put back.
pub(crate) type Below<S> =
    tokio::io::Join<tokio::io::Chain<io::Cursor<[u8; 1]>, tokio::io::ReadHalf<S>>, tokio::io::WriteHalf<S>>;

impl Acceptor {
    /// Shakes hands.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<Below<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut read, mut write) = tokio::io::split(stream);
        let first = [read.read_u8().await?];
        if first != [HANDSHAKE] {
            write.write_all(&NOT_TLS).await?;
            write.flush().await?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                rustls::Error::InappropriateMessage {
                    expect_types: vec![rustls::ContentType::Handshake],
                    got_type: first[0].into(),
                },
            ));
        }
        self.0.accept(tokio::io::join(io::Cursor::new(first).chain(read), write)).await
    }
}
