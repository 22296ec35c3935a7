//! The rules of one partition: calls and reads go in, what is wrong comes out.
//!
//! Jepsen's queue rules: a send reported as not written is never read; one offset has one value; nothing
//! acknowledged is missing; nothing twice; order kept per writer; no gap or inversion within a reader.
//!
//! Invariant: pure; what is not known to be right is wrong, unless the writer may send again.

use std::collections::BTreeMap;
use std::fmt;

use super::value::{Id, Value};

/// What became of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The call has not returned.
    Pending,
    Acked(i64),
    NotWritten,
    /// Also what was dropped.
    Unknown,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// A record was acknowledged and is not in the log.
    Lost,
    /// A record was acknowledged at an offset that has another one.
    Misplaced,
    /// A record is in the log twice.
    Duplicated,
    /// A record stands before one of the same writer that was sent earlier.
    Reordered,
    /// An offset was read with two values.
    TwoValues,
    /// What was read is not what was sent.
    Corrupted,
    /// A reader was not given an offset, or was given it again.
    Skipped,
    /// A record was reported as not written and is in the log.
    NotWritten,
    /// A record is in the log that nobody sent.
    NeverSent,
    /// A call returned after its deadline, or not at all.
    Overdue,
    /// Tasks or memory are left when all is closed.
    Leaked,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub wrong: Wrong,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.wrong, self.what)
    }
}

/// Follows one partition.
#[derive(Debug, Default)]
pub(super) struct Rules {
    writers: BTreeMap<u32, Writer>,
    /// What was read first at each offset.
    log: BTreeMap<i64, Value>,
    findings: Vec<Finding>,
    /// Copies of records whose writer may send again.
    resent: u64,
}

#[derive(Debug, Default)]
struct Writer {
    sends_again: bool,
    is_forgiven: bool,
    /// By the record's number.
    fates: Vec<Fate>,
}

impl Rules {
    /// A writer that `sends_again` gives up the order of its records; the copies that it shows are no
    /// findings if that is forgiven.
    pub(super) fn writer(&mut self, writer: u32, sends_again: bool, is_forgiven: bool) {
        self.writers.insert(writer, Writer { sends_again, is_forgiven, fates: Vec::new() });
    }

    /// A record is sent. Numbers of a writer begin at 0 and have no gaps.
    pub(super) fn sent(&mut self, id: Id) {
        let fates = &mut self.writers.entry(id.writer).or_default().fates;
        if fates.len() == id.number as usize {
            fates.push(Fate::Pending);
        }
    }

    pub(super) fn settled(&mut self, id: Id, fate: Fate) {
        let writer = self.writers.entry(id.writer).or_default();
        if let Some(known) = writer.fates.get_mut(id.number as usize) {
            // Of what is sent again, an earlier copy may be written all the same.
            let is_worse = (*known, fate) == (Fate::Unknown, Fate::NotWritten);
            *known = if is_worse { Fate::Unknown } else { fate };
        }
    }

    /// A reader that is about to read `next` was given a record.
    pub(super) fn read(&mut self, reader: &str, next: i64, offset: i64, value: Value) {
        if offset != next {
            let what = format!("{reader} was given offset {offset} where {next} comes next");
            self.add(Wrong::Skipped, what);
        }
        if let Value::Damaged(what) = &value {
            self.add(Wrong::Corrupted, format!("offset {offset}: {what}"));
        }
        match self.log.get(&offset) {
            None => {
                self.log.insert(offset, value);
            }
            Some(known) if *known != value => {
                let what = format!("offset {offset} was read as {known}, and as {value} by {reader}");
                self.add(Wrong::TwoValues, what);
            }
            Some(_) => {}
        }
    }

    pub(super) fn add(&mut self, wrong: Wrong, what: String) {
        self.findings.push(Finding { wrong, what });
    }

    /// The verdict, when the log was read from `log_start` to its end; with the number of copies that
    /// were forgiven.
    pub(super) fn finish(mut self, log_start: i64) -> (Vec<Finding>, u64) {
        self.check_log();
        self.check_acknowledged(log_start);
        (self.findings, self.resent)
    }

