//! How a client is built. Each limit of time and memory has a default, and is named as in Kafka's own client.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "sasl")]
use rskafka_cluster::transport::Sasl;
#[cfg(feature = "socks5")]
use rskafka_cluster::transport::Socks5;
#[cfg(feature = "tls")]
use rskafka_cluster::transport::Tls;
use rskafka_cluster::transport::{Deadline, Endpoint, Env};
use rskafka_cluster::{Backoff, Cluster, ClusterConfig};

use crate::client::Client;
use crate::core::{Core, Limits};
use crate::error::{Error, Result};

/// Sets up a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    bootstrap_brokers: Vec<String>,
    env: Env,
    cluster: ClusterConfig,
    limits: Limits,
}

impl ClientBuilder {
    pub(crate) fn new(bootstrap_brokers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut cluster = ClusterConfig::new(Vec::new());
        // Java pauses for up to a second. An election takes seconds: a new leader would be found that much later.
        (cluster.backoff.initial, cluster.backoff.max) =
            (Duration::from_millis(50), Duration::from_millis(200));
        Self {
            bootstrap_brokers: bootstrap_brokers.into_iter().map(Into::into).collect(),
            env: Env::system(),
            cluster,
            limits: Limits::default(),
        }
    }

    options! {
        /// The client's name in the brokers' logs and quotas.
        pub fn client_id(client_id: impl Into<String>) => cluster.connection.client_id = client_id.into();

        /// Speaks TLS with the brokers.
        ///
        /// Needs the feature `tls` or `aws-lc-rs`.
        #[cfg(feature = "tls")]
        pub fn tls(tls: Tls) => cluster.connection.security.tls = Some(tls);

        /// Authenticates with the brokers.
        ///
        /// Needs the feature `sasl`.
        #[cfg(feature = "sasl")]
        pub fn sasl(sasl: Sasl) => cluster.connection.security.sasl = Some(sasl);

        /// Reaches the brokers through a proxy, which also resolves their names.
        ///
        /// Needs the feature `socks5`.
        #[cfg(feature = "socks5")]
        pub fn socks5(proxy: Socks5) => cluster.connection.security.socks5 = Some(proxy);

        /// How long opening one connection may take: resolving the name, connecting, TLS, authentication, and asking which
        /// cluster it leads to. 10 s by default.
        pub fn connect_timeout(timeout: Duration) => cluster.connection.connect_timeout = timeout;

        /// How long one attempt may take, from entering the connection's queue to the answer; for a fetch, plus its wait. 30 s
        /// by default.
        pub fn request_timeout(timeout: Duration) => cluster.connection.request_timeout = timeout;

        /// How long a whole produce may take: waiting in line, every attempt and every pause. 2 min by default.
        pub fn delivery_timeout(timeout: Duration) => limits.delivery_timeout = timeout;

        /// How long an append may wait for its answer before other brokers are asked who leads its partition. If another does,
        /// because the leader stands still or is cut off, the appends move to it. 1 s by default.
        pub fn overdue_after(patience: Duration) => limits.overdue_after = patience;

        /// How long any other whole call may take, and building the client. 1 min by default.
        pub fn api_timeout(timeout: Duration) => limits.api_timeout = timeout;

        /// The pause between attempts: from `initial`, doubling, to `max`. 50 to 200 ms by default.
        pub fn backoff(initial: Duration, max: Duration) => cluster.backoff = Backoff { initial, max };

        /// How long the client waits before it tries an address again that it could not connect to: from `initial`, doubling,
        /// to `max`. 50 ms to 1 s by default.
        pub fn reconnect_backoff(initial: Duration, max: Duration) => cluster.reconnect_backoff = Backoff { initial, max };

        /// How long an idle connection stays open; at least a second. 9 min by default, a little less than brokers allow.
        pub fn connections_max_idle(idle: Duration) => cluster.connection.idle_timeout = idle;

        /// Lets all partition clients share one connection per broker for their appends, instead of one each: for many writers
        /// that each write little.
        ///
        /// A broker serves a connection one request at a time, so appends then wait for those of other partition clients. Their
        /// producer ids come over one more connection, because a broker may need seconds for one.
        pub fn share_produce_connections() => limits.shares_produce_connections = true;

        /// How many bytes of requests may be queued or unanswered on one connection; a call beyond that waits
        /// for room. 32 MiB by default, and at most 4 GiB.
        pub fn max_in_flight_bytes(bytes: usize) => cluster.connection.max_in_flight_bytes = bytes;

        /// How many bytes of encoded records all partition clients together may hold that are not written yet. 256 MiB by
        /// default. Each has [a limit of its own](crate::PartitionClientBuilder::buffer_memory) besides.
        ///
        /// A call beyond that waits, in the order of the calls, also among partition clients. Its records are encoded before, so
        /// they are in memory too. If it is dropped while it waits, it takes the records back.
        pub fn buffer_memory(bytes: usize) => limits.buffer_memory = bytes;

        /// The largest answer to take from a broker. 100 MiB by default.
        pub fn max_frame_bytes(bytes: usize) => cluster.connection.max_frame_bytes = bytes;

        /// How large the records of one batch may be when they are decompressed, and about how large those of one fetch: a batch
        /// of a few KiB can claim to be gigabytes. 128 MiB by default. A batch beyond that is
        /// [`CorruptBatch`](crate::error::ErrorKind::CorruptBatch), and one to be appended is
        /// [`BatchTooLarge`](crate::error::ErrorKind::BatchTooLarge): all processes of a log need the same limit.
        pub fn max_decompressed_bytes(bytes: usize) => limits.max_decompressed_bytes = bytes;

        /// Replaces clock, random numbers, name resolution and dialling: for simulation, and for tunnels.
        pub fn env(env: Env) => env = env;
    }

