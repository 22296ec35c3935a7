//! What is kept for one broker's address: the lanes that its users share, the way to it, what was
//! done and learnt there.
//!
//! Invariant: there is one for each address in use, and none for long of an address that no broker has.

use rskafka_transport::{AddressMemory, Endpoint};

use crate::Lane;
use crate::gate::Gate;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    /// The lane of metadata and admin calls.
    pub(crate) control: Lane,
    /// The lane of appends by partition clients that share one.
    pub(crate) produce: Lane,
    pub(crate) gate: Gate,
    pub(crate) history: AddressMemory,
}

impl Peer {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            control: Lane::new(),
            produce: Lane::new(),
            gate: Gate::default(),
            history: AddressMemory::new(endpoint),
        }
    }
}
