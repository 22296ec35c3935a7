//! The way to a broker through a SOCKS5 proxy (RFC 1928, RFC 1929).
//!
//! Invariant: the broker's name goes to the proxy unresolved; the password shows nowhere.

use std::fmt;

use tokio_socks::tcp::Socks5Stream;
use zeroize::Zeroizing;

use crate::dial::BoxStream;
use crate::endpoint::{Endpoint, ParseEndpointError};
use crate::error::ProxyError;

/// A SOCKS5 proxy through which all brokers are reached. It also resolves their names.
#[derive(Clone)]
pub struct Socks5 {
    endpoint: Endpoint,
    login: Option<(String, Zeroizing<String>)>,
}

impl Socks5 {
    /// The proxy at `address`, as `host:port`.
    ///
    /// # Errors
    ///
    /// It is no address.
    pub fn new(address: &str) -> Result<Self, ParseEndpointError> {
        Ok(Self { endpoint: address.parse()?, login: None })
    }

    /// Shows these if the proxy asks for them. They go to the proxy as plaintext.
    #[must_use]
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), Zeroizing::new(password.into())));
        self
    }

    /// Where the proxy listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Has the proxy connect `stream` to `broker`.
    pub(crate) async fn connect(
        &self,
        broker: &Endpoint,
        stream: BoxStream,
    ) -> Result<BoxStream, ProxyError> {
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

impl fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.login.as_ref().map(|(user, _)| user);
        f.debug_struct("Socks5").field("endpoint", &self.endpoint).field("user", &user).finish()
    }
}

fn explain(error: tokio_socks::Error) -> ProxyError {
    use tokio_socks::Error;
    let refused = |reason| ProxyError::Refused { reason };
    match error {
        Error::Io(source) => ProxyError::Closed { source },
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => ProxyError::AuthenticationRequired,
        Error::PasswordAuthFailure(_) => ProxyError::AuthenticationFailed,
        Error::InvalidAuthValues(_) => ProxyError::InvalidCredentials,
        Error::InvalidTargetAddress(_) => ProxyError::InvalidTarget,
        Error::ConnectionNotAllowedByRuleset => ProxyError::NotAllowed,
        Error::CommandNotSupported => {
            ProxyError::Unsupported { reason: "it does not do what CONNECT asks for" }
        }
        Error::AddressTypeNotSupported => {
            ProxyError::Unsupported { reason: "it does not take this kind of address" }
        }
        Error::GeneralSocksServerFailure => refused("it failed, without saying why"),
        Error::NetworkUnreachable => refused("it cannot reach the broker's network"),
        Error::HostUnreachable => refused("it cannot reach the broker's host, or does not know its name"),
        Error::ConnectionRefused => refused("nothing listens at the broker's port"),
        Error::TtlExpired => refused("the broker is too many hops away"),
        Error::UnknownAuthMethod => refused("its answer has a code that RFC 1928 does not have"),
        _ => ProxyError::NotSocks5,
    }
}
