//! One version-negotiated connection to one Kafka broker: dial, framing, in-flight requests, deadlines.
//!
//! Knows nothing of topics or leaders. What is not deterministic comes from [`Env`]; what is decided
//! (versions, the order of requests and answers) lies in plain structs without socket or clock.
//!
//! Invariant: every request ends exactly once, by its deadline, and its error says whether a byte of it
//! may have reached the broker.

mod config;
mod connection;
mod counters;
mod deadline;
mod dial;
mod endpoint;
mod env;
mod error;
mod link;
mod negotiation;
mod pipeline;
mod reader;
mod task;
mod throttle;
mod versions;

pub use config::{CallOptions, ConnectionConfig};
pub use connection::{Connection, Reply};
pub use counters::{BrokerStats, Counters, LATENCY_BOUNDS, Latency};
pub use deadline::Deadline;
pub use dial::{AddressFailure, BoxFuture, BoxStream, Connector, Resolver, Stream};
pub use endpoint::{Endpoint, ParseEndpointError};
pub use env::{Env, EnvBuilder};
pub use error::{CallError, CallErrorKind, CloseCause, OpenError, OpenErrorKind, Phase};
pub use versions::{BrokerVersions, UnsupportedVersion};
