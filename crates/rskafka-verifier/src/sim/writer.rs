//! A writer: bursts of produce calls, some of them dropped, in the order of its numbers.
//!
//! Invariant: the rules learn the fate of every record, and only a writer with `sends_again` repeats an append.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{Client, PartitionClient, Produce};
use rskafka::record::Record;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::drop::{dropped_after, unless_dropped};
use super::kind::PRODUCE_DROPPED;
use super::mistake::Mistake;
use super::rules::Fate;
use super::run::{Stage, TOPIC, made};
use super::value::Id;

/// How often a produce whose fate is unknown is sent again.
const RESENDS: u32 = 3;
/// The longest pause after a failure. Without it a run would consist of calls that fail at once, because the broker
/// wants silence or the topic is gone.
const PAUSE_MS: u64 = 3_000;
const SKEW_MS: u64 = 1_000;
/// This many records in a row have the same key.
const SAME_KEY: u32 = 8;
/// Longer than any call may take.
const LATE: Duration = Duration::from_secs(16);

/// The options of a writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub(super) is_idempotent: bool,
    max_in_flight: usize,
    stops_on_failure: bool,
}

impl Habits {
    /// A writer that makes a call again itself has a client that does not.
    pub(super) fn random(random: &mut fastrand::Rng, sends_again: bool) -> Self {
        Self {
            is_idempotent: !sends_again && random.u8(..4) > 0,
            max_in_flight: if random.bool() { 5 } else { random.usize(1..=5) },
            stops_on_failure: random.u8(..4) == 0,
        }
    }

    pub(super) async fn partition_client(
        self,
        client: &Client,
        stage: &Stage,
        partition: usize,
    ) -> PartitionClient {
        let Self { is_idempotent, max_in_flight, stops_on_failure } = self;
        let builder = || {
            let builder = client.partition_client(TOPIC, partition as i32).idempotence(is_idempotent);
            builder.max_in_flight(max_in_flight).stop_on_failure(stops_on_failure)
        };
        made(stage, partition, builder).await
    }
}

pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) writer: u32,
    pub(super) sends_again: bool,
    /// How many produce calls it makes at least.
    pub(super) appends: u64,
    pub(super) log: PartitionClient,
    pub(super) habits: Habits,
    pub(super) partition: usize,
    pub(super) random: fastrand::Rng,
    pub(super) stage: Arc<Stage>,
}

/// The records of one produce call.
#[derive(Clone)]
struct Call {
    ids: Vec<Id>,
    left: u32,
}

/// How a produce call ended; `None` if it was dropped.
type Settled = (Call, Option<Result<Range<i64>, Error>>);

impl Writer {
    pub(super) async fn run(mut self) {
        let mut next = 0;
        let mut made = 0;
        let mut again = Vec::new();
        while made < self.appends || !again.is_empty() {
            let mut burst = std::mem::take(&mut again);
            let wanted = self.random.u64(1..=8).min(self.appends.saturating_sub(made));
            burst.extend((0..wanted).map(|_| {
                let first = next;
                next += self.random.u32(1..=3);
                let ids = (first..next).map(|number| Id { writer: self.writer, number });
                Call { ids: ids.collect(), left: RESENDS }
            }));
            made += wanted;
            let mut calls = JoinSet::new();
            for call in burst {
                self.call(&mut calls, call);
            }
            let (mut has_failed, mut is_over) = (false, false);
            while let Some(Ok((call, result))) = calls.join_next().await {
                if let Some(Err(error)) = &result {
                    has_failed = true;
                    self.stage.check_open(self.partition, error);
                    is_over |=
                        matches!(error.kind(), ErrorKind::TopicRecreated | ErrorKind::LogTruncated { .. });
                }
                again.extend(self.settle(call, result));
            }
            if is_over {
                self.log = self.habits.partition_client(&self.client, &self.stage, self.partition).await;
            } else if has_failed {
                self.log.resume();
            }
            let (one_in, longest) = if has_failed { (2, PAUSE_MS) } else { (4, 500) };
            if self.random.u8(..one_in) == 0 {
                tokio::time::sleep(Duration::from_millis(self.random.u64(..longest))).await;
            }
        }
    }

