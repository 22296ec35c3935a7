//! The writer of an exclusive log: the handle, and what its calls give.
//!
//! Invariant: a reclaim makes a writer of the next term only after it has read all that counts before its claim.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use rskafka_protocol::ApiKey;
use tokio::sync::oneshot;

use super::carrier::Carrier;
use super::fence::Kind;
use super::ledger::{End, Ledger};
use super::reader::{Claim, Item};
use super::recovery::Recovery;
use super::{Log, Position};
use crate::admin::delete_records;
use crate::error::{Case, Error, ErrorKind, Result};
use crate::produce::Line;
use crate::record::{Payload, Record, RecordHeaders};

/// The writer of an exclusive log, until another one claims it.
///
/// It has no clones: share it in an `Arc`. When it is dropped, appends under way still end.
#[derive(derive_more::Debug)]
#[debug("Writer {{ term: {}, position: {} }}", self.claim().term, self.position())]
pub struct Writer {
    carrier: Arc<Carrier>,
    /// The claims that it has made, among them those whose outcome was unknown.
    own: BTreeSet<u64>,
}

/// An append that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The offsets of its records.
    pub offsets: Range<i64>,
    /// Where to go on after it: store it with a snapshot that has everything up to and including this append.
    pub position: Position,
    /// The size of the batch in bytes, encoded and compressed; 0 if it was found in the log afterwards.
    pub encoded_size: usize,
}

/// What a [`Writer::reclaim`] has found.
#[derive(Debug)]
#[must_use = "it may have failed"]
#[non_exhaustive]
pub struct Reclaimed {
    /// The appends whose outcome was unknown, by [`Append::sequence`]: where they are, or `None` for those that are not in the
    /// log and never will be.
    pub settled: BTreeMap<u64, Option<Appended>>,
    /// The claim that ended this writer's term; `None` if this one may append again.
    pub fenced_by: Option<Claim>,
}

/// An append under way: `.await` it for its result. Dropping it is safe: the append goes on.
#[derive(Debug)]
#[must_use = "without awaiting it, it is not known whether the records count"]
pub struct Append {
    pub(super) sequence: Option<u64>,
    pub(super) result: oneshot::Receiver<Result<Appended>>,
}

impl Append {
    /// Its number in the writer's term, from 1; `None` if it was refused before it got one.
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }
}

impl Future for Append {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = |_| Err(Error::new(Case::RuntimeGone, ErrorKind::Closed));
        Pin::new(&mut self.result).poll(cx).map(|received| received.unwrap_or_else(closed))
    }
}

impl Writer {
    pub(super) fn new(log: Arc<Log>, line: Arc<Line>, ledger: Ledger, claim: Claim) -> Self {
        let own = BTreeSet::from([claim.writer]);
        Self { carrier: Arc::new(Carrier::new(log, line, ledger, claim)), own }
    }

    /// The claim that made it the writer.
    pub fn claim(&self) -> &Claim {
        &self.carrier.claim
    }

    /// After the last append that is settled: where to go on.
    pub fn position(&self) -> Position {
        self.carrier.look(|state| self.carrier.log.position(state.ledger.reading()))
    }

