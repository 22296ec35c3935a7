//! What counts in an exclusive log, and whether that is what its writers and readers were told.
//!
//! Invariant: pure, and none of it is the client's. The rule is that of docs/exclusive-log.md; what counts never changes.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use rskafka::client::error::{Error, ErrorKind, Outcome, Result};
use rskafka::protocol::records::{Batch, Flag};
use rskafka::wal::{Appended, Claim, Position};

use super::rules::Wrong;
use super::value::{Id, Value};

/// Of the rule: term, writer, and the next sequence.
type State = (u64, u64, u64);
/// An entry that counts: its offsets and records.
pub(super) type Entry = (Range<i64>, Vec<Id>);

/// What a reader was given of a part of the log.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) reader: String,
    pub(super) offsets: Range<i64>,
    pub(super) entries: Vec<Entry>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Counts(Range<i64>),
    NotWritten,
    /// Also before the call has ended.
    Unknown,
}

/// Follows the log of one partition.
#[derive(Debug, Default)]
pub(super) struct Exclusive {
    state: State,
    /// Up to which offset the log was judged.
    pub(super) judged: i64,
    /// Behind each batch.
    states: BTreeMap<i64, State>,
    /// By their offsets: term, writer and note.
    claims: BTreeMap<i64, (u64, u64, Bytes)>,
    entries: Vec<Entry>,
    /// By the first record: how many there are, and what became of them.
    appends: BTreeMap<Id, (u32, Fate)>,
    parts: Vec<Part>,
    /// Offset, term, note, and the writer where that was told.
    claims_told: Vec<(i64, u64, Bytes, Option<u64>)>,
    positions: Vec<(i64, State)>,
    /// The offset behind all that was acknowledged, as far as anybody was told.
    pub(super) acknowledged: i64,
    /// What processes have stored, in a place that all of them can read; at first nothing.
    pub(super) stored: Option<Position>,
    /// Up to where a process has asked to delete.
    pub(super) trimmed: i64,
    findings: Vec<(Wrong, String)>,
}

impl Exclusive {
    /// The next batch of the log.
    pub(super) fn judge(&mut self, batch: &Batch) {
        let offsets = batch.base_offset()..batch.next_offset();
        if offsets.start != self.judged {
            self.add(Wrong::Skipped, format!("{offsets:?} follows offset {}", self.judged));
        }
        self.judged = offsets.end;
        let attributes = batch.header().attributes;
        let is_foreign = attributes.has(Flag::Control) || attributes.has(Flag::Transactional);
        let stamp = if is_foreign { None } else { stamp(batch) };
        let (term, writer, next) = self.state;
        match stamp {
            Some((1, stamp @ (new, ..))) if new == term + 1 => {
                let note = batch
                    .records()
                    .next()
                    .and_then(|record| Some(Bytes::copy_from_slice(record.ok()?.value?)));
                self.claims.insert(offsets.start, (new, stamp.1, note.unwrap_or_default()));
                self.state = (new, stamp.1, 1);
            }
            Some((kind @ (0 | 2), stamp)) if stamp == (term, writer, next) && next > 0 => {
                self.state.2 += 1;
                let values =
                    batch.records().map_while(|record| Some(record.ok()?.value.map(Bytes::copy_from_slice)));
                if kind == 0 {
                    self.entries.push((offsets, ids(values)));
                }
            }
            Some((_, (new, ..))) if new > term => {
                self.add(Wrong::Corrupted, format!("term {new} at {offsets:?}, in term {term}"));
            }
            _ => {}
        }
        self.states.insert(self.judged, self.state);
    }

    /// An append of so many records is called; gives what is to be told to [`settled`](Self::settled).
    pub(super) fn sent(&mut self, first: Id, count: u32) -> i64 {
        self.appends.insert(first, (count, Fate::Unknown));
        self.acknowledged
    }

    /// A call for an append has ended, which was made when this much was acknowledged.
    pub(super) fn settled(&mut self, first: Id, since: i64, result: Result<&Appended, Outcome>) {
        let fate = match result {
            Ok(appended) => {
                self.told(&appended.position);
                self.comes_behind(since, &appended.offsets, first);
                Fate::Counts(appended.offsets.clone())
            }
            Err(Outcome::NotWritten) => Fate::NotWritten,
            Err(_) => Fate::Unknown,
        };
        let known = &mut self.appends.entry(first).or_insert((0, Fate::Unknown)).1;
        if *known != Fate::Unknown && *known != fate {
            let what = format!("{first} is {fate:?} after {known:?}");
            return self.add(Wrong::TwoValues, what);
        }
        *known = fate;
    }

    /// A claim was made with this note, when this much was acknowledged.
    pub(super) fn claimed(&mut self, claim: &Claim, since: i64, note: &str) {
        self.comes_behind(since, &(claim.offset..claim.offset + 1), note);
        if claim.note != note {
            self.add(Wrong::TwoValues, format!("{claim:?} is not {note:?}"));
        }
        self.told_of(claim);
    }

    /// What was acknowledged before a call comes before it in the log.
    fn comes_behind(&mut self, since: i64, offsets: &Range<i64>, what: impl std::fmt::Display) {
        if offsets.start < since {
            self.add(
                Wrong::Reordered,
                format!("{what} at {offsets:?}, called when {since} was acknowledged"),
            );
        }
        self.acknowledged = self.acknowledged.max(offsets.end);
    }

    /// Somebody was told of a claim.
    pub(super) fn told_of(&mut self, claim: &Claim) {
        self.claims_told.push((claim.offset, claim.term, claim.note.clone(), Some(claim.writer)));
    }

