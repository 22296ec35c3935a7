//! Records, as they are written and as they are read.
//!
//! Null and empty are different, and headers keep their order and their duplicates.

use std::collections::BTreeMap;

use bytes::Bytes;
pub use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};
use time::OffsetDateTime;

/// A record, generic over how its parts are held.
///
/// Keys and values are written as `Vec<u8>`, `Bytes`, `&[u8]`, `String` or `&str`, as an `Option` of one of these if they
/// may be null, or as `()` for null; headers as a `BTreeMap`, a list of pairs, [`Headers`] or `()`. Records are always read
/// in the default form, which can hold any record and shares the memory of the answer.
///
/// ```
/// # use rskafka_client::record::Record;
/// # use time::OffsetDateTime;
/// let record = Record::new("key", "value", OffsetDateTime::now_utc());
/// let record = record.with_headers(vec![("trace", "17")]);
/// let tombstone = Record::new("key", (), OffsetDateTime::now_utc());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<K = Option<Bytes>, V = Option<Bytes>, H = Headers> {
    /// The key. Null and empty are different keys.
    pub key: K,
    /// The value. A null value is a tombstone in a compacted topic.
    pub value: V,
    /// The headers.
    pub headers: H,
    /// When the record was created, to the millisecond.
    pub timestamp: OffsetDateTime,
}

impl<K, V> Record<K, V, ()> {
    /// A record without headers.
    pub fn new(key: K, value: V, timestamp: OffsetDateTime) -> Self {
        Self { key, value, headers: (), timestamp }
    }
}

impl<K, V, H> Record<K, V, H> {
    /// The same record with these headers instead of its own.
    pub fn with_headers<T>(self, headers: T) -> Record<K, V, T> {
        let Self { key, value, timestamp, .. } = self;
        Record { key, value, headers, timestamp }
    }
}

/// A record with its offset in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordAndOffset {
    /// The record.
    pub record: Record,
    /// Its offset.
    pub offset: i64,
}

impl RecordAndOffset {
    /// A record at `offset`, for tests of code that handles records.
    pub fn new(record: Record, offset: i64) -> Self {
        Self { record, offset }
    }
}

/// The headers of a record: ordered, with duplicates, keys as bytes, values that may be null.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub(crate) Vec<(Bytes, Option<Bytes>)>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header at the end.
    pub fn push(&mut self, key: impl Into<Bytes>, value: Option<impl Into<Bytes>>) {
        self.0.push((key.into(), value.map(Into::into)));
    }

    /// The value of the last header with this key (Java: `Headers.lastHeader`). The outer `Option` tells whether there is
    /// such a header, the inner one whether its value is null.
    pub fn last(&self, key: impl AsRef<[u8]>) -> Option<Option<&Bytes>> {
        let key = key.as_ref();
        self.0.iter().rev().find(|(found, _)| found == key).map(|(_, value)| value.as_ref())
    }

    /// The headers in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Bytes, Option<&Bytes>)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Bytes, Option<Bytes>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (Bytes, Option<Bytes>)>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// A type that can be a key, a value or a header's value.
pub trait Payload {
    /// The bytes; `None` for null.
    fn payload(&self) -> Option<&[u8]>;
}

impl<T: Payload> Payload for Option<T> {
    fn payload(&self) -> Option<&[u8]> {
        self.as_ref().and_then(T::payload)
    }
}

impl<T: Payload + ?Sized> Payload for &T {
    fn payload(&self) -> Option<&[u8]> {
        (**self).payload()
    }
}

macro_rules! payloads {
    ($($type:ty)*) => {$(
        impl Payload for $type {
            fn payload(&self) -> Option<&[u8]> {
                Some(self.as_ref())
            }
        }
    )*};
}

payloads! { Vec<u8> Bytes String str [u8] }

impl<const N: usize> Payload for [u8; N] {
    fn payload(&self) -> Option<&[u8]> {
        Some(self)
    }
}

/// Null.
impl Payload for () {
    fn payload(&self) -> Option<&[u8]> {
        None
    }
}

/// A type that can be the headers of a record.
pub trait RecordHeaders {
    /// The headers in order: key and value, `None` for a null value.
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone;
}

impl RecordHeaders for Headers {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.0.iter().map(|(key, value)| (&**key, value.as_deref()))
    }
}

impl<K: AsRef<[u8]>, V: Payload> RecordHeaders for BTreeMap<K, V> {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.iter().map(|(key, value)| (key.as_ref(), value.payload()))
    }
}

impl<K: AsRef<[u8]>, V: Payload> RecordHeaders for Vec<(K, V)> {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.iter().map(|(key, value)| (key.as_ref(), value.payload()))
    }
}

/// No headers.
impl RecordHeaders for () {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        std::iter::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_their_order_their_duplicates_and_their_nulls() {
        let mut headers = Headers::new();
        assert!(headers.is_empty());
        for (key, value) in [("a", Some("1")), ("b", None), ("a", Some("")), ("a", None), ("b", Some("2"))] {
            headers.push(key, value);
        }
        let all: Vec<_> =
            headers.iter().map(|(key, value)| (&key[..], value.map(|value| &value[..]))).collect();
        let a_and_b =
            [(&b"a"[..], Some(&b"1"[..])), (b"b", None), (b"a", Some(b"")), (b"a", None), (b"b", Some(b"2"))];
        assert_eq!(all, a_and_b);
        assert_eq!(headers.pairs().collect::<Vec<_>>(), a_and_b);
        assert_eq!((headers.len(), headers.is_empty()), (5, false));
    }

    #[test]
    fn the_last_header_under_a_key_is_the_one_that_is_given() {
        let mut headers = Headers::new();
        headers.push("a", Some("first"));
        headers.push("a", Some("last"));
        headers.push("null", Some("first"));
        headers.push("null", None::<&str>);
        assert_eq!(headers.last("a"), Some(Some(&Bytes::from("last"))));
        assert_eq!(headers.last("null"), Some(None));
        assert_eq!(headers.last("none"), None);
    }
}
