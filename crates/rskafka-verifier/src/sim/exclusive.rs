//! What counts in an exclusive log, and whether that is what its writers and readers were told.
//!
//! Invariant: pure, and none of it is the client's. The rule is that of docs/exclusive-log.md; what counts never changes.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use rskafka::client::error::{Error, ErrorKind, Outcome, Result};
use rskafka::protocol::records::{Attributes, Flag, RecordView};
use rskafka::wal::{Appended, Claim, Position};
use serde::{Deserialize, Serialize};

use super::rules::Wrong;
use super::value::{Id, Value};

/// Of the rule: term, writer, and the next sequence.
type State = (u64, u64, u64);
/// An entry that counts: its offsets and records.
pub(super) type Entry = (Range<i64>, Vec<Id>);

/// What a reader was given of a part of the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) reader: String,
    pub(super) offsets: Range<i64>,
    pub(super) entries: Vec<Entry>,
}

impl Part {
    /// From a position on, nothing yet.
    pub(super) fn new(reader: &str, position: &Position) -> Self {
        Self { reader: reader.to_owned(), offsets: position.offset()..i64::MAX, entries: Vec::new() }
    }
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    Counts(Range<i64>),
    NotWritten,
    /// Also before the call has ended.
    Unknown,
}

/// A claim: offset, term, note, and the writer where that was told.
pub(super) type ClaimTold = (i64, u64, String, Option<u64>);

/// What somebody did, or was told. Processes send it to the checker as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// An append of so many records is called, of which this is the first.
    Sent(Id, u32),
    /// An append has ended, which was called when this much was acknowledged.
    Settled(Id, i64, Fate),
    /// A claim counts, which was called when this much was acknowledged.
    Claimed(i64, ClaimTold),
    /// There is a claim.
    Claim(ClaimTold),
    /// A position was given out.
    Position(String),
    /// The same; it is offered to be stored, and perhaps the log is to be trimmed up to what is stored.
    Stored(String, bool),
    /// A call of an append has ended, with an acknowledgement or without one. None if it was dropped.
    Ended(Option<bool>),
    Read(Part),
    /// An offset is beyond these bounds of the log.
    OutOfRange(i64, Range<i64>),
    Wrong(Wrong, String),
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
    pub(super) claims: BTreeMap<i64, (u64, u64, String)>,
    /// Batches with the header that do not count.
    pub(super) dead: u64,
    entries: Vec<Entry>,
    /// By the first record: how many there are, and what became of them.
    pub(super) appends: BTreeMap<Id, (u32, Fate)>,
    parts: Vec<Part>,
    claims_told: Vec<ClaimTold>,
    positions: Vec<(i64, State)>,
    /// The offset behind all that was acknowledged, as far as anybody was told.
    pub(super) acknowledged: i64,
    /// What processes have stored, in a place that all of them can read; at first nothing.
    pub(super) stored: Option<Position>,
    /// Up to where a process has asked to delete.
    pub(super) trimmed: i64,
    findings: Vec<(Wrong, String)>,
}

impl Told {
    pub(super) fn settled(first: Id, since: i64, result: Result<&Appended, Outcome>) -> Self {
        let fate = match result {
            Ok(appended) => Fate::Counts(appended.offsets.clone()),
            Err(Outcome::NotWritten) => Fate::NotWritten,
            Err(_) => Fate::Unknown,
        };
        Self::Settled(first, since, fate)
    }

    /// What an error says of the log.
    pub(super) fn failed(error: &Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::Fenced { term, offset, note } | ErrorKind::ClaimLost { term, offset, note }
                if error.outcome() == Outcome::NotWritten =>
            {
                Some(Self::Claim((*offset, *term, text(note), None)))
            }
            ErrorKind::OffsetOutOfRange { offset, log_start, log_end } => {
                Some(Self::OutOfRange(*offset, *log_start..*log_end))
            }
            ErrorKind::Fenced { .. }
            | ErrorKind::ClaimLost { .. }
            | ErrorKind::LogTruncated { .. }
            | ErrorKind::LogDamaged { .. }
            | ErrorKind::CorruptBatch { .. }
            | ErrorKind::TopicRecreated
            | ErrorKind::OtherTopic
            | ErrorKind::NotDurable
            | ErrorKind::InvalidArgument(_) => Some(Self::Wrong(Wrong::Unfounded, format!("{error:?}"))),
            _ => None,
        }
    }

    /// Somebody was told of a claim.
    pub(super) fn claim(claim: &Claim) -> Self {
        Self::Claim((claim.offset, claim.term, text(&claim.note), Some(claim.writer)))
    }

    /// A claim with this note counts, which was called when this much was acknowledged.
    pub(super) fn claimed(since: i64, claim: &Claim, note: &str) -> Self {
        Self::Claimed(since, (claim.offset, claim.term, note.to_owned(), Some(claim.writer)))
    }
}

