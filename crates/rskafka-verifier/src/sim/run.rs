//! One run: a cluster, a client, actors and faults, on one thread and in virtual time.
//!
//! Invariant: a run follows from seed, profile and plan alone, and leaves no task behind.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rskafka::client::error::{Error, ErrorKind};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::ApiKey;
use rskafka_fake::{FakeCluster, Profile as BrokerProfile};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use super::EPOCH;
use super::book::Book;
use super::claimants;
use super::director::{Director, end_with_markers};
use super::exclusive::{Exclusive, Told};
use super::mistake::{Mistake, Mistaken};
use super::network::{Fired, Network};
use super::options::Options;
use super::plan::Plan;
use super::profile::Profile;
use super::reader::{Reader, read_whole};
use super::rules::{Finding, Place, Repeats, Term, Wrong};
use super::writer::{Habits, Writer};
use crate::say::counted;

pub(super) const TOPIC: &str = "wal";
pub(super) const BROKERS: i32 = 3;
/// Those of the brokers, and for readers also one without a broker, and none.
pub(super) const RACKS: [&str; 5] = ["a", "b", "c", "d", ""];

/// How late a call may return: timers have milliseconds.
const SLACK: Duration = Duration::from_millis(10);
/// The version of Produce from which on a refusal names the leader.
const LEADER_NAMED_FROM: i16 = 10;
/// The version of ListOffsets from which on a new leader says so if it does not know the log's end.
const ENDS_KNOWN_FROM: i16 = 5;
/// Longer than any run that makes progress.
const LONGEST_RUN: Duration = Duration::from_secs(20 * 60);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What everything random follows from.
    pub seed: u64,
    /// Who takes part.
    pub profile: Profile,
    /// What goes wrong.
    pub plan: Plan,
    /// Makes the cluster do something wrong, to see it found.
    pub bug: Option<fn(&FakeCluster)>,
    /// Makes the client do something wrong, to see it found.
    pub mistake: Option<Mistake>,
    /// Whether the trace is kept as lines.
    pub keeps_trace: bool,
}

impl Setup {
    /// A seed as a profile has it.
    pub fn of_seed(seed: u64, profile: &Profile) -> Self {
        let plan = Plan::of_seed(seed, profile);
        Self { seed, profile: profile.clone(), plan, bug: None, mistake: None, keeps_trace: false }
    }

    /// The broker that the cluster behaves like: another one with each seed.
    pub fn broker(&self) -> BrokerProfile {
        BrokerProfile::ALL[(self.seed % BrokerProfile::ALL.len() as u64) as usize]
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What is wrong; nothing, if all is well.
    pub findings: Vec<Finding>,
    /// Faults that struck while a request was in flight, by name.
    pub struck: BTreeMap<String, u64>,
    /// Calls whose future was dropped, by name.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Produce calls that were made.
    pub appends: u64,
    /// Those that succeeded.
    pub acknowledged: u64,
    /// Frames that went over the wire.
    pub frames: u64,
    /// Copies of records of a writer that sends again.
    pub resent: u64,
    /// The digest of the trace.
    pub digest: u64,
    /// The trace, if it was wanted.
    pub trace: Option<String>,
}

/// Runs a setup.
///
/// # Errors
///
/// There is no runtime, or the cluster did not start.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().context("no runtime")?;
    count_panics();
    let panics_before = PANICS.get();
    let mut outcome = runtime.block_on(run_all(setup))?;
    let panics = PANICS.get() - panics_before;
    if panics > 0 {
        outcome.findings.push(Finding { wrong: Wrong::Panicked, what: counted(panics, "panic", "panics") });
    }
    let left = runtime.metrics().num_alive_tasks();
    if left > 0 {
        let what = format!("{} left when all is closed", counted(left as u64, "task is", "tasks are"));
        outcome.findings.push(Finding { wrong: Wrong::Leaked, what });
    }
    Ok(outcome)
}

thread_local! {
    /// Panics on this thread; the runtime would hide those of tasks.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let known = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            known(info);
        }));
    });
}

