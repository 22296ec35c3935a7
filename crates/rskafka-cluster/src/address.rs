//! What is kept for one broker's address.
//!
//! There is one for each address in use; it is dropped when no broker has that address any more.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rskafka_transport::{AddressMemory, Endpoint};

use crate::Lane;
use crate::gate::Gate;

#[derive(Debug)]
pub(crate) struct BrokerAddress {
    /// The lane of metadata and admin calls.
    pub(crate) control: Lane,
    /// The lane of appends by partition clients that share one.
    pub(crate) produce: Lane,
    /// The lane of their requests for producer ids.
    pub(crate) producer_ids: Lane,
    pub(crate) site: Arc<Site>,
}

/// What outlives the connections to an address, and keeps none of them open.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) endpoint: Endpoint,
    pub(crate) gate: Gate,
    pub(crate) memory: AddressMemory,
    /// The broker owes an answer for a while, and has answered no request for metadata since.
    pub(crate) is_silent: AtomicBool,
    /// Its metadata may be old, and it has answered no request for metadata since.
    pub(crate) is_doubted: AtomicBool,
}

impl BrokerAddress {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let memory = AddressMemory::new(endpoint);
        Self::without_connections(&Arc::new(Site {
            endpoint: endpoint.clone(),
            gate: Gate::default(),
            memory,
            is_silent: AtomicBool::new(false),
            is_doubted: AtomicBool::new(false),
        }))
    }

    pub(crate) fn without_connections(site: &Arc<Site>) -> Self {
        let [control, produce, producer_ids] = std::array::from_fn(|_| Lane::default());
        Self { control, produce, producer_ids, site: site.clone() }
    }
}
