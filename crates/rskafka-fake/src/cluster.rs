//! The handle to a cluster: how tests reach it, change it and look into it.
//!
//! Invariant: when the last handle is dropped, so are the brokers and their connections.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rskafka_protocol::ApiKey;
use tokio::io::DuplexStream;
use tokio::sync::Mutex;

use crate::broker::{Port, RunningBroker};
use crate::builder::FakeClusterBuilder;
use crate::shared::Shared;
use crate::state::{ControlError, Endpoint, Life};

/// A handle to a running cluster. Clones are handles to the same cluster; it ends with the last.
#[derive(Debug, Clone)]
pub struct FakeCluster {
    pub(crate) shared: Arc<Shared>,
    in_memory: bool,
    brokers: Arc<Mutex<BTreeMap<i32, Slot>>>,
}

/// A broker's place.
#[derive(Debug)]
enum Slot {
    Running(RunningBroker),
    Stopped(Option<Port>),
}

impl FakeCluster {
    /// Settings for a new cluster.
    pub fn builder() -> FakeClusterBuilder {
        FakeClusterBuilder::default()
    }

    pub(crate) fn start(
        shared: Shared,
        in_memory: bool,
        ports: Vec<(i32, Option<Port>)>,
    ) -> io::Result<Self> {
        let shared = Arc::new(shared);
        let mut brokers = BTreeMap::new();
        for (id, port) in ports {
            brokers.insert(id, Slot::Running(RunningBroker::start(id, port, shared.clone())?));
        }
        Ok(Self { shared, in_memory, brokers: Arc::new(Mutex::new(brokers)) })
    }

    /// The brokers' addresses, `host:port`, also of those that do not run.
    pub fn bootstrap_servers(&self) -> Vec<String> {
        self.shared.with(|state, _| state.brokers.iter().map(|broker| broker.endpoint.to_string()).collect())
    }

    /// The cluster's id, as Metadata answers it.
    pub fn cluster_id(&self) -> String {
        self.shared.with(|state, _| state.cluster_id.clone())
    }

    /// What the brokers advertise: each API with its versions.
    pub fn advertised(&self) -> Vec<(ApiKey, RangeInclusive<i16>)> {
        self.shared.versions.advertised().map(|(api_key, range)| (api_key, range.min..=range.max)).collect()
    }

    /// Connects to a broker by an in-memory pipe, under the address that it advertises.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if no broker has that address,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if it does not run.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let broker = self.shared.with(|state, _| {
            let at_address = |endpoint: &Endpoint| endpoint.host == host && endpoint.port == port;
            state.brokers.iter().find(|broker| at_address(&broker.endpoint)).map(|broker| broker.id)
        });
        let Some(broker) = broker else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no broker at {host}:{port}")));
        };
        let pipes = match self.brokers.lock().await.get(&broker) {
            Some(Slot::Running(running)) => running.pipes(),
            _ => return Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let (client, server) = tokio::io::duplex(self.shared.limits.pipe_bytes);
        pipes.send(server).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(client)
    }

    /// Stops a broker as `kill -9` would: its connections are cut and its port refuses new ones. Partitions
    /// that it led go to another replica in sync, or have no leader. When it starts again it learns from
    /// its logs who wrote what.
    ///
    /// # Errors
    ///
    /// There is no such broker. It is no error if the broker does not run.
    pub async fn stop_broker(&self, id: i32) -> Result<(), ControlError> {
        self.end_broker(id, Life::Crashed).await
    }

    /// Stops a broker as `SIGTERM` would. When it starts again, it remembers only the last batch of each
    /// producer: that is what a broker writes down of them.
    ///
    /// # Errors
    ///
    /// As [`FakeCluster::stop_broker`].
    pub async fn shut_down_broker(&self, id: i32) -> Result<(), ControlError> {
        self.end_broker(id, Life::ShutDown).await
    }

    async fn end_broker(&self, id: i32, life: Life) -> Result<(), ControlError> {
        let mut brokers = self.brokers.lock().await;
        let slot = brokers.get_mut(&id).ok_or(ControlError::UnknownBroker { broker: id })?;
        // If this future is dropped while it waits, the slot is right all the same.
        if let Slot::Running(running) = std::mem::replace(slot, Slot::Stopped(None)) {
            running.stop().await;
            // If somebody else was faster, starting the broker again will say so.
            *slot = Slot::Stopped(self.reserve_port(id).unwrap_or_default());
        }
        self.shared.with(|state, now| state.set_alive(id, life, now))
    }

    /// Starts a broker that was stopped, at the same address and with its records. It does not take
    /// leaders back, except of partitions that have none.
    ///
    /// # Errors
    ///
    /// There is no such broker, or its port is taken. It is no error if the broker runs.
    pub async fn start_broker(&self, id: i32) -> Result<(), ControlError> {
        let mut brokers = self.brokers.lock().await;
        let slot = brokers.get_mut(&id).ok_or(ControlError::UnknownBroker { broker: id })?;
        if let Slot::Stopped(port) = slot {
            let failed = |source| ControlError::NotStarted { broker: id, source };
            let port = match port.take() {
                Some(port) => Some(port),
                None => self.reserve_port(id).map_err(failed)?,
            };
            let running = RunningBroker::start(id, port, self.shared.clone()).map_err(failed)?;
            *slot = Slot::Running(running);
        }
        self.shared.with(|state, now| state.set_alive(id, Life::Runs, now))
    }

    /// Ends all connections of a broker, which goes on.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn cut_connections(&self, broker: i32) -> Result<(), ControlError> {
        self.check_broker(broker)?;
        self.shared.connections_of(broker).iter().for_each(|connection| connection.cut.notify_one());
        Ok(())
    }

    /// Gives a user another password, or none to remove it. Sessions that are open stay so.
    ///
    /// Without a listener with SASL it does nothing.
    #[cfg(feature = "sasl")]
    pub async fn set_sasl_password(&self, user: &str, password: Option<&str>) {
        let Some(sasl) = self.shared.security.sasl.clone() else {
            return;
        };
        let (name, password) = (user.to_owned(), password.map(str::to_owned));
        let change = move || {
            let user = password.map(|password| crate::sasl::User::new(&name, &password, &sasl.mechanisms));
            sasl.set_user(name, user);
        };
        // It can only fail by a panic, or when the runtime is shutting down.
        let _ = tokio::task::spawn_blocking(change).await;
    }

    /// The number of connections open at a broker.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn open_connections(&self, broker: i32) -> Result<usize, ControlError> {
        self.check_broker(broker)?;
        Ok(self.shared.connections_of(broker).len())
    }

    /// Stops all brokers, and waits until every task has ended.
    pub async fn shutdown(&self) {
        let mut brokers = self.brokers.lock().await;
        for slot in brokers.values_mut() {
            if let Slot::Running(running) = std::mem::replace(slot, Slot::Stopped(None)) {
                running.stop().await;
            }
        }
    }

    /// The port of a broker, for itself again; `None` if it only has pipes.
    fn reserve_port(&self, id: i32) -> io::Result<Option<Port>> {
        if self.in_memory {
            return Ok(None);
        }
        let number = self.shared.with(|state, _| state.broker(id).map_or(0, |broker| broker.endpoint.port));
        Port::reserve(number).map(Some)
    }

    fn check_broker(&self, id: i32) -> Result<(), ControlError> {
        match self.shared.with(|state, _| state.broker(id).is_some()) {
            true => Ok(()),
            false => Err(ControlError::UnknownBroker { broker: id }),
        }
    }
}
