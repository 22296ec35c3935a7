//! One connection at a broker: frames in, one request at a time served, frames out.
//!
//! Invariant: answers go out in the order of the requests, and a request is taken only when the answer
//! before it is out; what is read ahead is bounded.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rskafka_protocol::{Frame, RequestHeader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::{Call, Exchange, Reply};
use crate::fault::{Action, Strike};
use crate::received::Arrival;
use crate::shared::{Listed, Shared};

/// How many requests are read ahead of the one being served, where Kafka leaves them in the socket's
/// buffer: so that the record can tell when a request arrived.
const READ_AHEAD: usize = 8;
/// Enough for a small request in one read; larger bodies go past it into their own memory.
const READ_BUFFER: usize = 4096;
/// The most chunks of a frame in one write.
const MAX_SLICES: usize = 16;

/// A request that is there and not yet taken.
struct Arrived {
    sequence: u64,
    header: RequestHeader,
    body: Bytes,
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve<R, W>(read: R, write: W, broker: i32, shared: Arc<Shared>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let listed = shared.connected(broker);
    let connected = listed.connected.clone();
    let (sender, requests) = mpsc::channel(READ_AHEAD);
    let hung_up = Notify::new();
    let reading = async {
        let result = read_requests(read, sender, &listed).await;
        tracing::trace!(broker, connection = listed.id, ?result, "no more requests");
        hung_up.notify_one();
        // What was read is still served.
        pending::<()>().await
    };
    let mut server = Server { write, listed: &listed, hung_up: &hung_up };
    tokio::select! {
        biased;
        () = connected.cut.notified() => {}
        result = server.run(requests) => tracing::trace!(broker, connection = listed.id, ?result, "closed"),
        () = reading => {}
    }
}

async fn read_requests<R>(read: R, sender: mpsc::Sender<Arrived>, listed: &Listed) -> io::Result<()>
where
    R: AsyncRead + Unpin,
{
    let Listed { id, connected, shared } = listed;
    let mut read = BufReader::with_capacity(READ_BUFFER, read);
    loop {
        let frame = read_frame(&mut read, shared.limits.max_request_bytes).await?;
        let (header, body) = RequestHeader::decode(&frame).map_err(io::Error::other)?;
        let sequence = shared.with(|state, now| {
            state.received.arrived(Arrival {
                broker: connected.broker,
                connection: *id,
                header: &header,
                size: rskafka_protocol::frame::LENGTH_PREFIX + frame.len(),
                at: now.instant,
            })
        });
        shared.arrivals.notify_waiters();
        // The body is now the only part of the frame that is held.
        drop(frame);
        if sender.send(Arrived { sequence, header, body }).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads one frame into memory of its size.
async fn read_frame<R>(read: &mut R, limit: usize) -> io::Result<Bytes>
where
    R: AsyncRead + Unpin,
{
    let length = read.read_i32().await?;
    let length = match usize::try_from(length) {
        Ok(length) if length <= limit => length,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame length {length}"))),
    };
    let mut frame = BytesMut::with_capacity(length);
    while frame.len() < length {
        let missing = length - frame.len();
        let mut room = (&mut frame).limit(missing);
        if read.read_buf(&mut room).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

struct Server<'a, W> {
    write: W,
    listed: &'a Listed,
    /// The client sends nothing more.
    hung_up: &'a Notify,
}

impl<W: AsyncWrite + Unpin> Server<'_, W> {
    async fn run(&mut self, mut requests: mpsc::Receiver<Arrived>) -> io::Result<()> {
        while let Some(Arrived { sequence, header, body }) = requests.recv().await {
            let Some(exchange) = self.listed.shared.versions.decode(&header, &body) else {
                return Ok(());
            };
            drop(body);
            if !self.serve(sequence, &header, exchange).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Serves one request; gives whether the connection goes on.
    async fn serve(
        &mut self,
        sequence: u64,
        header: &RequestHeader,
        exchange: Box<dyn Exchange>,
    ) -> io::Result<bool> {
        let Listed { connected, shared, .. } = self.listed;
        let strike = shared.with(|state, now| {
            state.received.taken(sequence, now.instant);
            state.strike(header.api_key, connected.broker, || exchange.targets())
        });
        let Some(Strike { action, applies, delay }) = strike else {
            let reply = self.apply(header, exchange).await;
            return self.reply(sequence, reply).await;
        };
        tracing::debug!(?header, ?action, applies, ?delay, "fault");
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
            Action::Tamper(tamper) => {
                let Reply::Answer(frame) = truth else {
                    return self.reply(sequence, truth).await;
                };
                let tampered = tamper.apply(&frame);
                self.write(sequence, vec![tampered.bytes]).await?;
                Ok(!tampered.closes)
            }
        }
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

    fn call(&self, header: &RequestHeader, exchange: &mut dyn Exchange) -> Reply {
        let Listed { id, connected, shared } = self.listed;
        shared.with(|state, now| {
            let mut call = Call {
                state,
                versions: &shared.versions,
                now,
                broker: connected.broker,
                connection: *id,
                version: header.api_version,
            };
            let reply = exchange.run(&mut call);
            if !matches!(reply, Reply::Wait(_)) {
                call.state.waiting.leave(*id);
            }
            reply
        })
    }

    /// Waits for news or the time; gives false if nobody waits for the answer any more.
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
            Reply::NoAnswer => Ok(true),
            Reply::Close | Reply::Wait(_) => Ok(false),
        }
    }

    async fn write(&mut self, sequence: u64, chunks: Vec<Bytes>) -> io::Result<()> {
        self.listed.shared.with(|state, now| state.received.answered(sequence, now.instant));
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
