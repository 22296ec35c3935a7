//! Commands on how clients find and reach brokers.

use std::time::Duration;

use crate::api::metadata;
use crate::cluster::FakeCluster;
use crate::state::{ControlError, Endpoint};

/// The network, and what brokers say of the cluster.
impl FakeCluster {
    /// Cuts a broker off from all clients in both directions, like a network that drops packets: bytes do not arrive, no
    /// connection ends, and [`FakeCluster::connect`] waits. Other brokers still reach it.
    ///
    /// The kernel still completes TCP connections to the broker's port, but no byte comes through. If an isolated broker is
    /// stopped, its connections end, unlike in a real network.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn isolate_broker(&self, broker: i32) -> Result<(), ControlError> {
        self.shared.isolate(broker, Some(None))
    }

    /// Cuts a broker off from the client that connects as `client`, by [`FakeCluster::connect_as`].
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn isolate_client(&self, client: &str, broker: i32) -> Result<(), ControlError> {
        self.shared.isolate(broker, Some(Some(client)))
    }

    /// Ends the isolation of a broker. Bytes that were on their way arrive.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn rejoin_broker(&self, broker: i32) -> Result<(), ControlError> {
        self.shared.isolate(broker, None)
    }

    /// Makes a broker answer Metadata from the present state until [`FakeCluster::release_metadata`], as if it did not
    /// hear of later changes.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn hold_metadata(&self, broker: i32) -> Result<(), ControlError> {
        self.hold_metadata_until(broker, None)
    }

    /// The same for its next `requests` answers to Metadata.
    ///
    /// # Errors
    ///
    /// There is no such broker, or `requests` is 0.
    pub fn hold_metadata_for(&self, broker: i32, requests: u64) -> Result<(), ControlError> {
        self.hold_metadata_until(broker, Some(requests))
    }

    fn hold_metadata_until(&self, broker: i32, requests: Option<u64>) -> Result<(), ControlError> {
        if requests == Some(0) {
            return Err(ControlError::NoSense { reason: "0 answers from old metadata".to_owned() });
        }
        self.shared.with(|state, _| {
            state.check_broker(broker)?;
            let image = metadata::image(state);
            state.old_metadata.hold(broker, image, requests);
            Ok(())
        })
    }

    /// Makes a broker answer Metadata from the current state again. It is no error if it already does.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn release_metadata(&self, broker: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| {
            state.check_broker(broker)?;
            state.old_metadata.release(broker);
            Ok(())
        })
    }

    /// Makes the cluster name this address for a broker, which still listens where it did: clients then connect to a
    /// wrong address, or to a proxy.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn advertise_address(&self, broker: i32, host: &str, port: u16) -> Result<(), ControlError> {
        let endpoint = Endpoint { host: host.to_owned(), port };
        self.shared.with(|state, _| state.advertise(broker, endpoint))
    }

    /// Sets how long the cluster takes a crashed broker for alive, like `broker.session.timeout.ms`. Until then the broker
    /// stays in Metadata, stays the leader of its partitions, and counts as in sync, so that appends with acks=all wait for
    /// it. This applies to later crashes; by default the cluster notices them at once. If the broker starts earlier, the
    /// cluster notices the crash at that moment. A shutdown is always noticed at once.
    pub fn miss_crashes_after(&self, time: Duration) {
        // Longer than any test, and not too long to be added to a time.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        self.shared.with(|state, _| state.crashes_missed_after = time.min(NEVER));
    }
}
