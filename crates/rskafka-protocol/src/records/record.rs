//! The records of a batch, as views into its bytes.
//!
//! Invariant: no allocation per record; a record is given only if all of it, headers included, is right.

use bytes::Bytes;
use derive_more::Debug;

use super::{Batch, BatchError, BatchErrorKind, Corruption, Flag};
use crate::DecodeErrorKind;
use crate::error::{Failure, Parsed, WireError, fail, into_wire_error};
use crate::wire::varint::{varint, varlong};

/// A record, borrowed from its batch. [`Batch::slice`] makes its parts owned without a copy.
#[derive(Clone, Debug)]
pub struct RecordView<'a> {
    /// The offset in the partition.
    pub offset: i64,
    /// The time in ms since the epoch: the producer's, or the broker's at the append.
    pub timestamp: i64,
    /// The key, or null.
    #[debug("{:?}", key.map(Bytes::copy_from_slice))]
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    #[debug("{:?}", value.map(Bytes::copy_from_slice))]
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: HeadersView<'a>,
}

/// The headers of a record, key and value, in order and with repeats. Keys are bytes: they should be
/// UTF-8, but no broker checks that.
#[derive(Clone, Default, Debug)]
#[debug("{:?}", Vec::from_iter(self.clone().map(|(key, value)| {
    (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice))
})))]
pub struct HeadersView<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Iterator for HeadersView<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        self.parse_next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl<'a> HeadersView<'a> {
    /// Not inlined, so that records without headers stay fast.
    #[inline(never)]
    fn parse_next(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        // The record was parsed as a whole before it was given out.
        let (rest, header) = header::<()>(self.rest).ok()?;
        self.rest = rest;
        Some(header)
    }
}

impl ExactSizeIterator for HeadersView<'_> {}

/// An iterator over the records of a batch: see [`Batch::records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    pub(super) batch: &'a Batch,
    pub(super) cursor: RecordCursor,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(self.batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let counted = self.batch.header().record_count.saturating_sub(self.cursor.index);
        let counted = usize::try_from(counted).unwrap_or_default();
        let size =
            self.batch.payload().map_or(0, |payload| payload.len().saturating_sub(self.cursor.position));
        // One more for an error at the end.
        (0, Some(counted.min(size / MIN_RECORD_SIZE).saturating_add(1)))
    }
}

/// Where an iteration over the records of a batch is, for iterators that own the batch: see [`Records`].
#[derive(Debug, Clone)]
pub struct RecordCursor {
    /// How many bytes of records were passed; [`Self::OVER`] after an error.
    position: usize,
    /// The next record's number in the batch.
    index: i32,
    last_offset_delta: i32,
}

impl RecordCursor {
    const OVER: usize = usize::MAX;

    /// The begin of a batch.
    #[allow(clippy::new_without_default, reason = "a cursor is made for a batch")]
    pub fn new() -> Self {
        Self { position: 0, index: 0, last_offset_delta: -1 }
    }

    /// The next record of `batch`, which is always the same one.
    ///
    /// # Errors
    ///
    /// Those of [`Batch::records`]. An error is the last item.
    #[inline]
    pub fn next<'a>(&mut self, batch: &'a Batch) -> Option<Result<RecordView<'a>, BatchError>> {
        let payload = match batch.payload() {
            Ok(payload) => payload,
            Err(_) if self.position == Self::OVER => return None,
            Err(kind) => return self.fail(batch, kind),
        };
        let rest = payload.get(self.position..)?;
        let (index, header) = (self.index, batch.header());
        if index >= header.record_count {
            return match rest.len() {
                0 => None,
                left => self.fail(batch, Corruption::TrailingBytes(left)),
            };
        }
        let Ok((after, fields)) = record::<()>(rest) else {
            return self.fail(batch, explain(rest, index));
        };
        let Fields { timestamp_delta, offset_delta, key, value, headers } = fields;
        if offset_delta <= self.last_offset_delta || offset_delta > header.last_offset_delta {
            return self.fail(batch, Corruption::RecordOffset { index, offset_delta });
        }
        self.position = payload.len().wrapping_sub(after.len());
        self.index = index.wrapping_add(1);
        self.last_offset_delta = offset_delta;
        let timestamp = match header.attributes.has(Flag::LogAppendTime) {
            false => header.base_timestamp.wrapping_add(timestamp_delta),
            true => header.max_timestamp,
        };
        // Cannot overflow: the batch's last offset does not.
        let offset = batch.base_offset().wrapping_add(i64::from(offset_delta));
        Some(Ok(RecordView { offset, timestamp, key, value, headers }))
    }

    /// Ends the iteration with an error.
    #[cold]
    fn fail<'a>(
        &mut self,
        batch: &Batch,
        kind: impl Into<BatchErrorKind>,
    ) -> Option<Result<RecordView<'a>, BatchError>> {
        self.position = Self::OVER;
        Some(Err(BatchError::new(batch.position(), batch.base_offset(), kind)))
    }
}

/// Why a record cannot be read. It is parsed a second time for the details, which would slow down every good record.
#[cold]
fn explain(rest: &[u8], index: i32) -> Corruption {
    let kind = match record::<Box<WireError<'_>>>(rest) {
        Err(error) => into_wire_error(error, rest).kind,
        // Cannot happen: parsing does not depend on the type of the error.
        Ok(_) => DecodeErrorKind::Truncated,
    };
    Corruption::Record { index, kind }
}

/// The least size of a record: its length, its attributes, and five fields of one byte each.
const MIN_RECORD_SIZE: usize = 7;

struct Fields<'a> {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: HeadersView<'a>,
}

#[inline]
fn record<'i, E: Failure<'i>>(input: &'i [u8]) -> Parsed<'i, Fields<'i>, E> {
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
    let body = if count == 0 { body } else { skip_headers(body, count)? };
    if !body.is_empty() {
        return fail(body, DecodeErrorKind::TrailingBytes(body.len()));
    }
    Ok((rest, Fields { timestamp_delta, offset_delta, key, value, headers }))
}

/// Checks headers, so that giving them out cannot fail.
#[inline(never)]
fn skip_headers<'i, E: Failure<'i>>(input: &'i [u8], count: i32) -> Result<&'i [u8], nom::Err<E>> {
    let mut rest = input;
    for _ in 0..count {
        (rest, _) = header(rest)?;
    }
    Ok(rest)
}

#[inline]
fn header<'i, E: Failure<'i>>(input: &'i [u8]) -> Parsed<'i, (&'i [u8], Option<&'i [u8]>), E> {
    let (rest, key) = nullable(input)?;
    let Some(key) = key else { return fail(input, DecodeErrorKind::UnexpectedNull) };
    let (rest, value) = nullable(rest)?;
    Ok((rest, (key, value)))
}

/// Bytes with their length in front; -1 is null.
#[inline]
fn nullable<'i, E: Failure<'i>>(input: &'i [u8]) -> Parsed<'i, Option<&'i [u8]>, E> {
    let (rest, length) = varint(input)?;
    if length == -1 {
        return Ok((rest, None));
    }
    match usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) {
        Some((bytes, rest)) => Ok((rest, Some(bytes))),
        None => fail(input, DecodeErrorKind::InvalidLength(i64::from(length))),
    }
}
