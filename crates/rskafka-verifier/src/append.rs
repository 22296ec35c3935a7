//! The writing side: appends the workload in order, several calls in flight, and tells what came of each.
//!
//! Invariant: every record that was handed to the client is settled by exactly one event.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rskafka::client::error::{Error, Outcome};
use rskafka::client::{PartitionClient, Produced};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::checker::Event;
use crate::digest::{Digest, Digester};
use crate::progress::Counter;
use crate::workload::{NewRecord, Workload, size_of_new};

/// Records in one produce call: about 130 KB.
const BATCH: i64 = 1_000;
/// Produce calls under way at a time.
const IN_FLIGHT: usize = 16;

/// Appends `records` records.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) partition: PartitionClient,
    pub(crate) workload: Workload,
    pub(crate) records: i64,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) appended: Arc<Counter>,
}

/// What was appended.
#[derive(Debug)]
pub(crate) struct Appended {
    /// Of all values in the order of the calls.
    pub(crate) digest: Digest,
    /// How long each call took, in ascending order.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) elapsed: Duration,
    /// The first append that failed; nothing more was appended after it.
    pub(crate) failure: Option<Error>,
}

/// A call that has ended.
struct Settled {
    numbers: Range<i64>,
    bytes: usize,
    took: Duration,
    result: Result<Produced, Error>,
}

impl Append {
    pub(crate) async fn run(self) -> Result<Appended> {
        let since = Instant::now();
        let mut digester = Digester::default();
        let mut latencies = Vec::new();
        let mut failure = None;
        let mut calls = JoinSet::new();
        let mut next = 0;
        while failure.is_none() && next < self.records {
            let numbers = next..self.records.min(next + BATCH);
            next = numbers.end;
            let records: Vec<NewRecord> =
                numbers.clone().map(|number| self.workload.record(number)).collect();
            records.iter().for_each(|record| digester.add(&record.value));
            self.call(&mut calls, numbers, records);
            // Also what has ended by itself, so that the checker hears of it early.
            while let Some(ended) = calls.try_join_next() {
                self.settle(ended?, &mut latencies, &mut failure).await?;
            }
            while calls.len() >= IN_FLIGHT
                && let Some(ended) = calls.join_next().await
            {
                self.settle(ended?, &mut latencies, &mut failure).await?;
            }
        }
        while let Some(ended) = calls.join_next().await {
            self.settle(ended?, &mut latencies, &mut failure).await?;
        }
        latencies.sort_unstable();
        Ok(Appended { digest: digester.finish(), latencies, elapsed: since.elapsed(), failure })
    }

    /// Takes the batch's place in line at once; only its end is awaited in a task.
    fn call(&self, calls: &mut JoinSet<Settled>, numbers: Range<i64>, records: Vec<NewRecord>) {
        let bytes = records.iter().map(size_of_new).sum();
        let since = Instant::now();
        let produce = self.partition.produce(records);
        calls.spawn(async move {
            let result = produce.await;
            Settled { numbers, bytes, took: since.elapsed(), result }
        });
    }

    async fn settle(
        &self,
        settled: Settled,
        latencies: &mut Vec<Duration>,
        failure: &mut Option<Error>,
    ) -> Result<()> {
        let Settled { numbers, bytes, took, result } = settled;
        latencies.push(took);
        let event = match result {
            Ok(produced) => {
                let records = produced.record_count;
                if records as i64 != numbers.end - numbers.start {
                    bail!("{records} records were acknowledged for the records {numbers:?}");
                }
                self.appended.add(records, bytes);
                Event::Acked { numbers, base_offset: produced.base_offset }
            }
            Err(error) => {
                let outcome = error.outcome();
                failure.get_or_insert(error);
                match outcome {
                    Outcome::NotWritten => Event::NotWritten(numbers),
                    Outcome::Unknown => Event::Unknown(numbers),
                }
            }
        };
        // Without a checker the whole demo is at its end.
        let _ = self.events.send(event).await;
        Ok(())
    }
}