    fn check_log(&mut self) {
        let mut at: BTreeMap<Id, i64> = BTreeMap::new();
        let mut last: BTreeMap<u32, (u32, i64)> = BTreeMap::new();
        for (&offset, value) in &self.log {
            let Value::Record(id) = *value else {
                continue;
            };
            let Some((sends_again, is_forgiven, fate)) = self.fate(id) else {
                let what = format!("offset {offset} has {id}");
                self.findings.push(Finding { wrong: Wrong::NeverSent, what });
                continue;
            };
            if let Some(first) = at.insert(id, offset) {
                if is_forgiven {
                    self.resent += 1;
                    continue;
                }
                let what = format!("offsets {first} and {offset} both have {id}");
                self.findings.push(Finding { wrong: Wrong::Duplicated, what });
                continue;
            }
            if fate == Fate::NotWritten {
                let what = format!("offset {offset} has {id}, which was reported as not written");
                self.findings.push(Finding { wrong: Wrong::NotWritten, what });
            }
            // What is sent without an answer may be on its way while later calls are made.
            if sends_again || !matches!(fate, Fate::Acked(_)) {
                continue;
            }
            match last.get(&id.writer) {
                Some(&(number, before)) if number > id.number => {
                    let later = Id { number, ..id };
                    let what = format!("offset {offset} has {id}, after {later} at offset {before}");
                    self.findings.push(Finding { wrong: Wrong::Reordered, what });
                }
                _ => {
                    last.insert(id.writer, (id.number, offset));
                }
            }
        }
    }

    fn check_acknowledged(&mut self, log_start: i64) {
        let places: BTreeMap<Id, i64> = self
            .log
            .iter()
            .filter_map(|(offset, value)| match value {
                Value::Record(id) => Some((*id, *offset)),
                Value::Damaged(_) => None,
            })
            .collect();
        for (&writer, Writer { fates, .. }) in &self.writers {
            for (number, fate) in (0..).zip(fates) {
                let id = Id { writer, number };
                let finding = match *fate {
                    Fate::Pending => {
                        Some((Wrong::Overdue, format!("the call that sent {id} did not return")))
                    }
                    Fate::Acked(offset) => match self.log.get(&offset) {
                        Some(Value::Record(found)) if *found == id => None,
                        // What is there is damaged, and reported as that.
                        Some(Value::Damaged(_)) => None,
                        Some(other) => {
                            let place = places.get(&id);
                            let place =
                                place.map_or("is not in the log".to_owned(), |at| format!("is at {at}"));
                            let what = format!(
                                "{id} was acknowledged at offset {offset}, which has {other}; it {place}"
                            );
                            let lost = !places.contains_key(&id);
                            Some((if lost { Wrong::Lost } else { Wrong::Misplaced }, what))
                        }
                        None if offset < log_start => None,
                        None => {
                            let what =
                                format!("{id} was acknowledged at offset {offset}, which was not read");
                            Some((Wrong::Lost, what))
                        }
                    },
                    Fate::NotWritten | Fate::Unknown => None,
                };
                self.findings.extend(finding.map(|(wrong, what)| Finding { wrong, what }));
            }
        }
    }

