//! What the proxy decides: which bytes are passed on, and what happens before the next one.
//!
//! Invariant: pure; bytes are passed on unchanged and in order, and a fault's moment is looked at once.

use std::collections::BTreeMap;

use super::fault::{Action, Direction, Fault, Moment};
use super::stream::Streams;

/// A fault that was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

pub(super) type ConnectionId = u64;

/// What is to be done with bytes that have come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// How many are to be passed on; with none and no actions, more are needed to tell what they are.
    pub(super) pass: usize,
    /// What happens after that, before any others are passed on.
    pub(super) actions: Vec<Action>,
}

/// What faults have made of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// By direction.
    pub(super) frozen: [bool; 2],
    /// The cut or reset that ends it.
    pub(super) end: Option<Action>,
}

impl Gate {
    /// Whether nothing may be passed on.
    pub(super) fn is_shut(&self, direction: Direction) -> bool {
        self.frozen[direction as usize] || self.end.is_some()
    }
}

/// The faults and the connections.
#[derive(Debug, Default)]
pub(super) struct Control {
    faults: Vec<Injected>,
    connections: BTreeMap<ConnectionId, Connection>,
    next_id: u64,
}

#[derive(Debug)]
struct Injected {
    id: FaultId,
    fault: Fault,
    has_struck: bool,
}

#[derive(Debug, Default)]
struct Connection {
    streams: Streams,
    gate: Gate,
}

impl Control {
    pub(super) fn inject(&mut self, fault: Fault) -> FaultId {
        let id = FaultId(self.next_id());
        self.faults.push(Injected { id, fault, has_struck: false });
        id
    }

    /// How often a fault has struck; 0 after it was taken back.
    pub(super) fn struck(&self, id: FaultId) -> u64 {
        let strikes = |injected: &Injected| injected.id == id && injected.has_struck;
        u64::from(self.faults.iter().any(strikes))
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
    }

    pub(super) fn connected(&mut self) -> ConnectionId {
        let id = self.next_id();
        self.connections.insert(id, Connection::default());
        id
    }

    pub(super) fn disconnected(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    pub(super) fn open_connections(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn gate(&self, id: ConnectionId) -> Gate {
        self.connections.get(&id).map_or(Gate::default(), |connection| connection.gate)
    }

    /// Notes what has happened to a connection.
    pub(super) fn happened(&mut self, id: ConnectionId, action: Action) {
        let Some(Connection { gate, .. }) = self.connections.get_mut(&id) else {
            return;
        };
        match action {
            Action::Freeze(direction) => gate.frozen[direction as usize] = true,
            Action::Cut | Action::Reset => gate.end = Some(action),
            Action::Stop(_) => {}
        }
    }

    /// Opens the gates of all connections that have not ended.
    pub(super) fn thaw(&mut self) {
        for connection in self.connections.values_mut() {
            connection.gate = Gate { end: connection.gate.end, ..Gate::default() };
        }
    }

    /// Looks at bytes that a direction has waiting.
    pub(super) fn look(&mut self, id: ConnectionId, direction: Direction, bytes: &[u8]) -> Look {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Look { pass: bytes.len(), actions: Vec::new() };
        };
        let mut pass = 0;
        loop {
            let Some(moments) = connection.streams.moments(direction, &bytes[pass..]) else {
                return Look { pass, actions: Vec::new() };
            };
            let actions = strike(&mut self.faults, &moments);
            if !actions.is_empty() {
                return Look { pass, actions };
            }
            // The next byte at which something may happen.
            let position = connection.streams.position(direction);
            let wanted = self.faults.iter().filter_map(|injected| match injected.fault.moment {
                Moment::Byte(of, n) if of == direction && n > position => Some(n - position),
                _ => None,
            });
            let left = bytes.len() - pass;
            let nearest = wanted.min().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(left);
            pass += connection.streams.advance(direction, nearest.min(left));
            if pass == bytes.len() {
                return Look { pass, actions: Vec::new() };
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// What happens at one of these moments.
fn strike(faults: &mut [Injected], moments: &[Moment]) -> Vec<Action> {
    let mut actions = Vec::new();
    for Injected { fault, has_struck, .. } in faults {
        if !*has_struck && moments.contains(&fault.moment) {
            *has_struck = true;
            actions.push(fault.action);
        }
    }
    actions
}

#[cfg(test)]
mod tests;