    /// Makes the call at once; only its end is awaited in a task.
    fn call(&mut self, calls: &mut JoinSet<Settled>, call: Call) {
        self.stage.outcome().appends += 1;
        // Clocks of writers are not the same.
        let timestamp = self.stage.network.wall_clock() - Duration::from_millis(self.random.u64(..SKEW_MS));
        self.stage.rules(self.partition, |rules| call.ids.iter().for_each(|id| rules.sent(*id)));
        let records = call.ids.iter().map(|id| {
            // Some have the same key, for compaction.
            let key = (id.number / SAME_KEY).to_be_bytes();
            Record { key: key.to_vec(), value: id.value(), headers: (), timestamp }
        });
        let produce = self.log.produce(records);
        let dropped = dropped_after(&mut self.random);
        let (stage, partition) = (self.stage.clone(), self.partition);
        calls.spawn(async move {
            let produce: Pin<Box<Produce>> = Box::pin(produce);
            let call_over = async {
                let result = unless_dropped(produce, dropped).await;
                err_on_purpose(&stage).await;
                result
            };
            let since = Instant::now();
            let limit = stage.options.delivery_timeout;
            let result = stage.timed(partition, "produce", limit, call_over).await;
            if let Some(Err(error)) = &result {
                stage.check_attempts(partition, error, since.elapsed());
            }
            if result.is_none() {
                *stage.outcome().dropped.entry(PRODUCE_DROPPED).or_default() += 1;
            }
            stage.produce_is_over(matches!(result, Some(Ok(_))));
            (call, result.map(|result| result.map(|produced| produced.offsets())))
        });
    }

    /// Tells the rules how a call ended; returns it if the writer makes it again.
    fn settle(&self, call: Call, result: Option<Result<Range<i64>, Error>>) -> Option<Call> {
        let fates = match &result {
            Some(Ok(_)) if self.stage.mistaken.makes(Mistake::ReportsNotWritten) => {
                vec![Fate::NotWritten; call.ids.len()]
            }
            result => fates(result.as_ref(), call.ids.len()),
        };
        // Nobody waits for a call that was dropped.
        let is_unknown = result.is_some() && fates.contains(&Fate::Unknown);
        self.stage.rules(self.partition, |rules| {
            for (id, fate) in call.ids.iter().zip(fates) {
                rules.settled(*id, fate);
            }
        });
        let is_sent_again = self.sends_again && is_unknown && call.left > 0;
        is_sent_again.then(|| Call { left: call.left - 1, ..call })
    }
}

/// What the result of a produce says of its records, in their order; `None` if the call was dropped. If fewer records are
/// acknowledged than were sent, the last ones get no fate, which the rules report.
pub(super) fn fates(result: Option<&Result<Range<i64>, Error>>, records: usize) -> Vec<Fate> {
    match result {
        Some(Ok(offsets)) => offsets.clone().map(Fate::Acked).collect(),
        Some(Err(error)) if error.outcome() == Outcome::NotWritten => vec![Fate::NotWritten; records],
        Some(Err(_)) | None => vec![Fate::Unknown; records],
    }
}

/// Makes a produce's mistake, if the run has one.
async fn err_on_purpose(stage: &Stage) {
    let Stage { mistaken, network, .. } = stage;
    if mistaken.makes(Mistake::LeaksMemory) {
        // Nothing else would use it, and the compiler would leave it out.
        std::hint::black_box(Box::leak(Box::new([0_u8; 2_048])));
    }
    if mistaken.makes(Mistake::LeaksTask) {
        tokio::spawn(std::future::pending::<()>());
    }
    if mistaken.makes(Mistake::Panics) {
        drop(tokio::spawn(async { panic!("on purpose") }));
    }
    if mistaken.makes(Mistake::DialsWithoutPause) {
        network.dial_without_pause().await;
    }
    if mistaken.makes(Mistake::ReturnsLate) {
        tokio::time::sleep(LATE).await;
    }
    if mistaken.makes(Mistake::NeverReturns) {
        std::future::pending::<()>().await;
    }
}
