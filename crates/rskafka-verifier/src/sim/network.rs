//! The network between a client and the cluster: it has latency, and holds requests at the moments of the plan until their
//! fault has happened.
//!
//! Invariant: it waits only for virtual time and for the director, which ends every wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rskafka::client::env::Env;
use rskafka::protocol::ApiKey;
use rskafka_fake::FakeCluster;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::kind::{Kind, Way};
use super::mistake::Mistake;
use super::options::Options;
use super::plan::{Moment, PlannedFault, What};
use super::rates::Rate;
use super::rules::{Finding, Wrong};
use super::run::Setup;
use super::tap::{Tap, Watch};
use super::trace::Trace;

/// More frames than any run needs. A run with more of them repeats a request without a pause.
const STORM: u64 = 50_000;

/// More connections to all brokers for each writer and reader, more questions for metadata, and more fetches that find
/// nothing, than pauses allow in so much time.
const MOST_OF_ACTOR: usize = 80;
const WINDOW: Duration = Duration::from_secs(2);

/// A fault that has waited for this many more produce calls strikes any request, because the actor that would send the
/// right kind may itself be waiting.
const OVERDUE: u64 = 20;

/// A planned moment has come; the connection waits until this is dropped.
#[derive(Debug)]
pub(super) struct Fired {
    /// The fault's number in the plan.
    pub(super) number: usize,
    /// The fault.
    pub(super) kind: Kind,
    /// The broker asked.
    pub(super) broker: i32,
    /// The request.
    pub(super) what: What,
    _waiting: oneshot::Sender<()>,
}

/// Opens, with an error, when a fault has happened.
pub(super) type Gate = oneshot::Receiver<()>;

/// Shared by the connections of a run.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) cluster: FakeCluster,
    options: Options,
    /// How much longer than asked the rules demand silence: see [`Mistake::BreaksSilence`].
    pub(super) too_early: Duration,
    started: Instant,
    state: Mutex<State>,
}

/// What may be wrong with the way to a broker for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Bytes in both directions stop, and so do attempts to connect.
    Unreachable,
    /// Attempts to connect are refused.
    Refusing,
    /// Connections end as soon as they are open.
    Closing,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) trace: Trace,
    random: fastrand::Rng,
    /// The longest that anything takes on its way.
    latency_micros: u64,
    /// How many produce calls are over.
    over: u64,
    /// What is planned for each kind of requests, with the number in the plan.
    planned: BTreeMap<(What, Way), VecDeque<(usize, PlannedFault)>>,
    /// To the director.
    fired: Option<mpsc::Sender<Fired>>,
    troubles: BTreeSet<(Trouble, i32)>,
    dials: Rate,
    pub(super) metadata: Rate,
    pub(super) fetches: Rate,
    pub(super) findings: Vec<Finding>,
    waiting: Vec<Waker>,
    next_connection: u64,
}

impl Network {
    /// Also gives where the director hears of moments that have come.
    pub(super) fn new(cluster: FakeCluster, setup: &Setup) -> (Arc<Self>, mpsc::Receiver<Fired>) {
        let Setup { seed, profile, plan, keeps_trace, .. } = setup;
        let most = MOST_OF_ACTOR * profile.actors();
        let mut random = fastrand::Rng::with_seed(*seed);
        let latency_micros = [0, random.u64(1..100), random.u64(100..20_000)][random.usize(..3)];
        let mut planned: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        for (number, fault) in plan.faults() {
            let Moment { what, way, .. } = fault.moment;
            planned.entry((what, way)).or_default().push_back((number, *fault));
        }
        let (fired, moments_come) = mpsc::channel(plan.faults().count().max(1));
        let [dials, metadata, fetches] = [(); 3].map(|()| Rate::new(most, WINDOW));
        let (trace, fired) = (Trace::new(*keeps_trace), Some(fired));
        let rates = State { dials, metadata, fetches, ..State::default() };
        let state = Mutex::new(State { trace, random, latency_micros, planned, fired, ..rates });
        let (options, started) = (Options::of_seed(*seed), Instant::now());
        let breaks_silence = setup.mistake == Some(Mistake::BreaksSilence);
        let too_early = Duration::from_millis(u64::from(breaks_silence));
        (Arc::new(Self { cluster, options, too_early, started, state }), moments_come)
    }

    /// The environment of a client, in which time, random numbers and connections follow from the seed, which is its name.
    pub(super) fn env(self: &Arc<Self>, seed: u64) -> Env {
        let (network, clock, name) = (self.clone(), self.clone(), seed.to_string());
        Env::builder()
            .connector(move |host: String, port: u16| {
                let (network, name) = (network.clone(), name.clone());
                async move { network.connect(&name, host, port).await }
            })
            .wall_clock(move || clock.wall_clock())
            .random_seed(seed)
            .build()
    }

