//! Who waits for the answer to a request, and how the request ends.
//!
//! Invariant: a ticket ends its request exactly once, and never under a lock of the connection: the caller that this
//! wakes may take its own locks and make the next request at once.

use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::{ApiKey, DecodeError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::counters::InFlight;
use crate::endpoint::Endpoint;
use crate::error::{CallError, CallErrorKind};

/// Who waits for an answer. While it lives, the request holds its place in the queue.
pub(crate) struct Ticket {
    pub(crate) api: ApiKey,
    pub(crate) started: Instant,
    pub(crate) waiter: Box<dyn Waiter>,
    pub(crate) in_flight: InFlight,
    pub(crate) _held: [OwnedSemaphorePermit; 2],
}

impl Ticket {
    /// Gives the answer to the caller, or discards it if the caller is gone.
    pub(crate) fn answer(self, throttle: Duration, now: Instant) {
        self.in_flight.answered(now - self.started, throttle);
        self.release().end(None);
    }

    /// Ends the request without a usable answer.
    pub(crate) fn fail(self, sent: bool, kind: CallErrorKind, broker: &Endpoint) {
        let error = CallError::new(broker.clone(), self.api, sent, kind);
        self.release().end(Some(error));
    }

    /// Ends the request because its time is over.
    pub(crate) fn time_out(self, sent: bool, broker: &Endpoint, now: Instant) {
        let after = now - self.started;
        self.fail(sent, CallErrorKind::TimedOut { after }, broker);
    }

    /// Frees the request's place before the caller hears of the end.
    fn release(self) -> Box<dyn Waiter> {
        self.waiter
    }
}

/// What the connection needs to know of an answer, whatever its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits {
    /// How long the broker wants the connection to be silent (KIP-219).
    pub(crate) throttle: Duration,
    /// The number of bytes behind its last field.
    pub(crate) surplus: usize,
}

/// The caller's end of a request, whatever the type of its answer.
pub(crate) trait Waiter: Send {
    /// Whether the caller has dropped its future.
    fn is_abandoned(&self) -> bool;

    /// Decodes the answer and keeps it.
    fn decode(&mut self, frame: Bytes) -> Result<Traits, DecodeError>;

    /// Gives the caller the error, or the answer that was decoded before.
    fn end(self: Box<Self>, error: Option<CallError>);
}

/// A waiter for an answer that `decode` decodes, and where the answer comes.
pub(crate) fn await_answer<T: Send + 'static>(
    decode: impl FnOnce(Bytes) -> Result<(T, Traits), DecodeError> + Send + 'static,
) -> (Box<dyn Waiter>, oneshot::Receiver<Result<T, CallError>>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Awaited { reply, decode: Some(decode), answer: None }), answer)
}

struct Awaited<T, D> {
    reply: oneshot::Sender<Result<T, CallError>>,
    decode: Option<D>,
    answer: Option<T>,
}

impl<T, D> Waiter for Awaited<T, D>
where
    T: Send,
    D: FnOnce(Bytes) -> Result<(T, Traits), DecodeError> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn decode(&mut self, frame: Bytes) -> Result<Traits, DecodeError> {
        let Some(decode) = self.decode.take() else { return Ok(Traits::default()) };
        let (answer, traits) = decode(frame)?;
        self.answer = Some(answer);
        Ok(traits)
    }

    fn end(self: Box<Self>, error: Option<CallError>) {
        let Self { reply, answer, .. } = *self;
        if let Some(end) = error.map(Err).or(answer.map(Ok)) {
            // A caller that is gone needs no answer.
            let _ = reply.send(end);
        }
    }
}
