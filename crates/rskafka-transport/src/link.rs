//! The handle to a connection, in terms of frames: places in the queue, deadlines, the end.
//!
//! Invariant: each request that waits or is in flight holds a place and room for its bytes. Both are limited, so the
//! queue cannot overflow.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::{ApiKey, DecodeError, Frame, Request, encode_request};
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::alarm::ReadDue;
use crate::config::ConnectionConfig;
use crate::counters::{Counters, InFlight};
use crate::deadline::Deadline;
use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::{CallError, CallErrorKind, CloseCause};
use crate::lock;
use crate::pipeline::Timing;
use crate::task::Task;
use crate::ticket::{Ticket, Traits, await_answer};
use crate::wire::Wire;

/// What the handles and the task of a connection share.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) endpoint: Endpoint,
    pub(crate) counters: Arc<Counters>,
    /// Why the connection ended or is about to; the first cause stays.
    cause: OnceLock<Arc<CloseCause>>,
    wire: Mutex<Wire>,
    /// Tells the task to look at the wire.
    pub(crate) told: Notify,
    pub(crate) read_due: ReadDue,
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

    /// Notes why the connection ends and gives the cause that counts. Once there is one, no request begins.
    pub(crate) fn end(&self, cause: CloseCause) -> &Arc<CloseCause> {
        self.cause.get_or_init(|| Arc::new(cause))
    }

    /// Release it before a ticket ends.
    pub(crate) fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.wire)
    }
}

/// The handle. The connection ends when it is dropped.
#[derive(derive_more::Debug)]
#[debug("Link({})", shared.endpoint)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    client_id: String,
    /// The most room that one request takes, so that a large one fits when it is alone.
    room: u32,
    next_correlation_id: AtomicI32,
}

