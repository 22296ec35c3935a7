//! A record to be written: measured first, then encoded into room of that size.
//!
//! Invariant: a record takes as many bytes as measured, and nothing is written outside of its room.
//!
//! The functions are inlined into the caller's loop: a record of 100 bytes is copied in a few ns, and
//! every call would show.

use super::{HeadersView, RecordView};
use crate::wire::varint::{unsigned_bytes, unsigned_size, zigzag};

/// A record to be written.
#[derive(Debug, Clone)]
pub struct NewRecord<'a, H = HeadersView<'a>> {
    /// The record's time, in ms since the epoch.
    pub timestamp: i64,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers in order: an iterator of key and value. A clone of it measures the headers before they are
    /// written. If the two give different headers, the batch cannot be built.
    pub headers: H,
}

impl<'a> NewRecord<'a> {
    /// A record without headers.
    pub fn new(timestamp: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { timestamp, key, value, headers: HeadersView::default() }
    }
}

impl<'a, H> NewRecord<'a, H> {
    /// The same record with other headers.
    pub fn headers<I>(self, headers: I) -> NewRecord<'a, I::IntoIter>
    where
        I: IntoIterator<Item = (&'a [u8], Option<&'a [u8]>), IntoIter: Clone>,
    {
        let Self { timestamp, key, value, .. } = self;
        NewRecord { timestamp, key, value, headers: headers.into_iter() }
    }
}

impl<'a> From<RecordView<'a>> for NewRecord<'a> {
    fn from(record: RecordView<'a>) -> Self {
        let RecordView { timestamp, key, value, headers, .. } = record;
        Self { timestamp, key, value, headers }
    }
}

/// A record's attributes: Kafka defines none.
const ATTRIBUTES: [u8; 1] = [0];

/// A record's fields, with the headers measured. Integers that begin with "raw" are in zigzag.
pub(super) struct Fields<'a> {
    pub(super) timestamp: i64,
    raw_key_length: u64,
    key: &'a [u8],
    raw_value_length: u64,
    value: &'a [u8],
    raw_header_count: u64,
    headers_size: usize,
}

/// A record's layout in its batch.
pub(super) struct Place {
    raw_timestamp_delta: u64,
    raw_offset_delta: u64,
    /// The bytes that the record's length counts.
    length: usize,
    /// The length included.
    pub(super) size: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn of<H>(record: &NewRecord<'a, H>) -> Self
    where
        H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    {
        let (mut header_count, mut headers_size) = (0, 0usize);
        for (key, value) in record.headers.clone() {
            header_count += 1;
            headers_size =
                headers_size.saturating_add(nullable_size(Some(key))).saturating_add(nullable_size(value));
        }
        Self {
            timestamp: record.timestamp,
            raw_key_length: raw_nullable_length(record.key),
            key: record.key.unwrap_or_default(),
            raw_value_length: raw_nullable_length(record.value),
            value: record.value.unwrap_or_default(),
            raw_header_count: raw_length(header_count),
            headers_size,
        }
    }

    #[inline]
    pub(super) fn place(&self, timestamp_delta: i64, offset_delta: i32) -> Place {
        let raw_timestamp_delta = zigzag(timestamp_delta);
        let raw_offset_delta = zigzag(i64::from(offset_delta));
        let integers = unsigned_size(raw_timestamp_delta)
            + unsigned_size(raw_offset_delta)
            + unsigned_size(self.raw_key_length)
            + unsigned_size(self.raw_value_length)
            + unsigned_size(self.raw_header_count);
        let length = (ATTRIBUTES.len() + integers)
            .saturating_add(self.key.len())
            .saturating_add(self.value.len())
            .saturating_add(self.headers_size);
        let size = unsigned_size(raw_length(length)).saturating_add(length);
        Place { raw_timestamp_delta, raw_offset_delta, length, size }
    }

    /// Whether `count` headers were measured.
    #[inline]
    pub(super) fn has_headers(&self, count: usize) -> bool {
        self.raw_header_count == raw_length(count)
    }

    /// Writes the record up to its headers; gives the room for those.
    #[inline(always)]
    pub(super) fn write<'r>(&self, place: &Place, room: &'r mut [u8]) -> Room<'r> {
        let mut room = Room { rest: room, fits: true };
        room.put_unsigned(raw_length(place.length));
        room.put(&ATTRIBUTES);
        room.put_unsigned(place.raw_timestamp_delta);
        room.put_unsigned(place.raw_offset_delta);
        room.put_unsigned(self.raw_key_length);
        room.put(self.key);
        room.put_unsigned(self.raw_value_length);
        room.put(self.value);
        room.put_unsigned(self.raw_header_count);
        room
    }
}

/// The bytes of a record that are not written yet. What does not fit is left out, and noted.
pub(super) struct Room<'r> {
    rest: &'r mut [u8],
    fits: bool,
}

impl Room<'_> {
    /// Whether everything fitted and no room is left.
    #[inline]
    pub(super) fn is_filled(&self) -> bool {
        self.fits && self.rest.is_empty()
    }

    #[inline]
    pub(super) fn put_header(&mut self, key: &[u8], value: Option<&[u8]>) {
        for bytes in [Some(key), value] {
            self.put_unsigned(raw_nullable_length(bytes));
            self.put(bytes.unwrap_or_default());
        }
    }

    #[inline]
    fn put_unsigned(&mut self, value: u64) {
        unsigned_bytes(value, |bytes| self.put(bytes));
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        match std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()) {
            Some((room, rest)) => {
                room.copy_from_slice(bytes);
                self.rest = rest;
            }
            None => self.fits = false,
        }
    }
}

/// The size of bytes with their length in front.
#[inline]
fn nullable_size(bytes: Option<&[u8]>) -> usize {
    unsigned_size(raw_nullable_length(bytes)).saturating_add(bytes.unwrap_or_default().len())
}

/// The length of null is -1.
#[inline]
fn raw_nullable_length(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(zigzag(-1), |bytes| raw_length(bytes.len()))
}

/// The zigzag of a length. No length in memory uses the highest bit.
#[inline]
fn raw_length(length: usize) -> u64 {
    (length as u64) << 1
}
