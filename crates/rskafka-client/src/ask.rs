//! A request about one topic or partition, and the one entry of its answer.

use std::time::Duration;

use rskafka_cluster::transport::{CallOptions, Deadline};
use rskafka_cluster::{Answer, Call, Failure, Learned, Target, Via};
use rskafka_protocol::{ErrorCode, Request};

use crate::core::Core;
use crate::error::{Error, Outcome, Result};

/// How a request is sent, and how its answer is judged.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a, T> {
    pub(crate) core: &'a Core,
    pub(crate) target: T,
    pub(crate) topic: &'a str,
    pub(crate) deadline: Deadline,
    /// Whether it changes anything.
    pub(crate) writes: bool,
    /// What a repeat is answered if an earlier attempt was applied, and its answer was lost.
    pub(crate) already: ErrorCode,
    pub(crate) min_version: i16,
    pub(crate) max_version: Option<i16>,
}

impl<'a, T: Target> Ask<'a, T> {
    pub(crate) fn new(core: &'a Core, target: T, topic: &'a str, deadline: Deadline) -> Self {
        let already = ErrorCode::NONE;
        Self { core, target, topic, deadline, writes: true, already, min_version: 0, max_version: None }
    }

    /// Sends the request until an answer settles it. `build` is also told how many milliseconds the broker may take. `find` gives
    /// the code of the entry, the broker's explanation, and what the caller wants.
    ///
    /// A topic that a broker does not know may be new, so a read is repeated for the configured patience, at a leader until the
    /// deadline. The controller knows.
    pub(crate) async fn send<R: Request, V>(
        self,
        build: impl Fn(&T::Route, i32) -> R,
        find: impl Fn(R::Response) -> Option<(ErrorCode, Option<String>, V)>,
    ) -> Result<V> {
        let Self { core, target, topic, deadline, writes, already, min_version, max_version } = self;
        let patience = if target.location().partition.is_some() { deadline } else { core.patience() };
        let build = |route: &T::Route, _: &_| {
            let timeout_ms = core.broker_timeout_ms(deadline);
            let wait = Duration::from_millis(if writes { timeout_ms.unsigned_abs().into() } else { 0 });
            (build(route, timeout_ms), CallOptions { deadline, min_version, max_version, wait })
        };
        let judge = |answer: Answer<'_, R::Response, T::Route>| match find(answer.response) {
            None => Err(Learned::of_attempt(Failure::MissingInAnswer)),
            Some((code, _, value)) if code == already && writes && answer.may_be_applied => Ok(value),
            Some((code @ ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message, _))
                if writes || patience.is_over(core.cluster.env().now()) =>
            {
                Err((Learned::of_code(code, message.as_deref(), None), false))
            }
            Some((code, message, value)) => Learned::judged(code, message.as_deref(), None, value),
        };
        let sent = core.cluster.send(Call { target, via: Via::Control, deadline }, build, judge).await;
        sent.map_err(|failed| {
            let is_in_doubt = writes && failed.attempts.may_be_applied;
            let outcome = if is_in_doubt { Outcome::Unknown } else { Outcome::NotWritten };
            Error::of_cluster(failed.failure, &failed.attempts, outcome).located(None, topic, None)
        })
    }
}
