//! The handle to a connection's task, by which requests and answers go as frames.
//!
//! Invariant: requests that wait and requests in flight each hold a place, and room for their bytes, and
//! there is a fixed amount of both; so neither the channel to the task nor its pipeline can overflow.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::{ApiKey, DecodeError, EncodeError, Frame};
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::config::ConnectionConfig;
use crate::counters::{Counters, InFlight};
use crate::deadline::Deadline;
use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::{CallError, CallErrorKind, CloseCause};
use crate::pipeline::Patience;
use crate::task::Task;

/// What the handles and the task of a connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Why the connection ended or is about to; the first cause stays.
    cause: OnceLock<Arc<CloseCause>>,
    /// Set once the connection is open: from when on no request may begin, if its session ends.
    pub(crate) opened: OnceLock<Option<Deadline>>,
    /// Tells the task that there is a cause, or that the connection is open.
    pub(crate) told: Notify,
    pub(crate) places: Arc<Semaphore>,
    /// A permit for each byte that may be queued or on the wire.
    pub(crate) room: Arc<Semaphore>,
    /// Becomes true once the socket is closed.
    pub(crate) ended: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn cause(&self) -> Option<&Arc<CloseCause>> {
        self.cause.get()
    }

    /// Notes why the connection ends and gives the cause that counts.
    pub(crate) fn end(&self, cause: CloseCause) -> &Arc<CloseCause> {
        self.cause.get_or_init(|| Arc::new(cause))
    }
}

/// A request on its way to the task.
///
/// Boxed, because a channel has room for 32 of them from the beginning, in each of thousands of connections.
pub(crate) struct Submitted {
    pub(crate) correlation_id: i32,
    pub(crate) frame: Frame,
    pub(crate) patience: Patience,
    pub(crate) ticket: Ticket,
}

/// Who waits for an answer.
pub(crate) struct Ticket {
    pub(crate) api: ApiKey,
    pub(crate) started: Instant,
    waiter: Box<dyn Waiter>,
    in_flight: InFlight,
    _held: [OwnedSemaphorePermit; 2],
}

/// A request without a usable answer.
#[derive(Debug)]
pub(crate) enum Failure {
    TimedOut {
        sent: bool,
    },
    Closed {
        sent: bool,
        cause: Arc<CloseCause>,
    },
    /// The broker has asked for a silence that ends after the request's time.
    Throttled {
        until: Instant,
    },
    Undecodable {
        source: DecodeError,
    },
}

impl Ticket {
    /// Whether the caller has dropped its future.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.waiter.is_abandoned()
    }

    /// Gives the answer to the caller, or discards it if nobody waits any more.
    pub(crate) fn answer(self, frame: Bytes, now: Instant) -> Result<Traits, DecodeError> {
        let traits = self.waiter.answer(frame)?;
        self.in_flight.answered(now - self.started, traits.throttle);
        Ok(traits)
    }

    pub(crate) fn fail(self, failure: Failure) {
        self.waiter.fail(failure);
    }
}

/// What the connection needs to know of an answer, whatever its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits {
    /// How long the broker wants the connection to be silent (KIP-219).
    pub(crate) throttle: Duration,
    /// How many bytes stand behind its last field.
    pub(crate) surplus: usize,
}

/// The caller's end of a request, whatever the type of its answer.
trait Waiter: Send {
    fn is_abandoned(&self) -> bool;
    fn answer(self: Box<Self>, frame: Bytes) -> Result<Traits, DecodeError>;
    fn fail(self: Box<Self>, failure: Failure);
}

struct Awaited<T, D> {
    reply: oneshot::Sender<Result<T, Failure>>,
    decode: D,
}

impl<T, D> Waiter for Awaited<T, D>
where
    T: Send,
    D: FnOnce(Bytes) -> Result<(T, Traits), DecodeError> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn answer(self: Box<Self>, frame: Bytes) -> Result<Traits, DecodeError> {
        let Self { reply, decode } = *self;
        match decode(frame) {
            Ok((answer, traits)) => {
                let _ = reply.send(Ok(answer));
                Ok(traits)
            }
            Err(source) => {
                let _ = reply.send(Err(Failure::Undecodable { source: source.clone() }));
                Err(source)
            }
        }
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ = self.reply.send(Err(failure));
    }
}

/// The handle. The task ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    env: Env,
    endpoint: Endpoint,
    client_id: String,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    requests: mpsc::Sender<Box<Submitted>>,
    /// How much room one request takes at most, so that a large one fits when it is alone.
    room: u32,
    next_correlation_id: AtomicI32,
}

