//! The rules for one partition: calls and reads go in, findings come out.
//!
//! Jepsen's queue rules: a send reported as not written is never read; one offset has one value; nothing
//! acknowledged is missing; nothing twice; order kept per writer; no gap or inversion within a reader.
//!
//! Invariant: pure. Everything that is not known to be right is a finding, except copies made by a writer that may send
//! again, and records that a cut removed.

mod losses;
mod offsets;
mod trail;

use std::collections::{BTreeMap, BTreeSet};

use derive_more::Display;
use serde::{Deserialize, Serialize};

use self::losses::Losses;
pub(super) use self::losses::Term;
pub(super) use self::offsets::Answered;
use self::offsets::Offsets;
pub(super) use self::trail::Trail;

use super::value::{Id, Value};

/// An offset this far beyond all others is wrong; the log is not extended to it.
const LONGEST_GAP: usize = 1 << 20;
/// How many findings of each kind are kept; all are counted.
const KEPT: u64 = 10;
/// A writer's records that are unsettled at the same time are at most so far from each other.
const REACH: usize = 20;

/// What became of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The call has not returned.
    Pending,
    /// The call has not returned, and the log was cut at this offset meanwhile: the record may be acknowledged and lost.
    PendingAtCut(i64),
    Acked(i64),
    NotWritten,
    /// Also after the call was dropped.
    Unknown,
    /// It was acknowledged, and cut off.
    Cut,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// A reader of committed records was given one of a transaction that is not committed.
    Undecided,
    /// A record was reported as not written and is in the log.
    NotWritten,
    /// A record is in the log that no writer sent.
    NeverSent,
    /// A record is back that was cut off.
    Returned,
    /// A call returned after its deadline, or not at all.
    Overdue,
    /// A fetch returned nothing although there were records.
    Withheld,
    /// An answer about the log's ends, or by time, is wrong.
    WrongOffset,
    /// A request was sent while the broker wanted silence.
    NotSilent,
    /// A loss or a failure was not told to the writer that it concerns.
    Silent,
    /// A record was sent behind a failed append, or after the end of its producer.
    SentBehind,
    /// More attempts, connections or questions for metadata than pauses between them allow.
    TooMany,
    /// A call failed for a reason that there was not.
    Unfounded,
    /// Tasks or memory are left when all is closed.
    Leaked,
    /// A task panicked, of the client or of the cluster.
    Panicked,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
#[display("{wrong:?}: {what}")]
pub struct Finding {
    /// What kind.
    pub wrong: Wrong,
    /// What happened.
    pub what: String,
}

/// All that is wrong: every finding is counted, the first few of each kind are kept.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    pub(crate) counts: BTreeMap<Wrong, u64>,
}

impl Findings {
    fn add(&mut self, wrong: Wrong, what: String) {
        let count = self.counts.entry(wrong).or_default();
        *count += 1;
        if *count <= KEPT {
            self.kept.push(Finding { wrong, what });
        }
    }
}

/// Follows one partition.
#[derive(Debug, Default)]
pub(super) struct Rules {
    writers: BTreeMap<u32, Writer>,
    /// What was read first at each offset.
    log: Vec<Option<Value>>,
    /// Where the log lost its end, each time that it did.
    cuts: Vec<i64>,
    /// Which of them, counted from 1, brokers cannot tell readers of.
    silent_cuts: BTreeSet<usize>,
    /// Which transactions are committed or aborted; those that are open have none of both.
    transactions: BTreeMap<u32, Option<bool>>,
    /// The offset behind all records that were acknowledged and not cut off.
    acknowledged: i64,
    offsets: Offsets,
    is_trimmed: bool,
    findings: Findings,
    /// Copies of records whose writer may send again, or whose producer was forgotten.
    resent: u64,
}

#[derive(Debug, Default)]
struct Writer {
    sends_again: bool,
    is_forgiven: bool,
    /// If its client sends again what has no answer.
    repeats: Option<Repeats>,
    /// By the record's number.
    records: Vec<Sent>,
    /// The last acknowledged record so far, while the log is checked.
    last: Option<(u32, i64)>,
    losses: Losses,
    /// The number from which on the brokers surely remember all that they do.
    known_from: usize,
}

