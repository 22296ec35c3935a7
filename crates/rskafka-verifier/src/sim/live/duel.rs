//! Processes that take an exclusive log from each other on a real cluster, while they are frozen and killed, and the caller causes
//! faults of brokers. The checker of the simulation ([`Exclusive`]) hears all that they tell, and judges the log by itself.
//!
//! Invariant: the log is judged before it is trimmed, up to where all processes may trim it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use derive_more::Display;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rskafka::client::{ClientBuilder, OffsetAt, PartitionClient};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::super::exclusive::{Exclusive, Fate, Told};
use super::super::rules::Wrong;
use super::super::value::Id;
use super::process::with_short_times;
use super::{LiveOutcome, Load, Stage, TIMEOUT};

/// Between two things that happen to a process, in ms.
const APART_MS: std::ops::Range<u64> = 200..2_500;
/// A process is frozen for at most the longest time by one of these: some are back before anybody has claimed.
const FROZEN: [u32; 3] = [30, 5, 1];
/// How long a process has to end, and a broker to answer again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who takes which log.
#[derive(Debug)]
pub(crate) struct Duel {
    /// The way to the cluster.
    pub(crate) client: ClientBuilder,
    /// The same, for processes.
    pub(crate) bootstrap: Vec<String>,
    /// An empty topic for this run alone, with one partition.
    pub(crate) topic: String,
    /// The verifier.
    pub(crate) program: PathBuf,
    pub(crate) processes: u32,
    /// How long one of them is frozen.
    pub(crate) longest_freeze: Duration,
    /// Which processes are struck, and how, follows from it.
    pub(crate) seed: u64,
}

/// What became of the processes and their claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Display)]
#[display(
    "processes: {frozen} frozen, {across} of them with the log in hand while another claimed it; {killed} killed; \
     {settled} unknown appends settled"
)]
pub struct Claims {
    /// Claims that count.
    pub claims: usize,
    /// Batches that came too late to count, or twice.
    pub dead: u64,
    /// Appends whose outcome was unknown, and became known.
    pub settled: u64,
    /// Processes that were frozen.
    pub frozen: u64,
    /// Those of them that had another's claim pass by meanwhile.
    pub across: u64,
    /// Processes that were killed.
    pub killed: u64,
}

/// What all tasks share.
#[derive(Debug)]
struct Shared {
    stage: Arc<Stage>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    exclusive: Exclusive,
    claims: Claims,
    /// The number of the process that has claimed last.
    owner: u32,
    /// By their first records: appends that ended without an outcome.
    unknown: BTreeSet<Id>,
}

impl Heard {
    /// Nobody is told what became of its appends.
    fn is_killed(&mut self, number: u32) {
        self.claims.killed += 1;
        self.unknown.retain(|id| id.writer != number);
    }
}

impl Duel {
    /// Lets processes take the log from each other while something goes on, and judges the log.
    pub(crate) async fn run_while<T>(
        self,
        something: impl AsyncFnOnce(&Stage) -> Result<T>,
    ) -> Result<(LiveOutcome, Claims, T)> {
        let load = Load { records: 0, timeout: TIMEOUT, is_rough: true };
        let stage = Stage::new(self.topic.clone(), 1, load);
        let shared = Arc::new(Shared { stage: stage.clone(), heard: Mutex::default() });
        let client = with_short_times(self.client.clone()).build().await?;
        let log = client.partition_client(&self.topic, 0).await?;
        let (end, ended) = watch::channel(None);
        let judging = AbortOnDropHandle::new(tokio::spawn(judge(log.clone(), shared.clone(), ended)));

        let mut processes = Processes { duel: &self, shared: &shared, running: Vec::new(), started: 0 };
        let given = tokio::select! { biased;
            given = something(&stage) => given?,
            failed = processes.strike(fastrand::Rng::with_seed(self.seed)) => match failed? {},
        };
        processes.end().await?;
        end.send_replace(Some(log.get_offset(OffsetAt::Latest).await?.offset));
        judging.await??;
        client.close().await;
        let (outcome, claims) = shared.finish();
        Ok((outcome, claims, given))
    }
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a process says; gives an answer where it expects one.
    fn hear(&self, number: u32, told: Told) -> Option<String> {
        let mut answer = None;
        let Heard { exclusive, claims, owner, unknown } = &mut *self.heard();
        match &told {
            Told::Claimed(..) => *owner = number,
            Told::Read(part) => self.stage.read.add(part.entries.iter().map(|(_, ids)| ids.len()).sum(), 0),
            Told::Settled(first, _, fate) => {
                claims.settled += u64::from(unknown.remove(first));
                match fate {
                    Fate::Counts(_) => {
                        self.stage.appended.add(exclusive.count(*first), 0);
                        self.stage.acknowledgements(0).push(Instant::now());
                    }
                    Fate::Unknown => drop(unknown.insert(*first)),
                    Fate::NotWritten => {}
                }
            }
            // What it does not know was trimmed.
            Told::OutOfRange(..) if exclusive.trimmed > 0 => unknown.retain(|id| id.writer != number),
            Told::Stored(text, is_to_trim) => {
                let trim = text.parse().ok().and_then(|position| exclusive.store(position, *is_to_trim));
                answer = Some(trim.map_or("keep".to_owned(), |position| position.to_string()));
            }
            _ => {}
        }
        exclusive.hear(told);
        answer
    }