impl Exclusive {
    /// The next batch of the log.
    pub(super) fn judge(&mut self, offsets: Range<i64>, attributes: Attributes, records: &[RecordView<'_>]) {
        if offsets.start != self.judged {
            self.add(Wrong::Skipped, format!("{offsets:?} follows offset {}", self.judged));
        }
        self.judged = offsets.end;
        let is_foreign = attributes.has(Flag::Control) || attributes.has(Flag::Transactional);
        let stamp = if is_foreign { None } else { records.first().and_then(stamp) };
        let (term, writer, next) = self.state;
        match stamp {
            Some((1, stamp @ (new, ..))) if new == term + 1 => {
                let note = text(records[0].value.unwrap_or_default());
                self.claims.insert(offsets.start, (new, stamp.1, note));
                self.state = (new, stamp.1, 1);
            }
            Some((kind @ (0 | 2), stamp)) if stamp == (term, writer, next) && next > 0 => {
                self.state.2 += 1;
                let values = records.iter().map(|record| record.value.map(Bytes::copy_from_slice));
                if kind == 0 {
                    self.entries.push((offsets, ids(values)));
                }
            }
            Some((_, (new, ..))) if new > term => {
                self.add(Wrong::Corrupted, format!("term {new} at {offsets:?}, in term {term}"));
            }
            Some(_) => self.dead += 1,
            None => {}
        }
        self.states.insert(self.judged, self.state);
    }

    /// How many records the append has that begins with this one.
    pub(super) fn count(&self, first: Id) -> usize {
        self.appends.get(&first).map_or(0, |(count, _)| *count as usize)
    }

    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Sent(first, count) => drop(self.appends.insert(first, (count, Fate::Unknown))),
            Told::Settled(first, since, fate) => self.settled(first, since, fate),
            Told::Claimed(since, claim) => {
                self.comes_behind(since, &(claim.0..claim.0 + 1), &claim.2);
                self.claims_told.push(claim);
            }
            Told::Claim(claim) => self.claims_told.push(claim),
            Told::Position(text) | Told::Stored(text, _) => match text.parse() {
                Ok(position) => self.told(&position),
                Err(_) => self.add(Wrong::Corrupted, format!("position {text}")),
            },
            Told::Read(part) => self.parts.push(part),
            // It was deleted; or two brokers have answered.
            Told::OutOfRange(offset, log)
                if offset < self.trimmed || (log.start..=log.end).contains(&offset) => {}
            Told::OutOfRange(offset, log) => {
                self.add(Wrong::Unfounded, format!("offset {offset} is not in {log:?}"));
            }
            Told::Wrong(wrong, what) => self.add(wrong, what),
            Told::Ended(_) => {}
        }
    }

    /// A call for an append has ended, which was made when this much was acknowledged.
    fn settled(&mut self, first: Id, since: i64, fate: Fate) {
        if let Fate::Counts(offsets) = &fate {
            self.comes_behind(since, offsets, first);
        }
        let known = &mut self.appends.entry(first).or_insert((0, Fate::Unknown)).1;
        if *known != Fate::Unknown && *known != fate {
            let what = format!("{first} is {fate:?} after {known:?}");
            return self.add(Wrong::TwoValues, what);
        }
        *known = fate;
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

    pub(super) fn add(&mut self, wrong: Wrong, what: String) {
        self.findings.push((wrong, what));
    }

    /// Stores a position, unless a higher one is stored. Gives what is stored if the log is to be trimmed up to there, and was judged.
    pub(super) fn store(&mut self, position: Position, is_to_trim: bool) -> Option<Position> {
        let stored = self.stored.filter(|stored| !stored.is_before(&position)).unwrap_or(position);
        self.stored = Some(stored);
        let is_to_trim = is_to_trim && self.judged >= stored.offset();
        self.trimmed = self.trimmed.max(if is_to_trim { stored.offset() } else { 0 });
        is_to_trim.then_some(stored)
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
            let is_it = |(term, writer, note): &(u64, u64, String)| {
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
fn stamp(first: &RecordView<'_>) -> Option<(u8, State)> {
    let (key, value) = first.headers.clone().next()?;
    let value = value.filter(|value| key == b"rskafka.wal" && value.len() == 26 && value[0] == 1)?;
    let field = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| value[at + byte]));
    Some((value[1], (field(2), field(10), field(18))))
}

fn text(note: &[u8]) -> String {
    String::from_utf8_lossy(note).into_owned()
}
