//! A writer: bursts of produce calls, some of them dropped, in the order of its numbers. Some writers have a producer of
//! batches, and flush or close it now and then.
//!
//! Invariant: the rules learn the fate of every record, and only a writer with `sends_again` repeats an append.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::producer::{BatchProducer, RecordAggregator, Unfinished};
use rskafka::client::{Client, PartitionClient};
use rskafka::protocol::ErrorCode;
use rskafka::record::{Headers, Record};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::appending::{Batches, append};
use super::drop::{dropped_after, unless_dropped};
use super::kind::PRODUCE_DROPPED;
use super::mistake::Mistake;
use super::rules::{Fate, Rules, Wrong};
use super::run::{Stage, TOPIC, until_done};
use super::value::Id;

/// How often a produce whose fate is unknown is sent again.
const RESENDS: u32 = 3;
/// The longest pause after a failure. Without it a run would consist of calls that fail at once, because the broker
/// wants silence or the topic is gone.
const PAUSE_MS: u64 = 3_000;
const SKEW_MS: u64 = 1_000;
/// The longest that a close waits.
const CLOSE_MS: u64 = 2_000;
/// This many records in a row have the same key.
const SAME_KEY: u32 = 8;
/// Longer than the longest record.
const MOST_IN_BATCH: usize = 1 << 17;
/// Longer than any call may take.
const LATE: Duration = Duration::from_secs(16);

/// The options of a writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub(super) is_idempotent: bool,
    max_in_flight: usize,
    stops_on_failure: bool,
    /// If it appends by a producer of batches: the linger, the records of a batch, and the memory.
    batching: Option<(Duration, usize, usize)>,
}

impl Habits {
    /// A writer that makes a call again itself has a client that does not.
    pub(super) fn random(random: &mut fastrand::Rng, sends_again: bool) -> Self {
        let is_idempotent = !sends_again && random.u8(..4) > 0;
        let in_flight = if random.bool() { 5 } else { random.usize(1..=5) };
        let linger = Duration::from_millis([0, 1, random.u64(..200)][random.usize(..3)]);
        let memory = if random.bool() { 32 << 20 } else { random.usize(..4_000) };
        let batching = (!sends_again && random.u8(..3) == 0).then(|| (linger, random.usize(1..=4), memory));
        Self {
            is_idempotent,
            max_in_flight: if is_idempotent { in_flight } else { 1 },
            stops_on_failure: random.u8(..4) == 0,
            batching,
        }
    }

    pub(super) async fn partition_client(
        self,
        client: &Client,
        stage: &Stage,
        partition: usize,
    ) -> PartitionClient {
        let Self { is_idempotent, max_in_flight, stops_on_failure, .. } = self;
        let builder = || {
            let builder = client.partition_client(TOPIC, partition as i32).idempotence(is_idempotent);
            builder.max_in_flight(max_in_flight).stop_on_failure(stops_on_failure)
        };
        until_done(stage, partition, "partition_client", builder).await
    }

    pub(super) fn batches(self, log: &PartitionClient) -> Option<Batches> {
        let (linger, max_records, buffer_memory) = self.batching?;
        let builder = BatchProducer::builder(log.clone()).linger(linger).buffer_memory(buffer_memory);
        Some(builder.build(RecordAggregator::new(MOST_IN_BATCH).max_records(max_records)))
    }
}

pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) writer: u32,
    pub(super) sends_again: bool,
    /// How many produce calls it makes at least.
    pub(super) appends: u64,
    pub(super) log: PartitionClient,
    pub(super) batches: Option<Batches>,
    pub(super) habits: Habits,
    pub(super) partition: usize,
    pub(super) random: fastrand::Rng,
    pub(super) stage: Arc<Stage>,
    /// The number of the next record.
    pub(super) next: u32,
    /// How many calls were dropped.
    pub(super) dropped: usize,
}

/// The records of one produce call.
#[derive(Clone)]
struct Call {
    ids: Vec<Id>,
    left: u32,
    /// It took no time, so that it may have ended before anything else was called.
    ended_at_once: bool,
}

/// How a produce call ended; `None` if it was dropped.
type Settled = (Call, Option<Result<Range<i64>, Error>>);

