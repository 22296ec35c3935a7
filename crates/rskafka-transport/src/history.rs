//! What connections to one address have done and learnt, for those that come after them.
//!
//! Invariant: nothing in it is needed to open a connection; what was learnt only saves tries, and is
//! forgotten when it does not serve any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

use crate::counters::Counters;
use crate::endpoint::Endpoint;
use crate::negotiation::Negotiation;

/// What the connections to one address share: their counters, and in which version the broker there can be
/// asked for its versions.
#[derive(Debug)]
pub struct History {
    counters: Arc<Counters>,
    /// The version of ApiVersions to begin with.
    begin_with: AtomicI16,
}

impl History {
    /// No connection to `endpoint` was opened yet.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self {
            counters: Arc::new(Counters::new(endpoint)),
            begin_with: AtomicI16::new(Negotiation::LATEST),
        }
    }

    /// What the connections have done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(crate) fn begin_with(&self) -> i16 {
        self.begin_with.load(Ordering::Relaxed)
    }

    /// Notes that a broker takes a connection that begins with this version.
    pub(crate) fn learn(&self, version: i16) {
        self.begin_with.store(version, Ordering::Relaxed);
    }

    /// Has the next connection begin as if it were the first: another broker may listen there by now.
    pub(crate) fn forget(&self) {
        self.learn(Negotiation::LATEST);
    }
}
