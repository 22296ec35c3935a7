//! The attempts of one call: how many there were, whether one may have been applied, and the error of the call.

use rskafka_protocol::ApiKey;
use rskafka_transport::Deadline;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::{Broker, Class, Cluster, Error, Failure, Location, Retry};

/// The attempts of one call so far.
#[derive(Debug)]
pub struct Attempts {
    pub(crate) api: ApiKey,
    pub(crate) location: Location,
    /// When the whole call ends.
    pub(crate) deadline: Deadline,
    pub(crate) retry: Retry,
    /// How many have begun.
    pub(crate) count: u32,
    /// Whether a failed one may have been applied.
    pub(crate) may_be_applied: bool,
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

    /// The error of a call for which no broker was found. It names the broker that was asked for metadata.
    pub(crate) fn unroutable(&mut self, failure: Failure, cluster: &Cluster) -> Error {
        let out_of_time = failure.is_transient() || failure.is_timeout();
        // The failure of the last attempt says more than that there could be no other.
        let failure = self.last.take().filter(|_| out_of_time).unwrap_or(failure);
        if self.location.endpoint.is_none() {
            self.location = cluster.asked(std::mem::take(&mut self.location));
        }
        self.error(out_of_time, failure)
    }

    /// Takes in that an attempt has failed. Returns when the next one begins, or the error of the call.
    pub(crate) fn failed(
        &mut self,
        failure: Failure,
        class: Class,
        now: Instant,
        random: u64,
    ) -> Result<Instant, Error> {
        self.may_be_applied |= failure.may_be_applied();
        let Some(moment) = self.retry.failed(class, now, self.deadline, random) else {
            return Err(self.error(class != Class::Lasting, failure));
        };
        self.last = Some(failure);
        Ok(moment)
    }

    fn error(&self, out_of_time: bool, failure: Failure) -> Error {
        Error {
            api: self.api,
            location: Box::new(self.location.clone()),
            attempts: self.count,
            out_of_time,
            may_be_applied: self.may_be_applied,
            failure,
        }
    }
}
