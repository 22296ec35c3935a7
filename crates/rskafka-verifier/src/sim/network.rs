//! What lies between a client and the cluster: it traces frames, takes its time, and stops at the moments
//! that the plan names.
//!
//! Invariant: bytes are passed on unchanged and in order; whatever it waits for is virtual time, or the
//! director, which always comes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rskafka::client::env::Env;
use rskafka::protocol::ApiKey;
use rskafka_fake::FakeCluster;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::frames::{Frames, HEADER, Request};
use super::plan::{Moment, Plan, Stage, What};
use super::trace::{Trace, Traced};

/// More frames than any run needs: somebody asks without a pause.
const STORM: u64 = 200_000;

/// A planned moment has come; the connection waits for [`Network::done`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Fired {
    /// The fault's place in the plan.
    pub(super) index: usize,
    /// The broker asked.
    pub(super) broker: i32,
}

/// Shared by the connections of a run.
#[derive(Debug)]
pub(super) struct Network {
    cluster: FakeCluster,
    started: Instant,
    state: Mutex<State>,
    has_fired: Notify,
}

#[derive(Debug)]
struct State {
    trace: Trace,
    random: fastrand::Rng,
    latency: Duration,
    /// How many requests of each kind were made.
    seen: BTreeMap<What, u64>,
    moments: BTreeMap<Moment, Vec<usize>>,
    fired: VecDeque<Fired>,
    done: BTreeSet<usize>,
    /// Whether nothing goes wrong any more.
    is_healed: bool,
    unreachable: BTreeSet<i32>,
    refusing: BTreeSet<i32>,
    waiting: Vec<Waker>,
    /// What was asked over each connection and not answered, by correlation id.
    connections: BTreeMap<u64, BTreeMap<u32, Asked>>,
    next_connection: u64,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    key: i16,
    version: i16,
    what: What,
    nth: u64,
}

