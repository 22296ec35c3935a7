//! Reaches a broker: finds it, and leases a connection to it.
//!
//! Invariant: a lease is always the same connection, and a call on it is one attempt. So ordered callers decide
//! themselves what is sent again, and over which connection.

use rskafka_protocol::{ApiKey, Request};
use rskafka_transport::{CallOptions, Connection, Deadline};

use crate::address::BrokerAddress;
use crate::{Attempts, Cluster, Failed, Failure, Lane, Leader, LeaderOf, Retry, Target};

/// Which connection to a broker a request goes over.
#[derive(Debug, Clone, Copy)]
pub enum Via<'a> {
    /// The caller's own.
    Own(&'a Lane),
    /// The one that all callers share for appends.
    SharedProduce,
    /// The one for producer ids of those callers: a broker may need seconds for one.
    ProducerIds,
    /// The one that all callers share for metadata and admin calls.
    Control,
}

impl<'a> Via<'a> {
    fn lane(self, address: &'a BrokerAddress) -> &'a Lane {
        match self {
            Self::Own(lane) => lane,
            Self::SharedProduce => &address.produce,
            Self::ProducerIds => &address.producer_ids,
            Self::Control => &address.control,
        }
    }
}

/// One connection to a broker.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The connection. Each call on it, and each request submitted to it, is one attempt.
    pub connection: Connection,
    /// The count of the metadata's changes at which the lease was found to be its leader's.
    looked_at: Option<u64>,
}

impl Lease {
    /// A lease of this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection, looked_at: None }
    }

    /// Makes one attempt, and gives its answer.
    ///
    /// Cancel safe: what was sent when the future is dropped may take effect.
    ///
    /// # Errors
    ///
    /// [`Failure::Call`] says whether a byte of the request may have reached the broker.
    pub async fn call<R: Request>(&self, request: &R, options: CallOptions) -> Result<R::Response, Failure> {
        let called = self.connection.call(request, options).await;
        called.map(|reply| reply.response).map_err(|source| Failure::Call { source })
    }

    /// Whether the broker has this version of the API, or a later one.
    pub fn has_version(&self, api: ApiKey, version: i16) -> bool {
        self.connection.versions().range(api).is_some_and(|range| range.max >= version)
    }
}

impl Cluster {
    /// The attempts of a new call to `target`.
    pub fn attempts<T: Target>(&self, api: ApiKey, target: T, deadline: Deadline) -> Attempts {
        let (location, retry) = (target.location(), Retry::new(self.config().backoff));
        Attempts {
            api,
            location,
            deadline,
            retry,
            count: 0,
            may_be_applied: false,
            out_of_time: false,
            last: None,
        }
    }

    /// Finds the broker. Fails only if none is found by the deadline of `attempts`. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why the broker is not known: metadata, the topic, the partition, or its leader.
    pub async fn locate<T: Target>(&self, target: T, attempts: &mut Attempts) -> Result<T::Route, Failure> {
        let route = self.route(target, attempts.deadline).await;
        route.map_err(|failure| attempts.unroutable(failure, self))
    }

    /// Begins an attempt at the broker that was found: leases a connection to it. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why there is no connection to the broker. Nothing was sent.
    pub async fn lease<T: Target>(
        &self,
        route: &T::Route,
        via: Via<'_>,
        attempts: &mut Attempts,
    ) -> Result<Lease, Failure> {
        let broker = T::broker(route);
        let address = self.address(&broker.endpoint);
        attempts.begin(broker);
        if attempts.count > 1 {
            address.site.memory.counters.retries.add(1);
        }
        let lane = via.lane(&address);
        let connection = lane.connection(self, &address, Some(broker.id), attempts.deadline).await;
        connection.map(Lease::new)
    }

    /// Whether requests to a partition's leader still go over this lease: no other leader is known, and the lane has no
    /// other connection. If the connection's session ends soon, this has a replacement dialled.
    pub fn is_current(&self, target: LeaderOf<'_>, via: Via<'_>, leader: &Leader, lease: &mut Lease) -> bool {
        let changes = Some(self.changes());
        if lease.looked_at != changes {
            if !self.metadata().leads(target.topic, target.partition, leader) {
                return false;
            }
            lease.looked_at = changes;
        }
        let has = |lane: &Lane| lane.still_has(self, &leader.broker, &lease.connection);
        match via {
            Via::Own(lane) => has(lane),
            shared => has(shared.lane(&self.address(&leader.broker.endpoint))),
        }
    }

    /// Finds the broker that requests to `target` go to. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`locate`](Self::locate), with the attempts.
    pub async fn find<T: Target>(&self, target: T, deadline: Deadline) -> Result<T::Route, Failed> {
        let mut attempts = self.attempts(ApiKey::METADATA, target, deadline);
        attempts.count += 1;
        self.locate(target, &mut attempts).await.map_err(|failure| attempts.ended(failure))
    }
}
