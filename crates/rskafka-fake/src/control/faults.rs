//! Commands on faults, quotas and the record of requests.

use std::sync::atomic::Ordering;

use crate::cluster::FakeCluster;
use crate::fault::{ByteFault, Fault, FaultId};
use crate::received::ReceivedRequest;
use crate::state::{ControlError, Limited};

/// Faults.
impl FakeCluster {
    /// Injects a fault of later requests: see [`Fault`].
    ///
    /// # Panics
    ///
    /// The fault makes no sense; [`FakeCluster::try_inject`] returns an error instead.
    #[track_caller]
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.try_inject(fault).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Injects a fault of later requests: see [`Fault`].
    ///
    /// # Errors
    ///
    /// There is no such broker, or the fault makes no sense: it could never strike, or would change nothing.
    pub fn try_inject(&self, fault: Fault) -> Result<FaultId, ControlError> {
        self.shared.with(|state, _| {
            fault.broker().map_or(Ok(()), |broker| state.check_broker(broker))?;
            let speaks = |api_key| self.shared.versions.of(api_key).is_some();
            fault.check(speaks).map_err(|reason| ControlError::NoSense { reason })?;
            let id = state.faults.next_id();
            state.faults.requests.inject(id, fault);
            Ok(id)
        })
    }

    /// Injects a fault of the bytes of connections: see [`ByteFault`].
    ///
    /// # Panics
    ///
    /// The fault makes no sense; [`FakeCluster::try_inject_bytes`] returns an error instead.
    #[track_caller]
    pub fn inject_bytes(&self, fault: ByteFault) -> FaultId {
        self.try_inject_bytes(fault).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Injects a fault of the bytes of connections: see [`ByteFault`].
    ///
    /// # Errors
    ///
    /// There is no such broker, or the fault makes no sense: it could never strike, or would change nothing.
    pub fn try_inject_bytes(&self, fault: ByteFault) -> Result<FaultId, ControlError> {
        fault.broker().map_or(Ok(()), |broker| self.check_broker(broker))?;
        fault.check().map_err(|reason| ControlError::NoSense { reason })?;
        Ok(self.shared.inject_bytes(fault))
    }

    /// How many requests, or connections, a fault has struck; 0 after it was removed.
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.shared.with(|state, _| state.faults.struck(fault))
    }

    /// Removes a fault. Connections that it held or slowed continue; connections that it ended stay closed.
    pub fn remove_fault(&self, fault: FaultId) {
        self.shared.with(|state, _| state.faults.remove(fault));
        self.shared.byte_faults_changed();
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.shared.with(|state, _| state.faults.clear());
        self.shared.byte_faults_changed();
    }
}

/// Quotas.
impl FakeCluster {
    /// How many bytes of records each client may send to a broker in a second, on average over ten; `None`
    /// for no limit. Clients are told apart by their ids. A client that sends more is throttled (KIP-219).
    pub fn set_produce_quota(&self, bytes_per_second: Option<u64>) {
        self.shared.with(|state, _| state.quotas.set(Limited::Produce, bytes_per_second));
    }

    /// How many bytes of records each client may read from a broker in a second, on average over ten;
    /// `None` for no limit. A client that reads more gets an empty answer and is throttled (KIP-219).
    pub fn set_fetch_quota(&self, bytes_per_second: Option<u64>) {
        self.shared.with(|state, _| state.quotas.set(Limited::Fetch, bytes_per_second));
    }
}

/// The record of requests.
impl FakeCluster {
    /// The requests received so far at all brokers, in the order of their arrival; of many, the newest.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.with(|state, _| state.received.iter().cloned().collect())
    }

    /// How many requests were begun and not finished by clients that then ended the connection, since the
    /// cluster's start. What the cluster itself ended does not count.
    pub fn partial_frames(&self) -> u64 {
        self.shared.partial_frames.load(Ordering::Relaxed)
    }

    /// Forgets the requests received so far.
    pub fn clear_requests(&self) {
        self.shared.with(|state, _| state.received.clear());
    }

    /// Waits until `count` requests for which `is_like` holds have arrived, including remembered ones, and returns
    /// them.
    ///
    /// There is no time limit. Dropping the future is safe.
    pub async fn requests_like(
        &self,
        count: usize,
        mut is_like: impl FnMut(&ReceivedRequest) -> bool,
    ) -> Vec<ReceivedRequest> {
        loop {
            let arrival = self.shared.arrivals.notified();
            tokio::pin!(arrival);
            // From here on no arrival is missed.
            arrival.as_mut().enable();
            let found: Vec<_> = self.shared.with(|state, _| {
                state.received.iter().filter(|request| is_like(request)).take(count).cloned().collect()
            });
            if found.len() >= count {
                return found;
            }
            arrival.await;
        }
    }
}
