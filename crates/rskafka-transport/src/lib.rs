//! One version-negotiated connection to one Kafka broker: dial, framing, in-flight requests, deadlines.
//!
//! Knows nothing of topics or leaders. All that is not deterministic comes from [`Env`]. Decisions (versions, the order
//! of requests and answers) are made by plain structs without socket or clock.
//!
//! Invariant: every request ends exactly once, by its deadline, and its error says whether a byte of it
//! may have reached the broker.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

use std::sync::{Mutex, MutexGuard, PoisonError};

mod address_memory;
mod alarm;
#[cfg(any(feature = "sasl", feature = "tls"))]
mod callback;
mod config;
mod connection;
mod counters;
mod deadline;
mod dial;
mod endpoint;
mod env;
mod error;
mod identity;
mod lifetime;
mod link;
mod negotiation;
mod opening;
mod pipeline;
mod reader;
#[cfg(feature = "sasl")]
mod sasl;
mod security;
#[cfg(feature = "socks5")]
mod socks5;
mod task;
mod ticket;
#[cfg(feature = "tls")]
mod tls;
mod versions;
mod wire;

pub use address_memory::AddressMemory;
#[cfg(any(feature = "sasl", feature = "tls"))]
pub use callback::Provider;
pub use config::{CallOptions, ConnectionConfig};
pub use connection::{Answer, Connection, Reply, Reserved, WeakConnection};
pub use counters::{BrokerStats, Counter, Counters, LATENCY_BOUNDS, Latency};
pub use deadline::Deadline;
pub use dial::{BoxFuture, BoxStream, Connector, Resolver, Stream};
pub use endpoint::{Endpoint, ParseEndpointError};
pub use env::{Env, EnvBuilder};
pub use error::{
    BoxError, CallError, CallErrorKind, CloseCause, MAX_SHOWN, Nature, OpenError, OpenProgress, Phase,
    WithCauses, printable,
};
pub use identity::{BrokerIdentity, IdentityCheck};
#[cfg(feature = "sasl")]
pub use rskafka_protocol::scram::Credentials;
#[cfg(feature = "tls")]
pub use rustls;
#[cfg(feature = "sasl")]
pub use sasl::{OauthToken, Sasl};
pub use security::Security;
#[cfg(feature = "socks5")]
pub use socks5::Socks5;
#[cfg(feature = "tls")]
pub use tls::{ClientCertificate, Tls, TlsConfigError};
pub use versions::{BrokerVersions, UnsupportedVersion};

/// Locks a mutex, also after a panic of another holder: for what is consistent between calls.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
