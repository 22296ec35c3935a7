//! A request on its way to its answer: decoded, served, perhaps waiting, encoded.
//!
//! Invariant: [`Api::check`] runs without the cluster's lock, all later steps with it.

use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::{ErrorCode, Frame, Message, Request, RequestHeader, encode_response};
use tokio::time::Instant;

use super::Versions;
use crate::authentication::Authentication;
use crate::clock::Now;
use crate::state::{ConnectionId, State, TopicRef};

/// A request that the brokers serve.
pub(super) trait Api: Request {
    /// Does the work that needs no state, and gives what serves the request.
    fn check(self, _version: i16) -> Serve<Self::Response> {
        Box::new(|call| self.serve(call))
    }

    /// Serves the request.
    fn serve(self, call: &mut Call<'_>) -> Outcome<Self::Response>;

    /// The partitions that the request names; an index of -1 stands for a whole topic. None by default.
    fn targets(&self, _version: i16) -> Vec<(TopicRef, i32)> {
        Vec::new()
    }

    /// An answer with this code wherever the answer can have one for what the request names.
    fn refuse(&self, code: ErrorCode, version: i16) -> Self::Response;

    /// Whether the client expects an answer; if not, an error ends the connection.
    fn is_answered(&self) -> bool {
        true
    }
}

/// Where and when a request is served.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) versions: &'a Versions,
    pub(crate) now: Now,
    pub(crate) broker: i32,
    pub(crate) connection: ConnectionId,
    pub(crate) version: i16,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) authentication: &'a mut Authentication,
    /// How long the client should be silent after the answer (KIP-219).
    pub(crate) throttle: Duration,
}

impl Call<'_> {
    /// Whether the broker may change topics.
    pub(crate) fn may_change_topics(&self) -> bool {
        !self.state.profile.quirks().zookeeper || self.state.controller() == self.broker
    }
}

/// What serving a request leads to.
pub(crate) enum Outcome<A> {
    Answer(A),
    /// It comes after the delay, and then the connection ends.
    LastAnswer {
        response: A,
        delay: Duration,
    },
    /// The client expects none.
    NoAnswer,
    /// The connection ends.
    Close,
    /// To be tried again when a partition it waits for has changed, at the latest at `until`.
    Wait {
        until: Instant,
        again: Serve<A>,
    },
}

/// Serves a request, for the first time or again.
pub(crate) type Serve<A> = Box<dyn FnOnce(&mut Call<'_>) -> Outcome<A> + Send>;

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Frame),
    /// It comes after the delay, and then the connection ends.
    LastAnswer(Frame, Duration),
    NoAnswer,
    Close,
    /// To be called again when woken, at the latest then.
    Wait(Instant),
}

/// A decoded request of any API.
pub(crate) trait Exchange: Send {
    fn targets(&self) -> Vec<(TopicRef, i32)>;

    fn refuse(&self, code: ErrorCode) -> Reply;

    /// To be called before the first [`Exchange::run`]: does the work that needs no state.
    fn check(&mut self);

    fn run(&mut self, call: &mut Call<'_>) -> Reply;
}

/// A request of type `A`.
pub(super) struct Decoded<A: Api> {
    version: i16,
    correlation_id: i32,
    stage: Stage<A>,
}

enum Stage<A: Api> {
    Request(A),
    /// Checked, or waiting to be served again.
    Ready(Serve<A::Response>),
    Done,
}

impl<A: Api> Decoded<A> {
    /// A request that is answered in the form of `version`.
    pub(super) fn of(request: A, version: i16, correlation_id: i32) -> Box<dyn Exchange> {
        Box::new(Self { version, correlation_id, stage: Stage::Request(request) })
    }

    pub(super) fn boxed(header: &RequestHeader, body: &Bytes) -> Option<Box<dyn Exchange>> {
        match A::decode(header.api_version, body) {
            Ok(request) => Some(Self::of(request, header.api_version, header.correlation_id)),
            Err(error) => {
                tracing::debug!(%error, "request does not decode: the connection ends");
                None
            }
        }
    }
}

impl<A: Api> Exchange for Decoded<A> {
    fn targets(&self) -> Vec<(TopicRef, i32)> {
        match &self.stage {
            Stage::Request(request) => request.targets(self.version),
            _ => Vec::new(),
        }
    }

    fn refuse(&self, code: ErrorCode) -> Reply {
        match &self.stage {
            Stage::Request(request) if request.is_answered() => {
                answer(request.refuse(code, self.version), self.version, self.correlation_id, Duration::ZERO)
            }
            _ => Reply::Close,
        }
    }

    fn check(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Request(request) => Stage::Ready(request.check(self.version)),
            other => other,
        };
    }

    fn run(&mut self, call: &mut Call<'_>) -> Reply {
        self.check();
        let outcome = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Ready(serve) => serve(call),
            Stage::Request(_) | Stage::Done => Outcome::Close,
        };
        match outcome {
            Outcome::Answer(response) => answer(response, self.version, self.correlation_id, call.throttle),
            Outcome::LastAnswer { response, delay } => {
                match answer(response, self.version, self.correlation_id, call.throttle) {
                    Reply::Answer(frame) => Reply::LastAnswer(frame, delay),
                    other => other,
                }
            }
            Outcome::NoAnswer => Reply::NoAnswer,
            Outcome::Close => Reply::Close,
            Outcome::Wait { until, again } => {
                self.stage = Stage::Ready(again);
                Reply::Wait(until)
            }
        }
    }
}

fn answer<M: Message>(mut response: M, version: i16, correlation_id: i32, throttle: Duration) -> Reply {
    if let Some(time) = response.throttle_time_ms_mut().filter(|_| throttle > Duration::ZERO) {
        *time = i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX);
    }
    match encode_response(&response, version, correlation_id) {
        Ok(frame) => Reply::Answer(frame),
        Err(error) => {
            tracing::error!(message = M::NAME, version, %error, "answer does not encode");
            Reply::Close
        }
    }
}