impl Network {
    pub(super) fn new(cluster: FakeCluster, plan: &Plan, seed: u64, keeps_lines: bool) -> Arc<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let latency =
            Duration::from_micros([0, random.u64(1..100), random.u64(100..20_000)][random.usize(..3)]);
        let mut moments: BTreeMap<Moment, Vec<usize>> = BTreeMap::new();
        for (index, fault) in plan.faults() {
            moments.entry(fault.moment).or_default().push(index);
        }
        let state = State {
            trace: Trace::new(keeps_lines),
            random,
            latency,
            seen: BTreeMap::new(),
            moments,
            fired: VecDeque::new(),
            done: BTreeSet::new(),
            is_healed: false,
            unreachable: BTreeSet::new(),
            refusing: BTreeSet::new(),
            waiting: Vec::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
        };
        let state = Mutex::new(state);
        Arc::new(Self { cluster, started: Instant::now(), state, has_fired: Notify::new() })
    }

    /// The environment of a client: all that is not deterministic follows from the seed.
    pub(super) fn env(self: &Arc<Self>, seed: u64) -> Env {
        let (network, clock) = (self.clone(), self.clone());
        Env::builder()
            .connector(move |host: String, port: u16| {
                let network = network.clone();
                async move { network.connect(host, port).await }
            })
            .wall_clock(move || clock.wall_clock())
            .random_seed(seed)
            .build()
    }

    pub(super) fn wall_clock(&self) -> OffsetDateTime {
        super::EPOCH + self.started.elapsed()
    }

    /// The next moment that has come, as soon as there is one.
    pub(super) async fn fired(&self) -> Fired {
        loop {
            if let Some(fired) = self.state().fired.pop_front() {
                return fired;
            }
            self.has_fired.notified().await;
        }
    }

    /// A fault has happened: what waited for it goes on.
    pub(super) fn done(&self, index: usize) {
        self.state().done.insert(index);
        self.wake();
    }

    /// Bytes to and from a broker stop, and so do attempts to connect to it.
    pub(super) fn set_unreachable(&self, broker: i32, is_unreachable: bool) {
        set(&mut self.state().unreachable, broker, is_unreachable);
        self.wake();
    }

    /// Attempts to connect to a broker are refused.
    pub(super) fn set_refusing(&self, broker: i32, is_refusing: bool) {
        set(&mut self.state().refusing, broker, is_refusing);
    }

    /// All brokers can be reached again, and nothing waits for a fault any more.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.unreachable.clear();
        state.refusing.clear();
        state.moments.clear();
        state.is_healed = true;
        drop(state);
        self.wake();
    }

    /// Notes an event in the trace.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        let at = self.started.elapsed();
        self.state().trace.note(at, what);
    }

    /// Takes the trace out.
    pub(super) fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.state().trace)
    }

    pub(super) fn is_storm(&self) -> bool {
        self.state().trace.frames() > STORM
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    async fn connect(self: Arc<Self>, host: String, port: u16) -> io::Result<Tap> {
        let broker = host.rsplit('-').next().and_then(|id| id.parse().ok()).unwrap_or(-1);
        let latency = self.state().latency();
        tokio::time::sleep(latency).await;
        std::future::poll_fn(|cx| self.poll_reachable(broker, cx)).await;
        if self.state().refusing.contains(&broker) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let pipe = self.cluster.connect(&host, port).await?;
        let mut state = self.state();
        let id = state.next_connection;
        state.next_connection += 1;
        state.connections.insert(id, BTreeMap::new());
        drop(state);
        Ok(Tap {
            network: self,
            id,
            broker,
            pipe,
            to_broker: Frames::default(),
            to_client: Frames::default(),
            is_announced: false,
            gate: None,
            arrived: None,
            sleep: None,
        })
    }

    fn poll_reachable(&self, broker: i32, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.unreachable.contains(&broker) {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_done(&self, index: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.done.contains(&index) || state.is_healed {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// A request is about to go out; gives the fault to wait for.
    fn announce(&self, connection: u64, broker: i32, request: Request) -> Option<usize> {
        let mut state = self.state();
        let what = What::of(ApiKey(request.key));
        let seen = state.seen.entry(what).or_default();
        let nth = *seen;
        *seen += 1;
        let asked = Asked { key: request.key, version: request.version, what, nth };
        if let Some(unanswered) = state.connections.get_mut(&connection) {
            unanswered.insert(request.correlation_id, asked);
        }
        let fired = state.fire(Moment { what, nth, stage: Stage::Request }, broker);
        drop(state);
        fired.inspect(|_| self.has_fired.notify_one())
    }
}

impl State {
    fn latency(&mut self) -> Duration {
        match self.latency.as_micros() as u64 {
            0 => Duration::ZERO,
            most => Duration::from_micros(self.random.u64(..=most)),
        }
    }

    fn fire(&mut self, moment: Moment, broker: i32) -> Option<usize> {
        let indices = self.moments.remove(&moment)?;
        self.fired.extend(indices.iter().map(|&index| Fired { index, broker }));
        indices.last().copied()
    }
}

fn set(brokers: &mut BTreeSet<i32>, broker: i32, is_member: bool) {
    match is_member {
        true => brokers.insert(broker),
        false => brokers.remove(&broker),
    };
}

/// The client's end of a connection.
struct Tap {
    network: Arc<Network>,
    id: u64,
    broker: i32,
    pipe: DuplexStream,
    to_broker: Frames,
    to_client: Frames,
    /// Whether the request that is going out was announced.
    is_announced: bool,
    /// The fault that is waited for before more goes out.
    gate: Option<usize>,
    arrived: Option<Arrived>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Bytes from the broker that the client does not see yet.
struct Arrived {
    bytes: Bytes,
    at: Instant,
    gate: Option<usize>,
}

impl Tap {
    /// Takes bytes that came from the broker: when the client is to see them, and after which fault.
    fn received(&mut self, bytes: &[u8]) -> (Duration, Option<usize>) {
        let Self { network, id, broker, to_client, .. } = self;
        let mut state = network.state();
        let at = network.started.elapsed();
        let mut gate = None;
        to_client.take(bytes, |frame| {
            let correlation_id = frame.answers();
            let unanswered = state.connections.get_mut(id);
            let asked = unanswered.and_then(|unanswered| unanswered.remove(&correlation_id));
            state.trace.frame(Traced {
                at,
                connection: *id,
                broker: *broker,
                is_answer: true,
                api: asked.map(|asked| ApiKey(asked.key)),
                version: asked.map_or(-1, |asked| asked.version),
                correlation_id,
                size: frame.size,
                hash: frame.hash,
            });
            if let Some(Asked { what, nth, .. }) = asked {
                gate = gate.or(state.fire(Moment { what, nth, stage: Stage::Answer }, *broker));
            }
        });
        let latency = state.latency();
        drop(state);
        if gate.is_some() {
            network.has_fired.notify_one();
        }
        (latency, gate)
    }

    fn sent(&mut self, bytes: &[u8]) {
        let Self { network, id, broker, to_broker, is_announced, .. } = self;
        let at = network.started.elapsed();
        to_broker.take(bytes, |frame| {
            let request = frame.request();
            if !std::mem::take(is_announced) {
                // Its first bytes came in pieces: nothing can wait for it any more.
                network.announce(*id, *broker, request);
            }
            network.state().trace.frame(Traced {
                at,
                connection: *id,
                broker: *broker,
                is_answer: false,
                api: Some(ApiKey(request.key)),
                version: request.version,
                correlation_id: request.correlation_id,
                size: frame.size,
                hash: frame.hash,
            });
        });
    }

    fn poll_slept(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if until <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx)
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(Arrived { at, gate, .. }) = this.arrived {
                if let Some(index) = gate {
                    ready!(this.network.poll_done(index, cx));
                }
                ready!(this.poll_slept(at, cx));
                ready!(this.network.poll_reachable(this.broker, cx));
                if let Some(Arrived { bytes, .. }) = &mut this.arrived {
                    let count = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..count]);
                    bytes.advance(count);
                    if bytes.is_empty() {
                        this.arrived = None;
                    }
                }
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.pipe).poll_read(cx, buf))?;
            let bytes = &buf.filled()[before..];
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let (latency, gate) = this.received(bytes);
            let is_reachable = this.network.poll_reachable(this.broker, cx).is_ready();
            if latency.is_zero() && gate.is_none() && is_reachable {
                return Poll::Ready(Ok(()));
            }
            let bytes = Bytes::copy_from_slice(bytes);
            buf.set_filled(before);
            this.arrived = Some(Arrived { bytes, at: Instant::now() + latency, gate });
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.network.is_storm() {
            return Poll::Ready(Err(io::Error::other("a storm of requests")));
        }
        if this.to_broker.is_between()
            && !this.is_announced
            && let Some(header) = buf.first_chunk::<HEADER>()
        {
            this.is_announced = true;
            this.gate = this.network.announce(this.id, this.broker, Request::of(header));
        }
        if let Some(index) = this.gate {
            ready!(this.network.poll_done(index, cx));
            this.gate = None;
        }
        ready!(this.network.poll_reachable(this.broker, cx));
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

impl Drop for Tap {
    fn drop(&mut self) {
        self.network.state().connections.remove(&self.id);
    }
}