/// What the actors of a run share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) network: Arc<Network>,
    pub(super) options: Options,
    pub(super) mistaken: Mistaken,
    pub(super) book: Book,
    exclusive: Mutex<Exclusive>,
    /// It is some process's turn to claim the log.
    pub(super) turn: Notify,
    /// Its counts are complete when the actors have ended.
    outcome: Mutex<Outcome>,
}

impl Stage {
    /// Whether brokers know an API in a version.
    pub(super) fn speaks(&self, api: ApiKey, version: i16) -> bool {
        self.network.cluster.advertised().iter().any(|(known, to)| *known == api && *to.end() >= version)
    }

    /// Whether a replica of a partition is out of sync.
    pub(super) fn is_short_of_replicas(&self, partition: usize) -> bool {
        self.network.cluster.isr(TOPIC, partition as i32).is_ok_and(|isr| isr.len() < BROKERS as usize)
    }

    /// The partitions' indexes.
    pub(super) fn partitions(&self) -> Range<i32> {
        0..self.book.partitions() as i32
    }

    /// Who leads a partition.
    pub(super) fn term(&self, partition: usize) -> Option<Term> {
        let (cluster, partition) = (&self.network.cluster, partition as i32);
        let leader = cluster.leader(TOPIC, partition).ok()??;
        Some(Term { epoch: cluster.leader_epoch(TOPIC, partition).ok()?, leader })
    }

    /// A fault struck a request in flight.
    pub(super) fn struck(&self, name: String, times: u64) {
        *self.outcome().struck.entry(name).or_default() += times;
    }

    pub(super) fn produce_is_over(&self, is_acknowledged: bool) {
        self.outcome().acknowledged += u64::from(is_acknowledged);
        self.network.produce_is_over();
    }

    /// While actors act, their client is open.
    pub(super) fn check_open(&self, partition: usize, error: &Error) {
        if *error.kind() == ErrorKind::Closed {
            self.book.rules(partition).add(Wrong::Unfounded, format!("{error:?}"));
        }
    }

    /// The place of a reader that is about to ask for `next`.
    pub(super) fn place(&self, partition: usize, next: i64) -> Place {
        self.book.rules(partition).place(next)
    }

    /// How many leaders a partition has had since one led, that one too.
    pub(super) fn leaders_since(&self, partition: usize, since: Option<Term>) -> u32 {
        let epoch = |term: Option<Term>| term.map_or(0, |term| term.epoch);
        1 + (epoch(self.term(partition)) - epoch(since)).unsigned_abs()
    }

    /// Holds a call that failed against the pauses between its attempts. An append's begin again with the first under each
    /// of the `leaders` that it met.
    pub(super) fn check_attempts(&self, partition: usize, error: &Error, took: Duration, leaders: u32) {
        // A broker that does not lead may say who does.
        let names_leaders = self.speaks(ApiKey::PRODUCE, LEADER_NAMED_FROM);
        let (attempts, most) = (error.attempts(), self.options.most_attempts(took, leaders, names_leaders));
        if attempts > most {
            let what = format!("{attempts} attempts in {took:?}, where {most} are the most: {error}");
            self.book.rules(partition).add(Wrong::TooMany, what);
        }
    }

    pub(super) fn exclusive(&self) -> MutexGuard<'_, Exclusive> {
        self.exclusive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of the exclusive log has failed.
    pub(super) fn failed(&self, error: &Error) {
        self.network.note(|| format!("{error:?}"));
        Told::failed(error).into_iter().for_each(|told| self.exclusive().hear(told));
    }