    /// The verdict, when all has ended.
    fn finish(&self) -> (LiveOutcome, Claims) {
        let Heard { exclusive, mut claims, unknown, .. } = std::mem::take(&mut *self.heard());
        let mut outcome = LiveOutcome { read: self.stage.read.records(), ..LiveOutcome::default() };
        for (count, fate) in exclusive.appends.values() {
            let sum = match fate {
                Fate::Counts(_) => &mut outcome.acknowledged,
                Fate::NotWritten => &mut outcome.not_written,
                Fate::Unknown => &mut outcome.unknown,
            };
            *sum += u64::from(*count);
            outcome.sent += u64::from(*count);
        }
        (claims.claims, claims.dead) = (exclusive.claims.len(), exclusive.dead);
        let mut rules = self.stage.book.rules(0);
        unknown.iter().for_each(|id| rules.add(Wrong::Silent, format!("{id} was never settled")));
        exclusive.finish().into_iter().for_each(|(wrong, what)| rules.add(wrong, what));
        drop(rules);
        outcome.take(self.stage.finish());
        (outcome, claims)
    }
}

struct Processes<'a> {
    duel: &'a Duel,
    shared: &'a Arc<Shared>,
    running: Vec<Process>,
    /// So many were started.
    started: u32,
}

struct Process {
    number: u32,
    child: Child,
    /// Ends its input.
    end: watch::Sender<bool>,
    hearing: AbortOnDropHandle<Result<Option<String>>>,
}

impl Processes<'_> {
    /// Keeps processes running, and freezes and kills them.
    async fn strike(&mut self, mut random: fastrand::Rng) -> Result<std::convert::Infallible> {
        loop {
            while self.running.len() < self.duel.processes as usize {
                self.start()?;
            }
            sleep(Duration::from_millis(random.u64(APART_MS))).await;
            self.bury().await?;
            // Mostly the one that has the log.
            let owner = self.shared.heard().owner;
            let of_owner = self.running.iter().position(|process| process.number == owner);
            let any = random.usize(..self.running.len().max(1));
            let struck = of_owner.filter(|_| random.u8(..4) > 0).unwrap_or(any);
            let Some(process) = self.running.get_mut(struck) else { continue };
            if random.u8(..6) == 0 {
                process.signal(Signal::SIGKILL)?;
                self.running.swap_remove(struck).ended(self.shared).await?;
                continue;
            }
            let longest = self.duel.longest_freeze / FROZEN[random.usize(..FROZEN.len())];
            process.signal(Signal::SIGSTOP)?;
            let before = self.shared.heard().exclusive.claims.len();
            sleep(longest.mul_f64(random.f64())).await;
            process.signal(Signal::SIGCONT)?;
            let Heard { exclusive, claims, .. } = &mut *self.shared.heard();
            claims.frozen += 1;
            claims.across += u64::from(exclusive.claims.len() > before && owner == process.number);
        }
    }

    fn start(&mut self) -> Result<()> {
        let (number, position) = (self.started, self.shared.heard().exclusive.stored);
        self.started += 1;
        let mut command = Command::new(&self.duel.program);
        command.args(["claimant", "--topic", &self.duel.topic, "--number", &number.to_string()]);
        command.args(["--bootstrap", &self.duel.bootstrap.join(",")]);
        command.args(position.map(|position| format!("--position={position}")));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (output, input) = (child.stdout.take(), child.stdin.take());
        let (end, ended) = watch::channel(false);
        let both = output.zip(input).context("a process without input or output")?;
        let hearing = AbortOnDropHandle::new(tokio::spawn(hear(number, both, ended, self.shared.clone())));
        self.running.push(Process { number, child, end, hearing });
        Ok(())
    }

    /// Takes away those that have ended by themselves: their positions were trimmed.
    async fn bury(&mut self) -> Result<()> {
        let mut index = 0;
        while index < self.running.len() {
            match self.running[index].child.try_wait()? {
                Some(_) => self.running.swap_remove(index).ended(self.shared).await?,
                None => index += 1,
            }
        }
        Ok(())
    }

    async fn end(mut self) -> Result<()> {
        for process in &self.running {
            process.signal(Signal::SIGCONT)?;
            process.end.send_replace(true);
        }
        for process in self.running.drain(..) {
            process.ended(self.shared).await?;
        }
        Ok(())
    }
}

