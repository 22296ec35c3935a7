//! Histories of one writer and one reader, with any batches, acknowledgements and reads: clean ones pass, and what is
//! planted is found, as often as it is there.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Acked,
    NotWritten,
    UnknownAndWritten,
    UnknownAndNot,
}

/// One run: what was appended, and how what is told of it interleaves.
#[derive(Debug, Clone)]
struct History {
    batches: Vec<(u32, End)>,
    /// Moves acknowledgements out of order, by a few places.
    delays: Vec<usize>,
    /// Which side comes next, writer or reader; used again and again.
    turns: Vec<bool>,
}

/// What is read: offsets and records.
type View = Vec<(i64, Value)>;

fn history(end: impl Strategy<Value = End>) -> impl Strategy<Value = History> {
    let batches = prop::collection::vec((1u32..12, end), 1..12);
    let delays = prop::collection::vec(0usize..5, 12);
    let turns = prop::collection::vec(any::<bool>(), 1..20)
        .prop_filter("both sides have a turn", |turns| turns.contains(&true) && turns.contains(&false));
    (batches, delays, turns).prop_map(|(batches, delays, turns)| History { batches, delays, turns })
}

fn acked_only() -> impl Strategy<Value = History> {
    history(Just(End::Acked))
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Acked),
        1 => Just(End::NotWritten),
        1 => Just(End::UnknownAndWritten),
        1 => Just(End::UnknownAndNot),
    ]
}

impl History {
    /// The batches: their records' numbers, and what became of them.
    fn numbered(&self) -> Vec<(std::ops::Range<u32>, End)> {
        let mut next = 0;
        let number = |&(size, end): &(u32, End)| {
            next += size;
            (next - size..next, end)
        };
        self.batches.iter().map(number).collect()
    }

    /// The log as a correct reader sees it.
    fn log(&self) -> View {
        let written = self.numbered().into_iter();
        let written = written.filter(|(_, end)| matches!(end, End::Acked | End::UnknownAndWritten));
        (0..).zip(written.flat_map(|(numbers, _)| numbers).map(|number| Value::Record(id(number)))).collect()
    }

    /// What the writer hears, out of order as far as it can be.
    fn settlements(&self) -> Vec<(std::ops::Range<u32>, Option<i64>, Fate)> {
        let mut offset = 0;
        let settled = self.numbered().into_iter().map(|(numbers, end)| {
            let base = offset;
            if matches!(end, End::Acked | End::UnknownAndWritten) {
                offset += numbers.len() as i64;
            }
            match end {
                End::Acked => (numbers, Some(base), Fate::Pending),
                End::NotWritten => (numbers, None, Fate::NotWritten),
                End::UnknownAndWritten | End::UnknownAndNot => (numbers, None, Fate::Unknown),
            }
        });
        let mut settled: Vec<_> = settled.enumerate().collect();
        settled.sort_by_key(|(index, _)| index + self.delays[*index]);
        settled.into_iter().map(|(_, settled)| settled).collect()
    }

    /// What is counted of each kind if a reader saw `view` in place of the log.
    fn counts(&self, view: View) -> BTreeMap<Wrong, u64> {
        let mut rules = Rules::default();
        rules.writer(WRITER, false, false);
        let all = self.numbered().into_iter().flat_map(|(numbers, _)| numbers);
        all.for_each(|number| rules.sent(id(number)));
        let (mut settlements, mut view) = (self.settlements().into_iter(), view.into_iter());
        let mut next = 0;
        for is_writer in self.turns.iter().cycle() {
            if *is_writer && let Some((numbers, base, fate)) = settlements.next() {
                for (index, number) in (0..).zip(numbers) {
                    rules.settled(id(number), base.map_or(fate, |base| Fate::Acked(base + index)));
                }
            } else if let Some((offset, value)) = view.next() {
                rules.read("the reader", at(next), offset, value);
                next = offset + 1;
            } else if settlements.len() == 0 {
                break;
            }
        }
        rules.finish(0).0.counts
    }
}

