//! Reaching a broker: a route, and a connection there that the caller leases.
//!
//! Invariant: a lease is one connection, never another, and a call on it is one attempt. So ordered callers decide
//! themselves what is sent again, and over which connection.

use std::time::Duration;

use rskafka_protocol::{ApiKey, Request};
use rskafka_transport::{CallOptions, Connection, Deadline, Reply};

use crate::address::BrokerAddress;
use crate::{Attempts, Broker, Class, Cluster, Error, Failure, Lane, Leader, LeaderOf, Learned, Target};

/// Which connection to a broker a request goes over.
#[derive(Debug, Clone, Copy)]
pub enum Via<'a> {
    /// The caller's own.
    Own(&'a Lane),
    /// The one that all callers share for appends.
    SharedProduce,
    /// The one that all callers share for metadata and admin calls.
    Control,
}

impl<'a> Via<'a> {
    fn lane(self, address: &'a BrokerAddress) -> &'a Lane {
        match self {
            Self::Own(lane) => lane,
            Self::SharedProduce => &address.produce,
            Self::Control => &address.control,
        }
    }
}

/// A route to a broker, with the connection there if one could be made.
#[derive(Debug)]
pub struct Reached<R> {
    /// Where the broker is.
    pub route: R,
    /// The connection, or why there is none.
    pub lease: Result<Lease, Failure>,
}

/// One connection to a broker.
#[derive(Debug, Clone)]
pub struct Lease {
    connection: Connection,
}

/// A request made for a route.
#[derive(Debug)]
pub struct Prepared<R> {
    /// The request.
    pub request: R,
    /// The highest version to use, where the broker's range is not all that counts.
    pub max_version: Option<i16>,
    /// How long the broker may wait before it answers, beside its work.
    pub wait: Duration,
}

impl<R> Prepared<R> {
    /// A request that the broker answers at once.
    pub fn new(request: R) -> Self {
        Self { request, max_version: None, wait: Duration::ZERO }
    }
}

impl Lease {
    /// One request, one answer, one attempt.
    ///
    /// Cancel safe: what was sent when the future is dropped may take effect.
    pub async fn call<R: Request>(
        &self,
        prepared: &Prepared<R>,
        deadline: Deadline,
    ) -> Result<Reply<R::Response>, Failure> {
        let options = CallOptions { deadline, max_version: prepared.max_version, wait: prepared.wait };
        let called = self.connection.call(&prepared.request, options).await;
        called.map_err(|source| Failure::Call { source })
    }

    /// The connection, for callers that queue requests themselves.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether to lease another once this one's answers are in: its SASL session ends soon.
    pub fn needs_replacement(&self) -> bool {
        self.connection.needs_replacement()
    }
}

impl Cluster {
    /// A call to `target`, no attempt of which was made yet.
    pub fn attempts<T: Target>(&self, api: ApiKey, target: T, deadline: Deadline) -> Attempts {
        Attempts::new(api, target.location(), self.config().backoff, deadline)
    }

    /// Begins an attempt: finds the broker, and leases a connection to it. Fails only if no broker is found by the
    /// deadline of `attempts`. Cancel safe.
    pub async fn reach<T: Target>(
        &self,
        target: T,
        via: Via<'_>,
        attempts: &mut Attempts,
    ) -> Result<Reached<T::Route>, Error> {
        let route = self.route(target, attempts).await?;
        let broker: &Broker = route.as_ref();
        tracing::Span::current().record("broker", broker.id);
        let address = self.address(&broker.endpoint);
        attempts.begin(broker);
        if attempts.count > 1 {
            address.memory.counters().retried();
        }
        let lane = via.lane(&address);
        let connection = lane.connection(self, &address, Some(broker.id), attempts.deadline).await;
        Ok(Reached { route, lease: connection.map(|connection| Lease { connection }) })
    }

    /// [`reach`](Self::reach), where nothing has to be waited for: the leader is known, and the lane has a
    /// connection to it that is not to be replaced. Else no attempt has begun.
    pub fn reach_now(
        &self,
        target: LeaderOf<'_>,
        via: Via<'_>,
        attempts: &mut Attempts,
    ) -> Option<(Leader, Lease)> {
        let leader = target.known(self)?;
        let address = self.address(&leader.broker.endpoint);
        let connection = via.lane(&address).open_to(self, &leader.broker.endpoint)?;
        tracing::Span::current().record("broker", leader.broker.id);
        attempts.begin(&leader.broker);
        Some((leader, Lease { connection }))
    }

    /// Takes in why an attempt failed after which the caller makes no other. Gives the error of the whole call.
    pub fn give_up<T: Target>(
        &self,
        target: T,
        route: &T::Route,
        learned: Learned,
        attempts: &mut Attempts,
    ) -> Error {
        self.learn(target, route, &learned);
        attempts.given_up(learned.failure)
    }

    /// Finds the broker that requests to `target` go to. Cancel safe.
    pub async fn find<T: Target>(&self, target: T, deadline: Deadline) -> Result<T::Route, Error> {
        let mut attempts = self.attempts(ApiKey::METADATA, target, deadline);
        attempts.count += 1;
        self.route(target, &mut attempts).await
    }

    async fn route<T: Target>(&self, target: T, attempts: &mut Attempts) -> Result<T::Route, Error> {
        let route = target.route(self, attempts.deadline).await;
        route.map_err(|failure| attempts.unroutable(failure, |location| self.asked(location)))
    }

    /// Takes in why an attempt failed. If the caller allows another one, returns when it may begin; pauses until
    /// then. Otherwise, and when there is no time for one, fails with the error of the whole call.
    ///
    /// Ends early if the cluster is closed: the next attempt finds that out.
    pub async fn after_failure<T: Target>(
        &self,
        target: T,
        route: &T::Route,
        learned: Learned,
        may_repeat: bool,
        attempts: &mut Attempts,
    ) -> Result<(), Error> {
        let is_unsent = may_repeat && learned.failure.is_unsent_close();
        // The end of an idle connection says nothing about the broker.
        let says_nothing = is_unsent && attempts.retry.is_at_once(Class::Unsent);
        let knows_where = !says_nothing && self.learn(target, route, &learned);
        let class = match may_repeat {
            false => Class::Lasting,
            true if is_unsent => Class::Unsent,
            true if knows_where => Class::Redirected,
            true => Class::Passing,
        };
        let Learned { failure, .. } = learned;
        tracing::debug!(attempts = attempts.count, %failure, ?class, "an attempt has failed");
        let moment = attempts.failed(failure, class, self.env().now(), self.env().random())?;
        if says_nothing {
            // No broker was asked anything.
            attempts.count -= 1;
        }
        self.pause_until(moment).await;
        Ok(())
    }
}
