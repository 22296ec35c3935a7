//! The task that reads from a connection's socket and writes what callers could not. Pipeline, lifetime and frame
//! reader make the decisions.
//!
//! Invariant: when it ends, there is a cause, and every request on the connection has ended.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::{ApiKey, ResponseHeader};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{sleep_until, timeout};
use tracing::debug;

use crate::alarm::ReadAlarm;
use crate::deadline::Deadline;
use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::error::{CallErrorKind, CloseCause};
use crate::link::Shared;
use crate::pipeline::Ended;
use crate::reader::FrameReader;
use crate::ticket::Traits;
use crate::wire::Next;

/// How long a connection that this side closes may take to finish a request that is partly written.
const LINGER: Duration = Duration::from_secs(1);

pub(crate) struct Task {
    shared: Arc<Shared>,
    reader: FrameReader,
    /// The APIs for which surplus bytes in an answer were logged; once for each.
    surplus_seen: BTreeSet<ApiKey>,
}

impl Task {
    pub(crate) fn new(shared: &Arc<Shared>, max_frame_bytes: usize) -> Self {
        let reader = FrameReader::new(max_frame_bytes);
        Self { shared: Arc::clone(shared), reader, surplus_seen: BTreeSet::new() }
    }

    pub(crate) async fn run(mut self, mut read: ReadHalf<BoxStream>) {
        let Err(cause) = self.serve(&mut read).await;
        let (cause, unfinished, write) = self.end(cause);
        debug!(broker = %self.shared.endpoint, error = &*cause as &(dyn std::error::Error + 'static), "connection ended");
        if let Some(mut write) = write
            && matches!(*cause, CloseCause::ByClient | CloseCause::Idle | CloseCause::SessionExpired)
        {
            // On failure no caller is left to tell.
            let _ = timeout(LINGER, finish(&mut write, unfinished)).await;
        }
    }

    /// Serves the connection until it ends.
    async fn serve(&mut self, read: &mut ReadHalf<BoxStream>) -> Result<Infallible, CloseCause> {
        let shared = Arc::clone(&self.shared);
        let alarm = ReadAlarm::new(Arc::clone(&shared.read_due));
        let mut told = pin!(shared.told.notified());
        let mut timer = pin!(sleep_until(self.shared.env.now()));
        loop {
            let next = self.next()?;
            if let Some(at) = next.new_timer {
                timer.as_mut().reset(at.instant());
            }
            // Reading comes before writing, so that a request is not sent on a connection that the broker
            // has closed.
            tokio::select! { biased;
                () = &mut told => {
                    told.set(shared.told.notified());
                    Ok(())
                }
                () = &mut timer, if next.has_timer => self.expire(),
                result = alarm.watch(self.reader.fill(read)) => self.received(result),
                result = poll_fn(|cx| shared.wire().poll_write(cx)), if next.has_output => {
                    result.map_err(|source| CloseCause::Write { source })
                }
            }?;
        }
    }

    /// What to wait for next; fails if the connection ends.
    fn next(&self) -> Result<Next, CloseCause> {
        let now = self.shared.env.now();
        let mut wire = self.shared.wire();
        let ending = wire.ending(now);
        let is_expired = matches!(ending, Some(CloseCause::SessionExpired));
        let unsent = if is_expired { wire.pipeline.skip(|_| true) } else { Vec::new() };
        // Under the lock, so that no request begins after it.
        let cause = ending.map(|ending| self.shared.end(ending));
        let (must_end, is_empty) = (wire.must_end, wire.pipeline.is_empty());
        let next = wire.next(now);
        drop(wire);
        for (ticket, cause) in unsent.into_iter().zip(cause.into_iter().cycle()) {
            ticket.fail(false, CallErrorKind::Closed { source: Arc::clone(cause) }, &self.shared.endpoint);
        }
        match cause {
            _ if must_end => Err(CloseCause::ByClient),
            Some(_) if !is_expired => Err(CloseCause::Idle),
            // What is in flight is still answered.
            Some(_) if is_empty => Err(CloseCause::SessionExpired),
            _ => Ok(next),
        }
    }

    /// The timer has fired.
    fn expire(&self) -> Result<(), CloseCause> {
        let now = self.shared.env.now();
        let mut wire = self.shared.wire();
        let unsent = wire.expire(now);
        let stuck = wire.pipeline.stuck(now).map(|ticket| ticket.api);
        if let Some(api) = stuck {
            // Before any request ends, so that its caller finds the connection closed.
            self.shared.end(CloseCause::Unanswered { api });
        }
        drop(wire);
        for ticket in unsent {
            ticket.time_out(false, &self.shared.endpoint, now);
        }
        stuck.map_or(Ok(()), |api| Err(CloseCause::Unanswered { api }))
    }

    /// Takes what a read gave.
    fn received(&mut self, result: io::Result<usize>) -> Result<(), CloseCause> {
        let count = result.map_err(|source| CloseCause::Read { source })?;
        self.shared.counters.bytes_in.add(count as u64);
        if count == 0 {
            return Err(match self.reader.pending() {
                0 => CloseCause::ByBroker {
                    unanswered: self.shared.wire().pipeline.in_flight(),
                    received_any: self.reader.received_any(),
                },
                received => CloseCause::Truncated { received },
            });
        }
        while let Some(frame) = self.reader.next_frame().map_err(|source| CloseCause::Frame { source })? {
            self.answered(frame)?;
        }
        match self.reader.pending() {
            received if received > 0 && self.shared.wire().pipeline.in_flight() == 0 => {
                Err(CloseCause::Unsolicited { received })
            }
            _ => Ok(()),
        }
    }

    /// Gives an answer to its caller. Until it is decoded no request begins: it may ask for silence.
    fn answered(&mut self, frame: Bytes) -> Result<(), CloseCause> {
        let now = self.shared.env.now();
        // `take_frame` gives no frame without one.
        let received = ResponseHeader::peek_correlation_id(&frame).unwrap_or(-1);
        let answered = self.shared.wire().pipeline.answered(received);
        let mut ticket = answered
            .map_err(|unexpected| CloseCause::UnexpectedAnswer { received, expected: unexpected.expected })?;
        let api = ticket.api;
        let Traits { throttle, surplus } = match ticket.waiter.decode(frame) {
            Ok(traits) => traits,
            Err(source) => {
                // Before the request ends, as in `expire`.
                self.shared.end(CloseCause::Undecodable { api, source: source.clone() });
                ticket.fail(true, CallErrorKind::Decode { source: source.clone() }, &self.shared.endpoint);
                return Err(CloseCause::Undecodable { api, source });
            }
        };
        if surplus > 0 && self.surplus_seen.insert(api) {
            log_surplus(&self.shared.endpoint, api, surplus);
        }
        let until = (throttle > Duration::ZERO).then(|| Deadline::after(now, throttle).instant());
        let refused = self.shared.wire().pipeline.judged(until);
        ticket.answer(throttle, now);
        for ticket in refused {
            ticket.fail(false, CallErrorKind::Throttled { left: throttle }, &self.shared.endpoint);
        }
        Ok(())
    }

    /// Fails every request. Gives the cause that counts, the rest of the request that is partly written, and
    /// the stream for it.
    fn end(&self, cause: CloseCause) -> (Arc<CloseCause>, VecDeque<Bytes>, Option<WriteHalf<BoxStream>>) {
        let cause = Arc::clone(self.shared.end(cause));
        let now = self.shared.env.now();
        let (ended, unfinished, write) = self.shared.wire().end(now);
        for Ended { ticket, sent, deadline_is_over } in ended {
            if deadline_is_over {
                ticket.time_out(sent, &self.shared.endpoint, now);
            } else {
                ticket.fail(
                    sent,
                    CallErrorKind::Closed { source: Arc::clone(&cause) },
                    &self.shared.endpoint,
                );
            }
        }
        self.shared.places.close();
        self.shared.room.close();
        (cause, unfinished, write)
    }
}

/// Logs that an answer has bytes behind its last field.
pub(crate) fn log_surplus(broker: &Endpoint, api: ApiKey, bytes: usize) {
    debug!(%broker, %api, bytes, "bytes behind the last field of an answer are passed over");
}

/// Leaves the peer with whole frames.
async fn finish(write: &mut WriteHalf<BoxStream>, unfinished: VecDeque<Bytes>) -> io::Result<()> {
    for chunk in unfinished {
        write.write_all(&chunk).await?;
    }
    write.shutdown().await
}

impl Drop for Task {
    /// Also when the runtime drops the task; after the stream, which is dropped first.
    fn drop(&mut self) {
        self.end(CloseCause::RuntimeGone);
        self.shared.ended.send_replace(true);
    }
}
