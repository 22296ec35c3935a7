//! The client's end of a connection: it traces frames, and delays them by the latency or until a fault has happened.
//!
//! Invariant: bytes are passed on unchanged and in order.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rskafka::protocol::ApiKey;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::Sleep;

use super::frames::{Frames, HEADER, Request};
use super::kind::Way;
use super::network::{Gate, Network};
use super::options::Options;
use super::plan::What;
use super::wire::{Asked, Wire, finds_nothing, throttle};

/// Holds a connection to its rules, from the attempt to make it to its end.
pub(super) struct Watch {
    network: Arc<Network>,
    wire: Wire,
    /// What was asked and not answered.
    asked: VecDeque<Asked>,
}

impl Watch {
    pub(super) fn new(network: Arc<Network>, options: Options) -> Self {
        let wire = Wire::new(options, network.elapsed());
        Self { network, wire, asked: VecDeque::new() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let found = self.wire.ends(self.asked.pop_front(), self.network.elapsed());
        found.into_iter().for_each(|found| self.network.found(found));
    }
}

/// The client's end of a connection.
pub(super) struct Tap {
    watch: Watch,
    id: u64,
    broker: i32,
    pipe: DuplexStream,
    to_broker: Frames,
    to_client: Frames,
    /// Whether it ends as soon as it is open.
    closes: bool,
    /// The longest silence that answers ask for that the client has not read yet.
    silence: Duration,
    /// Whether the request that is going out was announced.
    is_announced: bool,
    /// The fault that is waited for before more goes out.
    gate: Option<Gate>,
    arrived: Option<Arrived>,
}

/// Bytes from the broker that the client does not see yet.
struct Arrived {
    bytes: Bytes,
    on_its_way: Pin<Box<Sleep>>,
    gate: Option<Gate>,
}

impl Tap {
    pub(super) fn new(watch: Watch, (id, broker): (u64, i32), pipe: DuplexStream, closes: bool) -> Self {
        Self {
            watch,
            id,
            broker,
            pipe,
            to_broker: Frames::default(),
            to_client: Frames::default(),
            closes,
            silence: Duration::ZERO,
            is_announced: false,
            gate: None,
            arrived: None,
        }
    }

    /// Takes bytes that came from the broker: when the client is to see them, and after which fault.
    fn received(&mut self, bytes: &[u8]) -> (Duration, Option<Gate>) {
        let Self { watch, id, broker, to_client, silence, .. } = self;
        let Watch { network, wire, asked } = watch;
        let (now, begins) = (network.elapsed(), to_client.is_between());
        let mut state = network.state();
        let (mut gate, mut found, mut is_in_vain) = (None, None, false);
        to_client.take(bytes, |frame| {
            let correlation_id = frame.answers();
            let place = asked.iter().position(|asked| asked.request.correlation_id == correlation_id);
            let answered = place.and_then(|place| asked.remove(place));
            if let Some(asked) = answered {
                found = wire.answered(asked, &frame, now).or(found.take());
                *silence = throttle(asked.request, &frame).max(*silence);
                is_in_vain |= finds_nothing(asked.request, &frame);
            }
            let request = answered.map(|asked| asked.request);
            state.trace.frame(now, (*id, *broker), true, request, &frame);
            if let Some(request) = request
                && gate.is_none()
            {
                gate = state.fire(What::of(ApiKey(request.key)), Way::Answer, *broker);
            }
        });
        // What has begun to come goes on coming.
        let latency = if begins { state.latency() } else { Duration::ZERO };
        drop(state);
        found.into_iter().for_each(|found| network.found(found));
        if is_in_vain {
            network.count(|state| &mut state.fetches, "fetches that find nothing");
        }
        (latency, gate)
    }

    fn sent(&mut self, bytes: &[u8]) {
        let Self { watch, id, broker, to_broker, is_announced, .. } = self;
        let Watch { network, asked, .. } = watch;
        to_broker.take(bytes, |frame| {
            let request = frame.request();
            if !std::mem::take(is_announced) {
                // Its header came in pieces and has passed: no fault can hold the request back.
                network.announce(*broker, ApiKey(request.key));
            }
            asked.push_back(Asked::new(&frame, network.elapsed()));
            if ApiKey(request.key) == ApiKey::METADATA {
                network.count(|state| &mut state.metadata, "questions for metadata");
            }
            let at = network.elapsed();
            network.state().trace.frame(at, (*id, *broker), false, Some(request), &frame);
        });
    }

    /// The client has seen all that came.
    fn is_seen(&mut self) {
        let silence = std::mem::take(&mut self.silence);
        if silence > Duration::ZERO {
            let Watch { network, wire, .. } = &mut self.watch;
            wire.silence(network.elapsed(), silence + network.too_early);
        }
    }

    /// Whether the connection is over, with nothing left to be seen.
    fn is_over(&self) -> bool {
        self.closes && self.watch.wire.is_open && self.arrived.is_none()
    }
}

fn poll_open(gate: &mut Option<Gate>, cx: &mut Context<'_>) -> Poll<()> {
    if let Some(opening) = gate {
        let _ = ready!(Pin::new(opening).poll(cx));
        *gate = None;
    }
    Poll::Ready(())
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(Arrived { bytes, on_its_way, gate }) = &mut this.arrived {
                ready!(poll_open(gate, cx));
                ready!(on_its_way.as_mut().poll(cx));
                ready!(this.watch.network.poll_reachable(this.broker, cx));
                let count = bytes.len().min(buf.remaining());
                buf.put_slice(&bytes[..count]);
                bytes.advance(count);
                if bytes.is_empty() {
                    this.arrived = None;
                    this.is_seen();
                }
                return Poll::Ready(Ok(()));
            }
            if this.is_over() {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.pipe).poll_read(cx, buf))?;
            let bytes = Bytes::copy_from_slice(&buf.filled()[before..]);
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            buf.set_filled(before);
            let (latency, gate) = this.received(&bytes);
            let on_its_way = Box::pin(tokio::time::sleep(latency));
            this.arrived = Some(Arrived { bytes, on_its_way, gate });
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_over() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.watch.network.is_storm() {
            return Poll::Ready(Err(io::Error::other("a storm of requests")));
        }
        if this.to_broker.is_between()
            && !this.is_announced
            && let Some(header) = buf.first_chunk::<HEADER>()
        {
            this.is_announced = true;
            let found = this.watch.wire.begins(this.watch.network.elapsed());
            found.into_iter().for_each(|found| this.watch.network.found(found));
            this.gate = this.watch.network.announce(this.broker, ApiKey(Request::of(header).key));
        }
        ready!(poll_open(&mut this.gate, cx));
        ready!(this.watch.network.poll_reachable(this.broker, cx));
        let written = ready!(Pin::new(&mut this.pipe).poll_write(cx, buf))?;
        this.sent(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_shutdown(cx)
    }
}
