//! A lane: requests of one kind, over a connection of their own.
//!
//! A broker serves a connection one request at a time, so requests that must not wait for each other use different
//! lanes. Callers that need a connection share one dial. It has the whole connect timeout, however little time its
//! callers have: their deadlines say nothing about the address.

mod replacement;

use std::sync::{Arc, Mutex};

use rskafka_transport::{Connection, Deadline};
use tokio::time::timeout_at;

use self::replacement::Replacement;
use crate::address::BrokerAddress;
use crate::dial::Dial;
use crate::{Broker, Cluster, Failure, lock};

/// A connection for requests of one kind, opened at first use and again after it was lost.
#[derive(Debug, Default)]
pub struct Lane {
    slot: Arc<Slot>,
}

/// A lane's connection, or the dial for it.
pub(crate) type Slot = Mutex<Replacement<Connection, Dial>>;

impl Lane {
    /// The connection to a broker's address, dialled if there is none. A new one was checked to lead to this cluster, and
    /// to `broker` if that is given.
    ///
    /// Cancel safe: a dial continues without its caller.
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
        let asked = lock(&self.slot).ask(&address.site.endpoint, cluster.env().now(), |number| {
            Dial::begin(cluster, address, broker, Arc::downgrade(&self.slot), number)
        });
        let dial = match asked {
            Ok(connection) => return Ok(connection),
            Err(dial) => dial,
        };
        let opened = timeout_at(deadline.instant(), dial.opened.clone()).await;
        opened.unwrap_or_else(|_| {
            let (after, phase) = (cluster.env().now() - dial.began, dial.progress.phase());
            Err(address.site.gate.failure().unwrap_or(Failure::StillConnecting { after, phase }))
        })
    }

    /// Whether this connection is the lane's, and open. If it needs a replacement, that is dialled meanwhile.
    pub(crate) fn still_has(&self, cluster: &Cluster, broker: &Broker, connection: &Connection) -> bool {
        // Before the lane is locked, which is locked itself while all addresses are.
        let replaces = connection.needs_replacement().then(|| cluster.address(&broker.endpoint));
        let mut slot = lock(&self.slot);
        if !slot.current().is_some_and(|current| current.is_same(connection)) || cluster.is_closed() {
            return false;
        }
        let Some(address) = replaces else { return true };
        let asked = slot.ask(&broker.endpoint, cluster.env().now(), |number| {
            Dial::begin(cluster, &address, Some(broker.id), Arc::downgrade(&self.slot), number)
        });
        asked.is_ok()
    }

    /// Whether a connection is open.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.slot).current().is_some()
    }
}
