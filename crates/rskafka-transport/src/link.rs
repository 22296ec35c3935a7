//! The handle to a connection's task, by which requests and answers go as frames.
//!
//! Invariant: requests that wait and requests in flight each hold a place, and there is a fixed number of
//! places; so neither the channel to the task nor its pipeline can overflow.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rskafka_protocol::{ApiKey, EncodeError, Frame};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout_at;

use crate::config::ConnectionConfig;
use crate::deadline::Deadline;
use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::{CallError, CallErrorKind, CloseCause};
use crate::task::Task;

/// What the handles and the task of a connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Why the connection ended or is about to; the first cause stays.
    cause: OnceLock<Arc<CloseCause>>,
    /// Tells the task that there is a cause.
    pub(crate) told_to_end: Notify,
    pub(crate) places: Arc<Semaphore>,
    /// Becomes true once the socket is closed.
    pub(crate) ended: watch::Sender<bool>,
}

impl Shared {
    /// Notes why the connection ends and gives the cause that counts.
    pub(crate) fn end(&self, cause: CloseCause) -> &Arc<CloseCause> {
        self.cause.get_or_init(|| Arc::new(cause))
    }
}

/// A request on its way to the task.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) correlation_id: i32,
    pub(crate) frame: Frame,
    pub(crate) deadline: Deadline,
    pub(crate) ticket: Ticket,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) api: ApiKey,
    reply: oneshot::Sender<Result<Bytes, Failure>>,
    _place: OwnedSemaphorePermit,
}

/// A request without an answer; without a cause, its time was over.
#[derive(Debug)]
struct Failure {
    sent: bool,
    cause: Option<Arc<CloseCause>>,
}

impl Ticket {
    /// Whether the caller has dropped its future.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    pub(crate) fn answer(self, frame: Bytes) {
        // Nobody may be waiting any more: the answer is discarded.
        let _ = self.reply.send(Ok(frame));
    }

    pub(crate) fn time_out(self, sent: bool) {
        let _ = self.reply.send(Err(Failure { sent, cause: None }));
    }

    pub(crate) fn close(self, sent: bool, cause: &Arc<CloseCause>) {
        let _ = self.reply.send(Err(Failure { sent, cause: Some(Arc::clone(cause)) }));
    }
}

/// The handle. The task ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    env: Env,
    endpoint: Endpoint,
    client_id: String,
    shared: Arc<Shared>,
    requests: mpsc::Sender<Submitted>,
    next_correlation_id: AtomicI32,
}

impl Link {
    /// Starts the task that owns `stream`, on the current runtime.
    pub(crate) fn start(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        stream: BoxStream,
    ) -> Self {
        let places =
            config.max_in_flight.max(1).saturating_add(config.max_queued).min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            cause: OnceLock::new(),
            told_to_end: Notify::new(),
            places: Arc::new(Semaphore::new(places)),
            ended: watch::Sender::new(false),
        });
        let (requests, submitted) = mpsc::channel(places);
        let task = Task::new(env.clone(), endpoint.clone(), config, Arc::clone(&shared), submitted);
        tokio::spawn(task.run(stream));
        Self {
            env: env.clone(),
            endpoint: endpoint.clone(),
            client_id: config.client_id.clone(),
            shared,
            requests,
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
        let started = self.env.now();
        let timed_out =
            |sent| self.error(api, sent, CallErrorKind::TimedOut { after: self.env.now() - started });
        if deadline.is_over(started) {
            return Err(timed_out(false));
        }
        let place = match Arc::clone(&self.shared.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let place = Arc::clone(&self.shared.places).acquire_owned();
                match timeout_at(deadline.instant(), place).await {
                    Ok(Ok(place)) => place,
                    Ok(Err(_)) => return Err(self.closed(api, false)),
                    Err(_) => return Err(timed_out(false)),
                }
            }
        };
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(correlation_id)
            .map_err(|source| self.error(api, false, CallErrorKind::Encode { source }))?;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket { api, reply, _place: place };
        if self.requests.try_send(Submitted { correlation_id, frame, deadline, ticket }).is_err() {
            return Err(self.closed(api, false));
        }
        match answer.await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(Failure { sent, cause: None })) => Err(timed_out(sent)),
            Ok(Err(Failure { sent, cause: Some(source) })) => {
                Err(self.error(api, sent, CallErrorKind::Closed { source }))
            }
            // The task was dropped with its runtime, and with it the knowledge of what was sent.
            Err(_) => Err(self.closed(api, true)),
        }
    }

    pub(crate) fn error(&self, api: ApiKey, sent: bool, kind: CallErrorKind) -> CallError {
        CallError::new(self.endpoint.clone(), api, sent, kind)
    }

    fn closed(&self, api: ApiKey, sent: bool) -> CallError {
        let source = Arc::clone(self.shared.end(CloseCause::RuntimeGone));
        self.error(api, sent, CallErrorKind::Closed { source })
    }

    pub(crate) fn close_cause(&self) -> Option<&Arc<CloseCause>> {
        self.shared.cause.get()
    }

    /// Tells the task to end. Calls fail from now on.
    pub(crate) fn end(&self, cause: CloseCause) {
        self.shared.end(cause);
        self.shared.told_to_end.notify_one();
    }

    /// Waits until the socket is closed.
    pub(crate) async fn ended(&self) {
        // An error means that the task is gone, which is as good.
        let _ = self.shared.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
