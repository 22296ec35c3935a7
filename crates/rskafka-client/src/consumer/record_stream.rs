//! A stream of records.
//!
//! Invariant: its position is after the last record that was given out, so a record that cannot be read is not passed.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::BatchStream;
use crate::error::Result;
use crate::fetch::{IntoRecords, Position};
use crate::record::RecordAndOffset;

/// A stream of the records of a partition's log, in order and without gaps: see
/// [`PartitionClient::stream`](crate::PartitionClient::stream).
///
/// It has a connection of its own, and the next fetch is under way while records are consumed. The stream moves only while it
/// is polled; what the broker sends meanwhile waits in the client. Records share the memory of the answer that they came in.
///
/// # Errors
///
/// An error is an item that comes after all records before it. The stream continues where it failed when it is polled again, and
/// fetches 100 ms after the failure at the earliest, so a failure that may pass can be passed over; one that does not, such as
/// [`ErrorKind::OffsetOutOfRange`], [`ErrorKind::LogTruncated`] or [`ErrorKind::CorruptBatch`], comes again until [`skip_to`](Self::skip_to) is called. It ends
/// after [`ErrorKind::TopicRecreated`], [`ErrorKind::OtherTopic`], [`ErrorKind::InvalidArgument`] and
/// [`ErrorKind::Authentication`]. If the client is closed it ends, without an error unless it was to read
/// [`until`](super::ReadBuilder::until) an offset.
///
/// [`ErrorKind::OffsetOutOfRange`]: crate::error::ErrorKind::OffsetOutOfRange
/// [`ErrorKind::LogTruncated`]: crate::error::ErrorKind::LogTruncated
/// [`ErrorKind::CorruptBatch`]: crate::error::ErrorKind::CorruptBatch
/// [`ErrorKind::TopicRecreated`]: crate::error::ErrorKind::TopicRecreated
/// [`ErrorKind::OtherTopic`]: crate::error::ErrorKind::OtherTopic
/// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
/// [`ErrorKind::Authentication`]: crate::error::ErrorKind::Authentication
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct RecordStream {
    pub(super) batches: BatchStream,
    /// The batch whose records are given out, and the position within it.
    current: Option<(IntoRecords, Position)>,
}

impl RecordStream {
    pub(super) fn new(batches: BatchStream) -> Self {
        Self { batches, current: None }
    }

    /// After the last record given out, and after offsets without a record behind it: where to continue after a restart.
    /// `None` until the start is known.
    pub fn position(&self) -> Option<Position> {
        match &self.current {
            Some((_, position)) => Some(*position),
            None => self.batches.position(),
        }
    }

    /// How many offsets there are between the position and the high watermark that the last answer gave. `None` before the
    /// first answer.
    ///
    /// If it grows while [`is_caught_up`](Self::is_caught_up) stays true, a transaction that nobody ends holds up a reader with
    /// [`ReadCommitted`](super::IsolationLevel::ReadCommitted).
    pub fn lag(&self) -> Option<i64> {
        let (_, high_watermark) = self.batches.ahead.ends?;
        Some(high_watermark.saturating_sub(self.position()?.offset()).max(0))
    }

    /// Whether all records are given out that could be read at the last answer.
    pub fn is_caught_up(&self) -> bool {
        let ends = self.batches.ahead.ends.zip(self.position());
        ends.is_some_and(|((end, _), position)| position.offset() >= end)
    }

    /// Continues at this offset, whatever lies between. For what cannot be read: a damaged batch, or offsets that are gone.
    pub fn skip_to(&mut self, offset: i64) {
        self.current = None;
        self.batches.skip_to(offset);
    }

    /// The next record of the batch that was begun.
    #[inline]
    pub(super) fn next_record(&mut self) -> Option<Result<RecordAndOffset>> {
        let (records, position) = self.current.as_mut()?;
        match records.next() {
            Some(Ok(record)) => {
                (position.offset, position.leader_epoch) = (record.offset + 1, records.batch.leader_epoch());
                Some(Ok(record))
            }
            Some(Err(error)) => {
                let position = *position;
                self.current = None;
                self.batches.restart(position);
                self.batches.pause();
                Some(Err(error))
            }
            None => {
                self.current = None;
                None
            }
        }
    }
}

impl Stream for RecordStream {
    type Item = Result<RecordAndOffset>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.next_record() {
                return Poll::Ready(Some(record));
            }
            // Until its first record, the position is that before the batch.
            let before = self.batches.position();
            match std::task::ready!(Pin::new(&mut self.batches).poll_next(cx)) {
                Some(Ok(batch)) => {
                    let position = before.or(self.batches.position());
                    self.current = position.map(|position| (batch.into_records(), position));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
