//! A lane: requests of one kind, over a connection of their own.
//!
//! Invariant: at most one connection, to the broker asked for last; several callers that need it at
//! once dial once, and fail together. Kafka serves a connection one request at a time, so what must not
//! wait for each other stands on different lanes. A connection whose session ends serves until its
//! successor is open.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use rskafka_transport::{Connection, Deadline, Endpoint};
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

use crate::error::with_sources;
use crate::peer::Peer;
use crate::{Cluster, Failure};

/// Requests of one kind. Opens its connection at first use and again when it was lost.
#[derive(Debug, Default)]
pub struct Lane {
    slot: Arc<Slot>,
}

/// Where a lane's connection is kept.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    /// How many attempts to open a connection have failed.
    failures: AtomicU32,
    has_opened: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    /// What the last attempt to open a connection failed with.
    failure: Option<Box<(Endpoint, Failure)>>,
}

/// The connection in use, and what is to take its place.
#[derive(Debug)]
struct Current {
    connection: Connection,
    successor: Successor,
}

type Opening = AbortOnDropHandle<Result<Connection, Failure>>;

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

    /// The connection to a broker's address, opened if there is none. A new one is known to lead into the
    /// cluster, and not to another broker than `broker`.
    ///
    /// Cancel safe: a dropped future leaves the lane as it was, or without a connection.
    pub(crate) async fn connection(
        &self,
        cluster: &Cluster,
        peer: &Arc<Peer>,
        broker: Option<i32>,
        deadline: Deadline,
    ) -> Result<Connection, Failure> {
        let Slot { state, failures, has_opened } = &*self.slot;
        let failures_before = failures.load(Ordering::Relaxed);
        let locked = timeout_at(deadline.instant(), state.lock()).await;
        let mut state = locked.map_err(|_| Failure::Waited)?;
        if cluster.is_closed() {
            return Err(Failure::Closed);
        }
        let endpoint = &peer.endpoint;
        if let Some(current) = state.current.as_mut().filter(|it| it.serves(endpoint)) {
            if current.connection.is_due() && current.succeed(cluster, peer, broker).await {
                self.watch(cluster, &current.connection);
            }
            return Ok(current.connection.clone());
        }
        // Somebody else has just tried in vain, while this caller waited.
        if let Some(failed) = &state.failure
            && failed.0 == *endpoint
            && failures.load(Ordering::Relaxed) != failures_before
        {
            return Err(failed.1.clone());
        }
        *state = State::default();
        let opened = opening(cluster, peer, broker, deadline).await.unwrap_or(Err(Failure::RuntimeGone));
        let connection = opened.inspect_err(|failure| {
            failures.fetch_add(1, Ordering::Relaxed);
            state.failure = Some(Box::new((endpoint.clone(), failure.clone())));
        })?;
        if has_opened.swap(true, Ordering::Relaxed) {
            peer.history.counters().reconnected();
        } else {
            cluster.note_opened(&self.slot);
        }
        if cluster.is_closed() {
            // Closing may have looked at the lanes before this one was noted.
            return Err(Failure::Closed);
        }
        self.watch(cluster, &connection);
        Ok(state.current.insert(Current::new(connection, cluster)).connection.clone())
    }

    /// Whether a connection is open, as far as that can be told without waiting.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.slot.state.try_lock();
        state.is_ok_and(|state| state.current.as_ref().is_some_and(|it| !it.connection.is_closed()))
    }

    /// Frees the memory of a connection when it has ended: a lane that is not used for long holds none.
    fn watch(&self, cluster: &Cluster, connection: &Connection) {
        let (ended, slot) = (connection.ended(), Arc::downgrade(&self.slot));
        cluster.runtime().spawn(async move {
            ended.await;
            if let Some(slot) = Weak::upgrade(&slot) {
                slot.state.lock().await.current.take_if(|current| current.connection.is_closed());
            }
        });
    }
}

impl Current {
    fn new(connection: Connection, cluster: &Cluster) -> Self {
        Self { connection, successor: Successor::NotBefore(Deadline::at(cluster.env().now())) }
    }

    fn serves(&self, endpoint: &Endpoint) -> bool {
        self.connection.endpoint() == endpoint && !self.connection.is_closed()
    }

    /// Goes a step towards another connection in place of this one, without waiting for it; whether it has
    /// taken its place. What is in flight here has a handle of its own, and ends with its last answer.
    async fn succeed(&mut self, cluster: &Cluster, peer: &Arc<Peer>, broker: Option<i32>) -> bool {
        let now = cluster.env().now();
        match &mut self.successor {
            Successor::NotBefore(moment) if moment.is_over(now) => {
                let deadline = Deadline::after(now, cluster.config().connection.connect_timeout);
                self.successor = Successor::Opening(opening(cluster, peer, broker, deadline));
            }
            Successor::Opening(opening) if opening.is_finished() => match opening.await {
                Ok(Ok(connection)) => {
                    *self = Self::new(connection, cluster);
                    return true;
                }
                failed => {
                    let failure = failed.unwrap_or(Err(Failure::RuntimeGone)).err();
                    let (broker, failure) = (self.connection.endpoint(), failure.as_ref().map(with_sources));
                    tracing::warn!(%broker, failure, "no connection yet in place of one whose session ends");
                    let pause = cluster.config().backoff.max;
                    self.successor = Successor::NotBefore(Deadline::after(now, pause));
                }
            },
            _ => {}
        }
        false
    }
}

/// Tells the connections of a lane of a closed cluster to end; gives what waits for that.
pub(crate) async fn end(cluster: &Cluster, slot: &Slot) -> Vec<impl Future<Output = ()> + use<>> {
    let mut state = slot.state.lock().await;
    let Some(Current { connection, successor }) = &mut state.current else { return Vec::new() };
    connection.end();
    let mut endings = vec![connection.ended()];
    let none = Successor::NotBefore(Deadline::at(cluster.env().now()));
    if let Successor::Opening(opening) = std::mem::replace(successor, none)
        // It may be open already; if not, it ends with the cluster.
        && let Ok(Ok(connection)) = opening.await
    {
        connection.end();
        endings.push(connection.ended());
    }
    endings
}

/// Opens a connection whose task lives on the cluster's runtime, whichever one the caller is on.
fn opening(cluster: &Cluster, peer: &Arc<Peer>, broker: Option<i32>, deadline: Deadline) -> Opening {
    let runtime = cluster.runtime().clone();
    let (cluster, peer) = (cluster.clone(), peer.clone());
    let opening = async move {
        tokio::select! { biased;
            () = cluster.closed() => Err(Failure::Closed),
            opened = peer.gate.pass(&cluster, deadline, open(&cluster, &peer, broker, deadline)) => opened,
        }
    };
    AbortOnDropHandle::new(runtime.spawn(opening))
}

async fn open(
    cluster: &Cluster,
    peer: &Peer,
    broker: Option<i32>,
    deadline: Deadline,
) -> Result<Connection, Failure> {
    let (env, config) = (cluster.env(), &cluster.config().connection);
    let deadline = deadline.min(Deadline::after(env.now(), config.connect_timeout));
    let opened = Connection::open_after(env, &peer.endpoint, config, &peer.history, deadline).await;
    let connection = opened.map_err(|source| Failure::Open { source })?;
    cluster.check_identity(&connection, broker, deadline).await?;
    Ok(connection)
}
