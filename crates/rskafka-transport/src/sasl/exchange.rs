//! A SASL exchange without sockets and clocks: the broker's answers go in, what to do next comes out.
//!
//! Invariant: it ends well only after the broker has accepted the client and, with SCRAM, has proved that it knows
//! the password; after an error nothing more is sent.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD;
use bytes::Bytes;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::sasl_authenticate::SaslAuthenticateResponse;
use rskafka_protocol::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use rskafka_protocol::scram::{ClientFinal, ClientFirst, Credentials, Mechanism, ScramError};
use zeroize::Zeroizing;

use super::OauthToken;
use crate::error::{Failure, MAX_SHOWN, Nature, printable};

pub(crate) const PLAIN: &str = "PLAIN";
pub(crate) const OAUTHBEARER: &str = "OAUTHBEARER";

/// Ends a failed OAUTHBEARER exchange (RFC 7628, section 3.2.3).
const KVSEP: &[u8] = b"\x01";

/// A message that repeats so many characters of the secret in a row, or of its base64, is not shown. Brokers cut
/// tokens short and escape some characters in JSON, so the whole secret need not be there.
const MAX_REPEATED: usize = 12;

/// An exchange of which nothing was sent: the broker has to agree to the mechanism.
pub(crate) struct Handshake {
    /// The client's first message.
    first: Bytes,
    exchange: Exchange,
}

/// An exchange under way.
pub(crate) struct Exchange {
    mechanism: &'static str,
    /// Must not be shown even if the broker repeats it; empty with SCRAM, which does not send it.
    secret: Zeroizing<String>,
    state: State,
}

/// What was sent last.
enum State {
    /// The answer is empty if the broker accepts the client.
    Whole,
    /// The broker has given the reason of its refusal; it answers this with the error.
    Refused(String),
    ScramFirst(ClientFirst),
    ScramFinal(ClientFinal),
}

/// What to do next.
pub(crate) enum Action {
    /// Send this in a SaslAuthenticate request; the exchange takes the answer.
    Authenticate(Bytes, Exchange),
    /// The client is authenticated, for this long if there is a limit.
    Done(Option<Duration>),
}

impl Handshake {
    pub(crate) fn plain(credentials: &Credentials) -> Result<Self, Failure> {
        let (user, password) = (credentials.username(), credentials.password());
        if user.is_empty() || password.is_empty() {
            return Err(invalid(PLAIN, "user or password is empty"));
        }
        if user.contains('\0') || password.contains('\0') {
            return Err(invalid(PLAIN, "user or password has a NUL"));
        }
        let message = Zeroizing::new(format!("\0{user}\0{password}"));
        Ok(Self::new(PLAIN, password, message.as_bytes(), State::Whole))
    }

    /// `nonce` must be random and never used before.
    pub(crate) fn scram(
        mechanism: Mechanism,
        credentials: &Credentials,
        nonce: &str,
    ) -> Result<Self, Failure> {
        let name = mechanism.name();
        let first =
            ClientFirst::new(mechanism, credentials, nonce).map_err(|error| not_passed(name, error))?;
        let message = Bytes::copy_from_slice(first.message());
        Ok(Self::new(name, "", &message, State::ScramFirst(first)))
    }

    pub(crate) fn oauth_bearer(token: &OauthToken) -> Result<Self, Failure> {
        let OauthToken { token, principal, extensions, .. } = token;
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || !is_visible(token) {
            return Err(invalid(
                OAUTHBEARER,
                "the token is empty or contains characters other than visible ASCII",
            ));
        }
        let identity = match principal {
            None => String::new(),
            Some(principal) if principal.is_empty() || principal.contains(['\0', '\x01']) => {
                return Err(invalid(OAUTHBEARER, "the principal is empty or has control characters"));
            }
            Some(principal) => format!("a={}", principal.replace('=', "=3D").replace(',', "=2C")),
        };
        let mut message = Zeroizing::new(format!("n,{identity},\x01auth=Bearer {}", **token));
        for (name, value) in extensions {
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            let is_value = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            if !is_name || name == "auth" || !is_value || value.is_empty() {
                return Err(invalid(OAUTHBEARER, "an extension is not letters = visible ASCII"));
            }
            message.extend(["\x01", name, "=", value]);
        }
        *message += "\x01\x01";
        Ok(Self::new(OAUTHBEARER, token, message.as_bytes(), State::Whole))
    }

    fn new(mechanism: &'static str, secret: &str, first: &[u8], state: State) -> Self {
        let secret = Zeroizing::new(secret.to_owned());
        let exchange = Exchange { mechanism, secret, state };
        Self { first: Bytes::copy_from_slice(first), exchange }
    }

    /// What to send first.
    pub(crate) fn request(&self) -> SaslHandshakeRequest {
        SaslHandshakeRequest { mechanism: self.exchange.mechanism.to_owned() }
    }

