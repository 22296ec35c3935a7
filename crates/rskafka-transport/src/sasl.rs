//! The client's credentials for SASL.
//!
//! Invariant: no password or token is in `Debug`, in a log or in an error.

mod authenticate;
mod exchange;

use std::sync::Arc;
use std::time::Duration;

use derive_more::Debug;
use rskafka_protocol::scram::{Credentials, Mechanism, Secret};
use time::OffsetDateTime;

pub(crate) use self::authenticate::authenticate;
use self::exchange::{Action, Exchange, Handshake};
use crate::callback::Provider;
use crate::error::BoxError;

/// How the client authenticates. Clones share the credentials.
///
/// Needs the feature `sasl`.
#[derive(Clone, Debug)]
#[debug("Sasl({})", self.mechanism())]
pub struct Sasl {
    method: Method,
}

#[derive(Clone)]
enum Method {
    Plain(Arc<dyn Provider<Credentials>>),
    Scram(Mechanism, Arc<dyn Provider<Credentials>>),
    OauthBearer(Arc<dyn Provider<OauthToken>>),
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
    pub fn plain_from(credentials: impl Provider<Credentials>) -> Self {
        Self { method: Method::Plain(Arc::new(credentials)) }
    }

    /// SCRAM-SHA-256, with `credentials` as in [`Sasl::plain_from`].
    pub fn scram_sha_256_from(credentials: impl Provider<Credentials>) -> Self {
        Self { method: Method::Scram(Mechanism::Sha256, Arc::new(credentials)) }
    }

    /// SCRAM-SHA-512, with `credentials` as in [`Sasl::plain_from`].
    pub fn scram_sha_512_from(credentials: impl Provider<Credentials>) -> Self {
        Self { method: Method::Scram(Mechanism::Sha512, Arc::new(credentials)) }
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
    pub fn oauth_bearer(token: impl Provider<OauthToken>) -> Self {
        Self { method: Method::OauthBearer(Arc::new(token)) }
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

fn always(user: impl Into<String>, password: impl Into<String>) -> Arc<dyn Provider<Credentials>> {
    let credentials = Credentials::new(user, password);
    Arc::new(move || std::future::ready(Ok::<_, BoxError>(credentials.clone())))
}

/// A token for OAUTHBEARER. `Debug` shows neither it nor the extensions, which may hold what else proves who the client
/// is; it is wiped when dropped.
///
/// Needs the feature `sasl`.
#[derive(Clone, Debug)]
#[must_use]
pub struct OauthToken {
    pub(crate) token: Secret<String>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) principal: Option<String>,
    #[debug(skip)]
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
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expiry = Some(Expiry::In(lifetime));
        self
    }

    /// The token expires at this time of day: `exp` of a JWT. The time left is computed once, when the
    /// token is given.
    pub fn expires_at(mut self, time: OffsetDateTime) -> Self {
        self.expiry = Some(Expiry::At(time));
        self
    }

    /// The identity to act as, if it is not the one in the token.
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = Some(principal.into());
        self
    }

    /// Sends an extension with the token (KIP-342), e.g. `logicalCluster`.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }
}