impl Process {
    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().context("it has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(id)?), signal)?)
    }

    /// Waits for its end, which is a good one.
    async fn ended(mut self, shared: &Shared) -> Result<()> {
        let status = timeout(PATIENCE, self.child.wait()).await.context("a process does not end")??;
        let torn = self.hearing.await??;
        if status.signal() == Some(Signal::SIGKILL as i32) {
            shared.heard().is_killed(self.number);
        } else if !status.success() || torn.is_some() {
            let what = format!("process {} ended with {status}; not whole: {torn:?}", self.number);
            shared.heard().exclusive.add(Wrong::Unfounded, what);
        }
        Ok(())
    }
}

/// Hears a process to its end. Gives its last line if that is not whole, as it may be if the process was killed.
async fn hear(
    number: u32,
    (output, input): (ChildStdout, ChildStdin),
    mut ended: watch::Receiver<bool>,
    shared: Arc<Shared>,
) -> Result<Option<String>> {
    let (mut lines, mut input, mut torn) = (BufReader::new(output).lines(), Some(input), None);
    loop {
        let line = tokio::select! { biased;
            Ok(()) = ended.changed() => {
                input = None;
                continue;
            }
            line = lines.next_line() => line?,
        };
        let Some(line) = line else { return Ok(torn) };
        if let Some(torn) = torn.take() {
            shared.heard().exclusive.add(Wrong::Corrupted, format!("process {number} said {torn:?}"));
        }
        let Ok(told) = serde_json::from_str(&line) else {
            torn = Some(line);
            continue;
        };
        let answer = shared.hear(number, told);
        if let Some((answer, input)) = answer.zip(input.as_mut()) {
            // If it is gone, so is its output soon.
            input.write_all(format!("{answer}\n").as_bytes()).await.ok();
        }
    }
}

/// Judges the log as it grows, up to its end.
async fn judge(log: PartitionClient, shared: Arc<Shared>, end: watch::Receiver<Option<i64>>) -> Result<()> {
    let mut is_alive = Instant::now();
    loop {
        let (judged, end) = (shared.heard().exclusive.judged, *end.borrow());
        if end.is_some_and(|end| judged >= end) {
            return Ok(());
        }
        match log.fetch(judged).max_wait(Duration::from_millis(100)).await {
            Ok(fetched) => {
                let exclusive = &mut shared.heard().exclusive;
                for batch in fetched.batches() {
                    let records: Vec<_> = batch.records().map_while(Result::ok).collect();
                    let header = batch.header();
                    exclusive.judge(header.base_offset..batch.next_offset(), header.attributes, &records);
                }
                is_alive = Instant::now();
            }
            Err(error) => {
                ensure!(
                    is_alive.elapsed() < PATIENCE,
                    "the log cannot be judged from {judged} on: {error:?}"
                );
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