    pub(super) fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn start_cluster(setup: &Setup) -> Result<FakeCluster> {
    let cluster = FakeCluster::builder()
        .brokers(BROKERS as usize)
        .in_memory()
        .profile(setup.broker())
        .racks(RACKS[..3].to_vec())
        .seed(setup.seed)
        .wall_clock(SystemTime::from(EPOCH))
        .recorded_requests(0)
        // In some, a request is longer than what is on its way.
        .pipe_bytes(if setup.seed.is_multiple_of(4) { 200 } else { 1 << 16 })
        .start()
        .await
        .context("the cluster does not start")?;
    let configs = [("min.insync.replicas", "2")];
    let partitions = setup.profile.partitions as i32;
    cluster.create_topic_with(TOPIC, partitions, BROKERS as i16, configs).context("no topic")?;
    setup.bug.into_iter().for_each(|plant| plant(&cluster));
    Ok(cluster)
}

async fn run_all(setup: &Setup) -> Result<Outcome> {
    let Setup { seed, profile, .. } = setup;
    let cluster = start_cluster(setup).await?;
    let (network, fired) = Network::new(cluster.clone(), setup);
    let stage = Arc::new(Stage {
        network,
        options: Options::of_seed(*seed),
        mistaken: Mistaken::new(setup.mistake),
        book: Book::new(profile.partitions, SLACK),
        exclusive: Mutex::default(),
        turn: Notify::new(),
        outcome: Mutex::default(),
    });

    let acting = tokio::time::timeout(LONGEST_RUN, act(setup, &stage, fired)).await;
    let log_starts = match acting {
        Ok(result) => result?,
        Err(_) => {
            stage.book.rules(0).add(Wrong::Overdue, format!("no end after {LONGEST_RUN:?}"));
            vec![i64::MAX; profile.partitions]
        }
    };
    cluster.shutdown().await;
    if stage.network.is_storm() {
        stage.book.rules(0).add(Wrong::Overdue, "a storm of requests".to_owned());
    }

    let trace = std::mem::take(&mut stage.network.state().trace);
    let mut outcome = std::mem::take(&mut *stage.outcome());
    (outcome.frames, outcome.digest, outcome.trace) = (trace.frames, trace.digest.finish(), trace.lines);
    for (rules, log_start) in stage.book.close().zip(log_starts) {
        let (findings, resent) = rules.finish(log_start);
        outcome.findings.extend(findings.kept);
        outcome.resent += resent;
    }
    outcome.findings.append(&mut stage.network.state().findings);
    // What is closed is gone a few polls later.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    Ok(outcome)
}

/// Lets the actors act, then reads what they left. Gives where each partition's log begins.
async fn act(setup: &Setup, stage: &Arc<Stage>, fired: mpsc::Receiver<Fired>) -> Result<Vec<i64>> {
    let (Setup { seed, profile, .. }, cluster) = (setup, &stage.network.cluster);
    let mut random = fastrand::Rng::with_seed(seed ^ 0x6163_746f_7273);
    let client = new_client(cluster, stage, random.u64(..)).await;
    let director = Director::new(stage.clone(), fired);
    let (over, is_over) = oneshot::channel();
    let director = tokio::spawn(director.run(is_over));

    let mut writers = JoinSet::new();
    for number in 0..profile.writers + profile.resenders {
        let writer = new_writer(&client, stage, profile, number, &mut random).await;
        writers.spawn(writer.run());
    }
    let (all_written, is_all_written) = tokio::sync::watch::channel(false);
    let mut readers = JoinSet::new();
    // In a process of its own, a writer learns nothing from readers.
    let reading =
        if random.bool() { client.clone() } else { new_client(cluster, stage, random.u64(..)).await };
    let processes = (profile.claimants, profile.appends);
    let tasks = (&mut writers, &mut readers);
    claimants::start(processes, stage, &mut random, (&reading, &is_all_written), tasks);
    for number in 0..profile.readers + profile.followers {
        let partition = number % profile.partitions;
        let reader = Reader {
            name: format!("reader {number}"),
            client: reading.clone(),
            log: partition_client(&reading, stage, partition).await,
            partition,
            random: random.fork(),
            stage: stage.clone(),
            is_all_written: is_all_written.clone(),
        };
        match number < profile.readers {
            true => readers.spawn(reader.run()),
            false => readers.spawn(reader.follow()),
        };
    }
    writers.join_all().await;
    drop(over);
    director.await?;
    heal(stage).await?;
    if random.bool() {
        end_with_markers(stage)?;
    }
    all_written.send_replace(true);
    readers.join_all().await;
    client.close().await;
    reading.close().await;
    drop((client, reading));
    if profile.claimants > 0 {
        claimants::finish(stage).await;
        return Ok(vec![i64::MAX]);
    }
    read_again(new_client(cluster, stage, random.u64(..)).await, stage).await
}

async fn new_writer(
    client: &Client,
    stage: &Arc<Stage>,
    profile: &Profile,
    number: usize,
    random: &mut fastrand::Rng,
) -> Writer {
    let sends_again = number >= profile.writers;
    let partition = number % profile.partitions;
    let habits = Habits::random(random, sends_again);
    let log = habits.partition_client(client, stage, partition).await;
    let writer = Writer {
        client: client.clone(),
        writer: number as u32,
        sends_again,
        appends: profile.appends.div_ceil((profile.writers + profile.resenders) as u64),
        batches: habits.batches(&log),
        log,
        habits,
        next: 0,
        dropped: 0,
        partition,
        random: random.fork(),
        stage: stage.clone(),
    };
    let is_forgiven = sends_again && profile.forgives_copies;
    let mut rules = stage.book.rules(partition);
    rules.writer(number as u32, sends_again, is_forgiven);
    if habits.is_idempotent {
        let fences = stage.speaks(ApiKey::DESCRIBE_CLUSTER, 0);
        let knows_ends = stage.speaks(ApiKey::LIST_OFFSETS, ENDS_KNOWN_FROM);
        rules.repeats(number as u32, Repeats { fences, knows_ends });
    }
    writer
}

/// Reads all that was left by a client that was not there before. Gives where each partition's log begins.
async fn read_again(client: Client, stage: &Stage) -> Result<Vec<i64>> {
    let mut log_starts = Vec::new();
    for partition in 0..stage.book.partitions() {
        let log = partition_client(&client, stage, partition).await;
        log_starts.push(log.get_offset(OffsetAt::Earliest).await?.offset);
        read_whole(&log, partition, stage).await?;
    }
    client.close().await;
    Ok(log_starts)
}

/// Ends all faults.
async fn heal(stage: &Stage) -> Result<()> {
    let cluster = &stage.network.cluster;
    stage.network.heal();
    claimants::rejoin(cluster);
    cluster.clear_faults();
    cluster.set_produce_quota(None);
    cluster.set_fetch_quota(None);
    for broker in 1..=BROKERS {
        cluster.start_broker(broker).await?;
        cluster.release_metadata(broker)?;
        for partition in stage.partitions() {
            cluster.release_replica(TOPIC, partition, broker)?;
        }
    }
    Ok(())
}

/// A client; faults strike here too, so that it may take more than one attempt.
pub(super) async fn new_client(cluster: &FakeCluster, stage: &Stage, seed: u64) -> Client {
    let builder = Client::builder(cluster.bootstrap_servers()).env(stage.network.env(seed));
    let builder = stage.options.apply(builder);
    let is_sharing = seed.is_multiple_of(2);
    let builder = if is_sharing { builder.share_produce_connections() } else { builder };
    until_done(stage, 0, "build", || builder.clone().build()).await
}

pub(super) async fn partition_client(client: &Client, stage: &Stage, partition: usize) -> PartitionClient {
    let builder = || client.partition_client(TOPIC, partition as i32);
    until_done(stage, partition, "partition_client", builder).await
}

/// Makes a call until it succeeds.
pub(super) async fn until_done<T, C: IntoFuture<Output = Result<T, Error>>>(
    stage: &Stage,
    partition: usize,
    what: &str,
    call: impl Fn() -> C,
) -> T {
    loop {
        let call = call().into_future();
        if let Ok(done) = stage.book.timed(partition, what, stage.options.api_timeout, call).await {
            return done;
        }
    }
}
