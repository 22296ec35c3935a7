//! The state that callers and the task of a connection share under one lock: the requests, and the stream to write
//! them to.
//!
//! Invariant: the task is told of all that a caller could not write or flush, and polls the stream with its own waker.
//! No ticket ends under the lock.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use rskafka_protocol::Frame;
use tokio::io::{AsyncWrite, WriteHalf};
use tokio::time::Instant;

use crate::config::ConnectionConfig;
use crate::counters::Counters;
use crate::deadline::Deadline;
use crate::dial::BoxStream;
use crate::error::CloseCause;
use crate::lifetime::Lifetime;
use crate::pipeline::{Ended, Pipeline, Timing};
use crate::ticket::Ticket;

/// How many chunks go out in one system call. Small requests are one chunk each, one with a large payload
/// is two or three.
const MAX_SLICES: usize = 32;

pub(crate) struct Wire {
    pub(crate) pipeline: Pipeline<Ticket>,
    pub(crate) lifetime: Lifetime,
    counters: Arc<Counters>,
    /// Gone once the connection has ended.
    stream: Option<WriteHalf<BoxStream>>,
    is_flushed: bool,
    /// Why a write by a caller failed. The task reads all that it can before it takes this, as with a write of its
    /// own.
    write_error: Option<io::Error>,
    /// For when the task's timer is set.
    timer_at: Option<Deadline>,
    /// A handle has ended the connection.
    pub(crate) must_end: bool,
}

/// What the task waits for.
pub(crate) struct Next {
    pub(crate) has_output: bool,
    /// The moment for which to set the timer.
    pub(crate) new_timer: Option<Deadline>,
    pub(crate) has_timer: bool,
}

impl Wire {
    pub(crate) fn new(
        config: &ConnectionConfig,
        counters: Arc<Counters>,
        stream: WriteHalf<BoxStream>,
    ) -> Self {
        Self {
            pipeline: Pipeline::new(config.max_in_flight),
            lifetime: Lifetime::new(config.idle_timeout),
            counters,
            stream: Some(stream),
            is_flushed: true,
            write_error: None,
            timer_at: None,
            must_end: false,
        }
    }

    /// Puts a request in line, and writes it where it is first in line and nothing is left to read. Gives
    /// whether the task must be woken; or the ticket, if the broker has asked for too long a silence.
    pub(crate) fn submit(
        &mut self,
        (correlation_id, frame): (i32, Frame),
        timing: Timing,
        ticket: Ticket,
        now: Instant,
        is_read_due: bool,
    ) -> Result<bool, Ticket> {
        let is_first = self.is_flushed && self.pipeline.is_written();
        let times = (ticket.started, timing);
        self.pipeline.push(correlation_id, frame.into_chunks(), times, ticket)?;
        self.lifetime.used();
        if is_first && !is_read_due {
            // This poll wakes no one: what it leaves, the task writes.
            let written = self.poll_write(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Err(error)) = written {
                self.write_error = Some(error);
            }
        }
        Ok(self.has_output() || self.new_timer(now).is_some())
    }

    fn has_output(&self) -> bool {
        self.pipeline.has_output() || !self.is_flushed || self.write_error.is_some()
    }

    /// The moment for which the timer must be set. Deadlines mostly come in ascending order: it is touched only when an
    /// earlier one comes.
    fn new_timer(&self, now: Instant) -> Option<Deadline> {
        let wake_at = [self.pipeline.wake_at(), self.lifetime.wake_at(now)].into_iter().flatten().min();
        wake_at.filter(|wake_at| self.timer_at.is_none_or(|timer_at| *wake_at < timer_at))
    }

    /// Why the connection ends at `now`, if it does.
    pub(crate) fn ending(&mut self, now: Instant) -> Option<CloseCause> {
        self.lifetime.check(now, !self.pipeline.is_empty(), self.pipeline.silent_until())
    }

    /// What the task is to wait for. It sets its timer by it.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        let new_timer = self.new_timer(now);
        self.timer_at = new_timer.or(self.timer_at);
        Next { has_output: self.has_output(), new_timer, has_timer: self.timer_at.is_some() }
    }

    /// The timer has fired. Takes out the unsent requests whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Ticket> {
        self.timer_at = None;
        self.pipeline.expire(now)
    }

    /// Writes all that may go out. Progress is kept, so nothing is lost if this is not polled to its end.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.write_error.take() {
            return Poll::Ready(Err(error));
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let mut stream = Pin::new(stream);
        loop {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(self.pipeline.output()) {
                *slice = IoSlice::new(chunk);
                count += 1;
            }
            if count == 0 {
                break;
            }
            let taken = match ready!(stream.as_mut().poll_write_vectored(cx, &slices[..count])) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                taken => taken,
            };
            let taken = taken.inspect_err(|_| self.pipeline.write_failed())?;
            self.is_flushed = false;
            self.counters.bytes_out.add(taken as u64);
            self.counters.requests.add(self.pipeline.wrote(taken) as u64);
        }
        if !self.is_flushed {
            ready!(stream.poll_flush(cx)).inspect_err(|_| self.pipeline.write_failed())?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends all requests. Gives also what is left of the one that is partly written, and the stream for it.
    pub(crate) fn end(
        &mut self,
        now: Instant,
    ) -> (Vec<Ended<Ticket>>, VecDeque<Bytes>, Option<WriteHalf<BoxStream>>) {
        let (ended, rest) = self.pipeline.end(now);
        (ended, rest, self.stream.take())
    }
}