impl Link {
    /// Starts the task that owns `stream`, on the current runtime.
    pub(crate) fn start(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        counters: &Arc<Counters>,
        stream: BoxStream,
    ) -> Self {
        let places =
            config.max_in_flight.max(1).saturating_add(config.max_queued).min(Semaphore::MAX_PERMITS);
        // Permits are counted in 32 bits.
        let room = u32::try_from(config.max_in_flight_bytes.max(1)).unwrap_or(u32::MAX);
        let shared = Arc::new(Shared {
            cause: OnceLock::new(),
            opened: OnceLock::new(),
            told: Notify::new(),
            places: Arc::new(Semaphore::new(places)),
            room: Arc::new(Semaphore::new(room as usize)),
            ended: watch::Sender::new(false),
        });
        let (requests, submitted) = mpsc::channel(places);
        let (shares, counts) = (Arc::clone(&shared), Arc::clone(counters));
        let task = Task::new(env.clone(), endpoint.clone(), config, shares, counts, submitted);
        tokio::spawn(task.run(stream));
        Self {
            env: env.clone(),
            endpoint: endpoint.clone(),
            client_id: config.client_id.clone(),
            shared,
            counters: Arc::clone(counters),
            requests,
            room,
            next_correlation_id: AtomicI32::new(0),
        }
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// One request, one answer, both whole frames. `encode` gets the correlation id once there is a place.
    pub(crate) async fn exchange(
        &self,
        api: ApiKey,
        deadline: Deadline,
        encode: &mut (dyn FnMut(i32) -> Result<Frame, EncodeError> + Send),
    ) -> Result<Bytes, CallError> {
        let patience = Patience { attempt: Duration::MAX, limit: deadline };
        self.call(api, patience, encode, |frame| Ok((frame, Traits::default()))).await
    }

    /// One request, one answer. `decode` is called by the connection's task, so that nothing behind the
    /// answer begins before it is known for how long the broker wants silence.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        api: ApiKey,
        patience: Patience,
        encode: &mut (dyn FnMut(i32) -> Result<Frame, EncodeError> + Send),
        decode: impl FnOnce(Bytes) -> Result<(T, Traits), DecodeError> + Send + 'static,
    ) -> Result<T, CallError> {
        let started = self.env.now();
        let (reply, answer) = oneshot::channel();
        let waiter = Box::new(Awaited { reply, decode });
        let submitted = self.submit(api, (started, patience), encode, waiter).await;
        let failure = match submitted {
            // Without an answer, the task was dropped with its runtime, and with it the knowledge of what was sent.
            Ok(()) => match answer.await.unwrap_or_else(|_| Err(self.closed(true))) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            },
            Err(Unsubmitted::Encode(source)) => {
                return Err(self.error(api, false, CallErrorKind::Encode { source }));
            }
            Err(Unsubmitted::Failed(failure)) => failure,
        };
        let now = self.env.now();
        Err(match failure {
            Failure::TimedOut { sent } => {
                self.error(api, sent, CallErrorKind::TimedOut { after: now - started })
            }
            Failure::Closed { sent, cause } => self.error(api, sent, CallErrorKind::Closed { source: cause }),
            Failure::Throttled { until } => {
                let left = until.saturating_duration_since(now);
                self.error(api, false, CallErrorKind::Throttled { left })
            }
            Failure::Undecodable { source } => self.error(api, true, CallErrorKind::Decode { source }),
        })
    }

    /// Hands a request to the task, once there is a place and room for it.
    async fn submit(
        &self,
        api: ApiKey,
        (started, patience): (Instant, Patience),
        encode: &mut (dyn FnMut(i32) -> Result<Frame, EncodeError> + Send),
        waiter: Box<dyn Waiter>,
    ) -> Result<(), Unsubmitted> {
        let deadline = patience.from(started);
        if deadline.is_over(started) {
            return Err(Unsubmitted::Failed(Failure::TimedOut { sent: false }));
        }
        let place = self.acquire(&self.shared.places, 1, deadline).await?;
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(correlation_id).map_err(Unsubmitted::Encode)?;
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX).min(self.room);
        let room = self.acquire(&self.shared.room, bytes, deadline).await?;
        let in_flight = InFlight::new(&self.counters);
        let ticket = Ticket { api, started, waiter, in_flight, _held: [place, room] };
        let submitted = Box::new(Submitted { correlation_id, frame, patience, ticket });
        self.requests.try_send(submitted).map_err(|_| Unsubmitted::Failed(self.closed(false)))
    }

    async fn acquire(
        &self,
        semaphore: &Arc<Semaphore>,
        permits: u32,
        deadline: Deadline,
    ) -> Result<OwnedSemaphorePermit, Unsubmitted> {
        if let Ok(permit) = Arc::clone(semaphore).try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let waiting = Arc::clone(semaphore).acquire_many_owned(permits);
        match timeout_at(deadline.instant(), waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(AcquireError { .. })) => Err(Unsubmitted::Failed(self.closed(false))),
            Err(_) => Err(Unsubmitted::Failed(Failure::TimedOut { sent: false })),
        }
    }

    pub(crate) fn error(&self, api: ApiKey, sent: bool, kind: CallErrorKind) -> CallError {
        CallError::new(self.endpoint.clone(), api, sent, kind)
    }

    fn closed(&self, sent: bool) -> Failure {
        Failure::Closed { sent, cause: Arc::clone(self.shared.end(CloseCause::RuntimeGone)) }
    }

    pub(crate) fn close_cause(&self) -> Option<&Arc<CloseCause>> {
        self.shared.cause()
    }

    /// Tells the task to end. Calls fail from now on.
    pub(crate) fn end(&self, cause: CloseCause) {
        self.shared.end(cause);
        self.shared.told.notify_one();
    }

    /// Tells the task that the connection is open: from now on it may be idle. No request begins from
    /// `session_ends` on; those in flight are still answered.
    pub(crate) fn opened(&self, session_ends: Option<Deadline>) {
        // A connection is opened once.
        let _ = self.shared.opened.set(session_ends);
        self.shared.told.notify_one();
    }

    /// Waits until the socket is closed, without holding the connection open.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.shared.ended.subscribe();
        async move {
            // An error means that the task is gone, which is as good.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }
}

/// Why a request was not handed to the task.
enum Unsubmitted {
    Encode(EncodeError),
    Failed(Failure),
}
