//! Opens a connection on a task of its own, for all callers that wait for it.
//!
//! Before a request uses a new connection, the client checks that it leads to this cluster. The address may belong to
//! another cluster by now, which would accept appends by the topic's name (Produce below version 13) or a fetch's
//! offsets without an error. From Kafka 4.4 on, the broker compares itself with the one named in the ApiVersions request.
//! An older broker, or one that says it is another, is asked for metadata: that names the cluster and refreshes the list
//! of brokers.

use std::pin::pin;
use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use rskafka_protocol::ErrorCode;
use rskafka_transport::{CallOptions, Connection, Deadline, Env, IdentityCheck, OpenProgress};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::address::{BrokerAddress, Site};
use crate::cluster::Inner;
use crate::lane::Slot;
use crate::{Cluster, ClusterConfig, Failure, lock, refresh};

/// A connection that is being opened. The dial is given up when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) opened: Shared<BoxFuture<'static, Result<Connection, Failure>>>,
    pub(crate) began: Instant,
    pub(crate) progress: OpenProgress,
}

impl Dial {
    /// Dials on the cluster's runtime, whichever one the caller is on. `number` is the dial's on its lane.
    pub(crate) fn begin(
        cluster: &Cluster,
        address: &BrokerAddress,
        broker: Option<i32>,
        slot: Weak<Slot>,
        number: u64,
    ) -> Self {
        let (began, progress) = (cluster.env().now(), OpenProgress::default());
        let dialling = Dialling {
            cluster: Arc::downgrade(&cluster.inner),
            env: cluster.env().clone(),
            config: cluster.config().clone(),
            site: address.site.clone(),
            broker,
            progress: progress.clone(),
        };
        let closed = cluster.inner.closed.clone();
        let dial = async move {
            let opened = tokio::select! { biased;
                () = closed.cancelled() => Err(Failure::Closed),
                opened = dialling.open_in_turn() => opened,
            };
            dialling.end(opened, &slot, number)
        };
        let task = AbortOnDropHandle::new(cluster.inner.connections.spawn_on(dial, cluster.runtime()));
        let opened = async { task.await.unwrap_or(Err(Failure::RuntimeGone)) }.boxed().shared();
        Self { opened, began, progress }
    }
}

/// What a dial needs. It keeps neither the cluster nor a lane alive.
struct Dialling {
    cluster: Weak<Inner>,
    env: Env,
    config: Arc<ClusterConfig>,
    site: Arc<Site>,
    /// The broker that the connection is for; `None` if any broker will do.
    broker: Option<i32>,
    progress: OpenProgress,
}

impl Dialling {
    async fn open_in_turn(&self) -> Result<Connection, Failure> {
        let Site { endpoint, gate, .. } = &*self.site;
        gate.pass(endpoint, &self.env, self.config.reconnect_backoff, self.open()).await
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let config = &self.config.connection;
        let deadline = Deadline::after(self.env.now(), config.connect_timeout);
        let Self { env, progress, .. } = self;
        let Site { endpoint, memory, .. } = &*self.site;
        let meant = self.cluster()?.metadata().identity(endpoint, self.broker);
        let meant_id = meant.as_ref().map(|meant| meant.broker_id);
        let opened = Connection::open_after(env, endpoint, config, memory, meant, deadline, progress).await;
        let connection = opened.map_err(|source| Failure::Open { source }).inspect_err(|failure| {
            if failure.code() == Some(ErrorCode::REBOOTSTRAP_REQUIRED) {
                self.cluster().iter().for_each(Cluster::begin_again);
            }
        })?;
        if connection.identity_check() != IdentityCheck::Confirmed {
            self.check_identity(&connection, meant_id, deadline).await?;
        }
        Ok(connection)
    }

    /// Asks the broker for metadata, to find out where the connection leads.
    async fn check_identity(
        &self,
        connection: &Connection,
        meant: Option<i32>,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let request = refresh::request(Some(&[]));
        let answer = connection.call(&request, CallOptions::new(deadline)).await.map_err(|source| {
            let has_sasl = self.config.connection.security.has_sasl();
            let may_want_sasl = !has_sasl && source.is_closed_by_broker();
            // Nothing was sent yet of the request that the connection is for.
            Failure::Identity { may_want_sasl, source }
        })?;
        let (cluster, names_none) = (self.cluster()?, answer.response.brokers.is_empty());
        cluster.take_metadata(&request, answer, connection)?;
        let found = cluster.metadata().broker_at(connection.endpoint()).map(|broker| broker.id);
        match (self.broker, found) {
            (Some(expected), Some(found)) if found != expected => {
                Err(Failure::OtherBroker { expected, found })
            }
            // It has just started, and what was known before may be known of another one.
            (Some(_), _) if names_none => Err(Failure::Metadata { code: ErrorCode::BROKER_NOT_AVAILABLE }),
            // The broker says that it is not the expected one, but metadata names no other at this address.
            _ if connection.identity_check() == IdentityCheck::Denied
                && (found.is_none() || found == meant) =>
            {
                cluster.begin_again();
                Err(Failure::Metadata { code: ErrorCode::REBOOTSTRAP_REQUIRED })
            }
            _ => Ok(()),
        }
    }

    fn cluster(&self) -> Result<Cluster, Failure> {
        self.cluster.upgrade().map(|inner| Cluster { inner }).ok_or(Failure::Closed)
    }

    /// Gives the lane its connection, if it still waits for this dial.
    fn end(
        &self,
        opened: Result<Connection, Failure>,
        slot: &Weak<Slot>,
        number: u64,
    ) -> Result<Connection, Failure> {
        let (cluster, lane) = (self.cluster()?, slot.upgrade());
        let mut lane = lane.as_deref().map(lock);
        match &opened {
            Ok(connection) => {
                watch_end(&cluster, connection, slot.clone());
                if lane.is_some_and(|mut lane| lane.opened(number, connection.clone())) {
                    self.site.memory.counters.reconnects.add(1);
                }
            }
            Err(_) => {
                let (now, pause) = (self.env.now(), self.config.backoff.max);
                lane.iter_mut().for_each(|lane| lane.failed(number, now, pause));
            }
        }
        opened
    }
}

/// Ends a connection when the cluster is closed, also one that its lane has replaced. When the connection has ended, its
/// lane drops it.
fn watch_end(cluster: &Cluster, connection: &Connection, slot: Weak<Slot>) {
    let (ended, connection) = (connection.ended(), connection.downgrade());
    let closed = cluster.inner.closed.clone();
    let watch = async move {
        let mut ended = pin!(ended);
        tokio::select! { biased;
            () = &mut ended => {}
            () = closed.cancelled() => {
                if let Some(connection) = connection.upgrade() {
                    connection.end();
                }
                ended.await;
            }
        }
        if let Some(slot) = slot.upgrade() {
            lock(&slot).ended();
        }
    };
    cluster.inner.connections.spawn_on(watch, cluster.runtime());
}
