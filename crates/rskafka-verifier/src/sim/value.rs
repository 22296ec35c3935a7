//! What is appended: the content of a record follows from who sent it and its number.
//!
//! Invariant: a record that was read either is exactly one that was sent, or is damaged. A value has no line feed, so
//! that a consumer's printed output is the values in the order of their offsets.

use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use derive_more::Display;
use rskafka::record::{Headers, Record};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

const LONGEST: usize = 80_000;
/// Timestamps vary by this much and do not grow with the offset, as with clocks of several machines.
const TIMESTAMP_SPREAD_MS: i64 = 60_000;

/// Each value is a head and a piece of this text.
pub(super) static NOISE: LazyLock<String> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(0);
    (0..2 * LONGEST).map(|_| random.alphanumeric()).collect()
});

/// A record of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, Serialize, Deserialize)]
#[display("record {number} of writer {writer}")]
pub(super) struct Id {
    pub(super) writer: u32,
    /// The place in the order of the writer's records, from 0.
    pub(super) number: u32,
}

/// What a record that was read is.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub(super) enum Value {
    Record(Id),
    /// A box, because a million of these are kept.
    #[display("something damaged ({_0})")]
    Damaged(Box<str>),
}

impl Id {
    /// Its value: writer, number, and letters that follow from both.
    pub(super) fn value(self) -> Bytes {
        self.value_by(&mut self.random()).into()
    }

    /// The whole record: of keys, headers and timestamps all that Kafka can hold, the timestamps shortly after `since`.
    pub(super) fn record(self, since: OffsetDateTime) -> Record {
        let mut random = self.random();
        let value = self.value_by(&mut random);
        let key = match random.u8(..8) {
            0 | 1 => None,
            2 => Some(Bytes::new()),
            _ => Some(format!("key-{}", random.u16(..)).into()),
        };
        let headers: &[(&str, Option<&'static str>)] = match random.u8(..8) {
            0 => &[("trace", Some("4bf92f3577b34da6"))],
            1 => &[("attempt", Some("first")), ("attempt", Some("second"))],
            2 => &[("note", None), ("größe", Some("")), ("note", Some("last"))],
            _ => &[],
        };
        let mut all = Headers::new();
        headers.iter().for_each(|(key, value)| all.push(*key, *value));
        let timestamp = since + Duration::milliseconds(random.i64(0..TIMESTAMP_SPREAD_MS));
        Record { key, value: Some(value.into()), headers: all, timestamp }
    }

    fn random(self) -> fastrand::Rng {
        fastrand::Rng::with_seed(u64::from(self.writer) << 32 | u64::from(self.number))
    }

    fn value_by(self, random: &mut fastrand::Rng) -> String {
        let letters = letters(random);
        let mut value = String::with_capacity(letters.len() + 2 * "4294967295 ".len());
        let _ = write!(value, "{} {} {letters}", self.writer, self.number);
        value
    }
}

/// The last part of a value.
fn letters(random: &mut fastrand::Rng) -> &'static str {
    // Some values fill a pipe, or more than one fetch.
    let length = match random.u16(..1_000) {
        0 => random.usize(20_000..LONGEST),
        1..50 => random.usize(200..3_000),
        _ => random.usize(..200),
    };
    let start = random.usize(..LONGEST);
    &NOISE[start..start + length]
}

/// Who sent a value, if it says so.
pub(super) fn writer(value: &[u8]) -> Option<u32> {
    number(std::str::from_utf8(value).ok()?.split(' ').next()?)
}

/// A number as `Display` writes it: no sign, no leading zeros.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    let digits = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    (text.len() == digits).then_some(number)
}

impl Value {
    /// What a value alone tells.
    pub(super) fn of(value: Option<&Bytes>) -> Self {
        let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().and_then(number);
        let (Some(writer), Some(number)) = (word(), word()) else {
            return Self::Damaged("its value names no record".into());
        };
        // Most of what a run reads comes through here: the value is compared without building it again.
        let id = Id { writer, number };
        let is_whole = words.next() == Some(letters(&mut id.random()));
        if is_whole { Self::Record(id) } else { Self::differs(id, "value") }
    }

