//! The checker: acknowledgements and what one reader saw go in, what is wrong comes out.
//!
//! Jepsen's queue rules for one writer whose records are numbered in the order of its calls: no
//! acknowledged record is missing, none is there twice, order is kept, one offset has one value, what was
//! reported as not written is never read, a reader sees no gap and no inversion.
//!
//! Invariant: pure, and its memory grows with what is out of order or unsettled, not with the log.

use std::ops::Range;

use rskafka::record::{Record, RecordAndOffset};

use crate::findings::{Findings, Kind};
use crate::runs::Runs;
use crate::workload::{Damage, Workload};

/// Entries after which it gives up: about 10 MB. A log with so much wrong needs no exact account.
const MAX_ENTRIES: usize = 100_000;

/// What happened, in any order that can be: acknowledgements may be late, early and out of order.
#[derive(Debug, Clone)]
pub enum Event {
    /// The records with these numbers were acknowledged, the first at `base_offset`.
    Acked {
        /// The records' numbers.
        numbers: Range<i64>,
        /// The first one's offset; the others follow without gaps.
        base_offset: i64,
    },
    /// The append of these records failed, and they were reported as not written.
    NotWritten(Range<i64>),
    /// The append of these records failed, and it is not known whether they were written.
    Unknown(Range<i64>),
    /// The reader got these, in this order.
    Read(Vec<RecordAndOffset>),
}

/// Takes the events of one writer and one reader.
#[derive(Debug, Clone)]
pub struct Checker {
    workload: Workload,
    first_offset: i64,
    /// Number to offset: acknowledged and not yet read.
    acked: Runs,
    /// Number to offset: read and not yet acknowledged.
    read: Runs,
    not_written: Runs,
    unknown: Runs,
    /// All numbers read.
    numbers: Runs,
    /// All offsets read.
    offsets: Runs,
    /// Offsets at which no intact record was read.
    damaged: Runs,
    /// Numbers that have been found out of order.
    reordered: Runs,
    last_offset: i64,
    highest_number: i64,
    verified: u64,
    findings: Findings,
    gave_up: bool,
}

/// What the checker says in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many records were read, whole, exactly where they had been acknowledged.
    pub verified: u64,
    /// What is wrong.
    pub findings: Findings,
    /// Whether so much was wrong that not all of it was looked at.
    pub gave_up: bool,
}

impl Checker {
    /// For a reader that begins at `first_offset`.
    pub fn new(workload: Workload, first_offset: i64) -> Self {
        Self {
            workload,
            first_offset,
            acked: Runs::default(),
            read: Runs::default(),
            not_written: Runs::default(),
            unknown: Runs::default(),
            numbers: Runs::default(),
            offsets: Runs::default(),
            damaged: Runs::default(),
            reordered: Runs::default(),
            last_offset: first_offset - 1,
            highest_number: -1,
            verified: 0,
            findings: Findings::default(),
            gave_up: false,
        }
    }

    /// Takes the next event.
    pub fn event(&mut self, event: Event) {
        self.gave_up |= self.entries() > MAX_ENTRIES;
        if self.gave_up {
            return;
        }
        match event {
            Event::Acked { numbers, base_offset } => {
                for (number, offset) in numbers.zip(base_offset..) {
                    self.acked(number, offset);
                }
            }
            Event::NotWritten(numbers) => numbers.for_each(|number| {
                self.not_written.add(number);
            }),
            Event::Unknown(numbers) => numbers.for_each(|number| {
                self.unknown.add(number);
            }),
            Event::Read(records) => {
                for RecordAndOffset { offset, record, .. } in &records {
                    self.read(*offset, record);
                }
            }
        }
    }

    /// The verdict, when every append has been settled and the reader has read at least up to
    /// `log_end`, the offset after the last record.
    pub fn finish(mut self, log_end: i64) -> Verdict {
        if !self.gave_up {
            self.settle(log_end);
        }
        Verdict { verified: self.verified, findings: self.findings, gave_up: self.gave_up }
    }