    /// Appends records as one batch. It has its place when this is called: appends count in the order of the calls, or not at
    /// all. Many can be under way at once.
    ///
    /// The records are encoded inside the call. The append ends by the delivery timeout.
    ///
    /// # Errors
    ///
    /// [`Error::outcome`] tells whether it counts: `NotWritten` is never wrong.
    ///
    /// The writer goes on after what is refused inside the call: [`ErrorKind::InvalidArgument`] without records, for one with a
    /// header `rskafka.wal`, and as for [`produce`](crate::PartitionClient::produce); [`ErrorKind::BatchTooLarge`].
    ///
    /// All others end the writer: [`ErrorKind::Fenced`] if another one has claimed the log; a refusal of the broker; the end of
    /// the time; [`ErrorKind::LogTruncated`], [`ErrorKind::LogDamaged`]. Appends behind the one that failed fail with
    /// [`ErrorKind::Stopped`]; then call [`reclaim`](Self::reclaim).
    ///
    /// The iterator of the records must not call this writer, which would wait for itself.
    pub fn append<K: Payload, V: Payload, H: RecordHeaders>(
        &self,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Append {
        self.carrier.append(Kind::Entry, records)
    }

    /// Waits until everything before it is settled, and shows that this was the only writer at a moment between call and
    /// return: what this process has read and appended was the whole log then. It appends a batch without records, also if the
    /// future is dropped after it was polled.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append).
    pub async fn barrier(&self) -> Result<Position> {
        let record = Record::new((), (), self.carrier.log.now());
        Ok(self.carrier.append(Kind::Barrier, [record]).await?.position)
    }

    /// Deletes what lies before a position (KIP-107), and gives the log's new start. A dropped future may still delete, which
    /// does no harm.
    ///
    /// Trim only up to a position whose snapshot every process can read that may claim the log, and have the store of snapshots
    /// refuse a position that is not [later](Position::is_before) than the one that it has: then a trim that comes late, from a
    /// writer that was fenced, does no harm.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OtherTopic`], and those of [`delete_records`](crate::PartitionClient::delete_records).
    /// [`ErrorKind::Unsupported`] where brokers have no DeleteRecords (Event Hubs): there, retention must do it.
    pub async fn trim(&self, position: &Position) -> Result<i64> {
        let partition = &self.carrier.log.partition;
        let trim =
            async { delete_records::delete(partition, Some(position.within(partition)?.offset())).await };
        trim.await.map_err(|error| partition.located(error, ApiKey::DELETE_RECORDS))
    }

    /// Waits until another writer's claim counts, for an owner that appends nothing. It reads the log from this writer's
    /// position on. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`Reader`](super::Reader).
    pub async fn fenced(&self) -> Result<Claim> {
        let (known, mut items) =
            self.carrier.look(|state| (state.fenced_by.clone(), self.carrier.items(state)));
        if let Some(claim) = known {
            return Ok(claim);
        }
        while let Some(item) = poll_fn(|cx| Pin::new(&mut items).poll_next(cx)).await.transpose()? {
            if let Item::Claim(claim) = item {
                // What is under way is judged by what was read before the claim.
                self.carrier.look(|state| state.fenced_by = Some(claim.clone()));
                return Ok(claim);
            }
        }
        Err(self.carrier.located(Error::new(Case::ClientClosed, ErrorKind::Closed)))
    }

    /// Claims the log again after this writer has ended, unless another writer's claim counts. Settles each append whose
    /// outcome is unknown.
    ///
    /// Waits for appends under way, and reads what is not known yet. If this fails with an error that
    /// [may pass](Error::is_retriable), or its future is dropped, call it again: its claim may count all the same, and is taken
    /// for this writer's own.
    ///
    /// # Errors
    ///
    /// Those of [`Recovery`]. [`ErrorKind::LogTruncated`] if appends have failed with it: recover from a snapshot instead.
    /// [`ErrorKind::OffsetOutOfRange`] if the log was trimmed beyond what this writer knows: what was unknown stays so.
    pub async fn reclaim(&mut self, note: impl Into<Bytes>) -> Result<Reclaimed> {
        self.flush().await;
        let (unknown, ours, items, passed, truncated) = self.carrier.look(|state| {
            // What was read is not read again.
            let is_passed = matches!(state.ledger.end(), Some(End::Fenced { .. }));
            let passed = state.fenced_by.clone().filter(|_| is_passed);
            let (unknown, ours) = (state.unknown.clone(), state.ledger.stamp(Kind::Entry, 0));
            (unknown, ours, self.carrier.items(state), passed, state.truncated.clone())
        });
        if let Some(error) = truncated {
            return Err(error);
        }
        if let Some(claim) = passed.filter(|claim| !self.own.contains(&claim.writer)) {
            return Ok(Reclaimed { settled: BTreeMap::new(), fenced_by: Some(claim) });
        }
        let mut found = BTreeMap::new();
        let recovery = Recovery::new(items, note.into());
        let mut recovery = recovery.map_err(|error| self.carrier.located(error))?;
        let fenced_by = loop {
            let own = &mut self.own;
            // Also if this future is dropped: its claim may count all the same.
            let poll = |cx: &mut Context<'_>| {
                let item = recovery.poll_item(cx);
                own.extend(&recovery.own);
                item
            };
            match poll_fn(poll).await {
                None => break None,
                Some(Ok(Item::Claim(claim))) if !self.own.contains(&claim.writer) => break Some(claim),
                Some(Ok(Item::Entry(entry))) if entry.is_of(ours.term, ours.writer) => {
                    let (offsets, position) = (entry.offsets(), entry.position());
                    found.insert(entry.sequence(), Appended { offsets, position, encoded_size: 0 });
                }
                Some(Ok(_)) => {}
                // An older claim of this writer came first.
                Some(Err(error)) if matches!(error.kind(), ErrorKind::ClaimLost { .. }) => {}
                Some(Err(error)) => return Err(error),
            }
        };
        match &fenced_by {
            Some(claim) => {
                self.carrier.look(|state| {
                    (state.fenced_by, state.unknown) = (Some(claim.clone()), Vec::new());
                });
            }
            None => *self = recovery.into_writer()?,
        }
        let settled = unknown.into_iter().map(|sequence| (sequence, found.remove(&sequence))).collect();
        Ok(Reclaimed { settled, fenced_by })
    }

    /// Waits until no append is under way, and ends the writer. The log stays claimed until another claim. Cancel safe: appends
    /// under way still end.
    pub async fn close(self) {
        self.flush().await;
    }

    /// Waits until no append is under way. Cancel safe.
    pub async fn flush(&self) {
        loop {
            let settled = self.carrier.settled.notified();
            if self.carrier.look(|state| {
                state.is_awaited = !state.appends.is_empty();
                !state.is_awaited
            }) {
                return;
            }
            settled.await;
        }
    }
}
