//! The text of SCRAM's messages: `a=value` attributes between commas, in a fixed order.
//!
//! Invariant: a message must follow the grammar of RFC 5802, except that extensions may have names of more than one
//! letter (Kafka's `tokenauth`).

use std::fmt::Display;
use std::str::Split;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ScramError;

pub(super) const INVALID_NONCE: &str = "the nonce is not made of printable ASCII without commas";
pub(super) const OTHER_NONCE: &str = "the nonce is not that of this exchange";

/// Reads the attributes of one message.
pub(super) struct Attributes<'a> {
    message: &'static str,
    /// All of the message.
    pub(super) text: &'a str,
    /// What is not read yet.
    parts: Split<'a, char>,
}

impl<'a> Attributes<'a> {
    /// The attributes of `bytes`, in which the message called `message` is expected.
    pub(super) fn new(message: &'static str, bytes: &'a [u8]) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid(message, "it is not UTF-8"))?;
        Ok(Self { message, text, parts: text.split(',') })
    }

    /// The value of the next attribute, which must be this one.
    pub(super) fn value(&mut self, name: char) -> Result<&'a str, ScramError> {
        let part = self.parts.next().unwrap_or_default();
        part.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).ok_or_else(|| match part {
            part if part.starts_with("m=") => self.invalid("it has a mandatory extension"),
            _ => invalid(self.message, format_args!("{name}= is missing")),
        })
    }

    /// The next attribute as bytes.
    pub(super) fn base64(&mut self, name: char) -> Result<Vec<u8>, ScramError> {
        decode_base64(self.message, self.value(name)?)
    }

    /// The next attribute as a number above 0.
    pub(super) fn number(&mut self, name: char) -> Result<u32, ScramError> {
        let digits = self.value(name)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let number = if is_number { digits.parse().ok() } else { None };
        number.ok_or_else(|| self.invalid("the iterations are malformed"))
    }

    /// The next attribute as the nonce.
    pub(super) fn nonce(&mut self) -> Result<&'a str, ScramError> {
        let nonce = self.value('r')?;
        if is_nonce(nonce) { Ok(nonce) } else { Err(self.invalid("the nonce has other characters")) }
    }

    /// The rest, as extensions: name and value. Both sides may ignore them.
    pub(super) fn extensions(self) -> Result<Vec<(&'a str, &'a str)>, ScramError> {
        let is_extension = |(name, value): &(&str, &str)| {
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            is_name && !value.is_empty() && !value.contains('\0')
        };
        let extensions =
            self.parts.map(|part| part.split_once('=').filter(is_extension)).collect::<Option<_>>();
        extensions.ok_or_else(|| invalid(self.message, "an extension is malformed"))
    }

    pub(super) fn invalid(&self, problem: &str) -> ScramError {
        invalid(self.message, problem)
    }
}

pub(super) fn invalid(message: &str, problem: impl Display) -> ScramError {
    ScramError::new(format!("invalid {message} message: {problem}"))
}

/// Accepts only what an encoder writes: with padding, and no stray bits at the end.
pub(super) fn decode_base64(message: &'static str, text: &str) -> Result<Vec<u8>, ScramError> {
    STANDARD.decode(text).map_err(|_| invalid(message, "it has malformed base64"))
}

pub(super) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Whether a nonce, or a part of one, can be sent.
pub(super) fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// A user name, escaped for a message.
pub(super) fn escape(name: &str) -> Result<String, ScramError> {
    if name.is_empty() || name.contains('\0') {
        return Err(ScramError::new("the user name is empty or has a NUL"));
    }
    Ok(name.replace('=', "=3D").replace(',', "=2C"))
}

/// The user name that was escaped; `None` if it is malformed.
pub(super) fn unescape(escaped: &str) -> Option<String> {
    let name = escaped.replace("=2C", ",").replace("=3D", "=");
    escape(&name).is_ok_and(|again| again == escaped).then_some(name)
}