proptest! {
    #[test]
    fn honest_histories_raise_no_alarm(history in history(any_end())) {
        prop_assert_eq!(history.counts(history.log()), BTreeMap::new());
    }

    #[test]
    fn records_that_a_reader_is_not_given_are_lost(history in acked_only(), from: Index, count in 1usize..30) {
        let mut view = history.log();
        let from = from.index(view.len());
        let lost = view.drain(from..view.len().min(from + count)).count() as u64;
        // The end of a log is not known to the rules.
        let skips = u64::from(from < view.len());
        let counts = history.counts(view);
        prop_assert_eq!(counts.get(&Wrong::Lost), Some(&lost));
        prop_assert_eq!(counts.get(&Wrong::Skipped).copied().unwrap_or(0), skips);
        prop_assert!(counts.len() <= 2, "{:?}", counts);
    }

    #[test]
    fn a_record_that_is_given_again_is_out_of_turn(history in acked_only(), which: Index, later: Index) {
        let mut view = history.log();
        let which = which.index(view.len());
        let again = view[which].clone();
        let place = which + 1 + later.index(view.len() - which);
        let is_last = place == view.len();
        view.insert(place, again);
        // Once where it comes again; and what follows does not follow it, unless it came at once.
        let times = 1 + u64::from(place > which + 1 && !is_last);
        prop_assert_eq!(history.counts(view), [(Wrong::Skipped, times)].into());
    }

    #[test]
    fn records_that_changed_places_are_found(history in acked_only(), one: Index, other: Index) {
        let mut view = history.log();
        let (one, other) = (one.index(view.len()), other.index(view.len()));
        prop_assume!(one != other);
        let (low, high) = (one.min(other), one.max(other));
        let (head, tail) = view.split_at_mut(high);
        std::mem::swap(&mut head[low].1, &mut tail[0].1);
        // All that stand after the one that was sent later.
        let reordered = (high - low) as u64;
        prop_assert_eq!(history.counts(view), [(Wrong::Misplaced, 2), (Wrong::Reordered, reordered)].into());
    }

    #[test]
    fn a_reader_that_goes_back_is_found(history in acked_only(), one: Index, other: Index) {
        let mut view = history.log();
        let (one, other) = (one.index(view.len()), other.index(view.len()));
        prop_assume!(one != other);
        view.swap(one, other);
        let counts = history.counts(view);
        prop_assert_eq!(counts.keys().collect::<Vec<_>>(), [&Wrong::Skipped]);
    }

    #[test]
    fn one_damaged_record_is_found_and_not_called_lost(history in acked_only(), which: Index) {
        let mut view = history.log();
        let which = which.index(view.len());
        view[which].1 = Value::Damaged("a bit".into());
        prop_assert_eq!(history.counts(view), [(Wrong::Corrupted, 1)].into());
    }

    #[test]
    fn records_that_were_reported_as_not_written_are_found(history in acked_only(), which: Index) {
        // The broker has it all; the writer was told otherwise. What follows such a batch has other offsets, so it is
        // the last one.
        let mut told = history;
        told.batches.truncate(which.index(told.batches.len()) + 1);
        let view = told.log();
        let last = told.batches.last_mut().unwrap();
        last.1 = End::NotWritten;
        let size = u64::from(last.0);
        prop_assert_eq!(told.counts(view), [(Wrong::NotWritten, size)].into());
    }

    #[test]
    fn a_record_that_nobody_appended_is_found(history in acked_only()) {
        let mut view = history.log();
        view.push((view.len() as i64, Value::Record(id(view.len() as u32))));
        prop_assert_eq!(history.counts(view), [(Wrong::NeverSent, 1)].into());
    }

    #[test]
    fn an_append_that_the_broker_took_twice_is_found(history in acked_only()) {
        // The answer to the last one was lost, and the batch sent again.
        let mut view = history.log();
        let (numbers, _) = history.numbered().pop().unwrap();
        let again = numbers.clone().map(|number| Value::Record(id(number)));
        let again: View = (view.len() as i64..).zip(again).collect();
        view.extend(again);
        prop_assert_eq!(history.counts(view), [(Wrong::Duplicated, numbers.len() as u64)].into());
    }
}

#[test]
fn all_findings_are_counted_and_the_first_of_each_kind_kept() {
    let mut rules = Rules::default();
    for number in 0..1_000 {
        rules.sent(id(number));
        rules.settled(id(number), Fate::Acked(number.into()));
    }
    let Findings { kept, counts } = rules.finish(0).0;
    assert_eq!(counts, [(Wrong::Lost, 1_000)].into());
    assert_eq!(kept.len() as u64, KEPT);
    assert!(kept[0].what.starts_with("record 0 of"), "{kept:?}");
}

#[test]
fn a_record_takes_less_than_64_bytes() {
    assert!(size_of::<Sent>() + size_of::<Option<Value>>() < 64);
}