    fn fate(&self, id: Id) -> Option<(bool, bool, Fate)> {
        let writer = self.writers.get(&id.writer)?;
        Some((writer.sends_again, writer.is_forgiven, *writer.fates.get(id.number as usize)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: u32 = 1;

    fn id(number: u32) -> Id {
        Id { writer: WRITER, number }
    }

    #[test]
    fn a_copy_that_is_not_written_says_nothing_of_an_earlier_one() {
        let mut rules = Rules::default();
        rules.writer(WRITER, true, true);
        rules.sent(id(0));
        rules.settled(id(0), Fate::Unknown);
        rules.settled(id(0), Fate::NotWritten);
        rules.read("r", 0, 0, Value::Record(id(0)));
        assert_eq!(rules.finish(0).0, []);
    }

    /// A log of records of one writer, all acknowledged where they are, and what a whole read gives.
    fn findings(log: &[u32], change: impl FnOnce(&mut Rules)) -> Vec<Wrong> {
        findings_of(log, false, change)
    }

    fn findings_of(log: &[u32], sends_again: bool, change: impl FnOnce(&mut Rules)) -> Vec<Wrong> {
        let mut rules = Rules::default();
        rules.writer(WRITER, sends_again, sends_again);
        for number in 0..10 {
            rules.sent(id(number));
        }
        for (offset, &number) in (0..).zip(log) {
            rules.settled(id(number), Fate::Acked(offset));
            rules.read("reader", offset, offset, Value::Record(id(number)));
        }
        change(&mut rules);
        // All others were not heard of again.
        for fate in rules.writers.values_mut().flat_map(|writer| &mut writer.fates) {
            if *fate == Fate::Pending {
                *fate = Fate::Unknown;
            }
        }
        let mut wrong: Vec<Wrong> = rules.finish(0).0.into_iter().map(|finding| finding.wrong).collect();
        wrong.dedup();
        wrong
    }

    #[test]
    fn a_log_as_it_should_be_is_clean() {
        assert_eq!(findings(&[0, 1, 2, 3], |_| {}), []);
        // Unknown ones may be missing, or there, or late.
        assert_eq!(findings(&[0, 2, 3], |rules| rules.read("r", 3, 3, Value::Record(id(1)))), []);
        assert_eq!(findings(&[], |_| {}), []);
    }

    #[test]
    fn an_acknowledged_record_that_is_not_there_is_lost() {
        assert_eq!(findings(&[0, 1], |rules| rules.settled(id(2), Fate::Acked(2))), [Wrong::Lost]);
        assert_eq!(findings(&[0, 1], |rules| rules.settled(id(2), Fate::Acked(1))), [Wrong::Lost]);
    }

    #[test]
    fn an_acknowledged_record_below_the_start_of_the_log_was_deleted() {
        let mut rules = Rules::default();
        rules.writer(WRITER, false, false);
        rules.sent(id(0));
        rules.settled(id(0), Fate::Acked(4));
        assert_eq!(rules.finish(5).0, []);
    }

    #[test]
    fn a_wrong_offset_in_an_acknowledgement_is_found() {
        assert_eq!(findings(&[0, 1], |rules| rules.settled(id(0), Fate::Acked(1))), [Wrong::Misplaced]);
    }

    #[test]
    fn a_copy_is_found_and_forgiven_only_where_records_are_sent_again() {
        let again = |rules: &mut Rules| rules.read("r", 2, 2, Value::Record(id(1)));
        assert_eq!(findings(&[0, 1], again), [Wrong::Duplicated]);
        assert_eq!(findings_of(&[0, 1], true, again), []);
    }

    #[test]
    fn acknowledged_records_keep_the_order_of_their_calls() {
        assert_eq!(findings(&[0, 2, 1], |_| {}), [Wrong::Reordered]);
    }

    #[test]
    fn an_offset_has_one_value_for_all_readers() {
        let other = |rules: &mut Rules| rules.read("other", 1, 1, Value::Record(id(5)));
        assert_eq!(findings(&[0, 1], other), [Wrong::TwoValues]);
    }

    #[test]
    fn what_is_given_out_of_turn_is_found() {
        let skips = |rules: &mut Rules| rules.read("r", 0, 1, Value::Record(id(1)));
        assert_eq!(findings(&[0, 1], skips), [Wrong::Skipped]);
        let repeats = |rules: &mut Rules| rules.read("r", 2, 1, Value::Record(id(1)));
        assert_eq!(findings(&[0, 1], repeats), [Wrong::Skipped]);
    }

    #[test]
    fn what_was_called_not_written_is_never_read() {
        let read = |rules: &mut Rules| {
            rules.settled(id(5), Fate::NotWritten);
            rules.read("r", 2, 2, Value::Record(id(5)));
        };
        assert_eq!(findings(&[0, 1], read), [Wrong::NotWritten]);
    }

    #[test]
    fn what_nobody_sent_and_what_is_damaged_is_found() {
        let unknown = Value::Record(Id { writer: 9, number: 0 });
        assert_eq!(findings(&[0], |rules| rules.read("r", 1, 1, unknown)), [Wrong::NeverSent]);
        let damaged = Value::Damaged("a bit".to_owned());
        assert_eq!(findings(&[0], |rules| rules.read("r", 1, 1, damaged)), [Wrong::Corrupted]);
    }

    #[test]
    fn a_call_that_never_returned_is_overdue() {
        let mut rules = Rules::default();
        rules.sent(id(0));
        assert_eq!(rules.finish(0).0[0].wrong, Wrong::Overdue);
    }
}
