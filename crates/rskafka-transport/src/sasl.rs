//! The client's credentials for SASL.
//!
//! Invariant: no password or token is in `Debug`, in a log or in an error.

mod authenticate;
mod exchange;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use rskafka_protocol::scram::{Credentials, Mechanism, Secret};
use time::OffsetDateTime;

pub(crate) use self::authenticate::authenticate;
use self::exchange::{Action, Event, Exchange};
use crate::callback::{Callback, boxed};
use crate::error::BoxError;

/// How the client authenticates. Clones share the credentials.
#[derive(Clone)]
pub struct Sasl {
    method: Method,
}

#[derive(Clone)]
enum Method {
    Plain(Callback<Credentials>),
    Scram(Mechanism, Callback<Credentials>),
    OauthBearer(Callback<OauthToken>),
}

impl Sasl {
    /// PLAIN: the password goes to the broker as it is, so use it with TLS only.
    pub fn plain(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { method: Method::Plain(always(user, password)) }
    }

    /// SCRAM-SHA-256: broker and client prove to each other that they know the password.
    pub fn scram_sha_256(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { method: Method::Scram(Mechanism::Sha256, always(user, password)) }
    }

    /// SCRAM-SHA-512: broker and client prove to each other that they know the password.
    pub fn scram_sha_512(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { method: Method::Scram(Mechanism::Sha512, always(user, password)) }
    }

    /// PLAIN, with `credentials` called on each connect, so that they can change while the client runs. The call
    /// counts towards the connect timeout; a failure is not retried.
    pub fn plain_from<F, Fut, E>(credentials: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self { method: Method::Plain(boxed(credentials)) }
    }

    /// SCRAM-SHA-256, with `credentials` as in [`Sasl::plain_from`].
    pub fn scram_sha_256_from<F, Fut, E>(credentials: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self { method: Method::Scram(Mechanism::Sha256, boxed(credentials)) }
    }

    /// SCRAM-SHA-512, with `credentials` as in [`Sasl::plain_from`].
    pub fn scram_sha_512_from<F, Fut, E>(credentials: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self { method: Method::Scram(Mechanism::Sha512, boxed(credentials)) }
    }

    /// OAUTHBEARER (RFC 7628, KIP-255), with `token` called on each connect. OIDC providers and AWS MSK IAM plug in
    /// here. The call counts towards the connect timeout. A failure is not retried: `token` may try again itself.
    ///
    /// ```
    /// # use rskafka_transport::{OauthToken, Sasl};
    /// # use std::time::Duration;
    /// # async fn fetch() -> Result<(String, u64), std::io::Error> { Ok((String::new(), 3600)) }
    /// let sasl = Sasl::oauth_bearer(async || {
    ///     let (access_token, seconds) = fetch().await?;
    ///     Ok::<_, std::io::Error>(OauthToken::new(access_token).expires_in(Duration::from_secs(seconds)))
    /// });
    /// ```
    pub fn oauth_bearer<F, Fut, E>(token: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<OauthToken, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self { method: Method::OauthBearer(boxed(token)) }
    }

    /// The mechanism's name, e.g. `SCRAM-SHA-512`.
    pub fn mechanism(&self) -> &'static str {
        match &self.method {
            Method::Plain(_) => exchange::PLAIN,
            Method::Scram(mechanism, _) => mechanism.name(),
            Method::OauthBearer(_) => exchange::OAUTHBEARER,
        }
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism()).finish_non_exhaustive()
    }
}

fn always(user: impl Into<String>, password: impl Into<String>) -> Callback<Credentials> {
    let credentials = Credentials::new(user, password);
    boxed(move || std::future::ready(Ok::<_, BoxError>(credentials.clone())))
}

/// A token for OAUTHBEARER. `Debug` does not show it; it is wiped when dropped.
#[derive(Clone)]
pub struct OauthToken {
    pub(crate) token: Secret<String>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) principal: Option<String>,
    pub(crate) extensions: Vec<(String, String)>,
}

/// When a token expires, as the caller knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expiry {
    In(Duration),
    At(OffsetDateTime),
}

impl OauthToken {
    /// A token, as the authorization server gave it. Without an expiry, only the broker's word counts.
    pub fn new(token: impl Into<String>) -> Self {
        let token = Secret::new(token);
        Self { token, expiry: None, principal: None, extensions: Vec::new() }
    }

    /// The token expires this long after it was given to the client: `expires_in` of an OAuth answer.
    /// Prefer it to [`OauthToken::expires_at`], because it does not depend on this machine's clock.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expiry = Some(Expiry::In(lifetime));
        self
    }

    /// The token expires at this time of day: `exp` of a JWT. The time left is computed once, when the
    /// token is given.
    #[must_use]
    pub fn expires_at(mut self, time: OffsetDateTime) -> Self {
        self.expiry = Some(Expiry::At(time));
        self
    }

    /// The identity to act as, if it is not the one in the token.
    #[must_use]
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = Some(principal.into());
        self
    }

    /// Sends an extension with the token (KIP-342), e.g. `logicalCluster`.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }
}

impl fmt::Debug for OauthToken {
    /// Without the token, and without the extensions, which may hold what else proves who the client is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expiry, principal, .. } = self;
        f.debug_struct("OauthToken")
            .field("expiry", expiry)
            .field("principal", principal)
            .finish_non_exhaustive()
    }
}
