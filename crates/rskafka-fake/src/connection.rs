//! One connection at a broker: frames in, one request at a time served, frames out.
//!
//! Invariant: answers go out in the order of the requests, and a request is taken only when the answer
//! before it is out; what is read ahead is bounded.

mod reading;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rskafka_protocol::{Frame, RequestHeader};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::reading::{Arrived, End, read_requests};
use crate::api::{Call, Exchange, Reply};
use crate::authentication::Authentication;
use crate::fault::{Action, Direction, Fault, Rewrite, Rewritten};
use crate::shared::Listed;
use crate::stream::{Raw, Stream};

/// How many requests are read ahead of the one being served, where Kafka leaves them in the socket's
/// buffer: so that the record can tell when a request arrived.
const READ_AHEAD: usize = 8;
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_millis(100);
/// The most chunks of a frame in one write.
const MAX_SLICES: usize = 16;

/// Serves a connection until either side ends it.
pub(crate) async fn serve(raw: Box<dyn Raw>, listed: Listed) {
    let listed = Arc::new(listed);
    let stream = Stream::new(raw, listed.clone());
    #[cfg(feature = "tls")]
    if let Some(acceptor) = &listed.shared.security.tls {
        let stream = tokio::select! {
            biased;
            () = listed.connected.cut.notified() => return,
            stream = acceptor.accept(stream) => stream,
        };
        match stream {
            Ok(stream) => serve_over(stream, &listed).await,
            Err(error) => tracing::debug!(connection = listed.id, %error, "no TLS"),
        }
        return;
    }
    serve_over(stream, &listed).await;
}

async fn serve_over<S: AsyncRead + AsyncWrite>(stream: S, listed: &Listed) {
    let Listed { connected, shared, id } = listed;
    let (read, write) = tokio::io::split(stream);
    let (sender, requests) = mpsc::channel(READ_AHEAD);
    let hung_up = Notify::new();
    let reading = async {
        let end = read_requests(read, sender, listed).await;
        tracing::trace!(broker = connected.broker, connection = id, %end, "no more requests");
        if matches!(end, End::Partial) {
            shared.partial_frames.fetch_add(1, Ordering::Relaxed);
        }
        hung_up.notify_one();
    };
    let authentication = shared.security.authentication();
    let idle = shared.with(|state, _| state.configs.number(connected.broker, "connections.max.idle.ms"));
    // Kafka takes a negative time for none.
    let idle = u64::try_from(idle).ok().map(Duration::from_millis);
    let (hung_up, throttle) = (&hung_up, Duration::ZERO);
    let mut server = Server { write, listed, hung_up, authentication, throttle, idle };
    tokio::pin!(reading);
    let mut more = true;
    let mut serving = Box::pin(server.run(requests));
    let answered = loop {
        tokio::select! {
            biased;
            () = connected.cut.notified() => return,
            result = &mut serving => break result,
            // What was read is still served.
            () = &mut reading, if more => more = false,
        }
    };
    drop(serving);
    tracing::trace!(broker = connected.broker, connection = id, result = ?answered, "closed");
    if answered.is_ok() {
        // TLS tells the client of the end; a client that reads nothing need not receive that.
        let _ = timeout(FAREWELL, server.write.shutdown()).await;
    }
    if answered.is_err() && more {
        // The client no longer reads its answers; find out whether it left a request unfinished.
        tokio::select! {
            biased;
            () = connected.cut.notified() => {}
            () = reading => {}
        }
    }
}

struct Server<'a, W> {
    write: W,
    listed: &'a Listed,
    /// The client sends nothing more.
    hung_up: &'a Notify,
    authentication: Authentication,
    /// How long the client should be silent after the present request.
    throttle: Duration,
    /// How long the client may send nothing; `None` for no limit.
    idle: Option<Duration>,
}

