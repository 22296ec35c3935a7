//! Reads an exclusive log to its end, and claims it.
//!
//! Invariant: there is a writer only after everything before its claim was given out.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use rskafka_cluster::transport::Deadline;
use rskafka_protocol::ApiKey;
use rskafka_protocol::records::RecordBatch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Position;
use super::carrier;
use super::fence::Kind;
use super::ledger::{End, Ledger, Settled};
use super::reader::{Claim, Entry, Item, Items, poll_entry};
use super::writer::Writer;
use crate::error::{Case, Error, ErrorKind, Outcome, Result};
use crate::produce::{Line, Produce};
use crate::record::Record;

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryProgress {
    /// How many offsets were read.
    pub offsets_read: u64,
    /// How many there still are, according to the last answer; `None` before the first one.
    pub offsets_left: Option<u64>,
    /// How many offsets were read in a second, on average since the recovery began.
    pub offsets_per_second: u64,
}

/// A claim under way: a stream of the entries that count, from a position up to the claim. See
/// [`Wal::claim`](super::Wal::claim).
///
/// It ends when its claim counts: then [`into_writer`](Self::into_writer) gives the writer. It moves only while it is polled.
/// Dropping it is safe, but a claim that was begun may still be sent, until its delivery timeout, and fence the writer before
/// it.
///
/// # Errors
///
/// Those of [`Reader`](super::Reader). [`ErrorKind::ClaimLost`] if another claim came first, which may be an
/// earlier one of this recovery whose answer was lost: when it is polled again, it reads on and makes another one. [`ErrorKind::LogTruncated`] if the claim was acknowledged at an offset where it is not. All that
/// an append fails with, for the claim; [`Error::outcome`] is that of the claim. After one that
/// [may pass](Error::is_retriable) it makes another claim when it is polled again; after others it ends, and there is no
/// writer. [`ErrorKind::Closed`] if the client is closed.
#[must_use = "streams do nothing unless polled"]
#[derive(derive_more::Debug)]
#[debug("Recovery {{ position: {} }}", items.position())]
pub struct Recovery {
    items: Items,
    line: Arc<Line>,
    note: Bytes,
    from: i64,
    since: Instant,
    attempt: Option<Attempt>,
    /// All of its claims.
    pub(super) own: BTreeSet<u64>,
    claimed: Option<(Ledger, Claim)>,
    has_failed: bool,
}

/// An attempt to claim the log.
struct Attempt {
    claim: Claim,
    deadline: Deadline,
    produce: Option<Produce>,
    batch: RecordBatch,
    /// How often it was sent, and how long it waits after an answer.
    sent: u32,
    pause: Option<Pin<Box<Sleep>>>,
    /// Why it failed last.
    error: Option<Error>,
    /// The claim that came first.
    winner: Option<Claim>,
}

impl Recovery {
    /// Checks what can be checked before, connects, and obtains a producer id.
    pub(super) async fn begin(items: Items, note: Bytes) -> Result<Self> {
        let log = items.log.clone();
        let partition = &log.partition;
        let located = |error| partition.located(error, ApiKey::PRODUCE);
        partition.core.check_open().and_then(|()| items.check()).map_err(located)?;
        log.check().await.map_err(located)?;
        let recovery = Self::new(items, note).map_err(located)?;
        recovery.line.warm_up().await?;
        Ok(recovery)
    }

    pub(super) fn new(mut items: Items, note: Bytes) -> Result<Self> {
        // Refuses a note that is too large before all is read.
        prepare(&items, 0, &note)?;
        let line = Line::new(items.log.partition.clone(), items.log.options);
        let (from, own) = (items.position().offset(), BTreeSet::new());
        let since = items.log.partition.core.cluster.env().now();
        items.ask_for_the_end();
        Ok(Self { items, line, note, from, since, attempt: None, own, claimed: None, has_failed: false })
    }

    /// Where to go on after the entries that were given out.
    pub fn position(&self) -> Position {
        self.items.position()
    }

    /// How far it is.
    pub fn progress(&self) -> RecoveryProgress {
        let offsets_left = self.items.lag().map(|lag| lag.unsigned_abs());
        let offsets_read = self.position().offset().abs_diff(self.from);
        let elapsed =
            (self.items.log.partition.core.cluster.env().now() - self.since).as_secs_f64().max(0.001);
        let offsets_per_second = (offsets_read as f64 / elapsed) as u64;
        RecoveryProgress { offsets_read, offsets_left, offsets_per_second }
    }

    /// The writer, once this stream has ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] before that.
    pub fn into_writer(self) -> Result<Writer> {
        let Some((ledger, claim)) = self.claimed else {
            return Err(Error::invalid(
                "the recovery has not ended: there may be entries that were not read",
            ));
        };
        Ok(Writer::new(self.items.log, self.line, ledger, claim))
    }

