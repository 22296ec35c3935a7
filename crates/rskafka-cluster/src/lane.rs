//! A lane: requests of one kind, over a connection of their own.
//!
//! Kafka serves a connection one request at a time, so what must not wait for each other stands on different
//! lanes. Callers that need a connection at once share one dial. It has the whole connect timeout, whatever time
//! its callers have: a hasty caller's deadline says nothing about the address.

mod replacement;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rskafka_transport::{Connection, Deadline, Endpoint};
use tokio::time::timeout_at;

use self::replacement::{Asked, Held, Replacement};
use crate::address::BrokerAddress;
use crate::dial::Dial;
use crate::{Cluster, Failure};

/// Requests of one kind. Opens its connection at first use and again when it was lost.
#[derive(Debug, Default)]
pub struct Lane {
    slot: Arc<Slot>,
}

/// Where a lane's connection is kept.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    replacement: Mutex<Replacement<Connection, Dial>>,
}

impl Slot {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Replacement<Connection, Dial>> {
        self.replacement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// A lane without a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection to a broker's address, dialled if there is none. A new one is known to lead into the
    /// cluster, and not to another broker than `broker`.
    ///
    /// Cancel safe: a dial goes on without its caller.
    pub(crate) async fn connection(
        &self,
        cluster: &Cluster,
        address: &BrokerAddress,
        broker: Option<i32>,
        deadline: Deadline,
    ) -> Result<Connection, Failure> {
        if cluster.is_closed() {
            return Err(Failure::Closed);
        }
        let asked = self.slot.lock().ask(&address.endpoint, cluster.env().now(), |number| {
            Dial::begin(cluster, address, broker, Arc::downgrade(&self.slot), number)
        });
        let dial = match asked {
            Asked::Connection(connection) => return Ok(connection),
            Asked::Dial(dial) => dial,
        };
        match timeout_at(deadline.instant(), dial.opened()).await {
            Ok(opened) => opened,
            Err(_) => Err(address.gate.failure().unwrap_or_else(|| dial.not_opened_yet(cluster.env().now()))),
        }
    }

    /// The connection to an address, if one is open that is not to be replaced.
    pub(crate) fn open_to(&self, cluster: &Cluster, endpoint: &Endpoint) -> Option<Connection> {
        let slot = self.slot.lock();
        let current =
            slot.current().filter(|current| current.serves(endpoint) && !current.needs_replacement());
        current.filter(|_| !cluster.is_closed()).cloned()
    }

    /// Whether a connection is open.
    pub(crate) fn is_open(&self) -> bool {
        self.slot.lock().current().is_some()
    }
}