    /// What a whole record is, one made by [`Id::record`] with the same `since`.
    pub(super) fn of_record(found: &Record, since: OffsetDateTime) -> Self {
        let value = Self::of(found.value.as_ref());
        let Self::Record(id) = value else { return value };
        let Record { key, headers, timestamp, .. } = id.record(since);
        let parts = [
            ("key", found.key == key),
            ("headers", found.headers == headers),
            ("timestamp", found.timestamp == timestamp),
        ];
        parts.iter().find(|(_, is_right)| !is_right).map_or(value, |(part, _)| Self::differs(id, part))
    }

    fn differs(id: Id, part: &str) -> Self {
        Self::Damaged(format!("it says that it is {id}, but has another {part}").into())
    }
}

/// The bytes of a record: key, value and headers.
pub(super) fn size(record: &Record) -> usize {
    let size = |part: Option<&Bytes>| part.map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(key, value)| key.len() + size(value)).sum();
    size(record.key.as_ref()) + size(record.value.as_ref()) + headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn records() -> impl Iterator<Item = (Id, Record)> {
        let ids = (0..2_000).chain([u32::MAX]).map(|number| Id { writer: 3, number });
        ids.map(|id| (id, id.record(SINCE)))
    }

    #[test]
    fn a_value_is_known_and_any_change_of_it_is_damage() {
        for (id, record) in records() {
            let value = id.value();
            assert_eq!(record.value.as_ref(), Some(&value));
            assert!(value.iter().all(|byte| (b' '..=b'~').contains(byte)));
            assert_eq!(Value::of(Some(&value)), Value::Record(id));
            for at in [0, value.len() / 2, value.len() - 1] {
                let mut changed = value.to_vec();
                changed[at] ^= 1;
                assert!(matches!(Value::of(Some(&changed.into())), Value::Damaged(_)));
            }
        }
        assert!(matches!(Value::of(None), Value::Damaged(_)));
    }

    #[test]
    fn the_records_have_all_that_kafka_can_hold() {
        let records: Vec<Record> = records().map(|(_, record)| record).collect();
        assert!(records.iter().any(|record| record.key.is_none()));
        assert!(records.iter().any(|record| record.key.as_ref().is_some_and(Bytes::is_empty)));
        assert!(records.iter().any(|record| record.headers.is_empty()));
        assert!(records.iter().flat_map(|record| record.headers.iter()).any(|(_, value)| value.is_none()));
        let repeats = |record: &Record| {
            let keys: Vec<&Bytes> = record.headers.iter().map(|(key, _)| key).collect();
            keys.len() > 1 && keys[0] == keys[1]
        };
        assert!(records.iter().any(repeats));
        assert!(records.windows(2).any(|pair| pair[0].timestamp > pair[1].timestamp));
    }

    #[test]
    fn a_difference_in_any_part_is_damage_and_the_part_is_named() {
        let (id, intact) =
            records().find(|(_, record)| record.headers.len() == 2 && record.key.is_some()).unwrap();
        assert_eq!(Value::of_record(&intact, SINCE), Value::Record(id));
        let damaged = |part: &str, damage: &dyn Fn(&mut Record)| {
            let mut record = intact.clone();
            damage(&mut record);
            assert_eq!(Value::of_record(&record, SINCE), Value::differs(id, part));
        };
        damaged("key", &|record| record.key = None);
        damaged("timestamp", &|record| record.timestamp += Duration::MILLISECOND);
        damaged("headers", &|record| record.headers = Headers::new());
        damaged("headers", &|record| {
            let mut pairs: Vec<_> =
                record.headers.iter().map(|(key, value)| (key.clone(), value.cloned())).collect();
            pairs.reverse();
            record.headers = pairs.into_iter().collect();
        });
        damaged("value", &|record| {
            record.value = record.value.take().map(|value| value.slice(..value.len() - 1));
        });
    }
}
