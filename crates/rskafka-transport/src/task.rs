//! The task that owns a connection's socket. It moves bytes and time; what they mean is decided by
//! [`Pipeline`] and the frame reader.
//!
//! Invariant: when it ends, there is a cause, and every request it was given has ended.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::{ApiKey, ResponseHeader};
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::config::ConnectionConfig;
use crate::counters::Counters;
use crate::deadline::Deadline;
use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::CloseCause;
use crate::link::{Failure, Shared, Submitted, Ticket, Traits};
use crate::pipeline::{Ended, Pipeline};
use crate::reader::FrameReader;

/// How many chunks go out in one system call. Small requests are one chunk each, one with a large payload
/// is two or three.
const MAX_SLICES: usize = 32;

/// How long a connection that this side closes may take to finish a request that is partly written.
const LINGER: Duration = Duration::from_secs(1);

/// A connection is never idle sooner, so that whoever opened it gets to use it, however busy the machine is.
const SHORTEST_IDLE: Duration = Duration::from_secs(1);

pub(crate) struct Task {
    env: Env,
    endpoint: Endpoint,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    submitted: mpsc::Receiver<Box<Submitted>>,
    pipeline: Pipeline<Ticket>,
    reader: FrameReader,
    /// The APIs in whose answers bytes were passed over, which is logged once for each.
    surplus_seen: BTreeSet<ApiKey>,
    idle_timeout: Duration,
}

impl Task {
    pub(crate) fn new(
        env: Env,
        endpoint: Endpoint,
        config: &ConnectionConfig,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        submitted: mpsc::Receiver<Box<Submitted>>,
    ) -> Self {
        let pipeline = Pipeline::new(config.max_in_flight);
        let reader = FrameReader::new(config.max_frame_bytes);
        let idle_timeout = config.idle_timeout.max(SHORTEST_IDLE);
        let surplus_seen = BTreeSet::new();
        Self { env, endpoint, shared, counters, submitted, pipeline, reader, surplus_seen, idle_timeout }
    }

