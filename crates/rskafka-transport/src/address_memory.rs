//! What is remembered of the connections to one address, for the next ones.
//!
//! Invariant: nothing in it is needed to open a connection. What was learned only saves attempts, and is
//! forgotten once it no longer helps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

use crate::counters::Counters;
use crate::endpoint::Endpoint;

const NOTHING: i16 = -1;

/// What the connections to one address share: their counters, and in which version the broker there can be
/// asked for its versions.
#[derive(Debug)]
pub struct AddressMemory {
    counters: Arc<Counters>,
    /// A version of ApiVersions that the broker takes at the start of a connection.
    taken: AtomicI16,
}

impl AddressMemory {
    /// No connection to `endpoint` was opened yet.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self { counters: Arc::new(Counters::new(endpoint)), taken: AtomicI16::new(NOTHING) }
    }

    /// What the connections have done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The version of ApiVersions to begin with, if one is known to be taken.
    pub(crate) fn taken(&self) -> Option<i16> {
        Some(self.taken.load(Ordering::Relaxed)).filter(|version| *version != NOTHING)
    }

    /// Notes a version that the broker takes at the start of a connection.
    pub(crate) fn learn(&self, version: i16) {
        self.taken.store(version, Ordering::Relaxed);
    }

    /// Has the next connection begin as if it were the first: another broker may listen there by now.
    pub(crate) fn forget(&self) {
        self.learn(NOTHING);
    }
}