    /// Connects to the cluster.
    ///
    /// Asks the brokers repeatedly until one answers or `api_timeout` is over. Cancel safe.
    ///
    /// The client's tasks run on the runtime that this is awaited on. Calls may be made on any other, but they only make
    /// progress, and reach their deadline, while that one runs: a current-thread runtime only runs in `block_on`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for an address that is not `host:port`, [`ErrorKind::NoReachableBroker`] with one cause
    /// for each address, [`ErrorKind::Authentication`] if a broker refuses the credentials.
    ///
    /// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
    /// [`ErrorKind::NoReachableBroker`]: crate::error::ErrorKind::NoReachableBroker
    /// [`ErrorKind::Authentication`]: crate::error::ErrorKind::Authentication
    pub async fn build(self) -> Result<Client> {
        let Self { bootstrap_brokers, env, mut cluster, limits } = self;
        // A doubled or trailing comma is ignored, as in Kafka's own client.
        let brokers = bootstrap_brokers.iter().flat_map(|list| list.split(','));
        for broker in brokers.map(str::trim).filter(|broker| !broker.is_empty()) {
            let endpoint: Endpoint = broker
                .parse()
                .map_err(|error| Error::invalid("a broker's address is not host:port").with_source(error))?;
            cluster.bootstrap.push(endpoint);
        }
        if cluster.bootstrap.is_empty() {
            return Err(Error::invalid("no broker to ask first"));
        }
        let deadline = Deadline::after(env.now(), limits.api_timeout);
        let cluster = Cluster::bootstrap(env, cluster, deadline).await.map_err(Error::of_read)?;
        Ok(Client { core: Arc::new(Core::new(cluster, limits)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_are_documented() {
        const MIB: usize = 1024 * 1024;
        let ClientBuilder { cluster, limits, .. } = Client::builder(["localhost:9092"]);
        let connection = cluster.connection;
        assert_eq!(connection.client_id, "rskafka");
        let timeouts = [
            connection.connect_timeout,
            connection.request_timeout,
            limits.delivery_timeout,
            limits.api_timeout,
            connection.idle_timeout,
        ];
        assert_eq!(timeouts, [10, 30, 120, 60, 540].map(Duration::from_secs));
        let pauses =
            [cluster.backoff, cluster.reconnect_backoff].map(|backoff| [backoff.initial, backoff.max]);
        assert_eq!(pauses, [[50, 200], [50, 1_000]].map(|pauses| pauses.map(Duration::from_millis)));
        let bytes = [connection.max_in_flight_bytes, limits.buffer_memory, connection.max_frame_bytes];
        assert_eq!(bytes, [32 * MIB, 256 * MIB, 100 * MIB]);
        assert_eq!(limits.max_decompressed_bytes, 128 * MIB);
        assert!(!limits.shares_produce_connections);
    }
}