impl Link {
    /// Starts the task that reads from `stream`, on the current runtime.
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
        let (read, write) = tokio::io::split(stream);
        let shared = Arc::new(Shared {
            env: env.clone(),
            endpoint: endpoint.clone(),
            counters: Arc::clone(counters),
            cause: OnceLock::new(),
            wire: Mutex::new(Wire::new(config, Arc::clone(counters), write)),
            told: Notify::new(),
            // The task has not looked yet.
            read_due: Arc::new(AtomicBool::new(true)),
            places: Arc::new(Semaphore::new(places)),
            room: Arc::new(Semaphore::new(room as usize)),
            ended: watch::Sender::new(false),
        });
        tokio::spawn(Task::new(&shared, config.max_frame_bytes).run(read));
        let (client_id, next_correlation_id) = (config.client_id.clone(), AtomicI32::new(0));
        Self { shared, client_id, room, next_correlation_id }
    }

    /// One request, one answer. Waits for a place and for room. `decode` is called by the connection's task, so
    /// that nothing behind the answer begins before it is known for how long the broker wants silence.
    pub(crate) async fn call<R: Request, T: Send + 'static>(
        &self,
        request: &R,
        version: i16,
        timing: Timing,
        decode: impl FnOnce(Bytes) -> Result<(T, Traits), DecodeError> + Send + 'static,
    ) -> Result<T, CallError> {
        let reserved = self.reserve(request, version, timing).await?;
        let api = reserved.entry.api;
        let mut reply = self.enqueue(reserved, self.shared.env.now(), decode)?;
        (&mut reply.answer).await.unwrap_or_else(|_| Err(self.closed(api, true)))
    }

    /// Waits for a place and for room, and holds them for the request.
    pub(crate) async fn reserve<R: Request>(
        &self,
        request: &R,
        version: i16,
        timing: Timing,
    ) -> Result<Reserved, CallError> {
        let entry = self.begin(R::API_KEY, timing)?;
        let place = self.acquire(&self.shared.places, 1, entry).await?;
        let request = self.encode(request, version)?;
        let room = self.acquire(&self.shared.room, self.room_for(&request.1), entry).await?;
        Ok(Reserved { entry, request, held: [place, room] })
    }

    /// Queues a request now; fails if there is no place or no room for it.
    pub(crate) fn submit<R: Request, T: Send + 'static>(
        &self,
        request: &R,
        version: i16,
        timing: Timing,
        decode: impl FnOnce(Bytes) -> Result<(T, Traits), DecodeError> + Send + 'static,
    ) -> Result<Reply<T>, CallError> {
        let entry = self.begin(R::API_KEY, timing)?;
        let place = self.try_acquire(&self.shared.places, 1, entry)?;
        let request = self.encode(request, version)?;
        let room = self.try_acquire(&self.shared.room, self.room_for(&request.1), entry)?;
        self.enqueue(Reserved { entry, request, held: [place, room] }, entry.started, decode)
    }

    fn begin(&self, api: ApiKey, timing: Timing) -> Result<Entry, CallError> {
        let started = self.shared.env.now();
        let entry = Entry { api, started, timing };
        if timing.from(started).is_over(started) {
            return Err(self.timed_out(entry));
        }
        Ok(entry)
    }

    fn encode<R: Request>(&self, request: &R, version: i16) -> Result<(i32, Frame), CallError> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        match encode_request(request, version, correlation_id, Some(&self.client_id)) {
            Ok(frame) => Ok((correlation_id, frame)),
            Err(source) => Err(self.error(R::API_KEY, false, CallErrorKind::Encode { source })),
        }
    }

    fn room_for(&self, frame: &Frame) -> u32 {
        u32::try_from(frame.size_in_bytes()).unwrap_or(u32::MAX).min(self.room)
    }

    /// Hands a request that has its place to the wire.
    pub(crate) fn enqueue<T: Send + 'static>(
        &self,
        reserved: Reserved,
        now: Instant,
        decode: impl FnOnce(Bytes) -> Result<(T, Traits), DecodeError> + Send + 'static,
    ) -> Result<Reply<T>, CallError> {
        let Reserved { entry: Entry { api, started, timing }, request, held } = reserved;
        let (waiter, answer) = await_answer(decode);
        let reply = Reply { answer, shared: Arc::clone(&self.shared) };
        let in_flight = InFlight::new(&self.shared.counters);
        let ticket = Ticket { api, started, waiter, in_flight, _held: held };
        let is_read_due = self.shared.read_due.load(Ordering::Relaxed);

        let mut wire = self.shared.wire();
        if wire.lifetime.is_session_over(now) {
            self.shared.end(CloseCause::SessionExpired);
        }
        if self.shared.cause().is_some() {
            return Err(self.closed(api, false));
        }
        let submitted = wire.submit(request, timing, ticket, now, is_read_due);
        let silent_until = wire.pipeline.silent_until();
        drop(wire);
        let must_wake = submitted.map_err(|_| {
            // Only a silence keeps a request out.
            let left = silent_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            self.error(api, false, CallErrorKind::Throttled { left })
        })?;
        if must_wake {
            self.shared.told.notify_one();
        }
        Ok(reply)
    }

    async fn acquire(
        &self,
        semaphore: &Arc<Semaphore>,
        permits: u32,
        entry: Entry,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        if let Ok(permit) = Arc::clone(semaphore).try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let waiting = Arc::clone(semaphore).acquire_many_owned(permits);
        match timeout_at(entry.timing.from(entry.started).instant(), waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(AcquireError { .. })) => Err(self.closed(entry.api, false)),
            Err(_) => Err(self.timed_out(entry)),
        }
    }

    fn try_acquire(
        &self,
        semaphore: &Arc<Semaphore>,
        permits: u32,
        entry: Entry,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        Arc::clone(semaphore).try_acquire_many_owned(permits).map_err(|refused| match refused {
            TryAcquireError::Closed => self.closed(entry.api, false),
            TryAcquireError::NoPermits => self.error(entry.api, false, CallErrorKind::Full),
        })
    }

    pub(crate) fn error(&self, api: ApiKey, sent: bool, kind: CallErrorKind) -> CallError {
        CallError::new(self.shared.endpoint.clone(), api, sent, kind)
    }

    fn timed_out(&self, entry: Entry) -> CallError {
        self.error(entry.api, false, CallErrorKind::TimedOut { after: self.shared.env.now() - entry.started })
    }

    /// The error of a request on a connection that has ended.
    pub(crate) fn closed(&self, api: ApiKey, sent: bool) -> CallError {
        let source = Arc::clone(self.shared.end(CloseCause::RuntimeGone));
        self.error(api, sent, CallErrorKind::Closed { source })
    }

    /// Tells the task to end. Calls fail from now on.
    pub(crate) fn end(&self, cause: CloseCause) {
        self.shared.end(cause);
        self.shared.wire().must_end = true;
        self.shared.told.notify_one();
    }

    /// Tells the task that the connection is open: from now on it may be idle. No request begins from
    /// `session_ends` on; those in flight are still answered.
    pub(crate) fn opened(&self, session_ends: Option<Deadline>) {
        self.shared.wire().lifetime.opened(session_ends);
        self.shared.told.notify_one();
    }

    /// Waits until the socket is closed, without holding the connection open.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.shared.ended.subscribe();
        async move {
            // An error means that the task is gone: then the socket is closed too.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end(CloseCause::ByClient);
    }
}

/// The answer to come.
///
/// Dropping it takes the request back if it has not begun, so that its place and its room are free at once.
pub(crate) struct Reply<T> {
    pub(crate) answer: oneshot::Receiver<Result<T, CallError>>,
    shared: Arc<Shared>,
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if self.answer.is_terminated() {
            return;
        }
        self.answer.close();
        let taken_back = self.shared.wire().pipeline.skip(|ticket| ticket.waiter.is_abandoned());
        // Not under the lock: free room wakes callers.
        drop(taken_back);
    }
}

/// A request that holds its place and its room, and is not queued yet.
pub(crate) struct Reserved {
    entry: Entry,
    /// With its correlation id.
    request: (i32, Frame),
    held: [OwnedSemaphorePermit; 2],
}

/// A request on its way into the queue.
#[derive(Clone, Copy)]
struct Entry {
    api: ApiKey,
    started: Instant,
    timing: Timing,
}