impl Writer {
    pub(super) async fn run(mut self) {
        let mut made = 0;
        let mut again = Vec::new();
        while made < self.appends || !again.is_empty() {
            let most = if self.batches.is_some() { 32 } else { 8 };
            let wanted = self.random.u64(1..=most).min(self.appends.saturating_sub(made));
            again.extend((0..wanted).map(|_| self.new_call()));
            made += wanted;
            let mut calls = JoinSet::new();
            for call in again {
                self.call(&mut calls, call);
            }
            let said = self.flush_or_close().await;
            let burst = Burst::of(calls).await;
            self.dropped += burst.0.iter().filter(|(_, result)| result.is_none()).count();
            for error in burst.failures() {
                self.stage.check_open(self.partition, error);
            }
            burst.check(said.as_ref(), self.dropped, &mut self.stage.book.rules(self.partition));
            if self.habits.stops_on_failure && self.batches.is_none() {
                let rules = &mut self.stage.book.rules(self.partition);
                burst.check_stopped(self.habits.max_in_flight, rules);
            }
            self.go_on(&burst, matches!(said, Some(Err(_)))).await;
            let has_failed = burst.failures().next().is_some();
            again = burst.0.into_iter().filter_map(|settled| self.made_again(settled)).collect();
            let (one_in, longest) = if has_failed { (2, PAUSE_MS) } else { (4, 500) };
            if self.random.u8(..one_in) == 0 {
                tokio::time::sleep(Duration::from_millis(self.random.u64(..longest))).await;
            }
        }
    }

    fn new_call(&mut self) -> Call {
        let first = self.next;
        self.next += if self.batches.is_some() { 1 } else { self.random.u32(1..=3) };
        let ids = (first..self.next).map(|number| Id { writer: self.writer, number });
        Call { ids: ids.collect(), left: RESENDS, ended_at_once: false }
    }

    /// Makes the call at once; only its end is awaited in a task.
    fn call(&mut self, calls: &mut JoinSet<Settled>, mut call: Call) {
        self.stage.outcome().appends += 1;
        // Clocks of writers are not the same.
        let timestamp = self.stage.network.wall_clock() - Duration::from_millis(self.random.u64(..SKEW_MS));
        call.ids.iter().for_each(|id| self.stage.book.rules(self.partition).sent(*id));
        let records = call.ids.iter().map(|id| {
            // Some have the same key, for compaction.
            let key = (id.number / SAME_KEY).to_be_bytes().to_vec();
            Record { key: Some(key.into()), value: Some(id.value()), headers: Headers::new(), timestamp }
        });
        let term = self.stage.term(self.partition);
        let is_batched = self.batches.is_some();
        let appending = append(&self.log, self.batches.as_ref(), records.collect());
        let dropped = dropped_after(&mut self.random);
        let (stage, partition) = (self.stage.clone(), self.partition);
        calls.spawn(async move {
            let call_over = async {
                let result = unless_dropped(appending, dropped).await;
                // Large, and nothing in a run without a mistake.
                Box::pin(err_on_purpose(&stage)).await;
                result
            };
            let since = Instant::now();
            let limit = stage.options.delivery_timeout;
            let result = stage.book.timed(partition, "produce", limit, call_over).await;
            if let Some(Err(error)) = &result {
                stage.network.note(|| format!("{}: {error:?}", call.ids[0]));
                // Those of a batch may have begun before the call.
                let took = if is_batched { limit } else { since.elapsed() };
                let leaders = stage.leaders_since(partition, term);
                stage.check_attempts(partition, error, took, leaders);
            }
            if result.is_none() {
                *stage.outcome().dropped.entry(PRODUCE_DROPPED).or_default() += 1;
            }
            call.ended_at_once = since.elapsed().is_zero();
            stage.produce_is_over(matches!(result, Some(Ok(_))));
            // Who led all the time has acknowledged it.
            let term = term.filter(|_| stage.term(partition) == term);
            let fates = match &result {
                Some(Ok(_)) if stage.mistaken.makes(Mistake::ReportsNotWritten) => {
                    vec![Fate::NotWritten; call.ids.len()]
                }
                result => fates(result.as_ref(), call.ids.len()),
            };
            let mut rules = stage.book.rules(partition);
            call.ids.iter().zip(fates).for_each(|(id, fate)| rules.settled_in(term, *id, fate));
            drop(rules);
            (call, result)
        });
    }

    /// Flushes or closes a producer of batches behind the calls that were made.
    async fn flush_or_close(&mut self) -> Option<Said> {
        let batches = self.batches.as_ref()?;
        let dropped = dropped_after(&mut self.random);
        let (stage, limit) = (&self.stage, self.stage.options.delivery_timeout);
        match self.random.u8(..16) {
            0..4 => {
                let flush = unless_dropped(Box::pin(batches.flush()), dropped);
                stage.book.timed(self.partition, "flush", limit, flush).await?.ok().map(Ok)
            }
            4 => {
                let within = Duration::from_millis(self.random.u64(..CLOSE_MS));
                let closed = stage.book.timed(self.partition, "close", within, batches.close(within)).await;
                Some(Err(closed))
            }
            _ => None,
        }
    }