/// What the brokers of a client that sends again can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeats {
    /// They compare the epochs of a producer: what was given up is never written behind later appends.
    pub(super) fences: bool,
    /// A new leader does not say where the log ends before it knows (KIP-207): a client can see that it was cut.
    pub(super) knows_ends: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    fate: Fate,
    /// How often the log had been cut before.
    cuts: u16,
    /// The brokers forgot its producer after it was sent: an attempt that arrives then may be a second copy.
    may_be_copied: bool,
    /// A broker forgot a part of what it knew of its producer before the call returned.
    may_be_forgotten: bool,
    /// Where it stands first, while the log is checked; the log is in memory, so that 32 bits are enough.
    place: Option<u32>,
}

/// A reader's place in the log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// What it is about to read.
    pub(super) next: i64,
    /// How often the log had been cut when it asked.
    pub(super) cuts: usize,
    /// The offset behind all records that were acknowledged by then.
    pub(super) acknowledged: i64,
}

impl Rules {
    /// A writer that `sends_again` gives up the order of its records; the copies that it shows are no
    /// findings if that is forgiven.
    pub(super) fn writer(&mut self, writer: u32, sends_again: bool, is_forgiven: bool) {
        self.writers.insert(writer, Writer { sends_again, is_forgiven, ..Writer::default() });
    }

    /// The client of a writer sends again what has no answer.
    pub(super) fn repeats(&mut self, writer: u32, repeats: Repeats) {
        self.writers.entry(writer).or_default().repeats = Some(repeats);
    }

    /// A writer goes on with another partition client.
    pub(super) fn begins_anew(&mut self, writer: u32) {
        let writer = self.writers.entry(writer).or_default();
        writer.losses = Losses { first: writer.records.len(), ..Losses::default() };
    }

    /// A record is sent. Numbers of a writer begin at 0 and have no gaps.
    pub(super) fn sent(&mut self, id: Id) {
        let cuts = self.cuts() as u16;
        let Writer { records, known_from, .. } = self.writers.entry(id.writer).or_default();
        if records.len() == id.number as usize {
            let may_be_forgotten = records.len() < *known_from;
            let (fate, may_be_copied) = (Fate::Pending, false);
            records.push(Sent { fate, cuts, may_be_copied, may_be_forgotten, place: None });
        }
    }

    /// A call has returned; the term is the one in which its request was answered, if that is certain.
    pub(super) fn settled_in(&mut self, term: Option<Term>, id: Id, fate: Fate) {
        let writer = self.writers.entry(id.writer).or_default();
        let Some(Sent { fate: known, .. }) = writer.records.get_mut(id.number as usize) else { return };
        if let (Some(repeats), Fate::Acked(offset)) = (writer.repeats, fate) {
            let is_new = *known == Fate::Pending && repeats.knows_ends;
            if let Some(what) = writer.losses.acknowledged(id.number, offset, term, is_new) {
                self.findings.add(Wrong::Silent, format!("writer {}: {what}", id.writer));
            }
        }
        *known = match (*known, fate) {
            (Fate::PendingAtCut(cut), Fate::Acked(offset)) if offset >= cut => Fate::Unknown,
            // Of what is sent again, an earlier copy may be written all the same.
            (Fate::Unknown, Fate::NotWritten) => Fate::Unknown,
            _ => fate,
        };
        if let Fate::Acked(offset) = *known {
            self.acknowledged = self.acknowledged.max(offset + 1);
        }
    }

    /// A writer was told that acknowledged records are lost.
    pub(super) fn told_of_loss(&mut self, writer: u32, first_lost: i64) {
        let Writer { losses, known_from, .. } = self.writers.entry(writer).or_default();
        // If its producer was forgotten, a copy that is kept may stand before one that was lost.
        if losses.lowest_cut.is_none_or(|cut| first_lost < cut && *known_from == 0) {
            let what = format!("writer {writer} was told that records from offset {first_lost} on are lost");
            self.add(Wrong::Unfounded, what);
        }
    }

