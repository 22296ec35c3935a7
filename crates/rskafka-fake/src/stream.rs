//! A connection's bytes: a socket or a pipe, and the lines that say what may go through it.
//!
//! [`Line`] decides what happens to the bytes; here they are only moved, held or cut.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::fault::Direction;
use crate::line::{Line, Step};
use crate::shared::Listed;

/// A connection below all protocols.
pub(crate) trait Raw: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// Has the end of this connection be a reset, if it is TCP.
    fn reset_on_drop(&self) {}
}

impl Raw for DuplexStream {}

impl Raw for TcpStream {
    fn reset_on_drop(&self) {
        if let Err(error) = self.set_zero_linger() {
            tracing::warn!(%error, "cannot reset");
        }
    }
}

/// A connection whose bytes faults may strike.
pub(crate) struct Stream {
    raw: Box<dyn Raw>,
    listed: Arc<Listed>,
    /// By [`Direction`].
    gates: [Gate; 2],
}

/// A direction's line, and what wakes it.
struct Gate {
    line: Line,
    /// Of [`crate::shared::Shared::byte_faults`], when the line was last asked.
    generation: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(crate) fn new(raw: Box<dyn Raw>, listed: Arc<Listed>) -> Self {
        let gates = [Direction::Received, Direction::Sent].map(|direction| Gate {
            line: Line::new(listed.id, listed.connected.broker, direction),
            generation: u64::MAX,
            sleep: None,
        });
        Self { raw, gates, listed }
    }

    /// Waits until bytes may go through; gives how many, and the mask for a single one.
    fn poll_room(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(usize, Option<u8>)>> {
        let Self { listed, gates, raw } = self;
        let gate = &mut gates[direction as usize];
        // Before the generation is read, so that no change of it is missed.
        listed.connected.wait_for_byte_faults(direction, cx.waker());
        loop {
            let generation = listed.shared.byte_faults.load(Ordering::Acquire);
            let free = gate.line.free();
            if gate.generation == generation && free > 0 {
                return Poll::Ready(Ok((usize::try_from(free).unwrap_or(usize::MAX), None)));
            }
            gate.generation = generation;
            let step = listed.shared.with(|state, now| {
                let is_isolated =
                    state.isolated.holds(listed.connected.broker, listed.connected.client.as_deref());
                (!is_isolated).then(|| gate.line.step(now.instant, &mut state.faults.bytes))
            });
            let Some(step) = step else {
                // What the line allowed before is not to be used when it is asked again.
                gate.generation = u64::MAX;
                return Poll::Pending;
            };
            let until = match step {
                Step::Pass(room) => {
                    return Poll::Ready(Ok((usize::try_from(room).unwrap_or(usize::MAX), None)));
                }
                Step::Flip(mask) => return Poll::Ready(Ok((1, Some(mask)))),
                Step::End { reset } => {
                    if reset {
                        raw.reset_on_drop();
                    }
                    listed.connected.cut.notify_one();
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                Step::Hold(until) => until,
            };
            let Some(until) = until else {
                return Poll::Pending;
            };
            let sleep = gate.sleep.insert(Box::pin(sleep_until(until)));
            ready!(sleep.as_mut().poll(cx));
            // Time may stand still: what is held until now is held no longer at the next look.
            debug_assert!(Instant::now() >= until);
        }
    }

    fn passed(&mut self, direction: Direction, bytes: usize) {
        let gate = &mut self.gates[direction as usize];
        gate.line.passed(bytes as u64);
        self.listed.connected.set_passed(direction, gate.line.reached().bytes);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (room, mask) = ready!(this.poll_room(Direction::Received, cx))?;
        let before = buf.filled().len();
        if room >= buf.remaining() {
            ready!(Pin::new(&mut this.raw).poll_read(cx, buf))?;
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
            ready!(Pin::new(&mut this.raw).poll_read(cx, &mut part))?;
            if let (Some(mask), Some(byte)) = (mask, part.filled_mut().first_mut()) {
                *byte ^= mask;
            }
            let read = part.filled().len();
            buf.advance(read);
        }
        this.passed(Direction::Received, buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let (room, mask) = ready!(this.poll_room(Direction::Sent, cx))?;
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        let written = if let (Some(mask), Some(byte)) = (mask, first.first()) {
            ready!(Pin::new(&mut this.raw).poll_write(cx, &[byte ^ mask]))?
        } else if room >= bufs.iter().map(|buf| buf.len()).sum() {
            ready!(Pin::new(&mut this.raw).poll_write_vectored(cx, bufs))?
        } else {
            ready!(Pin::new(&mut this.raw).poll_write(cx, &first[..first.len().min(room)]))?
        };
        this.passed(Direction::Sent, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.raw).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.raw).poll_shutdown(cx)
    }
}