    fn acked(&mut self, number: i64, offset: i64) {
        match self.read.remove(number) {
            Some(read_at) => self.compare(number, offset, read_at),
            None => {
                self.acked.insert(number, offset);
            }
        }
    }

    fn read(&mut self, offset: i64, record: &Record) {
        let is_inversion = offset <= self.last_offset;
        self.last_offset = self.last_offset.max(offset);
        let is_new_offset = self.offsets.add(offset);
        let number = match self.workload.identify(record) {
            Ok(number) => number,
            Err(damage) => {
                self.damaged.add(offset);
                self.findings.add(Kind::Corrupted, offset, || say(&damage));
                return;
            }
        };
        if !self.numbers.add(number) {
            self.findings.add(Kind::Duplicated, offset, || format!("record {number} is read again"));
            return;
        }
        if is_inversion || number < self.highest_number {
            self.reordered.add(number);
            let (last, highest) = (self.last_offset, self.highest_number);
            self.findings.add(Kind::Reordered, offset, || match (is_inversion, is_new_offset) {
                (true, true) => format!("record {number} is read after offset {last}"),
                (true, false) => format!("record {number} is read where another one was read before"),
                (false, _) => format!("record {number} is read after record {highest}"),
            });
        }
        self.highest_number = self.highest_number.max(number);
        match self.acked.remove(number) {
            Some(acked_at) => self.compare(number, acked_at, offset),
            None => {
                self.read.insert(number, offset);
            }
        }
    }

    fn compare(&mut self, number: i64, acked_at: i64, read_at: i64) {
        if acked_at != read_at {
            if self.reordered.add(number) {
                let what =
                    || format!("record {number} is read here, but was acknowledged at offset {acked_at}");
                self.findings.add(Kind::Reordered, read_at, what);
            }
        } else if !self.reordered.contains(number) {
            self.verified += 1;
        }
    }

    fn settle(&mut self, log_end: i64) {
        // By offset, because gaps are offsets that are not explained by losses.
        let mut lost = Runs::default();
        for (numbers, base_offset) in self.acked.iter() {
            let offsets = base_offset..base_offset + (numbers.end - numbers.start);
            for offsets in self.damaged.missing(offsets) {
                let first = numbers.start + (offsets.start - base_offset);
                let last = numbers.start + (offsets.end - 1 - base_offset);
                let what = || match first == last {
                    true => format!("record {first} was acknowledged here, but is not read"),
                    false => format!("records {first} to {last} were acknowledged here, but are not read"),
                };
                self.findings.add_run(Kind::Lost, offsets.clone(), what);
                offsets.for_each(|offset| {
                    lost.add(offset);
                });
            }
        }
        let end = log_end.max(self.last_offset.saturating_add(1));
        for unread in self.offsets.missing(self.first_offset..end) {
            for gap in lost.missing(unread) {
                self.findings.add_run(Kind::Gap, gap, || "not read, and not acknowledged either".to_owned());
            }
        }
        for (numbers, offset) in self.read.iter() {
            for (number, offset) in numbers.zip(offset..) {
                if self.not_written.contains(number) {
                    let what = || format!("record {number} was reported as not written");
                    self.findings.add(Kind::NotWritten, offset, what);
                } else if !self.unknown.contains(number) {
                    let what = || format!("there was no append of record {number}");
                    self.findings.add(Kind::NotAppended, offset, what);
                }
            }
        }
    }

    fn entries(&self) -> usize {
        let Self { acked, read, not_written, unknown, numbers, offsets, damaged, reordered, .. } = self;
        let all = [acked, read, not_written, unknown, numbers, offsets, damaged, reordered];
        all.iter().map(|runs| runs.entries()).sum()
    }
}

impl Verdict {
    /// Whether everything was found as it should be.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && !self.gave_up
    }
}

fn say(damage: &Damage) -> String {
    match damage {
        Damage::NoNumber => "the value names no record".to_owned(),
        Damage::Differs { number, part } => format!("the {part} is not that of record {number}"),
    }
}

#[cfg(test)]
mod tests;
