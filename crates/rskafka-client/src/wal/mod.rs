//! An exclusive log: one writer at a time, decided by the order of the log itself.
//!
//! Each batch carries a header that says who wrote it, in which term, and which batch of that writer it is. A claim begins a
//! new term. One rule (`fence.rs`) says which batches count, so all readers find the same entries, and a writer that was
//! overtaken can append nothing that counts.
//!
//! Invariant: an append is acknowledged to its caller only when it surely counts.

mod carrier;
mod fence;
mod ledger;
#[cfg(feature = "metrics")]
mod metrics;
mod position;
mod reader;
mod recovery;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rskafka_protocol::records::RecordBatch;
use time::OffsetDateTime;

pub use self::fence::{Dead, Kind, Stamp};
pub use self::position::Position;
pub use self::reader::{Claim, Entry, Item, Items, Passed, Reader, Start};
pub use self::recovery::{Recovery, RecoveryProgress};
pub use self::writer::{Append, Appended, Reclaimed, Writer};
pub use crate::consumer::ParsePositionError;

use self::fence::{HEADER, Reading};
use crate::admin::durability::{self, DurabilityKind, Severity};
use crate::consumer::{self, ReadBuilder};
use crate::error::{Case, Error, ErrorKind, Result};
use crate::partition::Partition;
use crate::produce::{LineOptions, encode};
use crate::record::{Payload, Record, RecordHeaders};

/// A partition as an exclusive log: see [`Client::wal`](crate::Client::wal).
///
/// One writer at a time, every entry there exactly once and in order, every unknown outcome settled by the next claim; decided
/// by the log's own order, without transactions, and whatever a broker forgets.
#[derive(Debug, Clone)]
pub struct Wal {
    log: Arc<Log>,
}

/// What the handles of one exclusive log share.
#[derive(Debug)]
struct Log {
    partition: Arc<Partition>,
    options: LineOptions,
    accepted: Vec<DurabilityKind>,
    /// Whether the topic's settings were found to be safe, or accepted.
    is_checked: AtomicBool,
    #[cfg(feature = "metrics")]
    metrics: self::metrics::Metrics,
}

impl Wal {
    pub(crate) fn new(
        partition: Arc<Partition>,
        options: LineOptions,
        accepted: Vec<DurabilityKind>,
    ) -> Self {
        let options = LineOptions { stop_on_failure: true, takes_new_ids: true, ..options };
        let log = Log {
            #[cfg(feature = "metrics")]
            metrics: self::metrics::Metrics::new(&partition.topic, partition.index),
            partition,
            options,
            accepted,
            is_checked: AtomicBool::new(false),
        };
        Self { log: Arc::new(log) }
    }

    /// Reads the log from a position on, and claims it: see [`Recovery`]. The note tells others who the writer is.
    ///
    /// Checks the topic's settings; then connects, and obtains a producer id. Each of the two ends by the api timeout. Settings that were found to
    /// be safe are not checked again by this `Wal`. Cancel safe: nothing is appended before the recovery is polled.
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
    /// # use rskafka_client::record::Record;
    /// # use rskafka_client::wal::Position;
    /// use futures_util::TryStreamExt;
    ///
    /// let wal = client.wal("orders", 0).await?;
    /// let mut recovery = wal.claim(Position::START, "node 7").await?;
    /// while let Some(entry) = recovery.try_next().await? {
    ///     for record in entry.records() {
    ///         println!("{:?}", record?.value);
    ///     }
    /// }
    /// let writer = recovery.into_writer()?;
    /// let appended = writer.append([Record::new((), "order 1", time::OffsetDateTime::now_utc())]).await?;
    /// println!("{}", appended.position);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotDurable`] if the topic's settings cannot keep what the log promises; see
    /// [`accept_risks`](crate::PartitionClientBuilder::accept_risks). [`ErrorKind::OtherTopic`] for a position of another log. And
    /// those of [`check_durability`](crate::Client::check_durability) and [`warm_up`](crate::PartitionClient::warm_up).
    pub async fn claim(&self, position: Position, note: impl Into<Bytes>) -> Result<Recovery> {
        Recovery::begin(self.read(position).build_items(), note.into()).await
    }

    /// A stream of the entries that count, from a position on. Options chain before [`build`](ReadBuilder::build).
    pub fn read(&self, position: Position) -> ReadBuilder<Start> {
        ReadBuilder::exclusive(&self.log, position)
    }
}

impl Log {
    fn now(&self) -> OffsetDateTime {
        self.partition.core.cluster.env().wall_clock()
    }

    fn position(&self, reading: Reading) -> Position {
        Position::new(consumer::Position::of(&self.partition, 0), reading)
    }

    fn encode<K: Payload, V: Payload, H: RecordHeaders>(
        &self,
        records: impl IntoIterator<Item = Record<K, V, H>>,
        stamp: Stamp,
    ) -> Result<RecordBatch> {
        let stamp = stamp.to_bytes();
        encode(records, &self.options.encode, &self.partition.core.spare, Some((HEADER, &stamp)))
    }

    /// Refuses settings by which acknowledged or old records can be lost.
    async fn check(&self) -> Result<()> {
        if self.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Partition { core, topic, index, .. } = &*self.partition;
        let mut findings = durability::check(core, topic, Some(*index)).await?;
        findings.retain(|found| found.severity != Severity::Appends && !self.accepted.contains(&found.kind));
        if findings.iter().all(|found| found.kind == DurabilityKind::NoAnswer) {
            self.is_checked.store(findings.is_empty(), Ordering::Relaxed);
            // A log must be claimed while a broker is down.
            for found in &findings {
                tracing::warn!(%topic, partition = index, %found, "claiming without a broker's settings");
            }
            return Ok(());
        }
        let list: Vec<_> = findings.iter().map(ToString::to_string).collect();
        Err(Error::new(Case::NotDurable, ErrorKind::NotDurable).with_source(list.join("; ")))
    }
}

#[cfg(test)]
mod tests;