    /// A position was given out: both of its forms are to lead back to it.
    pub(super) fn told(&mut self, position: &Position) {
        let text = position.to_string();
        if text.parse().ok() != Some(*position)
            || Position::from_bytes(&position.to_bytes()).ok() != Some(*position)
        {
            self.add(Wrong::Corrupted, format!("position {text}"));
        }
        // A checksum is the last part.
        let mut parts = text.rsplitn(5, ':').skip(1).map_while(|part| part.parse().ok());
        let mut part = || parts.next().unwrap_or_default();
        let (next, writer, term) = (part(), part(), part());
        self.positions.push((position.offset(), (term, writer, next)));
    }

    /// Somebody was given a part of the log.
    pub(super) fn read(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// A call has failed.
    pub(super) fn failed(&mut self, error: &Error) {
        match error.kind() {
            ErrorKind::Fenced { term, offset, note } | ErrorKind::ClaimLost { term, offset, note } => {
                self.claims_told.push((*offset, *term, note.clone(), None));
                if error.outcome() != Outcome::NotWritten {
                    self.add(Wrong::TwoValues, format!("{error:?}"));
                }
            }
            // What was deleted; or two brokers have answered.
            ErrorKind::OffsetOutOfRange { offset, log_start, log_end }
                if *offset < self.trimmed || (log_start..=log_end).contains(&offset) => {}
            ErrorKind::OffsetOutOfRange { .. }
            | ErrorKind::LogTruncated { .. }
            | ErrorKind::LogDamaged { .. }
            | ErrorKind::CorruptBatch { .. }
            | ErrorKind::TopicRecreated
            | ErrorKind::OtherTopic
            | ErrorKind::NotDurable
            | ErrorKind::InvalidArgument(_) => self.add(Wrong::Unfounded, format!("{error:?}")),
            _ => {}
        }
    }

    pub(super) fn add(&mut self, wrong: Wrong, what: String) {
        self.findings.push((wrong, what));
    }

    /// What is wrong, when the whole log was judged.
    pub(super) fn finish(mut self) -> Vec<(Wrong, String)> {
        self.check_entries();
        self.check_appends();
        self.states.insert(0, State::default());
        for (offset, state) in std::mem::take(&mut self.positions) {
            if self.states.get(&offset) != Some(&state) {
                let what =
                    format!("a position {offset} with {state:?}, it is {:?}", self.states.get(&offset));
                self.add(Wrong::WrongOffset, what);
            }
        }
        for Part { reader, offsets, entries } in std::mem::take(&mut self.parts) {
            let is_within = |(at, _): &&Entry| at.start >= offsets.start && at.start < offsets.end;
            if !entries.iter().eq(self.entries.iter().filter(is_within)) {
                self.add(Wrong::Skipped, format!("{reader} was given {entries:?} in {offsets:?}"));
            }
        }
        for told in std::mem::take(&mut self.claims_told) {
            let is_it = |(term, writer, note): &(u64, u64, Bytes)| {
                (*term, note) == (told.1, &told.2) && told.3.is_none_or(|told| told == *writer)
            };
            let known = self.claims.get(&told.0);
            if !known.is_some_and(is_it) {
                let what = format!("told of a claim {told:?}, it is {known:?}");
                self.add(Wrong::TwoValues, what);
            }
        }
        self.findings
    }

    /// Each record of a process counts once at most, in the order of its calls, and in the batch that was appended.
    fn check_entries(&mut self) {
        let mut last = BTreeMap::new();
        for (offsets, ids) in std::mem::take(&mut self.entries) {
            for id in &ids {
                match last.insert(id.writer, id.number) {
                    Some(before) if before == id.number => {
                        self.add(Wrong::Duplicated, format!("{id} at {offsets:?}"))
                    }
                    Some(before) if before > id.number => {
                        self.add(Wrong::Reordered, format!("{id} at {offsets:?}"))
                    }
                    _ => {}
                }
            }
            let known = ids.first().and_then(|first| Some((first, self.appends.get(first)?.0)));
            let sent = |(first, count): (&Id, u32)| (first.number..).take(count as usize);
            if !known.is_some_and(|known| sent(known).eq(ids.iter().map(|id| id.number))) {
                self.add(Wrong::NeverSent, format!("{ids:?} at {offsets:?}"));
            }
            self.entries.push((offsets, ids));
        }
    }

    fn check_appends(&mut self) {
        let found: BTreeMap<_, _> =
            self.entries.iter().filter_map(|(at, ids)| Some((*ids.first()?, at))).collect();
        for (first, (_, fate)) in &self.appends {
            let wrong = match (fate, found.get(first)) {
                (Fate::Counts(_), None) => Wrong::Lost,
                (Fate::Counts(offsets), Some(found)) if offsets != *found => Wrong::Misplaced,
                (Fate::NotWritten, Some(_)) => Wrong::NotWritten,
                _ => continue,
            };
            self.findings.push((wrong, format!("{first} is {fate:?}, and counts at {:?}", found.get(first))));
        }
    }
}

/// Which records these are. What is damaged is left out: then they are not those that were sent.
pub(super) fn ids(values: impl Iterator<Item = Option<Bytes>>) -> Vec<Id> {
    let id = |value: Option<Bytes>| {
        if let Value::Record(id) = Value::of(value.as_ref()) { Some(id) } else { None }
    };
    values.filter_map(id).collect()
}

/// Kind, term, writer and sequence, as the first header of the first record says.
fn stamp(batch: &Batch) -> Option<(u8, State)> {
    let (key, value) = batch.records().next()?.ok()?.headers.next()?;
    let value = value.filter(|value| key == b"rskafka.wal" && value.len() == 26 && value[0] == 1)?;
    let field = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| value[at + byte]));
    Some((value[1], (field(2), field(10), field(18))))
}
