//! Sends one request to the broker that it belongs to, and again while the caller's verdict allows it.
//!
//! For calls that may be made twice and in any order. Ordered callers use `locate`, `lease` and `learn` themselves.

use rskafka_protocol::Request;
use rskafka_transport::{CallOptions, Deadline};
use tracing::Instrument;

use crate::{Cluster, Failed, Learned, Lease, NotDone, Target, Via};

/// How to send a request.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a, T> {
    /// Which broker it belongs to.
    pub target: T,
    /// The connection it is sent over.
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

impl Cluster {
    /// Sends a request until `judge` accepts an answer or gives up, or time runs out. An attempt without a usable
    /// answer is repeated if its failure may pass.
    ///
    /// `build` makes the request for each route and lease, which knows the broker's versions, and says how it is sent. Cancel
    /// safe: a dropped future sends nothing more; what was sent may take effect.
    ///
    /// # Errors
    ///
    /// [`Failed`]: the last failure, how often and where the call was attempted, and whether it may have been applied.
    pub async fn send<R: Request, T: Target, V>(
        &self,
        call: Call<'_, T>,
        mut build: impl FnMut(&T::Route, &Lease) -> (R, CallOptions),
        mut judge: impl FnMut(Answer<'_, R::Response, T::Route>) -> Result<V, NotDone>,
    ) -> Result<V, Failed> {
        let Call { target, via, deadline } = call;
        let mut attempts = self.attempts(R::API_KEY, target, deadline);
        let span = attempts.span();
        let until_done = async {
            loop {
                let route = self.locate(target, &mut attempts).await?;
                let answered = match self.lease::<T>(&route, via, &mut attempts).await {
                    Ok(lease) => {
                        let (request, options) = build(&route, &lease);
                        lease.call(&request, options).await
                    }
                    Err(failure) => Err(failure),
                };
                let may_be_applied = attempts.may_be_applied;
                let judged = answered
                    .map_err(Learned::of_attempt)
                    .and_then(|response| judge(Answer { response, route: &route, may_be_applied }));
                let not_done = match judged {
                    Ok(value) => return Ok(value),
                    Err(not_done) => not_done,
                };
                let moment = self.learn(target, &route, not_done, &mut attempts)?;
                self.pause_until(moment).await;
            }
        };
        until_done.instrument(span).await.map_err(|failure| attempts.ended(failure))
    }
}