    /// Takes the broker's answer.
    pub(crate) fn agreed(self, response: SaslHandshakeResponse) -> Result<Action, Failure> {
        let Self { first, exchange } = self;
        let mechanism = exchange.mechanism;
        match response.error_code {
            ErrorCode::NONE => Ok(Action::Authenticate(first, exchange)),
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let offered = printable(&response.mechanisms.join(", "), MAX_SHOWN);
                let offered = if offered.is_empty() { "none" } else { &offered };
                Err(denied(format!(
                    "the broker does not offer {mechanism}, but {offered}: choose another mechanism or port"
                )))
            }
            ErrorCode::ILLEGAL_SASL_STATE => {
                Err(denied("the port does not expect SASL: choose another port, or connect without SASL"))
            }
            code => Err(refused(mechanism, &exchange.secret, code, None)),
        }
        .map_err(|failure| failure.with_code(response.error_code))
    }
}

impl Exchange {
    /// Whether the next answer makes [`Self::answered`] hash the password, which takes milliseconds at least.
    pub(crate) fn is_about_to_hash(&self) -> bool {
        matches!(self.state, State::ScramFirst(_))
    }

    /// Takes an answer.
    pub(crate) fn answered(self, response: SaslAuthenticateResponse) -> Result<Action, Failure> {
        let Self { mechanism, secret, state } = self;
        let SaslAuthenticateResponse { error_message, auth_bytes: answer, session_lifetime_ms, .. } =
            response;
        let refused = |code, message: Option<&str>| refused(mechanism, &secret, code, message);
        response.error_code.ok().map_err(|code| refused(code, error_message.as_deref()))?;
        let millis = u64::try_from(session_lifetime_ms).ok().filter(|millis| *millis > 0);
        let done = Action::Done(millis.map(Duration::from_millis));
        let scram = |error| not_passed(mechanism, error);
        let (message, state) = match state {
            State::Whole if mechanism == OAUTHBEARER && !answer.is_empty() => {
                let reason = String::from_utf8_lossy(&answer).into_owned();
                (Bytes::from_static(KVSEP), State::Refused(reason))
            }
            State::Whole => return Ok(done),
            State::Refused(reason) => {
                return Err(refused(ErrorCode::SASL_AUTHENTICATION_FAILED, Some(&reason)));
            }
            State::ScramFirst(first) => {
                let last = first.server_first(&answer).map_err(scram)?;
                (Bytes::copy_from_slice(last.message()), State::ScramFinal(last))
            }
            State::ScramFinal(last) => return last.server_final(&answer).map(|()| done).map_err(scram),
        };
        Ok(Action::Authenticate(message, Self { mechanism, secret, state }))
    }
}

fn refused(mechanism: &'static str, secret: &str, code: ErrorCode, message: Option<&str>) -> Failure {
    let said = match message.filter(|text| !text.is_empty()) {
        None => String::new(),
        Some(text) => {
            // Beyond what is shown, so that a secret that begins at its end is seen whole.
            let text = printable(text, MAX_SHOWN + 2 * secret.len());
            match shows(&text, secret) {
                true => ": the broker's message repeats the secret and is not shown".to_owned(),
                false => format!(": {}", printable(&text, MAX_SHOWN)),
            }
        }
    };
    let nature = if code.is_retriable() { Nature::Transient } else { Nature::Authentication };
    let text = format!(
        "the broker refuses the credentials ({code}{said}): check user and password, or the token, for \
        {mechanism}"
    );
    Failure::new(nature, text).with_code(code)
}

pub(super) fn denied(text: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(Nature::Authentication, text)
}

fn invalid(mechanism: &'static str, problem: &'static str) -> Failure {
    denied(format!("the credentials cannot be used with {mechanism}: {problem}"))
}

/// The broker may not be the one that it claims to be.
fn not_passed(mechanism: &'static str, error: ScramError) -> Failure {
    denied(format!("{mechanism} failed")).because(error)
}

/// Whether the text has the secret or a long part of it, in plain or in base64.
fn shows(text: &str, secret: &str) -> bool {
    let standard = text.replace('-', "+").replace('_', "/");
    repeats(text, secret) || (0..3).any(|before| repeats(&standard, &in_base64(secret, before)))
}

/// The secret in base64 behind so many other bytes of a group of three, without the characters that also
/// depend on its neighbours.
fn in_base64(secret: &str, before: usize) -> Zeroizing<String> {
    let bytes = Zeroizing::new([&b"\0\0"[..before], secret.as_bytes()].concat());
    let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(&*bytes));
    let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    Zeroizing::new(encoded.get(own).unwrap_or_default().to_owned())
}

/// Whether the text has the secret, or a long part of it.
fn repeats(text: &str, secret: &str) -> bool {
    let length = secret.len().min(MAX_REPEATED);
    if length == 0 {
        return false;
    }
    let parts: HashSet<_> = secret.as_bytes().windows(length).collect();
    text.as_bytes().windows(length).any(|part| parts.contains(part))
}

#[cfg(test)]
mod tests;
