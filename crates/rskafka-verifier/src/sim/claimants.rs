//! Processes of the simulation that claim an exclusive log again and again, and readers that follow it.
//!
//! Invariant: the checker hears what they are told at once.

use std::sync::Arc;
use std::time::Duration;

use rskafka::client::error::Error;
use rskafka::client::{Client, DurabilityKind};
use rskafka::protocol::records::batches;
use rskafka::wal::{Position, Wal};
use rskafka_fake::FakeCluster;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::claimant::{Claimant, World, read};
use super::exclusive::{Exclusive, Part, Told};
use super::kind::PRODUCE_DROPPED;
use super::run::{BROKERS, Stage, TOPIC, new_client};

/// How long a process leaves the log to others.
const IDLE_MS: u64 = 8_000;
/// How long a process is cut off: some are back before anything fails.
const FROZEN_MS: [u64; 3] = [300, 2_500, 12_000];
const RISKS: [DurabilityKind; 4] = [
    DurabilityKind::UncleanElection,
    DurabilityKind::NotTold,
    DurabilityKind::RetentionMs,
    DurabilityKind::WritersTimes,
];

/// A run, and the name that brokers know a process by.
#[derive(Clone)]
struct Simulated {
    stage: Arc<Stage>,
    name: String,
}

impl World for Simulated {
    fn tell(&self, told: Told) {
        match &told {
            Told::Sent(..) => self.stage.outcome().appends += 1,
            Told::Ended(is_acknowledged) => {
                self.stage.produce_is_over(*is_acknowledged == Some(true));
                if is_acknowledged.is_none() {
                    *self.stage.outcome().dropped.entry(PRODUCE_DROPPED).or_default() += 1;
                }
            }
            _ => {}
        }
        self.stage.exclusive().hear(told);
    }

    fn failed(&self, error: &Error) {
        self.stage.failed(error);
    }

    fn acknowledged(&self) -> i64 {
        self.stage.exclusive().acknowledged
    }

    fn stored(&self, random: &mut fastrand::Rng) -> Position {
        let Exclusive { stored, trimmed, .. } = &*self.stage.exclusive();
        stored.filter(|_| *trimmed > 0 || random.bool()).unwrap_or(Position::START)
    }

    async fn store(&self, position: Position, is_to_trim: bool) -> Option<Position> {
        judge(&self.stage);
        self.stage.exclusive().store(position, is_to_trim)
    }

    fn timeouts(&self) -> [Duration; 2] {
        [self.stage.options.delivery_timeout, self.stage.options.api_timeout]
    }

    async fn timed<T: Send>(&self, what: &str, limit: Duration, call: impl Future<Output = T> + Send) -> T {
        self.stage.book.timed(0, what, limit, call).await
    }

    /// It is cut off, and others may claim the log meanwhile.
    async fn stand_still(&self, random: &mut fastrand::Rng) {
        let cluster = &self.stage.network.cluster;
        for broker in 1..=BROKERS {
            // Fails only if there is no such broker.
            let _ = cluster.isolate_client(&self.name, broker);
        }
        self.stage.turn.notify_one();
        let longest = FROZEN_MS[random.usize(..FROZEN_MS.len())];
        sleep(Duration::from_millis(random.u64(..longest))).await;
        rejoin(cluster);
    }

    fn is_over(&self) -> bool {
        false
    }

    fn now(&self) -> OffsetDateTime {
        self.stage.network.wall_clock()
    }
}

impl Claimant<Simulated> {
    async fn run(mut self, appends: u64) {
        let stage = self.world.stage.clone();
        while stage.outcome().appends < appends {
            let idle = Duration::from_millis(self.random.u64(..IDLE_MS));
            let _ = timeout(idle, stage.turn.notified()).await;
            let seed = self.random.u64(..);
            self.world.name = seed.to_string();
            let client = new_client(&stage.network.cluster, &stage, seed).await;
            let wal = open(&client, &stage).await;
            let mut calls = None;
            if let Some(writer) = Box::pin(self.claim(&wal)).await {
                calls = self.write(writer).await;
            }
            drop(wal);
            if calls.is_none() && self.random.bool() {
                client.close().await;
            }
            // Or it crashes.
            drop(client);
            if let Some(calls) = calls {
                calls.join_all().await;
            }
        }
    }
}

