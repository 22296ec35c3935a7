//! What is kept for one broker's address: the lanes that all users share, who may connect to it, and what
//! earlier connections have done and learned.
//!
//! Invariant: there is one for each address in use, and none for long of an address that no broker has.

use std::sync::Arc;

use rskafka_transport::{AddressMemory, Endpoint};

use crate::Lane;
use crate::gate::Gate;

#[derive(Debug)]
pub(crate) struct BrokerAddress {
    pub(crate) endpoint: Endpoint,
    /// The lane of metadata and admin calls.
    pub(crate) control: Lane,
    /// The lane of appends by partition clients that share one.
    pub(crate) produce: Lane,
    pub(crate) gate: Arc<Gate>,
    pub(crate) memory: Arc<AddressMemory>,
}

impl BrokerAddress {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self::with(endpoint, Arc::default(), Arc::new(AddressMemory::new(endpoint)))
    }

    /// The same address with new lanes: of what was kept, its connections are gone.
    pub(crate) fn without_connections(&self) -> Self {
        Self::with(&self.endpoint, self.gate.clone(), self.memory.clone())
    }

    fn with(endpoint: &Endpoint, gate: Arc<Gate>, memory: Arc<AddressMemory>) -> Self {
        Self { endpoint: endpoint.clone(), control: Lane::new(), produce: Lane::new(), gate, memory }
    }
}
