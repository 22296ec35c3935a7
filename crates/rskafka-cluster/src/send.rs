//! One request to the broker that it belongs to, and again where the caller's verdict allows it.
//!
//! Invariant: no attempt begins after the deadline, and none is repeated without a `Retry` verdict, so
//! that ordered requests can share this loop with unordered ones.

use std::time::Duration;

use rskafka_protocol::{ErrorCode, Request, Uuid};
use rskafka_transport::{CallOptions, Deadline, Reply};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span};

use crate::metadata::LeaderLookup;
use crate::{Broker, Cluster, Error, Failure, Lane, Leader, LeaderHint, Place};

/// Which broker a request belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// The controller, or a broker that passes requests on to it.
    Controller,
    /// The leader of a partition.
    Leader {
        /// The topic's name.
        topic: &'a str,
        /// The partition's index.
        partition: i32,
        /// The topic's id; zero to take whichever topic has the name.
        topic_id: Uuid,
    },
}

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

/// How a request is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Which broker it belongs to.
    pub target: Target<'a>,
    /// The connection it goes over.
    pub via: Via<'a>,
    /// When the whole call ends, with every attempt and pause.
    pub deadline: Deadline,
}

/// Where an attempt goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The broker.
    pub broker: Broker,
    /// The partition's leader, for [`Target::Leader`].
    pub leader: Option<Leader>,
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

/// What came of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a, T> {
    /// The answer, or why there is none.
    pub outcome: Result<&'a T, &'a Failure>,
    /// Whether an earlier attempt of this call may have taken effect without an answer.
    pub may_repeat: bool,
}

/// What to do after an attempt.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The answer is good.
    Done,
    /// Try again: doing so can do no harm.
    Retry(News),
    /// Give up.
    Fail(News),
}

/// What an attempt that was in vain has shown.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// Why it failed; `None` for the attempt's own failure.
    pub why: Option<Failure>,
    /// Whether the broker may not be the one to ask.
    pub is_stale: bool,
    /// The leader that the broker named instead.
    pub leader: Option<LeaderHint>,
}

impl News {
    /// An error code of an answer.
    pub fn of_code(code: ErrorCode, message: Option<&str>, leader: Option<LeaderHint>) -> Self {
        let why = Some(Failure::Code { code, message: message.map(str::to_owned) });
        // An epoch that the broker has not come to may be one of a topic that was made anew since.
        let is_stale = code.is_stale_metadata() || code == ErrorCode::UNKNOWN_LEADER_EPOCH;
        Self { why, is_stale, leader }
    }

    /// An attempt without an answer: the broker may be gone, and another lead.
    pub fn of_failure() -> Self {
        Self { is_stale: true, ..Self::default() }
    }
}

impl Verdict {
    /// For requests that may be repeated: an attempt without a usable answer is made again if its
    /// failure may pass.
    pub fn of_failure(failure: &Failure) -> Self {
        if failure.is_transient() { Self::Retry(News::of_failure()) } else { Self::Fail(News::default()) }
    }

    /// For requests that may be repeated: by the error code answered.
    pub fn of_code(code: ErrorCode, message: Option<&str>, leader: Option<LeaderHint>) -> Self {
        let news = News::of_code(code, message, leader);
        if code.is_ok() {
            Self::Done
        } else if code.is_retriable() {
            Self::Retry(news)
        } else {
            Self::Fail(news)
        }
    }
}

/// A good answer, and where it came from.
#[derive(Debug)]
pub struct Answer<T> {
    /// The answer.
    pub reply: Reply<T>,
    /// Where it came from.
    pub route: Route,
}

