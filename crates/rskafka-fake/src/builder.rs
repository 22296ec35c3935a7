//! Settings of a cluster. [`FakeClusterBuilder::start`] refuses those that are impossible.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::SystemTime;

use rskafka_protocol::{ApiKey, VersionRange};

use crate::api::Versions;
use crate::broker::Port;
use crate::clock::Clock;
use crate::cluster::FakeCluster;
use crate::profile::Profile;
use crate::received::Received;
use crate::shared::{Limits, Security, Shared};
use crate::state::{Broker, BrokerConfigs, ControlError, Endpoint, State};

/// The port of every broker that has no real one.
const PIPE_PORT: u16 = 9092;
const MAX_BROKERS: usize = 100;

/// Settings of a cluster to be started: see [`FakeCluster::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing runs until `start`"]
pub struct FakeClusterBuilder {
    brokers: usize,
    in_memory: bool,
    profile: Profile,
    seed: u64,
    wall_clock: Option<SystemTime>,
    retained_bytes: Option<usize>,
    racks: Vec<String>,
    configs: BTreeMap<String, String>,
    pipe_bytes: usize,
    recorded_requests: usize,
    advertised: Vec<(ApiKey, VersionRange)>,
    #[cfg(feature = "tls")]
    tls: Option<crate::FakeTls>,
    #[cfg(feature = "sasl")]
    sasl: Option<crate::FakeSasl>,
}

impl Default for FakeClusterBuilder {
    fn default() -> Self {
        Self {
            brokers: 1,
            in_memory: false,
            profile: Profile::default(),
            seed: 0,
            wall_clock: None,
            retained_bytes: None,
            racks: Vec::new(),
            configs: BTreeMap::new(),
            pipe_bytes: 64 * 1024,
            recorded_requests: 10_000,
            advertised: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "sasl")]
            sasl: None,
        }
    }
}

