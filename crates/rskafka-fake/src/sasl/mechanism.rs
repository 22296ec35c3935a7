//! The server's side of one exchange of each mechanism.
//!
//! Invariant: no runtime and no clock; an exchange that has failed or ended takes nothing more.

use std::time::Duration;

use rskafka_protocol::scram::{Mechanism, ServerFirst, ServerStart};

use super::{FakeToken, Sasl, SaslMechanism};

/// An exchange under way.
#[derive(Debug)]
pub(crate) enum Login {
    /// Nothing has come yet.
    Begun(SaslMechanism),
    /// The client has the salt.
    Challenged(Mechanism, Box<ServerFirst>),
    /// The client was told that its token is not valid, and is to send one byte.
    TokenRefused,
}

/// What comes of a message.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The client is to answer this.
    Challenge(Vec<u8>, Login),
    /// The client is who it says.
    Accepted { principal: String, lifetime: Option<Duration>, message: Vec<u8> },
    /// It is not; why, in Kafka's words.
    Refused(String),
}

/// What OAUTHBEARER answers to a token that is not valid (RFC 7628).
const INVALID_TOKEN: &str = r#"{"status":"invalid_token"}"#;
/// What parts the fields of an OAUTHBEARER message.
const SEPARATOR: char = '\u{1}';

impl Login {
    /// Takes a message of the client. `nonce` must be new.
    pub(crate) fn take(self, message: &[u8], sasl: &Sasl, nonce: &str) -> Progress {
        let result = match self {
            Self::Begun(SaslMechanism::Plain) => plain(message, sasl),
            Self::Begun(SaslMechanism::ScramSha256) => challenge(message, sasl, Mechanism::Sha256, nonce),
            Self::Begun(SaslMechanism::ScramSha512) => challenge(message, sasl, Mechanism::Sha512, nonce),
            Self::Begun(SaslMechanism::OAuthBearer) => oauth_bearer(message, sasl),
            Self::Challenged(mechanism, challenge) => prove(mechanism, *challenge, message),
            Self::TokenRefused => Err(INVALID_TOKEN.to_owned()),
        };
        result.unwrap_or_else(Progress::Refused)
    }
}

fn accepted(principal: &str, message: Vec<u8>) -> Progress {
    Progress::Accepted { principal: principal.to_owned(), lifetime: None, message }
}

/// Kafka class `PlainSaslServer` (RFC 4616).
fn plain(message: &[u8], sasl: &Sasl) -> Result<Progress, String> {
    let text = String::from_utf8_lossy(message);
    let tokens: Vec<&str> = text.split('\0').collect();
    let [identity, name, password] = tokens[..] else {
        return Err(format!("Invalid SASL/PLAIN response: expected 3 tokens, got {}", tokens.len()));
    };
    if name.is_empty() {
        return Err("Authentication failed: username not specified".to_owned());
    }
    if password.is_empty() {
        return Err("Authentication failed: password not specified".to_owned());
    }
    if sasl.user(name).is_none_or(|user| user.password != password) {
        return Err("Authentication failed: Invalid username or password".to_owned());
    }
    if !identity.is_empty() && identity != name {
        let why =
            "Authentication failed: Client requested an authorization id that is different from username";
        return Err(why.to_owned());
    }
    Ok(accepted(name, Vec::new()))
}

fn invalid_credentials(mechanism: Mechanism) -> String {
    format!(
        "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
    )
}

/// Kafka class `ScramSaslServer`.
fn challenge(message: &[u8], sasl: &Sasl, mechanism: Mechanism, nonce: &str) -> Result<Progress, String> {
    let refused = |_| invalid_credentials(mechanism);
    let start = ServerStart::new(message).map_err(refused)?;
    let user = sasl.user(start.username()).filter(|_| !start.is_delegation_token());
    let credential = user.as_ref().and_then(|user| user.credential(mechanism));
    let first = start.answer(credential.ok_or_else(|| invalid_credentials(mechanism))?, nonce);
    Ok(Progress::Challenge(first.message().to_vec(), Login::Challenged(mechanism, Box::new(first))))
}

fn prove(mechanism: Mechanism, first: ServerFirst, message: &[u8]) -> Result<Progress, String> {
    let done = first.client_final(message).map_err(|_| invalid_credentials(mechanism))?;
    Ok(accepted(done.username(), done.message().to_vec()))
}

/// Kafka class `OAuthBearerSaslServer` (RFC 7628): `n,a=user,^Aauth=Bearer token^A^A`.
fn oauth_bearer(message: &[u8], sasl: &Sasl) -> Result<Progress, String> {
    let malformed = || "Authentication failed: malformed OAUTHBEARER message".to_owned();
    let text = std::str::from_utf8(message).map_err(|_| malformed())?;
    let (header, rest) = text.split_once(SEPARATOR).ok_or_else(malformed)?;
    let identity = header.strip_prefix("n,").and_then(|rest| rest.strip_suffix(',')).ok_or_else(malformed)?;
    let fields = rest.strip_suffix("\u{1}\u{1}").ok_or_else(malformed)?;
    let field = fields.split(SEPARATOR).find_map(|field| field.strip_prefix("auth="));
    let (scheme, token) = field.and_then(|field| field.split_once(' ')).ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(malformed());
    }
    let Some(FakeToken { principal, lifetime }) = sasl.token(token.trim()) else {
        return Ok(Progress::Challenge(INVALID_TOKEN.into(), Login::TokenRefused));
    };
    if !identity.is_empty() && identity.strip_prefix("a=") != Some(&principal) {
        let why = "Authentication failed: Client requested an authorization id that is different from the token's principal name";
        return Err(why.to_owned());
    }
    Ok(Progress::Accepted { principal, lifetime, message: Vec::new() })
}
