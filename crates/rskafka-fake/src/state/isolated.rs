//! Which clients the network does not let through to which brokers.
//!
//! Invariant: what is not listed here goes through.

use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(crate) struct Isolated {
    /// Of all clients, or of the one with that name.
    pairs: BTreeSet<(i32, Option<String>)>,
}

impl Isolated {
    pub(crate) fn add(&mut self, broker: i32, client: Option<&str>) {
        self.pairs.insert((broker, client.map(str::to_owned)));
    }

    /// Lets everybody through to a broker.
    pub(crate) fn remove(&mut self, broker: i32) {
        self.pairs.retain(|(isolated, _)| *isolated != broker);
    }

    pub(crate) fn holds(&self, broker: i32, client: Option<&str>) -> bool {
        let is_meant = |name: &Option<String>| name.is_none() || name.as_deref() == client;
        self.pairs.iter().any(|(isolated, name)| *isolated == broker && is_meant(name))
    }
}
