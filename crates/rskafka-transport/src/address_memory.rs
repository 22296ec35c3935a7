//! Facts about an address that later connections to it use.
//!
//! Invariant: none is needed to open a connection. They only save attempts, and are dropped when an attempt fails.

use std::sync::{Arc, Mutex};

use crate::counters::Counters;
use crate::endpoint::Endpoint;
use crate::lock;

/// What the connections to one address share: their counters, and a version of ApiVersions that the broker accepts.
#[derive(Debug)]
pub struct AddressMemory {
    /// What the connections have done.
    pub counters: Arc<Counters>,
    taken: Mutex<Option<Taken>>,
}

/// A version of ApiVersions that the broker accepts at the start of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) version: i16,
    /// Whether the broker has closed a connection because of a higher version, even if it claims to speak it.
    pub(crate) closes_above: bool,
}

impl AddressMemory {
    /// No connection to `endpoint` was opened yet.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self { counters: Arc::new(Counters::new(endpoint)), taken: Mutex::default() }
    }

    /// The version of ApiVersions to begin with, if one is known to be accepted.
    pub(crate) fn taken(&self) -> Option<Taken> {
        *lock(&self.taken)
    }

    /// Notes a version that the broker accepts at the start of a connection. With `None` the next connection negotiates from
    /// the newest version, because another broker may listen there now.
    pub(crate) fn learn(&self, taken: Option<Taken>) {
        *lock(&self.taken) = taken;
    }
}
