//! The attempts of one call: how many there were, where, and whether one may have been applied.

use rskafka_protocol::ApiKey;
use rskafka_transport::{Deadline, Env};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::{Broker, Class, Cluster, Failed, Failure, Location, Retry};

/// The attempts of one call so far.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempts {
    /// The API called.
    pub api: ApiKey,
    /// Where the last one was made. If no broker was found, the one that was asked for metadata.
    pub location: Location,
    /// When the whole call ends.
    pub(crate) deadline: Deadline,
    pub(crate) retry: Retry,
    /// How many have begun.
    pub count: u32,
    /// Whether a failed one may have been applied.
    pub may_be_applied: bool,
    /// Whether only the deadline prevented another one.
    pub out_of_time: bool,
    /// The failure of the last one.
    pub(crate) last: Option<Failure>,
}

impl Attempts {
    /// The span of the whole call.
    pub fn span(&self) -> Span {
        let Location { topic, partition, .. } = &self.location;
        debug_span!("call", api = %self.api, topic = topic.as_deref(), partition, broker = Empty)
    }

    /// Begins an attempt at a broker, and names it in the current span.
    pub fn begin(&mut self, broker: &Broker) {
        tracing::Span::current().record("broker", broker.id);
        self.count += 1;
        self.location.broker = Some(broker.id);
        self.location.endpoint = Some(broker.endpoint.clone());
    }

    /// The pauses begin again with the first, because a new leader was found.
    pub fn restart_pauses(&mut self) {
        self.retry = Retry::new(self.retry.backoff);
    }

    /// Takes in that no broker was found. Returns the failure of the call.
    pub(crate) fn unroutable(&mut self, failure: Failure, cluster: &Cluster) -> Failure {
        self.out_of_time = failure.is_transient();
        if self.location.endpoint.is_none() {
            self.location = cluster.asked(std::mem::take(&mut self.location));
        }
        // The failure of the last attempt says more than that there could be no other.
        self.last.take().filter(|_| self.out_of_time).unwrap_or(failure)
    }

    /// Takes in that an attempt has failed. Returns when the next one begins, or the failure if there is none.
    pub(crate) fn failed(&mut self, failure: Failure, class: Class, env: &Env) -> Result<Instant, Failure> {
        self.may_be_applied |= failure.may_be_applied();
        let Some(moment) = self.retry.failed(class, env.now(), self.deadline, env.random()) else {
            self.out_of_time = class != Class::Lasting;
            return Err(failure);
        };
        self.last = Some(failure);
        Ok(moment)
    }

    /// The end of a call that failed.
    pub(crate) fn ended(self, failure: Failure) -> Failed {
        Failed { failure, attempts: Box::new(self) }
    }
}
