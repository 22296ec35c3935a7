//! Histories with any batches, acknowledgements and reads: clean ones must pass, and whatever is planted
//! must be found at its offset.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::workload::tests::as_read;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acked,
    NotWritten,
    UnknownAndWritten,
    UnknownAndNot,
}

/// One run: what was appended, and how events interleave.
#[derive(Debug, Clone)]
struct History {
    first_offset: i64,
    batches: Vec<(usize, Fate)>,
    /// Moves acknowledgements out of order, by a few places.
    ack_delays: Vec<usize>,
    /// Sizes of what the reader gets at once; used again and again.
    fetches: Vec<usize>,
    /// Which side comes next, writer or reader; used again and again.
    turns: Vec<bool>,
}

fn workload() -> Workload {
    Workload::new(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000))
}

fn history(fate: impl Strategy<Value = Fate>) -> impl Strategy<Value = History> {
    let batches = prop::collection::vec((1usize..12, fate), 1..12);
    let ack_delays = prop::collection::vec(0usize..5, 12);
    let fetches = prop::collection::vec(1usize..20, 1..5);
    let turns = prop::collection::vec(any::<bool>(), 1..20)
        .prop_filter("both sides have a turn", |turns| turns.contains(&true) && turns.contains(&false));
    (0i64..1_000, batches, ack_delays, fetches, turns).prop_map(
        |(first_offset, batches, ack_delays, fetches, turns)| History {
            first_offset,
            batches,
            ack_delays,
            fetches,
            turns,
        },
    )
}

fn acked_only() -> impl Strategy<Value = History> {
    history(Just(Fate::Acked))
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Acked),
        1 => Just(Fate::NotWritten),
        1 => Just(Fate::UnknownAndWritten),
        1 => Just(Fate::UnknownAndNot),
    ]
}

impl History {
    /// The log as a correct reader sees it.
    fn log(&self) -> Vec<RecordAndOffset> {
        let mut log = Vec::new();
        let mut number = 0;
        for (size, fate) in &self.batches {
            let numbers = number..number + *size as i64;
            number = numbers.end;
            if matches!(fate, Fate::Acked | Fate::UnknownAndWritten) {
                for number in numbers {
                    let offset = self.first_offset + log.len() as i64;
                    log.push(RecordAndOffset::new(as_read(workload().record(number)), offset));
                }
            }
        }
        log
    }

