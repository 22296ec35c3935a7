//! What is appended: the content of each record follows from its number alone.
//!
//! Invariant: a record that was read names its number and is compared whole with what that number
//! stands for, so that no other record, and no damaged one, passes for it.

use std::fmt::Write as _;
use std::str;

use bytes::Bytes;
use rskafka::record::{Headers, Record};
use time::{Duration, OffsetDateTime};

/// A record as it is given to `produce`.
pub type NewRecord = Record<Option<Vec<u8>>, Vec<u8>, Vec<Header>>;
type Header = (&'static str, Option<Vec<u8>>);

/// What a value is made of besides its number: one byte each, nothing that ends a line.
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -";
const SHORTEST_VALUE: usize = 20;
const LONGEST_VALUE: usize = 200;
/// Timestamps vary by this much and do not grow with the offset, as with clocks of several machines.
const TIMESTAMP_SPREAD_MS: i64 = 60_000;

/// Records by number.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    started: OffsetDateTime,
}

/// Why a record that was read is none of the workload's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The value does not begin with a number.
    NoNumber,
    /// The value names this record, but one part is not that record's.
    Differs {
        /// The record's number as the value names it.
        number: i64,
        /// `key`, `value`, `headers` or `timestamp`.
        part: &'static str,
    },
}

impl Workload {
    /// Records with timestamps shortly after `started`.
    pub fn new(started: OffsetDateTime) -> Self {
        // Kafka keeps milliseconds.
        let below_a_millisecond =
            Duration::nanoseconds((started.unix_timestamp_nanos().rem_euclid(1_000_000)) as i64);
        Self { started: started - below_a_millisecond }
    }

    /// The record with this number: keys of all kinds, null among them; values of 20 to 200 printable
    /// bytes that begin with the number; on some headers with repeated keys and null values.
    pub fn record(&self, number: i64) -> NewRecord {
        let mut dice = fastrand::Rng::with_seed(number.cast_unsigned());
        let key = match dice.u8(..8) {
            0 | 1 => None,
            2 => Some(Vec::new()),
            _ => Some(format!("key-{}", dice.u16(..)).into_bytes()),
        };
        let length = dice.usize(SHORTEST_VALUE..=LONGEST_VALUE);
        let headers = match dice.u8(..8) {
            0 => vec![("trace", Some(dice.u64(..).to_be_bytes().to_vec()))],
            1 => vec![("attempt", Some(b"1".to_vec())), ("attempt", Some(b"2".to_vec()))],
            2 => vec![("note", None), ("größe", Some(Vec::new())), ("note", None)],
            _ => Vec::new(),
        };
        let timestamp = self.started + Duration::milliseconds(dice.i64(0..TIMESTAMP_SPREAD_MS));
        Record { key, value: value(number, length, &mut dice), headers, timestamp }
    }

    /// The number of a record that was read, if it is exactly that record.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn identify(&self, found: &Record) -> Result<i64, Damage> {
        let number = found.value.as_deref().and_then(number_of).ok_or(Damage::NoNumber)?;
        let Record { key, value, headers, timestamp } = self.record(number);
        let differs = |part| Err(Damage::Differs { number, part });
        if found.value.as_deref() != Some(&value) {
            return differs("value");
        }
        if found.key.as_deref() != key.as_deref() {
            return differs("key");
        }
        if !headers_equal(&found.headers, &headers) {
            return differs("headers");
        }
        if found.timestamp != timestamp {
            return differs("timestamp");
        }
        Ok(number)
    }
}

/// The bytes of a record that was read: key, value and headers.
pub(crate) fn size_of_read(record: &Record) -> usize {
    let size = |part: Option<&Bytes>| part.map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(key, value)| key.len() + size(value)).sum();
    size(record.key.as_ref()) + size(record.value.as_ref()) + headers
}

/// The bytes of a record that is written: key, value and headers.
pub(crate) fn size_of_new(record: &NewRecord) -> usize {
    let size = |part: Option<&Vec<u8>>| part.map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|(key, value)| key.len() + size(value.as_ref())).sum();
    size(record.key.as_ref()) + record.value.len() + headers
}

