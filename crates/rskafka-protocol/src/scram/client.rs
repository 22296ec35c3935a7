//! The client's side.
//!
//! Invariant: the exchange ends well only if the server has proved that it knows the password too.

use super::keys::{self, Key};
use super::message::{Attributes, INVALID_NONCE, OTHER_NONCE, encode_base64, escape, is_nonce};
use super::{Mechanism, ScramError, Secret};

const SERVER_FIRST: &str = "server-first";
const SERVER_FINAL: &str = "server-final";
/// No channel binding, no other identity; and the same in base64.
pub(super) const HEADER: &str = "n,,";
pub(super) const HEADER_BASE64: &str = "biws";

/// A user and what proves it. The password is not shown by `Debug`, and wiped when dropped.
///
/// Needs the feature `sasl`.
#[derive(Debug, Clone)]
pub struct Credentials {
    username: String,
    password: Secret<String>,
    delegation_token: bool,
}

impl Credentials {
    /// A user with a password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        let password = Secret::new(password);
        Self { username: username.into(), password, delegation_token: false }
    }

    /// A delegation token (KIP-48): its id, and its HMAC as the broker gave it, in base64.
    pub fn delegation_token(token_id: impl Into<String>, hmac: impl Into<String>) -> Self {
        Self { delegation_token: true, ..Self::new(token_id, hmac) }
    }

    /// The user's name, or the token's id.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password, for mechanisms that send it.
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// The client has named its user and waits for the server's salt.
#[derive(Debug)]
pub struct ClientFirst {
    mechanism: Mechanism,
    password: Secret<String>,
    nonce: String,
    message: String,
}

impl ClientFirst {
    /// Begins an exchange. `nonce` must be random and never used before: printable ASCII without
    /// commas, of at least 128 bits.
    ///
    /// # Errors
    ///
    /// The user name or the nonce cannot be sent.
    pub fn new(mechanism: Mechanism, credentials: &Credentials, nonce: &str) -> Result<Self, ScramError> {
        if !is_nonce(nonce) {
            return Err(ScramError::new(INVALID_NONCE));
        }
        let extension = if credentials.delegation_token { ",tokenauth=true" } else { "" };
        let message = format!("{HEADER}n={},r={nonce}{extension}", escape(&credentials.username)?);
        Ok(Self { mechanism, password: credentials.password.clone(), nonce: nonce.to_owned(), message })
    }

    /// What is to be sent.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Takes the server's answer and computes the proof.
    ///
    /// This is slow on purpose: about a millisecond for Kafka's 4096 iterations, and up to a second
    /// for the most that [`ITERATIONS`](super::ITERATIONS) allows.
    ///
    /// # Errors
    ///
    /// The answer is malformed, belongs to another exchange, or asks for too few or too many iterations.
    pub fn server_first(self, message: &[u8]) -> Result<ClientFinal, ScramError> {
        let mut attributes = Attributes::new(SERVER_FIRST, message)?;
        let server_first = attributes.text;
        refusal(&attributes)?;
        let nonce = attributes.nonce()?;
        let salt = attributes.base64('s')?;
        let iterations = attributes.number('i')?;
        if salt.is_empty() {
            return Err(attributes.invalid("the salt is empty"));
        }
        attributes.extensions()?;
        if nonce.strip_prefix(&self.nonce).is_none_or(str::is_empty) {
            return Err(ScramError::new(OTHER_NONCE));
        }

        let Self { mechanism, .. } = self;
        let salted_password = keys::salted_password(mechanism, &self.password, &salt, iterations)?;
        let client_key = keys::client_key(mechanism, &salted_password);
        let stored_key = keys::stored_key(mechanism, &client_key);
        let server_key = keys::server_key(mechanism, &salted_password);

        let bare = self.message.strip_prefix(HEADER).unwrap_or_default();
        let without_proof = format!("c={HEADER_BASE64},r={nonce}");
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let client_signature = keys::signature(mechanism, &stored_key, &auth_message);
        // Both come from the same hash function.
        let proof = keys::xor(&client_key, &client_signature).expect("keys of the same length");
        Ok(ClientFinal {
            message: Secret::new(format!("{without_proof},p={}", encode_base64(&proof))),
            server_signature: keys::signature(mechanism, &server_key, &auth_message),
        })
    }
}

/// The client has proved that it knows the password, and waits for the server to do the same.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct ClientFinal {
    message: Secret<String>,
    server_signature: Key,
}

impl ClientFinal {
    /// What is to be sent.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Takes the server's answer, which ends the exchange.
    ///
    /// # Errors
    ///
    /// The server refused the proof, or has not proved itself.
    pub fn server_final(self, message: &[u8]) -> Result<(), ScramError> {
        let mut attributes = Attributes::new(SERVER_FINAL, message)?;
        refusal(&attributes)?;
        let signature = attributes.base64('v')?;
        attributes.extensions()?;
        match keys::equals(&self.server_signature, &signature) {
            true => Ok(()),
            false => Err(ScramError::new("the server's signature is wrong")),
        }
    }
}

/// An error in place of the answer.
fn refusal(attributes: &Attributes<'_>) -> Result<(), ScramError> {
    let Some(reason) = attributes.text.strip_prefix("e=") else { return Ok(()) };
    let reason = reason.split(',').next().unwrap_or_default();
    let shown: String = reason.chars().filter(|character| !character.is_control()).take(MAX_REASON).collect();
    Err(ScramError::new(format!("the server refused: {shown}")))
}

/// RFC 5802 has no longer one than `unsupported-channel-binding-type`.
const MAX_REASON: usize = 100;
