//! The handle to a cluster: how tests reach it, change it and look into it.
//!
//! Dropping the last handle ends the brokers and their connections.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rskafka_protocol::ApiKey;
use tokio::io::DuplexStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

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
    /// What waits until the cluster notices a crash.
    missing: Arc<Mutex<JoinSet<()>>>,
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
    ) -> Result<Self, ControlError> {
        let shared = Arc::new(shared);
        let mut brokers = BTreeMap::new();
        for (id, port) in ports {
            let running = RunningBroker::start(id, port, shared.clone());
            let running = running.map_err(|source| ControlError::NotStarted { broker: id, source })?;
            brokers.insert(id, Slot::Running(running));
        }
        Ok(Self { shared, in_memory, brokers: Arc::new(Mutex::new(brokers)), missing: Arc::default() })
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

    /// Connects to a broker by an in-memory pipe, under its address. It waits for as long as the broker is
    /// isolated ([`FakeCluster::isolate_broker`]).
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if no broker has that address,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if it does not run.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        self.connect_from(None, host, port).await
    }

    /// As [`FakeCluster::connect`], for a client that [`FakeCluster::isolate_client`] can name.
    ///
    /// # Errors
    ///
    /// As [`FakeCluster::connect`].
    pub async fn connect_as(&self, client: &str, host: &str, port: u16) -> io::Result<DuplexStream> {
        self.connect_from(Some(client.to_owned()), host, port).await
    }

    async fn connect_from(&self, client: Option<String>, host: &str, port: u16) -> io::Result<DuplexStream> {
        let at_address = || {
            let is_it = |endpoint: &Endpoint| endpoint.host == host && endpoint.port == port;
            let found = self.shared.with(|state, _| {
                state.brokers.iter().find(|broker| is_it(&broker.endpoint)).map(|broker| broker.id)
            });
            found
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no broker at {host}:{port}")))
        };
        let pipes = loop {
            let broker = at_address()?;
            self.shared.let_through(broker, client.as_deref()).await;
            let brokers = self.brokers.lock().await;
            // Meanwhile the address may have become another broker's.
            if at_address()? == broker {
                match brokers.get(&broker) {
                    Some(Slot::Running(running)) => break running.pipes(),
                    _ => return Err(io::ErrorKind::ConnectionRefused.into()),
                }
            }
        };
        let (pipe, server) = tokio::io::duplex(self.shared.limits.pipe_bytes);
        pipes.send((server, client)).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(pipe)
    }

    /// Stops a broker as `kill -9` would: its connections are cut and its port refuses new ones. Partitions
    /// that it led go to another replica in sync, or have no leader, at once or some time later
    /// ([`FakeCluster::miss_crashes_after`]). When it starts again, it remembers only
    /// the last batch of each producer, while replicas that never stopped remember five.
    ///
    /// # Errors
    ///
    /// There is no such broker. It is no error if the broker does not run.
    pub async fn stop_broker(&self, id: i32) -> Result<(), ControlError> {
        self.end_broker(id, Life::Crashed).await
    }

    /// Stops a broker as `SIGTERM` would. Unlike after [`FakeCluster::stop_broker`], it also remembers
    /// producers of which no batch is left in its log.
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
        // The slot is also right if this future is dropped while it waits.
        if let Slot::Running(running) = std::mem::replace(slot, Slot::Stopped(None)) {
            running.stop().await;
            // If another process took the port meanwhile, `start_broker` reports it.
            *slot = Slot::Stopped(self.reserve_port(id).unwrap_or_default());
        }
        let missed_at = self.shared.with(|state, now| {
            state.set_alive(id, life, now)?;
            Ok(state.broker(id).and_then(|broker| broker.missed_at))
        })?;
        if let Some(missed_at) = missed_at {
            let shared = Arc::downgrade(&self.shared);
            let mut missing = self.missing.lock().await;
            while missing.try_join_next().is_some() {}
            missing.spawn(async move {
                sleep_until(missed_at).await;
                // Each access to the state first does what time has brought, such as noticing this crash.
                shared.upgrade().inspect(|shared| shared.with(|_, _| ()));
            });
        }
        Ok(())
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

    /// Swaps the addresses of two brokers, as when two machines exchange their names: a client that connects to
    /// one reaches the other, and Metadata says so. All connections to both end.
    ///
    /// # Errors
    ///
    /// There is no such broker, they are the same, or a port is taken.
    pub async fn swap_addresses(&self, one: i32, other: i32) -> Result<(), ControlError> {
        let mut brokers = self.brokers.lock().await;
        self.check_broker(one).and(self.check_broker(other))?;
        if one == other {
            return Err(ControlError::NoSense { reason: format!("broker {one} has its own address") });
        }
        let mut running = Vec::new();
        for id in [one, other] {
            if let Some(Slot::Running(broker)) = brokers.insert(id, Slot::Stopped(None)) {
                broker.stop().await;
                running.push(id);
            }
        }
        self.shared.with(|state, _| state.swap_addresses(one, other));
        for id in [one, other] {
            let failed = |source| ControlError::NotStarted { broker: id, source };
            let port = self.reserve_port(id).map_err(failed)?;
            let slot = match running.contains(&id) {
                true => Slot::Running(RunningBroker::start(id, port, self.shared.clone()).map_err(failed)?),
                false => Slot::Stopped(port),
            };
            brokers.insert(id, slot);
        }
        Ok(())
    }

    /// Ends all connections of a broker. The broker keeps running.
    ///
    /// # Errors
    ///
    /// There is no such broker.
    pub fn cut_connections(&self, broker: i32) -> Result<(), ControlError> {
        self.check_broker(broker)?;
        self.shared.connections_of(broker).iter().for_each(|connection| connection.cut.notify_one());
        Ok(())
    }

    /// Changes a user's password; `None` removes the user. Open sessions are not affected.
    ///
    /// Needs the feature `sasl`.
    ///
    /// Without a listener with SASL it does nothing.
    #[cfg(feature = "sasl")]
    pub async fn set_sasl_password(&self, user: &str, password: Option<&str>) {
        let Some(sasl) = self.shared.security.sasl.clone() else {
            return;
        };
        let (name, password) = (user.to_owned(), password.map(str::to_owned));
        let change = move || {
            let user =
                password.map(|password| crate::sasl::User::new(&name, &password, &sasl.settings.mechanisms));
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
        self.missing.lock().await.shutdown().await;
        for slot in brokers.values_mut() {
            if let Slot::Running(running) = std::mem::replace(slot, Slot::Stopped(None)) {
                running.stop().await;
            }
        }
    }

    /// Binds a broker's port again; `None` if it only has pipes.
    fn reserve_port(&self, id: i32) -> io::Result<Option<Port>> {
        if self.in_memory {
            return Ok(None);
        }
        let number = self.shared.with(|state, _| state.broker(id).map_or(0, |broker| broker.endpoint.port));
        Port::reserve(number).map(Some)
    }

    pub(crate) fn check_broker(&self, id: i32) -> Result<(), ControlError> {
        self.shared.with(|state, _| state.check_broker(id))
    }
}
