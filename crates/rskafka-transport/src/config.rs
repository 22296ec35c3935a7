//! The settings of a connection and of a call.
//!
//! Invariant: every queue and every buffer of a connection has a limit here.

use std::time::Duration;

use crate::{Deadline, Security};

/// The settings of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// The client's name in the broker's logs and quotas.
    pub client_id: String,
    /// Proxy, TLS, SASL.
    pub security: Security,
    /// Bounds the opening: resolve, connect, proxy, TLS, version negotiation, SASL.
    pub connect_timeout: Duration,
    /// Bounds one call, from entering the queue to the answer. [`CallOptions::wait`] is added to it.
    pub request_timeout: Duration,
    /// An idle connection is closed after this long, but never within its first second of idleness.
    pub idle_timeout: Duration,
    /// The largest answer that is accepted, in bytes.
    pub max_frame_bytes: usize,
    /// How many requests may be on the wire without an answer.
    pub max_in_flight: usize,
    /// How many more may wait to be written. Further calls wait for a place until their deadline; a submit
    /// fails at once.
    pub max_queued: usize,
    /// How many bytes of requests may be queued or on the wire without an answer. Further calls wait for
    /// room until their deadline; a submit fails at once. A single request may be larger. Values beyond 4 GiB count as 4 GiB.
    pub max_in_flight_bytes: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            client_id: "rskafka".to_owned(),
            security: Security::default(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            // Before the broker does (`connections.max.idle.ms`, 10 minutes).
            idle_timeout: Duration::from_secs(9 * 60),
            // The broker's own default for requests (`socket.request.max.bytes`).
            max_frame_bytes: 100 * 1024 * 1024,
            max_in_flight: 64,
            max_queued: 64,
            max_in_flight_bytes: 32 * 1024 * 1024,
        }
    }
}

/// How one call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallOptions {
    /// The moment by which the call ends.
    pub deadline: Deadline,
    /// The lowest version to use: an older broker would take the request for another one.
    pub min_version: i16,
    /// The highest version to use, if it is to be lower than the highest common one.
    pub max_version: Option<i16>,
    /// How long the broker may hold back its answer, e.g. a fetch's maximum wait. It is added to
    /// [`ConnectionConfig::request_timeout`], but never moves the deadline.
    pub wait: Duration,
}

impl CallOptions {
    /// A call that ends by `deadline`, in the highest common version.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, min_version: 0, max_version: None, wait: Duration::ZERO }
    }
}