    pub(super) fn wall_clock(&self) -> OffsetDateTime {
        super::EPOCH + self.elapsed()
    }

    /// A produce call is over.
    pub(super) fn produce_is_over(&self) {
        self.state().over += 1;
    }

    /// Trouble with the way to a broker begins, or is over.
    pub(super) fn set_trouble(&self, trouble: Trouble, broker: i32, is_on: bool) {
        match is_on {
            true => self.state().troubles.insert((trouble, broker)),
            false => self.state().troubles.remove(&(trouble, broker)),
        };
        self.wake();
    }

    /// Makes all brokers reachable; no further moment comes.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.troubles.clear();
        state.planned.clear();
        drop(state);
        self.wake();
    }

    /// Notes an event in the trace.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        self.state().trace.note(self.started.elapsed(), what);
    }

    /// Something is wrong with a connection.
    pub(super) fn found(&self, finding: Finding) {
        self.note(|| finding.to_string());
        self.state().findings.push(finding);
    }

    /// Whether the client has sent more than any client should; if so, its writes fail, and it connects no more.
    pub(super) fn is_storm(&self) -> bool {
        let state = self.state();
        state.trace.frames > STORM || state.findings.iter().any(|found| found.wrong == Wrong::TooMany)
    }

    /// Something happens once more that pauses keep rare.
    pub(super) fn count(&self, rate: fn(&mut State) -> &mut Rate, what: &str) {
        let now = self.elapsed();
        let may = rate(&mut self.state()).add(now);
        if !may && !self.is_storm() {
            let what = format!("too many {what} within {WINDOW:?}");
            self.found(Finding { wrong: Wrong::TooMany, what });
        }
    }

    /// Connects without a pause, and never ends: see [`Mistake::DialsWithoutPause`].
    pub(super) async fn dial_without_pause(self: &Arc<Self>) {
        loop {
            drop(self.clone().connect("", "nowhere".to_owned(), 1).await);
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    async fn connect(self: Arc<Self>, name: &str, host: String, port: u16) -> io::Result<Tap> {
        let watch = Watch::new(self.clone(), self.options);
        self.count(|state| &mut state.dials, "connections");
        if self.is_storm() {
            // With one attempt after the other, virtual time would stand still.
            std::future::pending::<()>().await;
        }
        let latency = self.state().latency();
        tokio::time::sleep(latency).await;
        let address = format!("{host}:{port}");
        let broker = self.broker_at(&address);
        std::future::poll_fn(|cx| self.poll_reachable(broker, cx)).await;
        if self.state().troubles.contains(&(Trouble::Refusing, broker)) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let pipe = self.cluster.connect_as(name, &host, port).await?;
        let broker = self.broker_at(&address);
        let (id, closes) = {
            let mut state = self.state();
            state.next_connection += 1;
            (state.next_connection - 1, state.troubles.contains(&(Trouble::Closing, broker)))
        };
        Ok(Tap::new(watch, (id, broker), pipe, closes))
    }

    /// The broker that has an address at the moment; -1 if none has.
    fn broker_at(&self, address: &str) -> i32 {
        let found = self.cluster.bootstrap_servers().iter().position(|known| known == address);
        found.map_or(-1, |place| place as i32 + 1)
    }

    pub(super) fn poll_reachable(&self, broker: i32, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.troubles.contains(&(Trouble::Unreachable, broker)) {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// A request is about to go out; gives the fault to wait for.
    pub(super) fn announce(&self, broker: i32, api: ApiKey) -> Option<Gate> {
        self.state().fire(What::of(api), Way::Request, broker)
    }

    /// How much time has gone by.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl State {
    pub(super) fn latency(&mut self) -> Duration {
        Duration::from_micros(self.random.u64(..=self.latency_micros))
    }

    /// The next fault whose moment a request is, if there is one.
    pub(super) fn fire(&mut self, what: What, way: Way, broker: i32) -> Option<Gate> {
        let over = self.over;
        let due = self.planned.iter_mut().find_map(|((planned, at), faults)| {
            let grace = if *planned == what { 0 } else { OVERDUE };
            let is_due =
                |(_, fault): &&(usize, PlannedFault)| *at == way && fault.moment.after + grace <= over;
            faults.front().filter(is_due)?;
            faults.pop_front()
        });
        let (number, PlannedFault { kind, .. }) = due?;
        let (waiting, gate) = oneshot::channel();
        // Nothing waits when the director is gone.
        let _ = self.fired.as_ref()?.try_send(Fired { number, kind, broker, what, _waiting: waiting });
        Some(gate)
    }
}
