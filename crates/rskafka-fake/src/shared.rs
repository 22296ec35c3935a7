//! What the tasks of a cluster share: the state behind its lock, and how to wake each other.
//!
//! Invariant: the lock is held for work on plain data only, never across an await; whoever changed what
//! others wait for wakes them after it is released.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::api::Versions;
use crate::clock::{Clock, Now};
use crate::state::{ConnectionId, State};

/// Limits of the connections.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The largest request, in bytes.
    pub(crate) max_request_bytes: usize,
    /// What a pipe holds in each direction, in bytes.
    pub(crate) pipe_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connected>>>,
    next_connection: AtomicU64,
    pub(crate) versions: Versions,
    pub(crate) limits: Limits,
    pub(crate) arrivals: Notify,
    clock: Clock,
}

/// A connection, as others reach it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) broker: i32,
    /// Something happened to what its request waits for.
    pub(crate) woken: Notify,
    /// It shall end.
    pub(crate) cut: Notify,
}

impl Shared {
    pub(crate) fn new(state: State, versions: Versions, limits: Limits, clock: Clock) -> Self {
        Self {
            state: Mutex::new(state),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(0),
            versions,
            limits,
            arrivals: Notify::new(),
            clock,
        }
    }

    /// Works on the state.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State, Now) -> T) -> T {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let result = work(&mut state, now);
        let woken = state.waiting.take_woken();
        drop(state);
        if !woken.is_empty() {
            let connections = lock(&self.connections);
            for connection in woken.iter().filter_map(|id| connections.get(id)) {
                connection.woken.notify_one();
            }
        }
        result
    }

    /// Lists a new connection until its [`Listed`] is dropped.
    pub(crate) fn connected(self: &Arc<Self>, broker: i32) -> Listed {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let connected = Arc::new(Connected { broker, woken: Notify::new(), cut: Notify::new() });
        lock(&self.connections).insert(id, connected.clone());
        Listed { id, connected, shared: self.clone() }
    }

    /// The connections that are open at a broker.
    pub(crate) fn connections_of(&self, broker: i32) -> Vec<Arc<Connected>> {
        let connections = lock(&self.connections);
        connections.values().filter(|connected| connected.broker == broker).cloned().collect()
    }
}

/// A connection's own entry in the list.
pub(crate) struct Listed {
    pub(crate) id: ConnectionId,
    pub(crate) connected: Arc<Connected>,
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.shared.connections).remove(&self.id);
        lock(&self.shared.state).waiting.leave(self.id);
    }
}

/// The data behind a lock. A panic elsewhere is that test's failure and shall not hide behind others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
