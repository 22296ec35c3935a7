//! Commands on how clients find and reach brokers.

use std::time::Duration;

use crate::api::metadata;
use crate::cluster::FakeCluster;
use crate::state::{ControlError, Endpoint};

/// The network, and what brokers say of the cluster.
impl FakeCluster {
    /// Cuts a broker off from all clients, both ways, as a network does that drops packets: what is sent
    /// stays on its way, no connection ends, and [`FakeCluster::connect`] waits. Its fellows reach it.
    ///
    /// The kernel of this machine completes connections to a port all the same; nothing comes through them.
    /// Stopping an isolated broker ends its connections, which a real network would not tell the clients.
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

    /// Lets all clients and a broker reach each other again. What was on its way arrives.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn rejoin_broker(&self, broker: i32) -> Result<(), ControlError> {
        self.shared.isolate(broker, None)
    }

    /// Has a broker answer Metadata from the present state until [`FakeCluster::release_metadata`], as if it did not
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

    /// Has a broker answer Metadata by what is true. It is no error if it did.
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

    /// Has the cluster tell clients this address of a broker, which goes on listening where it did: so they
    /// are led astray, or over a proxy.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn advertise_address(&self, broker: i32, host: &str, port: u16) -> Result<(), ControlError> {
        let endpoint = Endpoint { host: host.to_owned(), port };
        self.shared.with(|state, _| state.advertise(broker, endpoint))
    }

    /// How long the cluster takes a broker for alive after its crash, as with `broker.session.timeout.ms`:
    /// so long it stays in Metadata, leads what it led, and counts as in sync, so that appends with
    /// acks=all wait for it. It goes for crashes to come; by default they are noticed at once. If the broker
    /// starts before that, its crash is noticed then; a shutdown is announced and always noticed at once.
    pub fn miss_crashes_after(&self, time: Duration) {
        // Longer than any test, and not too long to be added to a time.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        self.shared.with(|state, _| state.crashes_missed_after = time.min(NEVER));
    }
}
