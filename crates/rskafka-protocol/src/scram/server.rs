//! The server's side, for brokers made for tests.
//!
//! Invariant: the proof covers all that the client has sent.

use super::client::{HEADER, HEADER_BASE64};
use super::keys::{self, Key};
use super::message::{Attributes, OTHER_NONCE, decode_base64, encode_base64, invalid, unescape};
use super::{Mechanism, ScramError, Secret};

const CLIENT_FIRST: &str = "client-first";
const CLIENT_FINAL: &str = "client-final";
pub(super) const OTHER_HEADER: &str = "neither channel binding nor acting as another user is supported";

/// What a server keeps of a password: enough to check a proof, not enough to give one.
#[derive(Debug, Clone)]
pub struct StoredCredential {
    mechanism: Mechanism,
    /// In base64.
    salt: String,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

impl StoredCredential {
    /// Derives the keys of a password (or of a delegation token's HMAC), as slowly as `iterations` ask for.
    ///
    /// # Errors
    ///
    /// The salt is empty, or the iterations are outside of [`ITERATIONS`](super::ITERATIONS).
    pub fn new(
        mechanism: Mechanism,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, ScramError> {
        if salt.is_empty() {
            return Err(ScramError::new("the salt is empty"));
        }
        let salted_password = keys::salted_password(mechanism, password, salt, iterations)?;
        let client_key = keys::client_key(mechanism, &salted_password);
        Ok(Self {
            mechanism,
            salt: encode_base64(salt),
            iterations,
            stored_key: keys::stored_key(mechanism, &client_key),
            server_key: keys::server_key(mechanism, &salted_password),
        })
    }

    /// The mechanism that the keys are for.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }
}

/// The client has named its user. The server looks up that user's stored credential.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct ServerStart {
    username: String,
    delegation_token: bool,
    bare: String,
    nonce: String,
}

impl ServerStart {
    /// Takes the client's first message.
    ///
    /// # Errors
    ///
    /// It is malformed, or asks for channel binding or to act as another user.
    pub fn new(client_first: &[u8]) -> Result<Self, ScramError> {
        let bare = client_first.strip_prefix(HEADER.as_bytes());
        let mut attributes = Attributes::new(CLIENT_FIRST, bare.ok_or(ScramError::new(OTHER_HEADER))?)?;
        let bare = attributes.text.to_owned();
        let username = unescape(attributes.value('n')?);
        let username = username.ok_or_else(|| attributes.invalid("the user name is malformed"))?;
        let nonce = attributes.nonce()?.to_owned();
        let is_token =
            |(name, value): &(&str, &str)| *name == "tokenauth" && value.eq_ignore_ascii_case("true");
        let delegation_token = attributes.extensions()?.iter().any(is_token);
        Ok(Self { username, delegation_token, bare, nonce })
    }

    /// The user's name, or the id of its delegation token.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Whether the name is the id of a delegation token (KIP-48).
    pub fn is_delegation_token(&self) -> bool {
        self.delegation_token
    }

    /// Answers with the salt. `nonce` must be random and never used before: printable ASCII without commas.
    pub fn answer(self, credential: &StoredCredential, nonce: &str) -> ServerFirst {
        let StoredCredential { salt, iterations, .. } = credential;
        let nonce = format!("{}{nonce}", self.nonce);
        let message = format!("r={nonce},s={salt},i={iterations}");
        ServerFirst { start: Self { nonce, ..self }, credential: credential.clone(), message }
    }
}

/// The server has sent the salt and waits for the client's proof.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct ServerFirst {
    /// With the nonce of both sides.
    start: ServerStart,
    credential: StoredCredential,
    message: String,
}

impl ServerFirst {
    /// What is to be sent.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Checks the client's proof.
    ///
    /// # Errors
    ///
    /// The message is malformed or belongs to another exchange, or the proof is wrong.
    pub fn client_final(self, message: &[u8]) -> Result<ServerFinal, ScramError> {
        let text = Attributes::new(CLIENT_FINAL, message)?.text;
        let Some((without_proof, proof)) = text.rsplit_once(",p=") else {
            return Err(invalid(CLIENT_FINAL, "the proof is missing"));
        };
        let proof = decode_base64(CLIENT_FINAL, proof)?;
        let mut attributes = Attributes::new(CLIENT_FINAL, without_proof.as_bytes())?;
        let (header, nonce) = (attributes.value('c')?, attributes.nonce()?);
        attributes.extensions()?;
        if header != HEADER_BASE64 {
            return Err(ScramError::new(OTHER_HEADER));
        }
        if nonce != self.start.nonce {
            return Err(ScramError::new(OTHER_NONCE));
        }

        let StoredCredential { mechanism, stored_key, server_key, .. } = &self.credential;
        let auth_message = format!("{},{},{without_proof}", self.start.bare, self.message);
        let client_signature = keys::signature(*mechanism, stored_key, &auth_message);
        let client_key = keys::xor(&client_signature, &proof);
        let is_right = |key: &Key| keys::equals(stored_key, &keys::stored_key(*mechanism, key));
        if !client_key.as_ref().is_some_and(is_right) {
            return Err(ScramError::new("the client's proof is wrong"));
        }
        let signature = keys::signature(*mechanism, server_key, &auth_message);
        let message = Secret::new(format!("v={}", encode_base64(&signature)));
        Ok(ServerFinal { username: self.start.username, message })
    }
}

/// The client has proved itself.
#[derive(Debug)]
pub struct ServerFinal {
    username: String,
    message: Secret<String>,
}

impl ServerFinal {
    /// What is to be sent.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// The user that the client has proved to be, or the id of its delegation token.
    pub fn username(&self) -> &str {
        &self.username
    }
}