    /// A record's append failed because the broker has not what was written before it, or has forgotten it.
    pub(super) fn told_out_of_sequence(&mut self, id: Id) {
        let records = &self.writers.entry(id.writer).or_default().records;
        let before = records.iter().take(id.number as usize).rev().take(REACH);
        let is_founded = records.get(id.number as usize).is_none_or(|sent| sent.may_be_forgotten);
        if !is_founded && before.into_iter().all(|sent| matches!(sent.fate, Fate::Acked(_))) {
            self.add(Wrong::Unfounded, format!("{id} was refused as out of sequence"));
        }
    }

    /// The log has lost all that was at or above an offset. `term` ended with that; `None` if nobody led, or if the topic is
    /// another one now.
    pub(super) fn cut(&mut self, at: i64, term: Option<Term>, log_start: i64) {
        self.restarted();
        self.cut_offsets(at);
        self.acknowledged = self.acknowledged.min(at);
        self.cuts.push(at);
        self.log.truncate(at as usize);
        for Writer { records, losses, .. } in self.writers.values_mut() {
            losses.cut(at, term, log_start, records);
            for Sent { fate, .. } in records {
                *fate = match *fate {
                    Fate::Pending => Fate::PendingAtCut(at),
                    Fate::PendingAtCut(before) => Fate::PendingAtCut(before.min(at)),
                    Fate::Acked(offset) if offset >= at => Fate::Cut,
                    fate => fate,
                };
            }
        }
    }

    /// Records were deleted: a client may take lost ones for such, and a broker that starts does not find their producers.
    pub(super) fn trimmed(&mut self) {
        self.is_trimmed = true;
        self.writers.values_mut().for_each(|writer| writer.losses.is_lost = None);
    }

    /// The brokers have forgotten all producers.
    pub(super) fn forgotten(&mut self) {
        for Writer { records, known_from, losses, .. } in self.writers.values_mut() {
            losses.forgotten();
            // A partition that does not know a producer takes any of its batches.
            *known_from = records.len() + REACH;
            for sent in records {
                (sent.may_be_copied, sent.may_be_forgotten) = (true, true);
            }
        }
    }

    /// A broker has started, and knows only the last batch of each producer that has one in the log.
    pub(super) fn restarted(&mut self) {
        if self.is_trimmed {
            return self.forgotten();
        }
        for sent in self.writers.values_mut().flat_map(|writer| &mut writer.records) {
            sent.may_be_forgotten |= matches!(sent.fate, Fate::Pending | Fate::PendingAtCut(_));
        }
    }

    /// How often the log was cut.
    pub(super) fn cuts(&self) -> usize {
        self.cuts.len()
    }

    /// The place of a reader that is about to read `next`.
    pub(super) fn place(&self, next: i64) -> Place {
        Place { next, cuts: self.cuts(), acknowledged: self.acknowledged }
    }

    /// Whether an offset was cut off since then; records that were on their way are given to readers all the same.
    pub(super) fn is_cut_since(&self, place: Place, offset: i64) -> bool {
        self.cuts[place.cuts..].iter().any(|&cut| offset >= cut)
    }

    /// A reader was given a record.
    pub(super) fn read(&mut self, reader: &str, place: Place, offset: i64, value: Value) {
        let next = place.next;
        if offset != next {
            let what = format!("{reader} was given offset {offset} where {next} comes next");
            self.add(Wrong::Skipped, what);
        }
        if let Value::Damaged(what) = &value {
            self.add(Wrong::Corrupted, format!("offset {offset}: {what}"));
        }
        if self.is_cut_since(place, offset) {
            return;
        }
        let Some(index) = usize::try_from(offset).ok().filter(|index| *index < self.log.len() + LONGEST_GAP)
        else {
            return self.add(Wrong::Skipped, format!("{reader} was given offset {offset}, beyond any log"));
        };
        if self.log.len() <= index {
            self.log.resize(index + 1, None);
        }
        match &mut self.log[index] {
            none @ None => *none = Some(value),
            Some(known) if *known != value => {
                let what = format!("offset {offset} was read as {known}, and as {value} by {reader}");
                self.add(Wrong::TwoValues, what);
            }
            Some(_) => {}
        }
    }

