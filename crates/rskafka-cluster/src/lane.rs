//! A lane: requests of one kind, over a connection of their own.
//!
//! Invariant: at most one connection, to the broker asked for last; several callers that need it at
//! once dial once, and fail together. Kafka serves a connection one request at a time, so what must not
//! wait for each other stands on different lanes. A connection whose session ends serves until its
//! successor is open.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use rskafka_transport::{Connection, Deadline, Endpoint, WithCauses};
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

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
            if current.connection.needs_replacement() {
                current.succeed(cluster, peer, broker, &self.slot).await;
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
        let opened =
            opening(cluster, peer, broker, &self.slot, deadline).await.unwrap_or(Err(Failure::RuntimeGone));
        let connection = opened.inspect_err(|failure| {
            cluster.warn_unreachable(endpoint, failure);
            // If it was cut short by this caller's deadline, those with more time try themselves.
            if !deadline.is_over(cluster.env().now()) {
                failures.fetch_add(1, Ordering::Relaxed);
                state.failure = Some(Box::new((endpoint.clone(), failure.clone())));
            }
        })?;
        if has_opened.swap(true, Ordering::Relaxed) {
            peer.history.counters().reconnected();
        }
        Ok(state.current.insert(Current::new(connection, cluster)).connection.clone())
    }

    /// Whether a connection is open, as far as that can be told without waiting.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.slot.state.try_lock();
        state.is_ok_and(|state| state.current.as_ref().is_some_and(|it| !it.connection.is_closed()))
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
    async fn succeed(&mut self, cluster: &Cluster, peer: &Arc<Peer>, broker: Option<i32>, slot: &Arc<Slot>) {
        let now = cluster.env().now();
        match &mut self.successor {
            Successor::NotBefore(moment) if moment.is_over(now) => {
                let deadline = Deadline::after(now, cluster.config().connection.connect_timeout);
                self.successor = Successor::Opening(opening(cluster, peer, broker, slot, deadline));
            }
            Successor::Opening(opening) if opening.is_finished() => match opening.await {
                Ok(Ok(connection)) => *self = Self::new(connection, cluster),
                failed => {
                    let failure = failed.ok().and_then(Result::err).unwrap_or(Failure::RuntimeGone);
                    let (broker, failure) = (self.connection.endpoint(), WithCauses(&failure));
                    tracing::warn!(%broker, %failure, "no connection yet in place of one whose session ends");
                    let pause = cluster.config().backoff.max;
                    self.successor = Successor::NotBefore(Deadline::after(now, pause));
                }
            },
            _ => {}
        }
    }
}

/// Opens a connection whose tasks live on the cluster's runtime, whichever one the caller is on.
fn opening(
    cluster: &Cluster,
    peer: &Arc<Peer>,
    broker: Option<i32>,
    slot: &Arc<Slot>,
    deadline: Deadline,
) -> Opening {
    let runtime = cluster.runtime().clone();
    let (cluster, peer, slot) = (cluster.clone(), peer.clone(), Arc::downgrade(slot));
    let opening = async move {
        let opened = tokio::select! { biased;
            () = cluster.closed().cancelled() => Err(Failure::Closed),
            opened = peer.gate.pass(&cluster, deadline, open(&cluster, &peer, broker, deadline)) => opened,
        };
        opened.inspect(|connection| watch(&cluster, connection, slot))
    };
    AbortOnDropHandle::new(runtime.spawn(opening))
}

/// Ends a connection when the cluster is closed, also one whose place another has taken; and frees its memory
/// when it has ended: a lane that is not used for long holds none.
fn watch(cluster: &Cluster, connection: &Connection, slot: Weak<Slot>) {
    let (ended, connection) = (connection.ended(), connection.downgrade());
    let closed = cluster.closed().clone();
    cluster.spawn(async move {
        let mut ended = pin!(ended);
        tokio::select! { biased;
            () = &mut ended => {}
            () = closed.cancelled() => {
                if let Some(connection) = connection.upgrade() {
                    connection.end();
                }
                ended.await;
            }
        }
        if let Some(slot) = slot.upgrade() {
            slot.state.lock().await.current.take_if(|current| current.connection.is_closed());
        }
    });
}

async fn open(
    cluster: &Cluster,
    peer: &Peer,
    broker: Option<i32>,
    deadline: Deadline,
) -> Result<Connection, Failure> {
    let (env, config) = (cluster.env(), &cluster.config().connection);
    let deadline = deadline.min(Deadline::after(env.now(), config.connect_timeout));
    let meant = cluster.metadata().identity(&peer.endpoint, broker);
    let meant_id = meant.as_ref().map(|meant| meant.broker_id);
    let opened = Connection::open_after(env, &peer.endpoint, config, &peer.history, meant, deadline).await;
    let connection = opened.map_err(|source| cluster.not_opened(source))?;
    cluster.check_identity(&connection, broker, meant_id, deadline).await?;
    Ok(connection)
}
