//! The attempts of one call: counts them, remembers what they may have done, and makes the error of them.

use rskafka_protocol::ApiKey;
use rskafka_transport::Deadline;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::retry::{Class, Next, Retry};
use crate::{Backoff, Broker, Error, Failure, Location};

/// The attempts of one call so far.
#[derive(Debug)]
pub struct Attempts {
    api: ApiKey,
    location: Location,
    deadline: Deadline,
    retry: Retry,
    count: u32,
    may_be_applied: bool,
    last: Option<Failure>,
}

impl Attempts {
    /// No attempt was made yet; `deadline` is that of the whole call.
    pub(crate) fn new(api: ApiKey, location: Location, backoff: Backoff, deadline: Deadline) -> Self {
        let retry = Retry::new(backoff);
        Self { api, location, deadline, retry, count: 0, may_be_applied: false, last: None }
    }

    /// The span of the whole call.
    pub fn span(&self) -> Span {
        let Location { topic, partition, .. } = &self.location;
        debug_span!("call", api = %self.api, topic = topic.as_deref(), partition, broker = Empty)
    }

    /// When the whole call ends.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// How many were begun.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether one that failed may have been applied all the same.
    pub fn may_be_applied(&self) -> bool {
        self.may_be_applied
    }

    /// Whether a failure of this class is followed by an attempt at once.
    pub(crate) fn is_at_once(&self, class: Class) -> bool {
        self.retry.is_at_once(class)
    }

    /// Begins an attempt that is of no certain broker.
    pub(crate) fn count_one(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Begins an attempt at a broker.
    pub(crate) fn begin(&mut self, broker: &Broker) {
        self.count_one();
        self.location.broker = Some(broker.id);
        self.location.endpoint = Some(broker.endpoint.clone());
    }

    /// The error of a call for which no broker was found. `asked` adds which broker was asked for metadata.
    pub(crate) fn unroutable(&mut self, failure: Failure, asked: impl FnOnce(Location) -> Location) -> Error {
        let out_of_time = failure.is_transient() || failure.is_timeout();
        // What an attempt failed with says more than that no other could be made.
        let failure = self.last.take().filter(|_| out_of_time).unwrap_or(failure);
        if self.location.endpoint.is_none() {
            self.location = asked(std::mem::take(&mut self.location));
        }
        self.error(out_of_time, failure)
    }

    /// Takes in that the attempt has failed. Returns when the next one begins, or the error of the call.
    pub(crate) fn failed(
        &mut self,
        failure: Failure,
        class: Class,
        now: Instant,
        random: u64,
    ) -> Result<Instant, Error> {
        self.may_be_applied |= failure.may_be_applied();
        match self.retry.failed(class, now, self.deadline, random) {
            Next::Again(moment) => {
                self.last = Some(failure);
                Ok(moment)
            }
            Next::GiveUp { out_of_time } => Err(self.error(out_of_time, failure)),
        }
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