    /// Takes into use again what the failures of a burst, or a close, have ended.
    async fn go_on(&mut self, burst: &Burst, is_closed: bool) {
        let is_final = |error: &Error| {
            matches!(error.kind(), ErrorKind::TopicRecreated | ErrorKind::LogTruncated { .. })
        };
        if burst.failures().any(is_final) {
            self.log = self.habits.partition_client(&self.client, &self.stage, self.partition).await;
            self.batches = self.habits.batches(&self.log);
            return self.stage.book.rules(self.partition).begins_anew(self.writer);
        }
        let is_stopped = self.habits.stops_on_failure && burst.failures().next().is_some();
        if is_closed || (is_stopped && self.batches.is_none()) {
            let mut calls = JoinSet::new();
            let call = self.new_call();
            self.call(&mut calls, call);
            let Burst(results) = Burst::of(calls).await;
            if results.iter().any(|(_, result)| matches!(result, Some(Ok(_)))) {
                let what = format!("{:?} was appended after it was closed or stopped", results[0].0.ids[0]);
                self.stage.book.rules(self.partition).add(Wrong::SentBehind, what);
            }
        }
        self.log.resume();
        if is_closed {
            self.batches = self.habits.batches(&self.log);
        }
    }

    /// The call as the writer makes it again, if it does. Nobody waits for a call that was dropped.
    fn made_again(&self, (call, result): Settled) -> Option<Call> {
        let is_unknown = matches!(result, Some(Err(error)) if error.outcome() == Outcome::Unknown);
        (self.sends_again && is_unknown && call.left > 0).then(|| Call { left: call.left - 1, ..call })
    }
}

/// What a producer of batches said of a burst's calls: that all are written, or which are not as it was closed.
type Said = Result<(), Unfinished>;

/// Calls that have ended, in their order.
struct Burst(Vec<Settled>);

impl Burst {
    /// Waits until all calls have ended.
    async fn of(calls: JoinSet<Settled>) -> Self {
        let mut ended = calls.join_all().await;
        ended.sort_by_key(|(call, _)| call.ids[0]);
        Self(ended)
    }

    fn failures(&self) -> impl Iterator<Item = &Error> {
        self.0.iter().filter_map(|(_, result)| result.as_ref()?.as_ref().err())
    }

    /// `dropped` calls of earlier bursts and this one may be among what was said, too.
    fn check(&self, said: Option<&Said>, dropped: usize, rules: &mut Rules) {
        let Self(calls) = self;
        for (call, result) in calls {
            let Some(Err(error)) = result else { continue };
            if let ErrorKind::LogTruncated { divergence_offset } = error.kind() {
                rules.told_of_loss(call.ids[0].writer, *divergence_offset);
            }
            if error.code() == Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) {
                rules.told_out_of_sequence(call.ids[0]);
            }
            if *error.kind() == ErrorKind::ProducerClosed && !matches!(said, Some(Err(_))) {
                rules.add(Wrong::Unfounded, format!("{error:?}"));
            }
        }
        let may_be_told = |(call, result): &&Settled| matches!(result, Some(Err(_))) && !call.ended_at_once;
        let failed = calls.iter().filter(may_be_told).count();
        let denied = self.failures().filter(|error| error.outcome() == Outcome::NotWritten).count();
        let is_true = match said {
            None => true,
            Some(Ok(())) => failed == 0,
            Some(Err(unfinished)) => {
                let [not_written, unknown] =
                    [Outcome::NotWritten, Outcome::Unknown].map(|it| unfinished.inputs(it));
                failed <= not_written + unknown && not_written <= denied + dropped
            }
        };
        if !is_true {
            let what =
                format!("{said:?}, with {failed} of {} calls failed, {denied} as not written", calls.len());
            rules.add(Wrong::Silent, what);
        }
    }

    /// Nothing is sent behind a failed append: so much as may be in flight with it was sent before.
    fn check_stopped(&self, max_in_flight: usize, rules: &mut Rules) {
        let has_failed =
            |(_, result): &Settled| matches!(result, Some(Err(error)) if *error.kind() != ErrorKind::Stopped);
        let Some(failed) = self.0.iter().position(has_failed) else { return };
        let mut behind = self.0.iter().skip(failed + max_in_flight);
        if let Some((call, _)) = behind.find(|(_, result)| matches!(result, Some(Ok(_)))) {
            let what = format!("{} was sent behind {}, which failed", call.ids[0], self.0[failed].0.ids[0]);
            rules.add(Wrong::SentBehind, what);
        }
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
    if mistaken.makes(Mistake::DialsWithoutPause) {
        network.dial_without_pause().await;
    }
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
    if mistaken.makes(Mistake::ReturnsLate) {
        tokio::time::sleep(LATE).await;
    }
    if mistaken.makes(Mistake::NeverReturns) {
        std::future::pending::<()>().await;
    }
}