    pub(crate) async fn run(mut self, stream: BoxStream) {
        // Also when the runtime drops this future.
        let _ended = EndGuard(Arc::clone(&self.shared));
        let (mut read, mut write) = tokio::io::split(stream);
        let cause = self.serve(&mut read, &mut write).await;
        let cause = Arc::clone(self.shared.end(cause));
        debug!(broker = %self.endpoint, error = &*cause as &(dyn std::error::Error + 'static), "connection ended");

        let unfinished = self.fail_all(&cause).await;
        if matches!(*cause, CloseCause::ByClient | CloseCause::Idle | CloseCause::SessionExpired) {
            // Nobody is left to tell if it fails.
            let _ = timeout(LINGER, finish(&mut write, unfinished)).await;
        }
    }

    /// Serves the connection until it ends.
    async fn serve(
        &mut self,
        read: &mut ReadHalf<BoxStream>,
        write: &mut WriteHalf<BoxStream>,
    ) -> CloseCause {
        let Self { env, endpoint, shared, counters, submitted, pipeline, reader, .. } = self;
        let mut told = pin!(shared.told.notified());
        let mut timer = pin!(sleep_until(env.now()));
        let mut timer_at: Option<Deadline> = None;
        let mut flushed = true;
        let mut idle_until: Option<Deadline> = None;
        loop {
            let opened = shared.opened.get();
            let session_ends = opened.copied().flatten();
            let is_over = session_ends.is_some_and(|end| end.is_over(env.now()));
            if is_over {
                // What is in flight is still answered; nothing else begins.
                let cause = shared.end(CloseCause::SessionExpired);
                let unsent = pipeline.take_waiting().into_iter();
                unsent.for_each(|ticket| {
                    ticket.fail(Failure::Closed { sent: false, cause: Arc::clone(cause) })
                });
                if pipeline.is_empty() {
                    return CloseCause::SessionExpired;
                }
            }
            // Opening it takes the time that it takes: the caller's function may be asked for a token.
            if !pipeline.is_empty() || opened.is_none() {
                idle_until = None;
            } else if idle_until.is_none() {
                let now = env.now();
                let idle_from = pipeline.silent_until().map_or(now, |until| until.max(now));
                idle_until = Some(Deadline::after(idle_from, self.idle_timeout));
            }
            // Deadlines mostly come in ascending order: the timer is touched only when an earlier one comes.
            let session_ends = session_ends.filter(|_| !is_over);
            let wake_at = [pipeline.wake_at(), idle_until, session_ends].into_iter().flatten().min();
            if let Some(wake_at) = wake_at
                && timer_at.is_none_or(|timer_at| wake_at < timer_at)
            {
                timer.as_mut().reset(wake_at.instant());
                timer_at = Some(wake_at);
            }
            pipeline.skip(Ticket::is_abandoned);
            let has_output = pipeline.has_output() || !flushed;

            // Reading comes before writing, so that a request is not sent on a connection that the broker
            // has closed; all that is submitted comes before writing, so that it goes out together.
            tokio::select! { biased;
                () = &mut told => {
                    if shared.cause().is_some() {
                        return CloseCause::ByClient;
                    }
                    told.set(shared.told.notified());
                }
                () = &mut timer, if timer_at.is_some() => {
                    timer_at = None;
                    let now = env.now();
                    let unsent = pipeline.expire(now).into_iter();
                    unsent.for_each(|ticket| ticket.fail(Failure::TimedOut { sent: false }));
                    if let Some(ticket) = pipeline.stuck(now) {
                        return CloseCause::Unanswered { api: ticket.api };
                    }
                    // A call that came at this moment is in time.
                    while let Ok(request) = submitted.try_recv() {
                        take_in(*request, pipeline);
                    }
                    if pipeline.is_empty() && idle_until.is_some_and(|until| until.is_over(now)) {
                        return CloseCause::Idle;
                    }
                }
                result = reader.fill(read) => {
                    counters.read(result.as_ref().map_or(0, |count| *count));
                    let answered = |api, surplus| {
                        if surplus > 0 && self.surplus_seen.insert(api) {
                            log_surplus(endpoint, api, surplus);
                        }
                    };
                    if let Err(cause) = received(result, reader, pipeline, env.now(), answered) {
                        return cause;
                    }
                }
                request = submitted.recv() => match request {
                    Some(request) => take_in(*request, pipeline),
                    None => return CloseCause::ByClient,
                },
                result = poll_fn(|cx| poll_write(pipeline, &mut flushed, write, counters, cx)), if has_output => {
                    if let Err(source) = result {
                        pipeline.write_failed();
                        return CloseCause::Write { source };
                    }
                }
            }
        }
    }

    /// Fails every request, and every one that comes. Gives the rest of the one that is partly written.
    async fn fail_all(&mut self, cause: &Arc<CloseCause>) -> VecDeque<Bytes> {
        let (ended, unfinished) = self.pipeline.end(self.env.now());
        for request in ended {
            let Ended { ticket, sent, deadline_is_over } = request;
            ticket.fail(match deadline_is_over {
                true => Failure::TimedOut { sent },
                false => Failure::Closed { sent, cause: Arc::clone(cause) },
            });
        }
        self.submitted.close();
        while let Some(request) = self.submitted.recv().await {
            request.ticket.fail(Failure::Closed { sent: false, cause: Arc::clone(cause) });
        }
        unfinished
    }
}

/// Puts a request in line, or refuses it because the broker has asked for too long a silence.
fn take_in(request: Submitted, pipeline: &mut Pipeline<Ticket>) {
    let Submitted { correlation_id, frame, patience, ticket } = request;
    let times = (ticket.started, patience);
    if let Err(ticket) = pipeline.push(correlation_id, frame.into_chunks(), times, ticket)
        && let Some(until) = pipeline.silent_until()
    {
        ticket.fail(Failure::Throttled { until });
    }
}

/// Says that an answer has bytes behind its last field.
pub(crate) fn log_surplus(broker: &Endpoint, api: ApiKey, bytes: usize) {
    debug!(%broker, %api, bytes, "bytes behind the last field of an answer are passed over");
}

/// Takes what a read gave. `answered` is told how many bytes stand behind the last field of each answer.
fn received(
    result: io::Result<usize>,
    reader: &mut FrameReader,
    pipeline: &mut Pipeline<Ticket>,
    now: Instant,
    mut answered: impl FnMut(ApiKey, usize),
) -> Result<(), CloseCause> {
    match result {
        Err(source) => return Err(CloseCause::Read { source }),
        Ok(0) if reader.pending() > 0 => return Err(CloseCause::Truncated { received: reader.pending() }),
        Ok(0) => {
            let (unanswered, received_any) = (pipeline.in_flight(), reader.received_any());
            return Err(CloseCause::ByBroker { unanswered, received_any });
        }
        Ok(_) => {}
    }
    while let Some(frame) = reader.next_frame().map_err(|source| CloseCause::Frame { source })? {
        // `take_frame` gives no frame without one.
        let received = ResponseHeader::peek_correlation_id(&frame).unwrap_or(-1);
        let ticket = pipeline
            .answered(received)
            .map_err(|unexpected| CloseCause::UnexpectedAnswer { received, expected: unexpected.expected })?;
        let api = ticket.api;
        let Traits { throttle, surplus } =
            ticket.answer(frame, now).map_err(|source| CloseCause::Undecodable { api, source })?;
        answered(api, surplus);
        if throttle > Duration::ZERO {
            let until = Deadline::after(now, throttle).instant();
            let refused = pipeline.silence(until).into_iter();
            refused.for_each(|ticket| ticket.fail(Failure::Throttled { until }));
        }
    }
    match reader.pending() {
        pending if pending > 0 && pipeline.in_flight() == 0 => {
            Err(CloseCause::Unsolicited { received: pending })
        }
        _ => Ok(()),
    }
}

/// Writes all of the pipeline's output. What was taken is noted there, so nothing is lost if this is not
/// polled to its end.
fn poll_write(
    pipeline: &mut Pipeline<Ticket>,
    flushed: &mut bool,
    write: &mut WriteHalf<BoxStream>,
    counters: &Counters,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(pipeline.output()) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        if count == 0 {
            break;
        }
        let taken = ready!(Pin::new(&mut *write).poll_write_vectored(cx, &slices[..count]))?;
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *flushed = false;
        counters.wrote(taken, pipeline.wrote(taken));
    }
    if !*flushed {
        ready!(Pin::new(write).poll_flush(cx))?;
        *flushed = true;
    }
    Poll::Ready(Ok(()))
}

/// Leaves the peer with whole frames.
async fn finish(write: &mut WriteHalf<BoxStream>, unfinished: VecDeque<Bytes>) -> io::Result<()> {
    for chunk in unfinished {
        write.write_all(&chunk).await?;
    }
    write.shutdown().await
}

/// Tells that the task has ended, in whatever way.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end(CloseCause::RuntimeGone);
        self.0.places.close();
        self.0.ended.send_replace(true);
    }
}
