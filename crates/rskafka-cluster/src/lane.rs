//! A lane: requests of one kind, over a connection of their own.
//!
//! Invariant: at most one connection, to the broker asked for last; several callers that need it at
//! once dial once. Kafka serves a connection one request at a time, so what must not wait for each
//! other stands on different lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rskafka_transport::{Connection, Deadline, Endpoint};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::{Cluster, Failure};

/// Requests of one kind. Opens its connection at first use and again when it was lost.
#[derive(Debug, Default)]
pub struct Lane {
    slot: Arc<Slot>,
}

/// Where a lane's connection is kept.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    connection: Mutex<Option<Connection>>,
    is_noted: AtomicBool,
}

impl Lane {
    /// A lane without a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection to `endpoint`, opened if there is none.
    ///
    /// Cancel safe: a dropped future leaves the lane as it was, or without a connection.
    pub(crate) async fn connection(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        deadline: Deadline,
    ) -> Result<Connection, Failure> {
        let locked = tokio::time::timeout_at(deadline.instant(), self.slot.connection.lock()).await;
        let mut current = locked.map_err(|_| Failure::Waited)?;
        if cluster.is_closed() {
            return Err(Failure::Closed);
        }
        if let Some(connection) = current.as_ref().filter(|it| it.endpoint() == endpoint && !it.is_closed()) {
            return Ok(connection.clone());
        }
        *current = None;
        let connection = open(cluster, endpoint, deadline).await?;
        if !self.slot.is_noted.swap(true, Ordering::Relaxed) {
            cluster.note_opened(&self.slot);
        }
        if cluster.is_closed() {
            // Closing may have looked at the lanes before this one was noted.
            return Err(Failure::Closed);
        }
        Ok(current.insert(connection).clone())
    }

    /// Whether a connection is open, as far as that can be told without waiting.
    pub(crate) fn is_open(&self) -> bool {
        let current = self.slot.connection.try_lock();
        current.is_ok_and(|current| current.as_ref().is_some_and(|connection| !connection.is_closed()))
    }
}

/// Ends a lane's connection and waits for it.
pub(crate) async fn close(slot: &Slot) {
    let connection = slot.connection.lock().await.take();
    if let Some(connection) = connection {
        connection.close().await;
    }
}

/// Opens a connection whose task lives on the cluster's runtime, whichever one the caller is on.
async fn open(cluster: &Cluster, endpoint: &Endpoint, deadline: Deadline) -> Result<Connection, Failure> {
    let (env, config) = (cluster.env().clone(), cluster.config().connection.clone());
    let endpoint = endpoint.clone();
    let opening = async move { Connection::open(&env, &endpoint, &config, deadline).await };
    let opened = AbortOnDropHandle::new(cluster.runtime().spawn(opening)).await;
    match opened {
        Ok(opened) => opened.map_err(|source| Failure::Open { source }),
        Err(_) => Err(Failure::RuntimeGone),
    }
}