impl<W: AsyncWrite + Unpin> Server<'_, W> {
    async fn run(&mut self, mut requests: mpsc::Receiver<Arrived>) -> io::Result<()> {
        while let Some(Arrived { sequence, header, body }) = self.next(&mut requests).await {
            let now = self.listed.shared.now();
            let is_spoken = self.listed.shared.versions.has(&header);
            if !self.authentication.admits(header.api_key, is_spoken, now) {
                return Ok(());
            }
            self.throttle = Duration::ZERO;
            let Some(exchange) = self.listed.shared.versions.decode(&header, &body) else {
                return Ok(());
            };
            if !self.serve(sequence, &header, body, exchange).await? {
                return Ok(());
            }
            // The answer is out, and nothing more is taken meanwhile (KIP-219).
            if self.throttle > Duration::ZERO {
                sleep(self.throttle).await;
            }
        }
        Ok(())
    }

    /// The next request; `None` when the client has ended, or was idle for too long.
    async fn next(&self, requests: &mut mpsc::Receiver<Arrived>) -> Option<Arrived> {
        let Some(idle) = self.idle else {
            return requests.recv().await;
        };
        loop {
            let received = || self.listed.connected.passed(Direction::Received);
            let before = received();
            match timeout(idle, requests.recv()).await {
                Ok(request) => return request,
                Err(_) if received() == before => return None,
                Err(_) => {}
            }
        }
    }

    /// Serves one request; returns whether the connection stays open.
    async fn serve(
        &mut self,
        sequence: u64,
        header: &RequestHeader,
        body: Bytes,
        exchange: Box<dyn Exchange>,
    ) -> io::Result<bool> {
        let Listed { connected, shared, .. } = self.listed;
        let strike = shared.with(|state, now| {
            state.received.update(sequence, |request| request.taken = Some(now.instant));
            state.strike(header.api_key, connected.broker, || exchange.targets())
        });
        let Some(Fault { action, applies, delay, throttle, .. }) = strike else {
            drop(body);
            let reply = self.apply(header, exchange).await;
            return self.reply(sequence, reply).await;
        };
        tracing::debug!(?header, ?action, applies, ?delay, "fault");
        self.throttle = throttle;
        let refusal = match &action {
            Action::Code(code) => Some(exchange.refuse(*code)),
            _ => None,
        };
        let truth = if applies { self.apply(header, exchange).await } else { Reply::NoAnswer };
        if delay > Duration::ZERO {
            sleep(delay).await;
        }
        match action {
            Action::Truth => self.reply(sequence, truth).await,
            Action::Code(_) => self.reply(sequence, refusal.unwrap_or(Reply::NoAnswer)).await,
            Action::Swallow => Ok(true),
            Action::Close => Ok(false),
            Action::Rewrite(rewrite) => {
                if let Some(answer) = self.rewrite(rewrite, header, &body).await {
                    self.write(sequence, vec![answer]).await?;
                }
                Ok(true)
            }
            Action::Tamper(tamper) => {
                let (frame, is_last) = match truth {
                    Reply::Answer(frame) => (frame, false),
                    Reply::LastAnswer(frame, _) => (frame, true),
                    other => return self.reply(sequence, other).await,
                };
                let closes = is_last || tamper.closes();
                self.write(sequence, vec![tamper.apply(&frame)]).await?;
                Ok(!closes)
            }
        }
    }

    /// Serves other requests in place of one, and gives another answer.
    async fn rewrite(&mut self, rewrite: Rewrite, header: &RequestHeader, body: &Bytes) -> Option<Bytes> {
        let Rewritten { bodies, answer } = (rewrite.0)(header, body);
        let mut first = None;
        for body in bodies {
            let exchange = self.listed.shared.versions.decode(header, &body)?;
            let reply = self.apply(header, exchange).await;
            first.get_or_insert(reply);
        }
        answer(match first {
            Some(Reply::Answer(frame)) => Some(frame.to_bytes()),
            _ => None,
        })
    }

    /// Lets the cluster serve the request, however long that waits.
    async fn apply(&mut self, header: &RequestHeader, mut exchange: Box<dyn Exchange>) -> Reply {
        exchange.check();
        loop {
            match self.call(header, &mut *exchange) {
                Reply::Wait(until) => {
                    if !self.wait(until).await {
                        return Reply::Close;
                    }
                }
                reply => return reply,
            }
        }
    }

    fn call(&mut self, header: &RequestHeader, exchange: &mut dyn Exchange) -> Reply {
        let Self { listed: Listed { id, connected, shared }, authentication, throttle, .. } = self;
        shared.with(|state, now| {
            let mut call = Call {
                state,
                versions: &shared.versions,
                now,
                broker: connected.broker,
                connection: *id,
                version: header.api_version,
                client_id: header.client_id.as_deref(),
                authentication,
                throttle: *throttle,
            };
            let reply = exchange.run(&mut call);
            *throttle = call.throttle;
            if !matches!(reply, Reply::Wait(_)) {
                call.state.waiting.leave(*id);
            }
            reply
        })
    }

    /// Waits until the connection is woken or the time comes; `false` if the client has hung up.
    async fn wait(&self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.listed.connected.woken.notified() => true,
            () = self.hung_up.notified() => false,
            () = sleep_until(until) => true,
        }
    }

    async fn reply(&mut self, sequence: u64, reply: Reply) -> io::Result<bool> {
        match reply {
            Reply::Answer(frame) => {
                self.write(sequence, Frame::into_chunks(frame)).await?;
                Ok(true)
            }
            Reply::LastAnswer(frame, delay) => {
                if delay > Duration::ZERO {
                    sleep(delay).await;
                }
                self.write(sequence, Frame::into_chunks(frame)).await?;
                Ok(false)
            }
            Reply::NoAnswer => Ok(true),
            Reply::Close | Reply::Wait(_) => Ok(false),
        }
    }

    async fn write(&mut self, sequence: u64, chunks: Vec<Bytes>) -> io::Result<()> {
        self.listed.shared.with(|state, now| {
            state.received.update(sequence, |request| request.answered = Some(now.instant));
        });
        write_chunks(&mut self.write, chunks.into()).await
    }
}

async fn write_chunks<W>(write: &mut W, mut chunks: VecDeque<Bytes>) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    chunks.retain(|chunk| !chunk.is_empty());
    while !chunks.is_empty() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        for (slice, chunk) in slices.iter_mut().zip(&chunks) {
            *slice = IoSlice::new(chunk);
        }
        let count = chunks.len().min(MAX_SLICES);
        let mut written = write.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(chunk) = chunks.front_mut() {
            if written < chunk.len() {
                chunk.advance(written);
                break;
            }
            written -= chunk.len();
            chunks.pop_front();
        }
    }
    write.flush().await
}