    /// What comes next in the log: entries, claims, and what was passed over.
    pub(super) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item>>> {
        loop {
            if self.claimed.is_some() || self.has_failed {
                return Poll::Ready(None);
            }
            if self.attempt.is_none()
                && self.items.is_at_the_end()
                && let Err(error) = self.claim()
            {
                let error = self.items.log.partition.located(error, ApiKey::PRODUCE);
                return Poll::Ready(Some(Err(self.fail(error))));
            }
            if self.attempt.is_none() {
                self.items.hasten();
            }
            if let Some(result) = self.poll_claim(cx) {
                return Poll::Ready(result.err().map(Err));
            }
            match Pin::new(&mut self.items).poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => {
                    if let (Item::Claim(claim), Some(attempt)) = (&item, &mut self.attempt) {
                        attempt.winner.get_or_insert_with(|| claim.clone());
                    }
                    return Poll::Ready(Some(Ok(item)));
                }
                Poll::Ready(None) => {
                    let closed = Error::new(Case::ClientClosed, ErrorKind::Closed);
                    let closed = self.items.log.partition.located(closed, ApiKey::FETCH);
                    return Poll::Ready(Some(Err(self.fail(closed))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(self.fail(error)))),
                Poll::Pending if self.attempt.is_none() && self.items.is_at_the_end() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ends with an error of reading, unless it may pass.
    fn fail(&mut self, error: Error) -> Error {
        self.has_failed = !error.is_retriable();
        // Nobody waits any more for what becomes of a claim under way.
        let is_unknown = self.has_failed && self.attempt.is_some();
        if is_unknown { error.with_outcome(Outcome::Unknown) } else { error }
    }

    /// Begins an attempt behind what was read.
    fn claim(&mut self) -> Result<()> {
        self.items.log.partition.core.check_open()?;
        let writer = self.items.log.partition.core.cluster.env().random();
        let (ledger, term, batch) = prepare(&self.items, writer, &self.note)?;
        let claim = Claim { term, writer, offset: self.items.reading().next_offset, note: self.note.clone() };
        self.own.insert(writer);
        self.items.ledger = Some(ledger);
        let deadline = self.line.delivery_deadline();
        let (produce, sent, pause, error, winner) = (None, 0, None, None, None);
        self.attempt = Some(Attempt { claim, deadline, produce, batch, sent, pause, error, winner });
        Ok(())
    }

    /// Moves the claim under way. `None` while it is open.
    fn poll_claim(&mut self, cx: &mut Context<'_>) -> Option<Result<()>> {
        let (attempt, ledger) = (self.attempt.as_mut()?, self.items.ledger.as_mut()?);
        let (settled, end) = loop {
            if let Some((_, settled)) = ledger.take_settled() {
                break (settled, ledger.end());
            }
            if let Some(pause) = &mut attempt.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return None;
                }
                attempt.pause = None;
                if attempt.deadline.is_over(self.items.log.partition.core.cluster.env().now()) {
                    attempt.error = Some(carrier::timed_out(attempt.error.take()));
                    ledger.give_up();
                    continue;
                }
            }
            if ledger.send().is_some() {
                self.line.resume();
                attempt.sent += 1;
                attempt.produce =
                    Some(Produce::of_encoded(&self.line, attempt.deadline, attempt.batch.clone()));
            }
            let Poll::Ready(result) = Pin::new(attempt.produce.as_mut()?).poll(cx) else { return None };
            attempt.produce = None;
            ledger.answered(0, carrier::answer(&result));
            attempt.error = result.err();
            // Until it is sent again; or, if the log is to be read, until there is no more time for that.
            let deadline = attempt.deadline.instant();
            let again = self.items.log.partition.after_pause(attempt.sent).min(deadline);
            let until = if ledger.wants_read_to().is_some() { deadline } else { again };
            attempt.pause = Some(Box::pin(sleep_until(until)));
        };
        let attempt = self.attempt.take()?;
        let ledger = self.items.take_ledger()?;
        if let Settled::Counts(offset, _) = settled {
            #[cfg(feature = "metrics")]
            if self.items.read.offset <= offset {
                self.items.log.metrics.claimed(attempt.claim.term);
            }
            self.claimed = Some((ledger, Claim { offset, ..attempt.claim }));
            return Some(Ok(()));
        }
        let error = match (end, attempt.winner, attempt.error) {
            (Some(End::Fenced { term, offset }), winner, _) => {
                let note = winner.map(|winner| winner.note).unwrap_or_default();
                Error::new(Case::Fenced, ErrorKind::ClaimLost { term, offset, note })
            }
            (Some(End::Truncated { offset }), ..) => Error::truncated(offset),
            (_, _, error) => error.unwrap_or_else(|| Error::new(Case::TimedOut, ErrorKind::TimedOut)),
        };
        self.has_failed = !matches!(error.kind(), ErrorKind::ClaimLost { .. }) && !error.is_retriable();
        let error = error.with_outcome(carrier::outcome(settled));
        Some(Err(self.items.log.partition.located(error, ApiKey::PRODUCE)))
    }
}

/// A claim behind what was read: its ledger, term and batch.
fn prepare(items: &Items, writer: u64, note: &Bytes) -> Result<(Ledger, u64, RecordBatch)> {
    let log = &items.log;
    let Some(ledger) = Ledger::claim(items.reading(), writer) else {
        return Err(Error::invalid("there is no further term"));
    };
    let stamp = ledger.stamp(Kind::Claim, 0);
    let batch = log.encode([Record::new((), note.clone(), log.now())], stamp)?;
    Ok((ledger, stamp.term, batch))
}

impl Stream for Recovery {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        poll_entry(|cx| self.poll_item(cx), cx)
    }
}
