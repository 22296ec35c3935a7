//! What the proxy does to a connection, and when. A fault strikes once.

use rskafka::protocol::ApiKey;

use super::process::BrokerProcess;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    ToBroker,
    /// From the broker.
    ToClient,
}

/// A place in the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The first byte of the n-th TLS record of a direction, from 0 on: 0 is the hello.
    TlsRecord(Direction, u64),
    /// The first byte of a request; seen only in plaintext.
    Request(ApiKey),
    /// The last byte of a request, so that the broker has all of it but that; seen only in plaintext.
    EndOfRequest(ApiKey),
    /// The first byte of the answer to a request; seen only in plaintext.
    Answer(ApiKey),
}

/// What happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// No more bytes are taken or passed on in a direction, until [`thaw`](super::Proxy::thaw).
    Freeze(Direction),
    /// The connection ends on both sides, as if each had closed it.
    Cut,
    /// The connection is reset on both sides.
    Reset,
    /// The broker's process is stopped (SIGSTOP), and stands still before any further byte is passed on.
    /// It is resumed (SIGCONT) by [`thaw`](super::Proxy::thaw), or when the proxy is dropped.
    Stop(BrokerProcess),
}

/// A fault that was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultId(usize);

/// The faults in the order in which they were injected, `None` for those taken back, and whether each has struck.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Option<(Moment, Action)>, bool)>);

impl Faults {
    pub(super) fn inject(&mut self, moment: Moment, action: Action) -> FaultId {
        self.0.push((Some((moment, action)), false));
        FaultId(self.0.len() - 1)
    }

    pub(super) fn has_struck(&self, FaultId(index): FaultId) -> bool {
        self.0[index].1
    }

    pub(super) fn clear(&mut self) {
        self.0.fill((None, false));
    }

    /// What happens at a moment.
    pub(super) fn strike(&mut self, moment: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        for (fault, has_struck) in self.0.iter_mut().filter(|(_, has_struck)| !has_struck) {
            let action = fault.and_then(|(planned, action)| (planned == moment).then_some(action));
            *has_struck = action.is_some();
            actions.extend(action);
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_and_not_after_it_was_taken_back() {
        let moment = Moment::Request(ApiKey::PRODUCE);
        let mut faults = Faults::default();
        let once = faults.inject(moment, Action::Cut);
        assert_eq!(faults.strike(Moment::EndOfRequest(ApiKey::PRODUCE)), []);
        assert!(!faults.has_struck(once));
        let with_it = faults.inject(moment, Action::Freeze(Direction::ToClient));
        assert_eq!(faults.strike(moment), [Action::Cut, Action::Freeze(Direction::ToClient)]);
        assert!(faults.has_struck(once) && faults.has_struck(with_it));
        assert_eq!(faults.strike(moment), []);
        let cleared = faults.inject(moment, Action::Cut);
        faults.clear();
        assert_eq!(faults.strike(moment), []);
        assert!(!faults.has_struck(once) && !faults.has_struck(cleared));
    }
}
