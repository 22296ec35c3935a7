//! Which connection a lane uses, and when it dials: for the first connection, after one was lost, and before the
//! session of one ends.
//!
//! Invariant: a lane only gives out open connections to the address asked for. A connection whose session ends soon is
//! used until its replacement is open. At most one dial is under way, to the address asked for last.

use std::time::Duration;

use rskafka_transport::{Connection, Deadline, Endpoint};
use tokio::time::Instant;

/// What a lane needs to know of its connection.
pub(crate) trait Held: Clone {
    /// Whether it is open, and leads to this address.
    fn serves(&self, endpoint: &Endpoint) -> bool;
    fn is_open(&self) -> bool;
    /// Whether it should be replaced, because its session ends soon.
    fn needs_replacement(&self) -> bool;
}

impl Held for Connection {
    fn serves(&self, endpoint: &Endpoint) -> bool {
        self.endpoint() == endpoint && self.is_open()
    }

    fn is_open(&self) -> bool {
        !self.is_closed()
    }

    fn needs_replacement(&self) -> bool {
        Connection::needs_replacement(self)
    }
}

/// A lane's connection `C`, and the handle `D` of the dial that is under way.
#[derive(Debug)]
pub(crate) struct Replacement<C, D> {
    current: Option<C>,
    dial: Option<(u64, Endpoint, D)>,
    /// How many dials have begun; the last one's number.
    dials: u64,
    /// After a failed dial, no replacement is dialled before this moment.
    not_before: Option<Instant>,
    has_opened: bool,
}

impl<C, D> Default for Replacement<C, D> {
    fn default() -> Self {
        Self { current: None, dial: None, dials: 0, not_before: None, has_opened: false }
    }
}

impl<C: Held, D: Clone> Replacement<C, D> {
    /// The connection for a request to `endpoint`, or the dial to wait for. `dial` begins a dial with the number that
    /// `opened` and `failed` take. A dial to another address continues for its waiters, but its connection is not kept.
    pub(crate) fn ask(
        &mut self,
        endpoint: &Endpoint,
        now: Instant,
        dial: impl FnOnce(u64) -> D,
    ) -> Result<C, D> {
        self.current.take_if(|current| !current.serves(endpoint));
        self.dial.take_if(|(_, other, _)| other != endpoint);
        let is_failing = self.not_before.is_some_and(|moment| now < moment);
        if let Some(current) = self.current.clone() {
            if current.needs_replacement() && self.dial.is_none() && !is_failing {
                self.begin(endpoint, dial);
            }
            return Ok(current);
        }
        match &self.dial {
            Some((.., dial)) => Err(dial.clone()),
            None => Err(self.begin(endpoint, dial)),
        }
    }

    fn begin(&mut self, endpoint: &Endpoint, dial: impl FnOnce(u64) -> D) -> D {
        self.dials += 1;
        let handle = dial(self.dials);
        self.dial = Some((self.dials, endpoint.clone(), handle.clone()));
        handle
    }

    /// A dial has succeeded. Returns whether the connection replaces one that had ended.
    pub(crate) fn opened(&mut self, number: u64, connection: C) -> bool {
        if self.dial.take_if(|(current, ..)| *current == number).is_none() {
            return false;
        }
        let is_lost = self.current.as_ref().is_none_or(|current| !current.is_open());
        self.current = Some(connection);
        self.not_before = None;
        std::mem::replace(&mut self.has_opened, true) && is_lost
    }

    /// A dial has failed at `now`.
    pub(crate) fn failed(&mut self, number: u64, now: Instant, pause: Duration) {
        if self.dial.take_if(|(current, ..)| *current == number).is_some() {
            self.not_before = Some(Deadline::after(now, pause).instant());
        }
    }

    /// Drops a connection that has ended, so that an unused lane holds no memory of it.
    pub(crate) fn ended(&mut self) {
        self.current.take_if(|current| !current.is_open());
    }

    /// The connection, if there is one that is open.
    pub(crate) fn current(&self) -> Option<&C> {
        self.current.as_ref().filter(|current| current.is_open())
    }
}

#[cfg(test)]
mod tests;
