//! SCRAM (RFC 5802, RFC 7677) as Kafka speaks it: both sides of the exchange, without I/O or randomness. Needs the feature
//! `sasl`.
//!
//! Invariant: each state is the message that its side has just sent, and taking the answer consumes it, so no step
//! can be skipped, repeated or reordered; nothing is hashed before the
//! iterations are known to be within [`ITERATIONS`]; no password, key or proof shows in `Debug` or in
//! an error.
//!
//! ```
//! use rskafka_protocol::scram::{ClientFirst, Credentials, Mechanism, ServerStart, StoredCredential};
//!
//! // What the server keeps of the password.
//! let stored = StoredCredential::new(Mechanism::Sha256, "secret", b"a random salt", 4096)?;
//!
//! let client = ClientFirst::new(Mechanism::Sha256, &Credentials::new("alice", "secret"), "a-nonce")?;
//! let server = ServerStart::new(client.message())?;
//! assert_eq!(server.username(), "alice");
//! let server = server.answer(&stored, "another-nonce");
//! let client = client.server_first(server.message())?;
//! let server = server.client_final(client.message())?;
//! client.server_final(server.message())?;
//! # Ok::<(), rskafka_protocol::scram::ScramError>(())
//! ```
//!
//! As in Kafka, passwords are their UTF-8 bytes, without SASLprep, and there is no channel binding.

mod client;
mod error;
mod keys;
mod message;
mod secret;
mod server;

use std::ops::RangeInclusive;

use derive_more::Display;

pub use client::{ClientFinal, ClientFirst, Credentials};
pub use error::ScramError;
pub use secret::Secret;
pub use server::{ServerFinal, ServerFirst, ServerStart, StoredCredential};

/// The iterations that either side takes: Kafka's minimum, and what costs about a second at most.
pub const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

/// The hash function of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display)]
#[display("{}", self.name())]
pub enum Mechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl Mechanism {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name in a SaslHandshake request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

#[cfg(test)]
mod tests;
