//! The text of SCRAM's messages: `a=value` attributes between commas, in a fixed order.
//!
//! Invariant: a message must follow the grammar of RFC 5802, except that extensions may have names of more than one
//! letter (Kafka's `tokenauth`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ScramError;

pub(super) const INVALID_NONCE: &str = "the nonce is not made of printable ASCII without commas";
pub(super) const OTHER_NONCE: &str = "the nonce is not that of this exchange";

/// Reads the attributes of one message.
pub(super) struct Attributes<'a> {
    message: &'static str,
    /// `None` behind the last one.
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// The attributes of `bytes`, in which the message called `message` is expected.
    pub(super) fn new(message: &'static str, bytes: &'a [u8]) -> Result<Self, ScramError> {
        let invalid = |_| invalid(message, "it is not UTF-8");
        Ok(Self { message, rest: Some(std::str::from_utf8(bytes).map_err(invalid)?) })
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a str {
        self.rest.unwrap_or_default()
    }

    /// The part before the next comma.
    pub(super) fn part(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        let (part, rest) = match rest.split_once(',') {
            Some((part, rest)) => (part, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Some(part)
    }

    /// The value of the next attribute, which must be this one.
    pub(super) fn value(&mut self, name: char) -> Result<&'a str, ScramError> {
        let part = self.part();
        let value = part.and_then(|part| part.strip_prefix(name)?.strip_prefix('='));
        let problem = match name {
            _ if part.is_some_and(|part| part.starts_with("m=")) => "it has a mandatory extension",
            'c' => "the channel binding is missing",
            'i' => "the iterations are missing",
            'n' => "the user name is missing",
            'r' => "the nonce is missing",
            's' => "the salt is missing",
            'v' => "the signature is missing",
            _ => "an attribute is missing",
        };
        value.ok_or_else(|| self.invalid(problem))
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
    pub(super) fn extensions(mut self) -> Result<Vec<(&'a str, &'a str)>, ScramError> {
        let mut extensions = Vec::new();
        while let Some(part) = self.part() {
            let extension = part.split_once('=').filter(|(name, value)| {
                let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
                is_name && !value.is_empty() && !value.contains('\0')
            });
            extensions.push(extension.ok_or_else(|| self.invalid("an extension is malformed"))?);
        }
        Ok(extensions)
    }

    pub(super) fn invalid(&self, problem: &'static str) -> ScramError {
        invalid(self.message, problem)
    }
}

pub(super) fn invalid(message: &'static str, problem: &'static str) -> ScramError {
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
    let mut parts = escaped.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        name.push(character);
        name.push_str(rest);
    }
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}
