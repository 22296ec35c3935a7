//! A lane: requests of one kind, over a connection of their own.
//!
//! Invariant: at most one connection, to the broker asked for last; several callers that need it at
//! once dial once. Kafka serves a connection one request at a time, so what must not wait for each
//! other stands on different lanes. A connection whose session ends serves until its successor is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rskafka_transport::{Connection, Deadline, Endpoint, OpenError};
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
    connection: Mutex<Option<Current>>,
    is_noted: AtomicBool,
}

/// The connection in use, and what is to take its place.
#[derive(Debug)]
struct Current {
    connection: Connection,
    successor: Successor,
}

type Opening = AbortOnDropHandle<Result<Connection, OpenError>>;

#[derive(Debug)]
enum Successor {
    /// None is being opened. After a failure, none is until this moment.
    NotBefore(Deadline),
    Opening(Opening),
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
        if let Some(current) = current.as_mut().filter(|it| it.serves(endpoint)) {
            if current.connection.is_due() {
                current.succeed(cluster).await;
            }
            return Ok(current.connection.clone());
        }
        *current = None;
        let connection = match opening(cluster, endpoint, deadline).await {
            Ok(opened) => opened.map_err(|source| Failure::Open { source })?,
            Err(_) => return Err(Failure::RuntimeGone),
        };
        if !self.slot.is_noted.swap(true, Ordering::Relaxed) {
            cluster.note_opened(&self.slot);
        }
        if cluster.is_closed() {
            // Closing may have looked at the lanes before this one was noted.
            return Err(Failure::Closed);
        }
        Ok(current.insert(Current::new(connection, cluster)).connection.clone())
    }

    /// Whether a connection is open, as far as that can be told without waiting.
    pub(crate) fn is_open(&self) -> bool {
        let current = self.slot.connection.try_lock();
        current.is_ok_and(|current| current.as_ref().is_some_and(|it| !it.connection.is_closed()))
    }
}

impl Current {
    fn new(connection: Connection, cluster: &Cluster) -> Self {
        Self { connection, successor: Successor::NotBefore(Deadline::at(cluster.env().now())) }
    }

    fn serves(&self, endpoint: &Endpoint) -> bool {
        self.connection.endpoint() == endpoint && !self.connection.is_closed()
    }

    /// Goes a step towards another connection in place of this one, without waiting for it. What is in
    /// flight here has a handle of its own, and ends with its last answer.
    async fn succeed(&mut self, cluster: &Cluster) {
        let now = cluster.env().now();
        match &mut self.successor {
            Successor::NotBefore(moment) if moment.is_over(now) => {
                let deadline = Deadline::after(now, cluster.config().connection.connect_timeout);
                let opening = opening(cluster, self.connection.endpoint(), deadline);
                self.successor = Successor::Opening(opening);
            }
            Successor::Opening(opening) if opening.is_finished() => match opening.await {
                Ok(Ok(connection)) => *self = Self::new(connection, cluster),
                failed => {
                    let broker = self.connection.endpoint();
                    tracing::warn!(%broker, ?failed, "no connection yet in place of one whose session ends");
                    let pause = cluster.config().backoff.max;
                    self.successor = Successor::NotBefore(Deadline::after(now, pause));
                }
            },
            _ => {}
        }
    }
}

/// Ends a lane's connection and waits for it.
pub(crate) async fn close(slot: &Slot) {
    let current = slot.connection.lock().await.take();
    if let Some(current) = current {
        current.connection.close().await;
    }
}

/// Opens a connection whose task lives on the cluster's runtime, whichever one the caller is on.
fn opening(cluster: &Cluster, endpoint: &Endpoint, deadline: Deadline) -> Opening {
    let (env, config) = (cluster.env().clone(), cluster.config().connection.clone());
    let endpoint = endpoint.clone();
    let opening = async move { Connection::open(&env, &endpoint, &config, deadline).await };
    AbortOnDropHandle::new(cluster.runtime().spawn(opening))
}