fn value(number: i64, length: usize, dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut value = String::with_capacity(LONGEST_VALUE);
    // Writing to a string does not fail.
    let _ = write!(value, "{number} ");
    let mut value = value.into_bytes();
    while value.len() < length {
        let bits = dice.u64(..);
        // Ten letters of six bits each.
        let letters = (0..10).map(|letter| LETTERS[(bits >> (6 * letter)) as usize & 63]);
        value.extend(letters.take(length - value.len()));
    }
    value
}

fn number_of(value: &[u8]) -> Option<i64> {
    let end = value.iter().position(|byte| *byte == b' ')?;
    let number: i64 = str::from_utf8(&value[..end]).ok()?.parse().ok()?;
    (number >= 0).then_some(number)
}

fn headers_equal(found: &Headers, expected: &[Header]) -> bool {
    let expected = expected.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
    found.iter().map(|(key, value)| (&**key, value.map(|value| &**value))).eq(expected)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record as it is read, if all goes well.
    pub(crate) fn as_read(record: NewRecord) -> Record {
        Record {
            key: record.key.map(Bytes::from),
            value: Some(record.value.into()),
            headers: record
                .headers
                .into_iter()
                .map(|(key, value)| (Bytes::from_static(key.as_bytes()), value.map(Bytes::from)))
                .collect(),
            timestamp: record.timestamp,
        }
    }

    fn workload() -> Workload {
        Workload::new(OffsetDateTime::UNIX_EPOCH + Duration::nanoseconds(1_700_000_000_123_456_789))
    }

    #[test]
    fn every_record_is_printable_and_recognised() {
        for number in (0..2_000).chain([i64::from(u32::MAX), i64::MAX]) {
            let record = workload().record(number);
            assert!((SHORTEST_VALUE..=LONGEST_VALUE).contains(&record.value.len()));
            assert!(record.value.iter().all(|byte| (b' '..=b'~').contains(byte)));
            assert_eq!(record.timestamp.nanosecond() % 1_000_000, 0);
            assert_eq!(size_of_new(&record), size_of_read(&as_read(record.clone())));
            assert_eq!(workload().identify(&as_read(record)), Ok(number));
        }
    }

    #[test]
    fn the_records_have_all_that_kafka_can_hold() {
        let records: Vec<NewRecord> = (0..1_000).map(|number| workload().record(number)).collect();
        assert!(records.iter().any(|record| record.key.is_none()));
        assert!(records.iter().any(|record| record.key.as_ref().is_some_and(Vec::is_empty)));
        assert!(records.iter().any(|record| record.headers.is_empty()));
        assert!(records.iter().flat_map(|record| &record.headers).any(|(_, value)| value.is_none()));
        let repeats =
            |record: &NewRecord| record.headers.len() > 1 && record.headers[0].0 == record.headers[1].0;
        assert!(records.iter().any(repeats));
        assert!(records.windows(2).any(|pair| pair[0].timestamp > pair[1].timestamp));
    }

    #[test]
    fn a_difference_in_any_part_is_named() {
        let with_all = |record: &NewRecord| record.headers.len() == 2 && record.key.is_some();
        let number = (0..).find(|number| with_all(&workload().record(*number))).unwrap();
        let intact = as_read(workload().record(number));
        let damaged = |damage: &dyn Fn(&mut Record)| {
            let mut record = intact.clone();
            damage(&mut record);
            workload().identify(&record).unwrap_err()
        };
        let differs = |part| Damage::Differs { number, part };
        assert_eq!(damaged(&|record| record.key = None), differs("key"));
        assert_eq!(damaged(&|record| record.timestamp += Duration::MILLISECOND), differs("timestamp"));
        assert_eq!(damaged(&|record| record.headers = Headers::new()), differs("headers"));
        let reversed = |record: &mut Record| {
            let mut pairs: Vec<_> =
                record.headers.iter().map(|(key, value)| (key.clone(), value.cloned())).collect();
            pairs.reverse();
            record.headers = pairs.into_iter().collect();
        };
        assert_eq!(damaged(&reversed), differs("headers"));
        let cut = |record: &mut Record| {
            record.value = record.value.take().map(|value| value.slice(..value.len() - 1))
        };
        assert_eq!(damaged(&cut), differs("value"));
        assert_eq!(damaged(&|record| record.value = None), Damage::NoNumber);
        assert_eq!(damaged(&|record| record.value = Some(Bytes::from_static(b"-1 x"))), Damage::NoNumber);
    }
}
