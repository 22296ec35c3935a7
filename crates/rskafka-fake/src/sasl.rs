//! SASL at the brokers' listeners: who may log in, and how.
//!
//! Invariant: no password or token is in `Debug`, in a log or in an answer.

mod mechanism;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rskafka_protocol::scram::{self, StoredCredential};

pub(crate) use self::mechanism::{Login, Progress};

/// Iterations of the salted hash: Kafka's default.
const ITERATIONS: u32 = 4096;
/// How late a refused login is answered, unless said otherwise: as measured with Kafka's defaults.
const FAILURE_DELAY: Duration = Duration::from_millis(300);

/// A SASL mechanism that a broker can offer.
///
/// Needs the feature `sasl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// PLAIN: user and password as they are.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
    /// OAUTHBEARER: a token. Needs [`FakeSasl::accept_tokens`].
    OAuthBearer,
}

impl SaslMechanism {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OAuthBearer];

    /// The name in a SaslHandshake request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => scram::Mechanism::Sha256.name(),
            Self::ScramSha512 => scram::Mechanism::Sha512.name(),
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// What a token says: see [`FakeSasl::accept_tokens`].
///
/// Needs the feature `sasl`.
#[derive(Debug, Clone)]
pub struct FakeToken {
    principal: String,
    lifetime: Option<Duration>,
}

impl FakeToken {
    /// A token of that user, without an end.
    pub fn of(principal: impl Into<String>) -> Self {
        Self { principal: principal.into(), lifetime: None }
    }

    /// The token, and with it the session, ends after this time.
    #[must_use]
    pub fn expires_after(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }
}

type Tokens = Arc<dyn Fn(&str) -> Option<FakeToken> + Send + Sync>;

/// SASL for a cluster, given to [`FakeClusterBuilder::sasl`](crate::FakeClusterBuilder::sasl).
///
/// Needs the feature `sasl`.
#[derive(Clone)]
#[must_use = "nothing happens until it is given to a builder"]
pub struct FakeSasl {
    pub(crate) mechanisms: Vec<SaslMechanism>,
    users: BTreeMap<String, String>,
    tokens: Option<Tokens>,
    pub(crate) session_lifetime: Option<Duration>,
    pub(crate) failure_delay: Duration,
}

impl fmt::Debug for FakeSasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSasl").field("mechanisms", &self.mechanisms).finish_non_exhaustive()
    }
}

impl FakeSasl {
    /// These mechanisms, and no users yet.
    pub fn new(mechanisms: impl IntoIterator<Item = SaslMechanism>) -> Self {
        Self {
            mechanisms: mechanisms.into_iter().collect(),
            users: BTreeMap::new(),
            tokens: None,
            session_lifetime: None,
            failure_delay: FAILURE_DELAY,
        }
    }

    /// A user with a password, for all mechanisms but OAUTHBEARER.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.insert(name.into(), password.into());
        self
    }

    /// What OAUTHBEARER accepts: the function is given a token and says whose it is, or `None` for one
    /// that is not valid.
    pub fn accept_tokens(
        mut self,
        tokens: impl Fn(&str) -> Option<FakeToken> + Send + Sync + 'static,
    ) -> Self {
        self.tokens = Some(Arc::new(tokens));
        self
    }

    /// How long a login lasts (`connections.max.reauth.ms`, KIP-368): a request after that ends the
    /// connection, unless the client has authenticated again. By default without end.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = Some(lifetime);
        self
    }

    /// How late a refused login is answered. 300 ms by default, as was measured with Kafka.
    pub fn failure_delay(mut self, delay: Duration) -> Self {
        self.failure_delay = delay;
        self
    }

    /// Derives what is kept of the passwords, which takes a while.
    pub(crate) fn into_listener(self) -> Sasl {
        let user = |(name, password): (&String, &String)| {
            (name.clone(), User::new(name, password, &self.mechanisms))
        };
        Sasl { users: Mutex::new(self.users.iter().map(user).collect()), settings: self }
    }
}

/// A listener's side of SASL.
pub(crate) struct Sasl {
    pub(crate) settings: FakeSasl,
    users: Mutex<BTreeMap<String, User>>,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// What is kept of a user's password.
#[derive(Clone)]
pub(crate) struct User {
    password: String,
    scram: Vec<StoredCredential>,
}

impl User {
    /// Hashes the password for each SCRAM mechanism: some milliseconds each.
    pub(crate) fn new(name: &str, password: &str, mechanisms: &[SaslMechanism]) -> Self {
        let of = |mechanism: &SaslMechanism| {
            let mechanism = scram::Mechanism::from_name(mechanism.name())?;
            // Unique for each user; it need not be secret.
            let salt = format!("rskafka-fake {mechanism} {name}");
            StoredCredential::new(mechanism, password, salt.as_bytes(), ITERATIONS).ok()
        };
        Self { password: password.to_owned(), scram: mechanisms.iter().filter_map(of).collect() }
    }

    pub(crate) fn credential(&self, mechanism: scram::Mechanism) -> Option<&StoredCredential> {
        self.scram.iter().find(|credential| credential.mechanism() == mechanism)
    }
}

impl Sasl {
    pub(crate) fn user(&self, name: &str) -> Option<User> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Gives a user another password, or none to remove it.
    pub(crate) fn set_user(&self, name: String, user: Option<User>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        match user {
            Some(user) => users.insert(name, user),
            None => users.remove(&name),
        };
    }

    pub(crate) fn token(&self, token: &str) -> Option<FakeToken> {
        self.settings.tokens.as_ref().and_then(|accept| accept(token))
    }
}
