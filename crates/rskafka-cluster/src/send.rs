//! One request to the broker that it belongs to, and again where the judgement of its answer allows it.
//!
//! For calls that may be made twice and in any order. Ordered callers reach brokers and judge themselves.

use rskafka_protocol::{ErrorCode, Request};
use rskafka_transport::{Deadline, Reply};
use tracing::Instrument;

use crate::{Attempts, Cluster, Error, LeaderHint, Learned, Prepared, Reached, Target, Via};

/// How a request is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a, T> {
    /// Which broker it belongs to.
    pub target: T,
    /// The connection it goes over.
    pub via: Via<'a>,
    /// When the whole call ends, with every attempt and pause.
    pub deadline: Deadline,
}

/// An answer to be judged.
#[derive(Debug)]
pub struct Answer<'a, M, R> {
    /// The answer.
    pub response: M,
    /// Where it came from.
    pub route: &'a R,
    /// Whether an earlier attempt of this call may have been applied without an answer.
    pub may_be_applied: bool,
}

/// What to do after an answer.
#[derive(Debug, Clone)]
pub enum Verdict<T> {
    /// The answer is good, and this is what the caller wants of it.
    Done(T),
    /// Try again: doing so can do no harm.
    Retry(Learned),
    /// Give up.
    Fail(Learned),
}

impl<T> Verdict<T> {
    /// By the error code answered: `value`, unless there is an error.
    pub fn of_code(code: ErrorCode, message: Option<&str>, leader: Option<LeaderHint>, value: T) -> Self {
        if code.is_ok() { Self::Done(value) } else { Self::refused(code, message, leader) }
    }

    /// By an error code answered.
    pub fn refused(code: ErrorCode, message: Option<&str>, leader: Option<LeaderHint>) -> Self {
        let learned = Learned::of_code(code, message, leader);
        if code.is_retriable() { Self::Retry(learned) } else { Self::Fail(learned) }
    }

    /// For an answer that does not have what was asked for.
    pub fn missing() -> Self {
        Self::Fail(Learned::missing())
    }
}

impl Cluster {
    /// Sends a request to the broker that it belongs to, until `judge` is content or time runs out. An attempt
    /// without a usable answer is made again if its failure may pass.
    ///
    /// `build` makes the request for each route. Cancel safe: a dropped future sends nothing more; what was sent
    /// may take effect.
    pub async fn send<R: Request, T: Target, V>(
        &self,
        call: Call<'_, T>,
        build: impl FnMut(&T::Route) -> Prepared<R>,
        judge: impl FnMut(Answer<'_, R::Response, T::Route>) -> Verdict<V>,
    ) -> Result<V, Error> {
        let attempts = self.attempts(R::API_KEY, call.target, call.deadline);
        let span = attempts.span();
        self.send_until_done(call, attempts, build, judge).instrument(span).await
    }

    async fn send_until_done<R: Request, T: Target, V>(
        &self,
        call: Call<'_, T>,
        mut attempts: Attempts,
        mut build: impl FnMut(&T::Route) -> Prepared<R>,
        mut judge: impl FnMut(Answer<'_, R::Response, T::Route>) -> Verdict<V>,
    ) -> Result<V, Error> {
        let Call { target, via, deadline } = call;
        loop {
            let Reached { route, lease } = self.reach(target, via, &mut attempts).await?;
            let answered = match lease {
                Ok(lease) => lease.call(&build(&route), deadline).await,
                Err(failure) => Err(failure),
            };
            let (learned, may_repeat) = match answered {
                Ok(Reply { response, .. }) => {
                    let may_be_applied = attempts.may_be_applied;
                    match judge(Answer { response, route: &route, may_be_applied }) {
                        Verdict::Done(value) => return Ok(value),
                        Verdict::Retry(learned) => (learned, true),
                        Verdict::Fail(learned) => (learned, false),
                    }
                }
                Err(failure) => {
                    let may_pass = failure.is_transient();
                    (Learned::of_failure(failure), may_pass)
                }
            };
            self.after_failure(target, &route, learned, may_repeat, &mut attempts).await?;
        }
    }
}
