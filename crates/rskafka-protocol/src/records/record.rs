//! The records of a batch, as views into its bytes.
//!
//! Invariant: no allocation per record; a record is given only if all of it, headers included, is right.

use std::iter::FusedIterator;

use super::{Batch, BatchError, BatchErrorKind, Compression, Corruption, TimestampType, Unsupported};
use crate::DecodeErrorKind;
use crate::error::{Parsed, fail, into_wire_error};
use crate::wire::varint::{varint, varlong};

/// A record, borrowed from its batch. [`Batch::slice`] makes its parts owned without a copy.
#[derive(Debug, Clone)]
pub struct RecordView<'a> {
    /// The offset in the partition.
    pub offset: i64,
    /// The time in ms since the epoch: the producer's, or the broker's at the append.
    pub timestamp: i64,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: HeadersView<'a>,
}

/// The headers of a record, key and value, in order and with repeats. Keys are bytes: they should be
/// UTF-8, but no broker checks that.
#[derive(Debug, Clone, Default)]
pub struct HeadersView<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Iterator for HeadersView<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        // The record was parsed as a whole before it was given out.
        let (rest, header) = header(self.rest).ok()?;
        self.rest = rest;
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for HeadersView<'_> {}

impl FusedIterator for HeadersView<'_> {}

/// An iterator over the records of a batch: see [`Batch::records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    batch: &'a Batch,
    rest: &'a [u8],
    /// The place of the next record in the batch.
    index: i32,
    count: i32,
    last_offset_delta: i32,
    log_append_time: Option<i64>,
}

impl<'a> Records<'a> {
    pub(super) fn new(batch: &'a Batch) -> Self {
        let log_append_time = match batch.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(batch.max_timestamp()),
        };
        let count = batch.header().record_count;
        Self { batch, rest: batch.payload(), index: 0, count, last_offset_delta: -1, log_append_time }
    }

    /// The batch that the records are in.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    #[cold]
    fn fail(&mut self, kind: impl Into<BatchErrorKind>) -> Option<Result<RecordView<'a>, BatchError>> {
        self.index = self.count;
        self.rest = &[];
        Some(Err(BatchError::new(self.batch.position(), self.batch.base_offset(), kind)))
    }

    fn end(&mut self) -> Option<Result<RecordView<'a>, BatchError>> {
        match self.rest {
            [] => None,
            rest => self.fail(Corruption::TrailingBytes(rest.len())),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return self.end();
        }
        let compression = self.batch.compression();
        if compression != Compression::None {
            return self.fail(Unsupported::Compression(compression));
        }
        let index = self.index;
        let (rest, fields) = match record(self.rest) {
            Ok(parsed) => parsed,
            Err(error) => {
                let kind = into_wire_error(error, self.rest).kind;
                return self.fail(Corruption::Record { index, kind });
            }
        };
        let Fields { timestamp_delta, offset_delta, key, value, headers } = fields;
        let header = self.batch.header();
        if offset_delta <= self.last_offset_delta || offset_delta > header.last_offset_delta {
            return self.fail(Corruption::RecordOffset { index, offset_delta });
        }
        self.rest = rest;
        self.index = index.saturating_add(1);
        self.last_offset_delta = offset_delta;
        let timestamp = match self.log_append_time {
            Some(timestamp) => timestamp,
            None => header.base_timestamp.wrapping_add(timestamp_delta),
        };
        // Cannot overflow: the batch's last offset does not.
        let offset = header.base_offset.wrapping_add(i64::from(offset_delta));
        Some(Ok(RecordView { offset, timestamp, key, value, headers }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // One more for an error at the end.
        let most = usize::try_from(self.count.saturating_sub(self.index)).unwrap_or_default();
        (0, Some(most.saturating_add(1)))
    }
}

impl FusedIterator for Records<'_> {}

struct Fields<'a> {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: HeadersView<'a>,
}

#[inline]
fn record(input: &[u8]) -> Parsed<'_, Fields<'_>> {
    let (after_length, length) = varint(input)?;
    let Some((body, rest)) =
        usize::try_from(length).ok().and_then(|size| after_length.split_at_checked(size))
    else {
        return fail(input, DecodeErrorKind::InvalidLength(i64::from(length)));
    };
    let Some((_attributes, body)) = body.split_first() else {
        return fail(body, DecodeErrorKind::Truncated);
    };
    let (body, timestamp_delta) = varlong(body)?;
    let (body, offset_delta) = varint(body)?;
    let (body, key) = nullable(body)?;
    let (body, value) = nullable(body)?;
    let (body, count) = varint(body)?;
    let headers = match usize::try_from(count) {
        Ok(count) => HeadersView { rest: body, count },
        Err(_) => return fail(body, DecodeErrorKind::InvalidLength(i64::from(count))),
    };
    let mut body = body;
    for _ in 0..headers.count {
        (body, _) = header(body)?;
    }
    if !body.is_empty() {
        return fail(body, DecodeErrorKind::TrailingBytes(body.len()));
    }
    Ok((rest, Fields { timestamp_delta, offset_delta, key, value, headers }))
}

#[inline]
fn header(input: &[u8]) -> Parsed<'_, (&[u8], Option<&[u8]>)> {
    let (rest, key) = nullable(input)?;
    let Some(key) = key else {
        return fail(input, DecodeErrorKind::UnexpectedNull);
    };
    let (rest, value) = nullable(rest)?;
    Ok((rest, (key, value)))
}

/// Bytes with their length in front; -1 is null.
#[inline]
fn nullable(input: &[u8]) -> Parsed<'_, Option<&[u8]>> {
    let (rest, length) = varint(input)?;
    if length == -1 {
        return Ok((rest, None));
    }
    match usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) {
        Some((bytes, rest)) => Ok((rest, Some(bytes))),
        None => fail(input, DecodeErrorKind::InvalidLength(i64::from(length))),
    }
}