/// Starts the processes, and as many readers.
pub(super) fn start(
    (processes, appends): (usize, u64),
    stage: &Arc<Stage>,
    random: &mut fastrand::Rng,
    reading: (&Client, &watch::Receiver<bool>),
    (writers, readers): (&mut JoinSet<()>, &mut JoinSet<()>),
) {
    let world = Simulated { stage: stage.clone(), name: String::new() };
    for number in 0..processes as u32 {
        let claimant = Claimant { number, random: random.fork(), world: world.clone(), next: 0 };
        writers.spawn(claimant.run(appends));
        readers.spawn(follow(reading.0.clone(), random.fork(), world.clone(), reading.1.clone()));
    }
}

/// Judges the whole log, and holds against it what everybody was told.
pub(super) async fn finish(stage: &Arc<Stage>) {
    // What crashed ends with the deadlines of its calls.
    sleep(Simulated { stage: stage.clone(), name: String::new() }.longest()).await;
    judge(stage);
    let exclusive = std::mem::take(&mut *stage.exclusive());
    exclusive.finish().into_iter().for_each(|(wrong, what)| stage.book.rules(0).add(wrong, what));
}

/// Follows the log until all processes have ended, and then to its end.
async fn follow(
    client: Client,
    mut random: fastrand::Rng,
    world: Simulated,
    is_all_written: watch::Receiver<bool>,
) {
    let wal = open(&client, &world.stage).await;
    let mut position = Position::START;
    loop {
        let is_last = *is_all_written.borrow();
        // Nothing is appended any more.
        let until = if is_last { judge(&world.stage) } else { i64::MAX };
        if random.u8(..4) == 0 || position.offset() < world.stage.exclusive().trimmed {
            position = world.stored(&mut random);
        }
        let mut reader = wal.read(position).until(until).build();
        let mut part = Part::new("a reader", &position);
        let items = if is_last { u32::MAX } else { random.u32(..200) };
        let has_ended = read(&world, &mut random, &mut reader, &mut part, items).await;
        position = reader.position();
        part.offsets.end = position.offset();
        world.tell(Told::Position(position.to_string()));
        world.tell(Told::Read(part));
        if is_last && has_ended && position.offset() >= until {
            return;
        }
    }
}

/// Judges what nobody can take back. Gives up to where.
fn judge(stage: &Stage) -> i64 {
    let mut exclusive = stage.exclusive();
    if let Ok(log) = stage.network.cluster.log(TOPIC, 0) {
        for batch in log.batches.iter().flat_map(batches).map_while(Result::ok) {
            if batch.base_offset() >= exclusive.judged && batch.next_offset() <= log.high_watermark {
                let records: Vec<_> = batch.records().map_while(Result::ok).collect();
                let offsets = batch.base_offset()..batch.next_offset();
                exclusive.judge(offsets, batch.header().attributes, &records);
            }
        }
    }
    exclusive.judged
}

/// Ends the isolation of processes.
pub(super) fn rejoin(cluster: &FakeCluster) {
    for broker in 1..=BROKERS {
        // Fails only if there is no such broker.
        let _ = cluster.rejoin_broker(broker);
    }
}

async fn open(client: &Client, stage: &Stage) -> Wal {
    loop {
        let call = client.wal(TOPIC, 0).accept_risks(RISKS).into_future();
        match stage.book.timed(0, "wal", stage.options.api_timeout, call).await {
            Ok(wal) => return wal,
            Err(error) => stage.failed(&error),
        }
    }
}
