//! Why no TLS session came about.
//!
//! Invariant: each cause that a user can cure has a variant of its own, whose message says how.

use std::error::Error;

use snafu::Snafu;

/// A failure of the library that does TLS, or of a caller's function.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why no TLS session came about, or why the broker ended it at its start.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum TlsError {
    /// The host is neither a DNS name nor an address, so no certificate can be for it.
    #[snafu(display("no certificate can be for {host:?}: set the name that the broker's certificate has"))]
    InvalidHost {
        /// The host, or the address without its zone.
        host: String,
    },
    /// The broker's certificate is for other names.
    #[snafu(display(
        "the broker's certificate is not for {server_name} but for {}: connect by a name that it has, \
        or set the server name",
        presented.join(", ")
    ))]
    WrongName {
        /// The name that it should have.
        server_name: String,
        /// The names that it has.
        presented: Vec<String>,
    },
    /// The broker's certificate, or one that signed it, has expired.
    #[snafu(display("the broker's certificate has expired: renew it, or check this machine's clock"))]
    Expired {
        /// What the verifier says.
        source: BoxError,
    },
    /// The broker's certificate, or one that signed it, is not valid yet.
    #[snafu(display("the broker's certificate is not valid yet: check this machine's clock"))]
    NotValidYet {
        /// What the verifier says.
        source: BoxError,
    },
    /// No trusted CA has signed the broker's certificate.
    #[snafu(display("the broker's certificate is signed by an unknown CA: trust the CA that signed it"))]
    UnknownCa,
    /// The broker's certificate is signed in the name of a CA that is trusted, but with another key: the CA was
    /// made anew.
    #[snafu(display(
        "the broker's certificate is signed by a CA that has the name of a trusted one, but another key: \
        trust the CA that signed it"
    ))]
    OtherCa {
        /// What the verifier says.
        source: BoxError,
    },
    /// The broker's certificate is not acceptable for another reason.
    #[snafu(display("the broker's certificate is not acceptable"))]
    InvalidCertificate {
        /// What the verifier says.
        source: BoxError,
    },
    /// The broker wants a client certificate and got none.
    #[snafu(display("the broker wants a client certificate: set one that it trusts"))]
    ClientCertificateMissing {
        /// How the broker ended the session.
        source: BoxError,
    },
    /// The broker does not take the client's certificate.
    #[snafu(display(
        "the broker refuses the client certificate: check that it is valid and signed by a CA that the broker trusts"
    ))]
    ClientCertificateRefused {
        /// How the broker ended the session.
        source: BoxError,
    },
    /// The caller's function that gives the client certificate failed, or what it gave cannot be used.
    #[snafu(display("there is no usable client certificate"))]
    ClientCertificate {
        /// The function's failure, or what is wrong with the certificate.
        source: BoxError,
    },
    /// The peer's bytes are not TLS.
    #[snafu(display("the peer does not speak TLS: check the port, or connect without TLS"))]
    NotTls {
        /// What came instead.
        source: BoxError,
    },
    /// The peer closed the connection before the session began: a Kafka listener without TLS does that.
    #[snafu(display("the peer closed the connection during the handshake: check that the port expects TLS"))]
    Closed {
        /// How it was closed.
        source: std::io::Error,
    },
    /// Both sides found no way to talk, or broke the protocol.
    #[snafu(display("the handshake failed"))]
    Handshake {
        /// What went wrong.
        source: BoxError,
    },
}

impl TlsError {
    /// Whether another attempt may go better without a change of configuration.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
