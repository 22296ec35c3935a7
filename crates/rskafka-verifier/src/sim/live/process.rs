//! A claimant in a process of its own, on a real cluster. It can be frozen or killed at any moment.
//!
//! What goes to the checker is a line of JSON on standard output (`Told`). Each offer of a position is answered by a line on
//! standard input: the position up to which to trim the log, or anything else. At the end of its input it ends, with nothing unknown.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, raise};
use rskafka::client::{Client, ClientBuilder, DurabilityKind};
use rskafka::wal::Position;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::{Mutex as Queue, mpsc};
use tokio::time::sleep;

use super::super::claimant::{Claimant, World};
use super::super::exclusive::{Fate, Told};
use super::{REQUEST_TIMEOUT, TIMEOUT};
use crate::say;

/// How long it leaves the log to others.
const IDLE: Duration = Duration::from_secs(3);
/// A log that is thrown away in the end may be of any durability.
const RISKS: [DurabilityKind; 8] = [
    DurabilityKind::OneReplica,
    DurabilityKind::MinInsyncTooLow,
    DurabilityKind::UncleanElection,
    DurabilityKind::NotTold,
    DurabilityKind::RetentionMs,
    DurabilityKind::RetentionBytes,
    DurabilityKind::WritersTimes,
    DurabilityKind::TwoReplicas,
];

/// Where it claims, and as whom.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// `HOST:PORT[,HOST:PORT]`.
    #[arg(long, value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// The topic; the log is its first partition.
    #[arg(long)]
    pub topic: String,
    /// No other process has it.
    #[arg(long)]
    pub number: u32,
    /// Where to begin; at the log's start if not given.
    #[arg(long)]
    pub position: Option<Position>,
}

/// Claims and appends until its input ends, or its position was trimmed.
///
/// # Errors
///
/// The cluster cannot be reached, or has no such log.
pub async fn run(options: Options) -> Result<()> {
    let client = with_short_times(Client::builder(options.bootstrap)).client_id("rskafka-claimant");
    let client = client.build().await.context("the cluster cannot be reached")?;
    let wal = client.wal(options.topic, 0).accept_risks(RISKS).await.context("the log cannot be opened")?;
    let (answer, answers) = mpsc::channel(1);
    let world = Process(Arc::new(State {
        acknowledged: AtomicI64::new(0),
        stored: Mutex::new(options.position.unwrap_or(Position::START)),
        is_over: AtomicBool::new(false),
        answers: Queue::new(answers),
    }));
    tokio::spawn(listen(answer, world.clone()));
    let random = fastrand::Rng::new();
    let mut claimant = Claimant { number: options.number, random, world: world.clone(), next: 0 };
    while !world.is_over() {
        if let Some(writer) = claimant.claim(&wal).await
            && claimant.write(writer).await.is_some()
        {
            raise(Signal::SIGKILL)?;
        }
        sleep(IDLE.mul_f64(fastrand::f64())).await;
    }
    client.close().await;
    Ok(())
}

/// With times that are short beside the faults.
pub(super) fn with_short_times(builder: ClientBuilder) -> ClientBuilder {
    let [append, call] = TIMEOUTS;
    builder.request_timeout(REQUEST_TIMEOUT).delivery_timeout(append).api_timeout(call)
}

const TIMEOUTS: [Duration; 2] = [TIMEOUT, TIMEOUT.saturating_mul(2)];

#[derive(Clone)]
struct Process(Arc<State>);

struct State {
    acknowledged: AtomicI64,
    stored: Mutex<Position>,
    is_over: AtomicBool,
    answers: Queue<mpsc::Receiver<String>>,
}

/// Takes what stands on standard input.
async fn listen(answer: mpsc::Sender<String>, world: Process) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // It is received, unless the process ends.
        let _ = answer.send(line).await;
    }
    world.0.is_over.store(true, Ordering::Relaxed);
}

impl World for Process {
    fn tell(&self, told: Told) {
        match &told {
            Told::Settled(_, _, Fate::Counts(offsets)) => {
                self.0.acknowledged.fetch_max(offsets.end, Ordering::Relaxed);
            }
            // Another process is started at what was stored last.
            Told::OutOfRange(..) => self.0.is_over.store(true, Ordering::Relaxed),
            _ => {}
        }
        say!("{}", serde_json::to_string(&told).unwrap_or_default());
    }

    fn acknowledged(&self) -> i64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    fn stored(&self, _: &mut fastrand::Rng) -> Position {
        *self.0.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn store(&self, position: Position, is_to_trim: bool) -> Option<Position> {
        *self.0.stored.lock().unwrap_or_else(PoisonError::into_inner) = position;
        self.tell(Told::Stored(position.to_string(), is_to_trim));
        self.0.answers.lock().await.recv().await?.parse().ok()
    }

    fn timeouts(&self) -> [Duration; 2] {
        TIMEOUTS
    }

    /// It may be frozen meanwhile.
    async fn timed<T: Send>(&self, _: &str, _: Duration, call: impl Future<Output = T> + Send) -> T {
        call.await
    }

    async fn stand_still(&self, _: &mut fastrand::Rng) {}

    fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}