impl FakeClusterBuilder {
    /// The number of brokers; their ids are 1, 2, 3 and so on. 1 by default.
    pub fn brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
        self
    }

    /// No TCP: brokers have invented addresses (`broker-1:9092`, `broker-2:9092`, …) that
    /// [`FakeCluster::connect`] knows. This works under tokio's paused time.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// What ids are made from: the same seed gives the same ids. 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The wall clock's time at the start; it then moves with tokio's clock. By default the real time.
    pub fn wall_clock(mut self, at_start: SystemTime) -> Self {
        self.wall_clock = Some(at_start);
        self
    }

    /// Partitions of a topic that is created without a number (`num.partitions`). 1 by default.
    pub fn default_partitions(self, partitions: i32) -> Self {
        self.config("num.partitions", partitions.to_string())
    }

    /// Replicas of a topic that is created without a number (`default.replication.factor`). 1 by default.
    pub fn default_replication_factor(self, replicas: i16) -> Self {
        self.config("default.replication.factor", replicas.to_string())
    }

    /// The racks that the brokers stand in, in the order of their ids and from the beginning again when
    /// there are fewer. A reader that names its rack is then sent to a replica there (KIP-392).
    pub fn racks(mut self, racks: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.racks = racks.into_iter().map(Into::into).collect();
        self
    }

    /// A broker config, as in the brokers' properties, e.g. `producer.id.expiration.ms` or
    /// `min.insync.replicas`. One that the fake does not know is an error of [`FakeClusterBuilder::start`].
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }

    /// Keeps at most `bytes` bytes per partition, and always the last batch and what is not committed: older
    /// ones are dropped and the log's start moves. Without this, or `retention.bytes` of the topic, everything is kept.
    pub fn retain_bytes_per_partition(mut self, bytes: usize) -> Self {
        self.retained_bytes = Some(bytes);
        self
    }

    /// Which broker to behave like. Apache Kafka 4.4 by default.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Makes the brokers advertise other versions of an API than the profile does.
    pub fn advertise(mut self, api_key: ApiKey, versions: RangeInclusive<i16>) -> Self {
        let versions = VersionRange { min: *versions.start(), max: *versions.end() };
        self.advertised.push((api_key, versions));
        self
    }

    /// Takes an API away.
    pub fn without(mut self, api_key: ApiKey) -> Self {
        self.advertised.push((api_key, VersionRange { min: 0, max: -1 }));
        self
    }

    /// Makes the brokers speak TLS, over ports and pipes alike.
    ///
    /// Needs the feature `tls`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::FakeTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Makes the brokers require a login.
    ///
    /// Needs the feature `sasl`.
    #[cfg(feature = "sasl")]
    pub fn sasl(mut self, sasl: crate::FakeSasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// The largest request that brokers take, in bytes; a larger one ends the connection. 100 MiB by
    /// default.
    pub fn max_request_bytes(self, bytes: usize) -> Self {
        self.config("socket.request.max.bytes", bytes.to_string())
    }

    /// What a pipe holds in each direction before a write waits, in bytes. 64 KiB by default.
    pub fn pipe_bytes(mut self, bytes: usize) -> Self {
        self.pipe_bytes = bytes;
        self
    }

    /// How many of the newest received requests are remembered. 10,000 by default.
    pub fn recorded_requests(mut self, requests: usize) -> Self {
        self.recorded_requests = requests;
        self
    }

    /// Starts the brokers, on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// [`ControlError::InvalidSetting`], and [`ControlError::NotStarted`] if a port cannot be listened on.
    pub async fn start(self) -> Result<FakeCluster, ControlError> {
        let invalid = |reason| ControlError::InvalidSetting { reason };
        if !(1..=MAX_BROKERS).contains(&self.brokers) {
            return Err(invalid(format!("{} brokers: 1 to {MAX_BROKERS} can be had", self.brokers)));
        }
        if self.pipe_bytes == 0 {
            return Err(invalid("a pipe needs room for at least one byte".to_owned()));
        }
        let mut versions = Versions::of_profile(self.profile);
        for (api_key, range) in self.advertised {
            versions.set(api_key, range).map_err(invalid)?;
        }
        let configs = BrokerConfigs::new(self.configs, self.profile).map_err(invalid)?;
        let mut brokers = Vec::with_capacity(self.brokers);
        let mut ports = Vec::with_capacity(self.brokers);
        for id in (1..).take(self.brokers) {
            let failed = |source| ControlError::NotStarted { broker: id, source };
            let port = if self.in_memory { None } else { Some(Port::reserve(0).map_err(failed)?) };
            let endpoint = match &port {
                Some(port) => Endpoint { host: "127.0.0.1".to_owned(), port: port.number().map_err(failed)? },
                None => Endpoint { host: format!("broker-{id}"), port: PIPE_PORT },
            };
            let rack = self.racks.get(brokers.len() % self.racks.len().max(1)).cloned();
            brokers.push(Broker::new(id, endpoint, rack));
            ports.push((id, port));
        }
        let received = Received::new(self.recorded_requests);
        let max_request_bytes = configs.number(0, "socket.request.max.bytes").unsigned_abs();
        let limits = Limits {
            max_request_bytes: usize::try_from(max_request_bytes).unwrap_or(usize::MAX),
            pipe_bytes: self.pipe_bytes,
        };
        let state = State::new(self.seed, self.profile, brokers, self.retained_bytes, configs, received);
        let clock = Clock::start(self.wall_clock.unwrap_or_else(SystemTime::now));
        let security = Security {
            #[cfg(feature = "tls")]
            tls: match self.tls {
                Some(tls) => Some(tls.acceptor(self.brokers).map_err(|error| invalid(error.to_string()))?),
                None => None,
            },
            #[cfg(feature = "sasl")]
            sasl: match self.sasl {
                // Passwords are hashed many times.
                Some(sasl) => {
                    let listener = tokio::task::spawn_blocking(|| sasl.into_listener().into()).await;
                    Some(listener.map_err(|error| invalid(error.to_string()))?)
                }
                None => None,
            },
        };
        let shared = Shared::new(state, versions, limits, security, clock);
        FakeCluster::start(shared, self.in_memory, ports)
    }
}
