//! What the tasks of a cluster share: the state behind its lock, and how to wake each other.
//!
//! Invariant: the lock is held for work on plain data only, never across an await; waiting connections are woken
//! after it is released.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;

use crate::api::Versions;
use crate::authentication::Authentication;
use crate::clock::{Clock, Now};
use crate::fault::{ByteFault, Direction, FaultId, Reached};
use crate::state::{ConnectionId, ControlError, State};

/// Limits of the connections.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The largest request, in bytes.
    pub(crate) max_request_bytes: usize,
    /// What a pipe holds in each direction, in bytes.
    pub(crate) pipe_bytes: usize,
}

/// What the listeners ask of clients.
#[derive(Debug, Default)]
pub(crate) struct Security {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Acceptor>,
    #[cfg(feature = "sasl")]
    pub(crate) sasl: Option<Arc<crate::sasl::Sasl>>,
}

impl Security {
    /// The state of a new connection.
    pub(crate) fn authentication(&self) -> Authentication {
        #[cfg(feature = "sasl")]
        if let Some(sasl) = &self.sasl {
            return Authentication::required(sasl.clone());
        }
        Authentication::default()
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connected>>>,
    next_connection: AtomicU64,
    /// Grows whenever byte faults are injected or taken back, and brokers isolated.
    pub(crate) byte_faults: AtomicU64,
    pub(crate) partial_frames: AtomicU64,
    pub(crate) versions: Versions,
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    pub(crate) arrivals: Notify,
    rejoined: Notify,
    clock: Clock,
}

/// A connection, as others reach it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) broker: i32,
    /// Who connected, if it said so.
    pub(crate) client: Option<String>,
    /// Something happened to what its request waits for.
    pub(crate) woken: Notify,
    /// It shall end.
    pub(crate) cut: Notify,
    /// The bytes that have gone through, and what to wake when byte faults change; by [`Direction`].
    passed: [AtomicU64; 2],
    wakers: [Mutex<Option<Waker>>; 2],
}

impl Connected {
    fn new(broker: i32, client: Option<String>) -> Self {
        let (passed, wakers) = Default::default();
        Self { broker, client, woken: Notify::new(), cut: Notify::new(), passed, wakers }
    }

    pub(crate) fn passed(&self, direction: Direction) -> u64 {
        self.passed[direction as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn set_passed(&self, direction: Direction, bytes: u64) {
        self.passed[direction as usize].store(bytes, Ordering::Relaxed);
    }

    /// Has the waker woken when byte faults are injected or taken back.
    pub(crate) fn wait_for_byte_faults(&self, direction: Direction, waker: &Waker) {
        let mut known = lock(&self.wakers[direction as usize]);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

impl Shared {
    pub(crate) fn new(
        state: State,
        versions: Versions,
        limits: Limits,
        security: Security,
        clock: Clock,
    ) -> Self {
        Self {
            state: Mutex::new(state),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(0),
            byte_faults: AtomicU64::new(0),
            partial_frames: AtomicU64::new(0),
            versions,
            limits,
            security,
            arrivals: Notify::new(),
            rejoined: Notify::new(),
            clock,
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Works on the state.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State, Now) -> T) -> T {
        let now = self.now();
        let mut state = lock(&self.state);
        state.keep_up(now);
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
    pub(crate) fn connected(self: &Arc<Self>, broker: i32, client: Option<String>) -> Listed {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let connected = Arc::new(Connected::new(broker, client));
        lock(&self.connections).insert(id, connected.clone());
        Listed { id, connected, shared: self.clone() }
    }

    /// Injects a byte fault. In connections that are open its bytes count from here.
    pub(crate) fn inject_bytes(&self, fault: ByteFault) -> FaultId {
        let id = self.with(|state, _| {
            let connections = lock(&self.connections);
            let directions = [Direction::Received, Direction::Sent];
            let open: Vec<_> = directions
                .iter()
                .flat_map(|&direction| {
                    connections.iter().map(move |(&connection, connected)| {
                        let bytes = connected.passed(direction);
                        Reached { connection, broker: connected.broker, direction, bytes }
                    })
                })
                .collect();
            drop(connections);
            let id = state.faults.next_id();
            state.faults.bytes.inject(id, fault, &open);
            id
        });
        self.byte_faults_changed();
        id
    }

    /// Cuts a broker off from a client, or from all, or lets everybody reach it again.
    pub(crate) fn isolate(&self, broker: i32, client: Option<Option<&str>>) -> Result<(), ControlError> {
        self.with(|state, _| {
            state.check_broker(broker)?;
            match client {
                Some(client) => state.isolated.add(broker, client),
                None => state.isolated.remove(broker),
            }
            Ok(())
        })?;
        self.byte_faults_changed();
        self.rejoined.notify_waiters();
        Ok(())
    }

    /// Waits until a client and a broker can reach each other.
    pub(crate) async fn let_through(&self, broker: i32, client: Option<&str>) {
        loop {
            let rejoined = self.rejoined.notified();
            tokio::pin!(rejoined);
            // From here on no change is missed.
            rejoined.as_mut().enable();
            if !self.with(|state, _| state.isolated.holds(broker, client)) {
                return;
            }
            rejoined.await;
        }
    }

    /// Has every connection look at the byte faults again.
    pub(crate) fn byte_faults_changed(&self) {
        self.byte_faults.fetch_add(1, Ordering::Release);
        let connections: Vec<_> = lock(&self.connections).values().cloned().collect();
        for waker in connections.iter().flat_map(|connected| &connected.wakers) {
            let waker = lock(waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
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
        let mut state = lock(&self.shared.state);
        state.waiting.leave(self.id);
        state.faults.bytes.forget(self.id);
    }
}

/// The data behind a lock. A panic elsewhere is that test's failure and shall not hide behind others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