impl Cluster {
    /// Sends a request to the broker that it belongs to, until `decide` is content or time runs out.
    ///
    /// `build` makes the request anew for each route. Cancel safe: a dropped future sends nothing more;
    /// what was sent may take effect.
    pub async fn send<R: Request>(
        &self,
        call: Call<'_>,
        build: impl FnMut(&Route) -> Prepared<R>,
        decide: impl FnMut(Attempt<'_, R::Response>) -> Verdict,
    ) -> Result<Answer<R::Response>, Error> {
        let mut place = Place::default();
        if let Target::Leader { topic, partition, .. } = call.target {
            place = Place { topic: Some(topic.to_owned()), partition: Some(partition), ..place };
        }
        let (topic, partition) = (place.topic.as_deref(), place.partition);
        let span = debug_span!("call", api = %R::API_KEY, topic, partition, broker = Empty);
        self.attempts(call, place, build, decide).instrument(span).await
    }

    async fn attempts<R: Request>(
        &self,
        call: Call<'_>,
        mut place: Place,
        mut build: impl FnMut(&Route) -> Prepared<R>,
        mut decide: impl FnMut(Attempt<'_, R::Response>) -> Verdict,
    ) -> Result<Answer<R::Response>, Error> {
        let mut attempts = 0;
        let mut may_repeat = false;
        let mut was_told = false;
        let mut last = None;
        loop {
            let error = |place: &Place, attempts, gave_up, may_have_taken_effect, failure| Error {
                api: R::API_KEY,
                place: Box::new(place.clone()),
                attempts,
                gave_up,
                may_have_taken_effect,
                failure,
            };
            let route = match self.route(call).await {
                Ok(route) => route,
                Err(failure) => {
                    // What an attempt failed with says more than that no other could be made.
                    let gave_up = failure.is_transient() || failure.is_timeout();
                    let failure = last.filter(|_| gave_up).unwrap_or(failure);
                    if place.endpoint.is_none() {
                        place = self.asked(place);
                    }
                    return Err(error(&place, attempts, gave_up, may_repeat, failure));
                }
            };
            Span::current().record("broker", route.broker.id);
            place.broker = Some(route.broker.id);
            place.endpoint = Some(route.broker.endpoint.clone());
            attempts += 1;
            if attempts > 1 {
                self.address(&route.broker.endpoint).memory.counters().retried();
            }
            let outcome = self.attempt(&call, &route, build(&route)).await;
            let reference = outcome.as_ref().map(|reply| &reply.response);
            let verdict = decide(Attempt { outcome: reference, may_repeat });
            let (news, may_retry) = match verdict {
                Verdict::Done => match outcome {
                    Ok(reply) => return Ok(Answer { reply, route }),
                    Err(failure) => return Err(error(&place, attempts, false, may_repeat, failure)),
                },
                Verdict::Retry(news) => (news, true),
                Verdict::Fail(news) => (news, false),
            };
            let failure = news.why.clone().or(outcome.err()).unwrap_or(Failure::MissingInAnswer);
            may_repeat |= failure.may_have_taken_effect();
            let knows_where = self.take_in(call.target, &route, &news);
            if !may_retry {
                return Err(error(&place, attempts, false, may_repeat, failure));
            }
            tracing::debug!(api = %R::API_KEY, %place, attempts, %failure, "retrying");
            // One hint is followed at once. A broker that goes on giving them is in no state to be asked.
            let goes_on_at_once = knows_where && !was_told;
            was_told = knows_where;
            if !goes_on_at_once {
                let pause = self.config().backoff.pause(attempts, self.env().random());
                if call.deadline.remaining(self.env().now()) <= pause {
                    return Err(error(&place, attempts, true, may_repeat, failure));
                }
                self.pause(pause).await;
            }
            last = Some(failure);
        }
    }

    /// Takes in what an attempt has shown; whether the next one knows better where to go.
    fn take_in(&self, target: Target<'_>, route: &Route, news: &News) -> bool {
        let mut metadata = self.metadata();
        match (target, &news.leader) {
            (Target::Leader { topic, partition, .. }, Some(hint)) => {
                let topic_id = route.leader.as_ref().map(|leader| leader.topic_id).unwrap_or_default();
                metadata.apply_hint(topic, topic_id, partition, hint)
            }
            (Target::Leader { topic, .. }, None) if news.is_stale => {
                metadata.mark_stale(topic);
                false
            }
            (Target::Leader { .. }, None) => false,
            (Target::Controller, _) => {
                // A controller whose quota is exceeded is the controller.
                let code = news.why.as_ref().and_then(Failure::code);
                if code != Some(ErrorCode::THROTTLING_QUOTA_EXCEEDED) {
                    metadata.mark_controller_stale();
                }
                false
            }
        }
    }

    async fn attempt<R: Request>(
        &self,
        call: &Call<'_>,
        route: &Route,
        prepared: Prepared<R>,
    ) -> Result<Reply<R::Response>, Failure> {
        let address = self.address(&route.broker.endpoint);
        let lane = match call.via {
            Via::Own(lane) => lane,
            Via::SharedProduce => &address.produce,
            Via::Control => &address.control,
        };
        let options =
            CallOptions { deadline: call.deadline, max_version: prepared.max_version, wait: prepared.wait };
        let mut is_first = true;
        loop {
            let connection = lane.connection(self, &address, Some(route.broker.id), call.deadline).await?;
            match connection.call(&prepared.request, options).await {
                Ok(reply) => return Ok(reply),
                // The connection was ended while it was idle, or by another request, before a byte of this
                // one was on it: that is no failure of this one.
                Err(error) if is_first && !error.was_sent() && error.close_cause().is_some() => {
                    is_first = false;
                }
                Err(source) => return Err(Failure::Call { source }),
            }
        }
    }

    async fn route(&self, call: Call<'_>) -> Result<Route, Failure> {
        match call.target {
            Target::Controller => {
                let broker = self.controller(call.deadline).await?;
                Ok(Route { broker, leader: None })
            }
            Target::Leader { topic, partition, topic_id } => {
                let leader = self.leader(topic, partition, call.deadline).await?;
                if !topic_id.is_zero() && !leader.topic_id.is_zero() && leader.topic_id != topic_id {
                    return Err(Failure::TopicRecreated);
                }
                Ok(Route { broker: leader.broker.clone(), leader: Some(leader) })
            }
        }
    }

    /// The leader of a partition, asked for if it is not known. Waits while there is none.
    pub async fn leader(&self, topic: &str, partition: i32, deadline: Deadline) -> Result<Leader, Failure> {
        let patience = Deadline::after(self.env().now(), self.config().unknown_topic_patience);
        let mut rounds = 0;
        loop {
            let lookup = self.metadata().leader(topic, partition);
            let (failure, until) = match lookup {
                LeaderLookup::Leader(leader) => return Ok(leader),
                LeaderLookup::NoLeader => (Failure::NoLeader, deadline),
                LeaderLookup::NoPartition => (Failure::UnknownPartition, deadline.min(patience)),
                LeaderLookup::Ask => match self.refresh(topic, partition, deadline).await {
                    Ok(()) => continue,
                    Err(Failure::UnknownTopic) => (Failure::UnknownTopic, deadline.min(patience)),
                    Err(failure) if failure.is_transient() => (failure, deadline),
                    Err(failure) => return Err(failure),
                },
            };
            rounds += 1;
            let pause = self.config().backoff.pause(rounds, self.env().random());
            if until.remaining(self.env().now()) <= pause {
                return Err(failure);
            }
            self.pause(pause).await;
            self.metadata().mark_stale(topic);
        }
    }
}