    pub(super) fn add(&mut self, wrong: Wrong, what: String) {
        self.findings.add(wrong, what);
    }

    /// The verdict, when the log was read from `log_start` to its end; with the number of copies that
    /// were forgiven.
    pub(super) fn finish(mut self, log_start: i64) -> (Findings, u64) {
        self.check_answers();
        self.check_log();
        self.check_acknowledged(log_start);
        (self.findings, self.resent)
    }

    fn check_log(&mut self) {
        let is_whole = self.cuts.is_empty();
        for (offset, value) in (0..).zip(&self.log) {
            let &Some(Value::Record(id)) = value else { continue };
            let mut add = |wrong, what| self.findings.add(wrong, what);
            let writer = self.writers.entry(id.writer).or_default();
            let Some(Sent { fate, may_be_copied, may_be_forgotten, place, .. }) =
                writer.records.get_mut(id.number as usize)
            else {
                add(Wrong::NeverSent, format!("offset {offset} has {id}"));
                continue;
            };
            if let Some(first) = *place {
                match writer.is_forgiven || *may_be_copied {
                    true => self.resent += 1,
                    false => add(Wrong::Duplicated, format!("offsets {first} and {offset} both have {id}")),
                }
                continue;
            }
            *place = u32::try_from(offset).ok();
            match fate {
                Fate::NotWritten => {
                    let what = format!("offset {offset} has {id}, which was reported as not written");
                    add(Wrong::NotWritten, what);
                }
                // A copy that was on its way when the log was cut is taken again.
                Fate::Cut if writer.repeats.is_some() => {}
                Fate::Cut => add(Wrong::Returned, format!("offset {offset} has {id}, which was cut off")),
                _ => {}
            }
            let is_acknowledged = matches!(fate, Fate::Acked(_));
            // What is sent without an answer may be on its way while later calls are made; brokers that compare epochs do
            // not take it then.
            let is_fenced = writer.repeats.is_some_and(|repeats| repeats.fences);
            let keeps_order = is_acknowledged || (is_fenced && is_whole && !*may_be_forgotten);
            match writer.last {
                _ if writer.sends_again || !keeps_order => {}
                Some((number, before)) if number > id.number => {
                    let later = Id { number, ..id };
                    add(
                        Wrong::Reordered,
                        format!("offset {offset} has {id}, after {later} at offset {before}"),
                    );
                }
                // A copy before the acknowledged one says nothing of the order: the rest of its batch may be deleted.
                _ if *may_be_copied && *fate != Fate::Acked(offset) => {}
                _ if is_acknowledged => writer.last = Some((id.number, offset)),
                _ => {}
            }
        }
    }

    fn check_acknowledged(&mut self, log_start: i64) {
        for (&writer, Writer { records, .. }) in &self.writers {
            for (number, &Sent { fate, place, .. }) in (0..).zip(records) {
                let id = Id { writer, number };
                let mut add = |wrong, what| self.findings.add(wrong, what);
                let offset = match fate {
                    Fate::Acked(offset) => offset,
                    Fate::Pending | Fate::PendingAtCut(_) => {
                        add(Wrong::Overdue, format!("the call that sent {id} did not return"));
                        continue;
                    }
                    Fate::NotWritten | Fate::Unknown | Fate::Cut => continue,
                };
                let read = usize::try_from(offset).ok().and_then(|index| self.log.get(index)?.as_ref());
                match read {
                    Some(Value::Record(found)) if *found == id => {}
                    // What is there is damaged, and reported as that.
                    Some(Value::Damaged(_)) => {}
                    Some(other) => {
                        let where_it_is =
                            place.map_or("is not in the log".to_owned(), |place| format!("is at {place}"));
                        let what = format!(
                            "{id} was acknowledged at offset {offset}, which has {other}; it {where_it_is}"
                        );
                        add(if place.is_none() { Wrong::Lost } else { Wrong::Misplaced }, what);
                    }
                    None if offset < log_start => {}
                    None => {
                        let what = format!("{id} was acknowledged at offset {offset}, which was not read");
                        add(Wrong::Lost, what);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