    /// What the writer hears, out of order as far as it can be.
    fn settlements(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let (mut number, mut offset) = (0, self.first_offset);
        for (index, (size, fate)) in self.batches.iter().enumerate() {
            let size = *size as i64;
            let numbers = number..number + size;
            number += size;
            let (event, written) = match fate {
                Fate::Acked => (Event::Acked { numbers, base_offset: offset }, size),
                Fate::NotWritten => (Event::NotWritten(numbers), 0),
                Fate::UnknownAndWritten => (Event::Unknown(numbers), size),
                Fate::UnknownAndNot => (Event::Unknown(numbers), 0),
            };
            offset += written;
            events.push((index + self.ack_delays[index], event));
        }
        events.sort_by_key(|(place, _)| *place);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// The verdict on a reader who saw `view` in place of the log.
    fn check(&self, view: Vec<RecordAndOffset>) -> Verdict {
        let log_end = self.first_offset + self.log().len() as i64;
        let mut checker = Checker::new(workload(), self.first_offset);
        let mut settlements = self.settlements().into_iter().peekable();
        let mut view = view.into_iter().peekable();
        let mut fetches = self.fetches.iter().cycle();
        for is_writer in self.turns.iter().cycle() {
            if settlements.peek().is_none() && view.peek().is_none() {
                break;
            }
            match is_writer {
                true => settlements.next().into_iter().for_each(|event| checker.event(event)),
                false => {
                    let size = *fetches.next().unwrap();
                    checker.event(Event::Read(view.by_ref().take(size).collect()));
                }
            }
        }
        checker.finish(log_end)
    }
}

/// Asserts that there are findings of one kind only.
fn assert_only(verdict: &Verdict, kind: Kind, count: u64, first: i64) {
    assert!(verdict.findings.iter().all(|finding| finding.kind == kind), "{verdict:?}");
    assert_eq!(verdict.findings.count(kind), count, "{verdict:?}");
    assert_eq!(verdict.findings.first(kind).unwrap().offsets.start, first, "{verdict:?}");
    assert!(!verdict.is_clean());
}

fn flip(bytes: &Bytes, at: &Index, bit: u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << (bit % 8);
    bytes.into()
}

proptest! {
    #[test]
    fn a_correct_history_is_clean_and_every_record_verified(history in acked_only()) {
        let log = history.log();
        let records = log.len() as u64;
        let verdict = history.check(log);
        prop_assert!(verdict.is_clean(), "{verdict:?}");
        prop_assert_eq!(verdict.verified, records);
    }

    #[test]
    fn honestly_failed_appends_raise_no_alarm(history in history(any_fate())) {
        let verdict = history.check(history.log());
        prop_assert!(verdict.is_clean(), "{verdict:?}");
        let acked = history.batches.iter().filter(|(_, fate)| *fate == Fate::Acked);
        prop_assert_eq!(verdict.verified, acked.map(|(size, _)| *size as u64).sum::<u64>());
    }

    #[test]
    fn lost_records_are_found(history in acked_only(), from: Index, count in 1usize..30) {
        let mut view = history.log();
        let from = from.index(view.len());
        let lost: Vec<_> = view.drain(from..view.len().min(from + count)).collect();
        assert_only(&history.check(view), Kind::Lost, lost.len() as u64, lost[0].offset);
    }

    #[test]
    fn a_repeated_record_is_found(history in acked_only(), which: Index, later: Index) {
        let mut view = history.log();
        let which = which.index(view.len());
        let again = view[which].clone();
        let offset = again.offset;
        view.insert(which + 1 + later.index(view.len() - which), again);
        assert_only(&history.check(view), Kind::Duplicated, 1, offset);
    }

    #[test]
    fn records_that_changed_places_are_found(history in acked_only(), one: Index, other: Index) {
        let mut view = history.log();
        let (one, other) = (one.index(view.len()), other.index(view.len()));
        prop_assume!(one != other);
        let (low, high) = (one.min(other), one.max(other));
        let (head, tail) = view.split_at_mut(high);
        std::mem::swap(&mut head[low].record, &mut tail[0].record);
        // All in between are read after a record that was appended later.
        let first = view[low].offset;
        assert_only(&history.check(view), Kind::Reordered, (high - low + 1) as u64, first);
    }

    #[test]
    fn a_reader_that_goes_back_is_found(history in acked_only(), one: Index, other: Index) {
        let mut view = history.log();
        let (one, other) = (one.index(view.len()), other.index(view.len()));
        prop_assume!(one != other);
        let (low, high) = (one.min(other), one.max(other));
        view.swap(low, high);
        let first = view[high].offset;
        assert_only(&history.check(view), Kind::Reordered, (high - low) as u64, first);
    }

    #[test]
    fn one_flipped_bit_is_found(history in acked_only(), which: Index, at: Index, bit: u8, part in 0..4) {
        let mut view = history.log();
        let which = which.index(view.len());
        let RecordAndOffset { record, offset, .. } = &mut view[which];
        let offset = *offset;
        match (part, &record.key) {
            (0, Some(key)) if !key.is_empty() => record.key = Some(flip(key, &at, bit)),
            (1, _) if !record.headers.is_empty() => {
                let headers = record.headers.iter().map(|(key, value)| (flip(key, &at, bit), value.cloned()));
                record.headers = headers.collect();
            }
            (2, _) => record.timestamp += Duration::milliseconds(1 << (bit % 16)),
            _ => record.value = record.value.as_ref().map(|value| flip(value, &at, bit)),
        }
        let verdict = history.check(view);
        assert_only(&verdict, Kind::Corrupted, 1, offset);
    }

    #[test]
    fn a_record_that_was_reported_as_not_written_is_found(history in acked_only(), which: Index) {
        // The broker has it all; the writer was told otherwise.
        let view = history.log();
        let mut told = history.clone();
        let last = told.batches.len() - 1;
        let which = which.index(last + 1);
        // What follows a batch that was not written has other offsets, so it is the last one.
        told.batches.truncate(which + 1);
        told.batches[which].1 = Fate::NotWritten;
        let size = told.batches[which].0;
        let start: usize = told.batches[..which].iter().map(|(size, _)| size).sum();
        let view = view[..start + size].to_vec();
        let first = view[start].offset;
        assert_only(&told.check(view), Kind::NotWritten, size as u64, first);
    }

    #[test]
    fn a_record_that_nobody_appended_is_found(history in acked_only()) {
        let mut view = history.log();
        let number = view.len() as i64;
        let offset = view.last().unwrap().offset + 1;
        view.push(RecordAndOffset::new(as_read(workload().record(number)), offset));
        assert_only(&history.check(view), Kind::NotAppended, 1, offset);
    }

    #[test]
    fn a_jump_over_offsets_that_nobody_got_is_found(history in acked_only(), jump in 1i64..5) {
        // The log ends with offsets that no acknowledgement speaks of.
        let view = history.log();
        let end = view.last().unwrap().offset + 1;
        let mut checker = Checker::new(workload(), history.first_offset);
        history.settlements().into_iter().for_each(|event| checker.event(event));
        checker.event(Event::Read(view));
        assert_only(&checker.finish(end + jump), Kind::Gap, jump as u64, end);
    }

    #[test]
    fn an_append_that_the_broker_took_twice_is_found(history in acked_only(), which: Index) {
        // The first answer was lost, the batch was sent again; later acknowledgements are true.
        let which = which.index(history.batches.len());
        let start: usize = history.batches[..which].iter().map(|(size, _)| size).sum();
        let size = history.batches[which].0;
        let log = history.log();
        let mut records: Vec<Record> = log.iter().map(|read| read.record.clone()).collect();
        records.splice(start..start, log[start..start + size].iter().map(|read| read.record.clone()));
        let offsets = history.first_offset..;
        let view = records.into_iter().zip(offsets).map(|(record, offset)| RecordAndOffset::new(record, offset));

        let mut checker = Checker::new(workload(), history.first_offset);
        let mut number = 0;
        for (index, (batch, _)) in history.batches.iter().enumerate() {
            let numbers = number..number + *batch as i64;
            number = numbers.end;
            let shift = if index >= which { size as i64 } else { 0 };
            checker.event(Event::Acked { base_offset: history.first_offset + numbers.start + shift, numbers });
        }
        checker.event(Event::Read(view.collect()));
        let end = history.first_offset + (log.len() + size) as i64;
        let verdict = checker.finish(end);
        prop_assert_eq!(verdict.findings.count(Kind::Duplicated), size as u64);
        prop_assert_eq!(verdict.findings.count(Kind::Lost), 0);
    }
}

#[test]
fn a_long_log_takes_a_handful_of_entries() {
    let mut checker = Checker::new(workload(), 0);
    for batch in 0..200 {
        let numbers = 100 * batch..100 * (batch + 1);
        let records =
            numbers.clone().map(|number| RecordAndOffset::new(as_read(workload().record(number)), number));
        let records = records.collect();
        let acked = Event::Acked { base_offset: numbers.start, numbers };
        let events =
            if batch % 2 == 0 { [acked, Event::Read(records)] } else { [Event::Read(records), acked] };
        events.into_iter().for_each(|event| checker.event(event));
        assert!(checker.entries() <= 4);
    }
    let verdict = checker.finish(20_000);
    assert_eq!((verdict.verified, verdict.is_clean()), (20_000, true));
}

#[test]
fn it_gives_up_rather_than_fill_the_memory() {
    let mut checker = Checker::new(workload(), 0);
    // Every other record is acknowledged, and nothing is read.
    for number in (0..).step_by(2).take(MAX_ENTRIES + 2) {
        checker.event(Event::Acked { numbers: number..number + 1, base_offset: number });
    }
    assert!(checker.gave_up);
    assert!(checker.entries() <= MAX_ENTRIES + 1);
    assert!(!checker.finish(10).is_clean());
}
