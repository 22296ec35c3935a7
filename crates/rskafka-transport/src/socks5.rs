//! The way to a broker through a SOCKS5 proxy (RFC 1928, RFC 1929).
//!
//! Invariant: the broker's name goes to the proxy unresolved; the password is not in `Debug` or an error.

use derive_more::Debug;
use tokio_socks::tcp::Socks5Stream;
use zeroize::Zeroizing;

use crate::dial::BoxStream;
use crate::endpoint::{Endpoint, ParseEndpointError};
use crate::error::{Failure, Nature};

/// A SOCKS5 proxy through which all brokers are reached. It also resolves their names.
///
/// Needs the feature `socks5`.
#[derive(Clone, Debug)]
pub struct Socks5 {
    endpoint: Endpoint,
    #[debug("{:?}", login.as_ref().map(|(user, _)| user))]
    login: Option<(String, Zeroizing<String>)>,
}

impl Socks5 {
    /// The proxy at `address`, as `host:port`.
    ///
    /// # Errors
    ///
    /// It is not `host:port`.
    pub fn new(address: &str) -> Result<Self, ParseEndpointError> {
        Ok(Self { endpoint: address.parse()?, login: None })
    }

    /// The user and password to give if the proxy asks for them. They go to the proxy in plaintext.
    #[must_use]
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), Zeroizing::new(password.into())));
        self
    }

    /// Where the proxy listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks the proxy at the other end of `stream` to connect it to `broker`.
    pub(crate) async fn connect(&self, broker: &Endpoint, stream: BoxStream) -> Result<BoxStream, Failure> {
        let target = (broker.host.as_str(), broker.port);
        let connected = match &self.login {
            None => Socks5Stream::connect_with_socket(stream, target).await,
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
            }
        };
        Ok(connected.map_err(explain)?.into_inner())
    }
}

fn explain(error: tokio_socks::Error) -> Failure {
    use tokio_socks::Error;
    let refused =
        |reason| Failure::new(Nature::Transient, format!("the proxy cannot connect to the broker: {reason}"));
    let lasting = |text: &'static str| Failure::lasting(text);
    match error {
        Error::Io(source) => {
            Failure::new(Nature::Transient, "the connection to the proxy ended").because(source)
        }
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            lasting("the proxy wants authentication that it was not given: set user and password")
        }
        Error::PasswordAuthFailure(_) => lasting("the proxy refuses user and password"),
        Error::InvalidAuthValues(_) => {
            lasting("user and password for the proxy must each have 1 to 255 bytes")
        }
        Error::InvalidTargetAddress(_) => {
            lasting("the broker's name has more than 255 bytes, which SOCKS5 cannot carry")
        }
        Error::ConnectionNotAllowedByRuleset => {
            lasting("the proxy's rules do not allow a connection to the broker")
        }
        Error::CommandNotSupported => lasting("the proxy does not support the CONNECT command"),
        Error::AddressTypeNotSupported => {
            lasting("the proxy cannot do this: it does not take this kind of address")
        }
        Error::GeneralSocksServerFailure => refused("it failed, without saying why"),
        Error::NetworkUnreachable => refused("it cannot reach the broker's network"),
        Error::HostUnreachable => refused("it cannot reach the broker's host, or does not know its name"),
        Error::ConnectionRefused => refused("nothing listens at the broker's port"),
        Error::TtlExpired => refused("the broker is too many hops away"),
        Error::UnknownAuthMethod => refused("its answer has a code that RFC 1928 does not have"),
        _ => lasting("what listens there is not a SOCKS5 proxy: check its address"),
    }
}
