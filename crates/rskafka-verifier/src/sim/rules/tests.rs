mod histories;
mod losses;
mod trails;

use super::*;

const WRITER: u32 = 1;

impl Rules {
    fn settled(&mut self, id: Id, fate: Fate) {
        self.settled_in(None, id, fate);
    }
}

fn id(number: u32) -> Id {
    Id { writer: WRITER, number }
}

/// A reader's place in a log that was never cut.
fn at(next: i64) -> Place {
    Place { next, ..Place::default() }
}

#[test]
fn a_copy_that_is_not_written_says_nothing_of_an_earlier_one() {
    let mut rules = Rules::default();
    rules.writer(WRITER, true, true);
    rules.sent(id(0));
    rules.settled(id(0), Fate::Unknown);
    rules.settled(id(0), Fate::NotWritten);
    rules.read("r", at(0), 0, Value::Record(id(0)));
    assert_eq!(rules.finish(0).0.kept, []);
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
        rules.read("reader", at(offset), offset, Value::Record(id(number)));
    }
    change(&mut rules);
    // All others were not heard of again.
    for record in rules.writers.values_mut().flat_map(|writer| &mut writer.records) {
        if matches!(record.fate, Fate::Pending | Fate::PendingAtCut(_)) {
            record.fate = Fate::Unknown;
        }
    }
    let mut wrong: Vec<Wrong> = rules.finish(0).0.kept.into_iter().map(|finding| finding.wrong).collect();
    wrong.dedup();
    wrong
}

#[test]
fn a_log_as_it_should_be_is_clean() {
    assert_eq!(findings(&[0, 1, 2, 3], |_| {}), []);
    // Unknown ones may be missing, or there, or late.
    assert_eq!(findings(&[0, 2, 3], |rules| rules.read("r", at(3), 3, Value::Record(id(1)))), []);
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
    assert_eq!(rules.finish(5).0.kept, []);
}

#[test]
fn a_wrong_offset_in_an_acknowledgement_is_found() {
    assert_eq!(findings(&[0, 1], |rules| rules.settled(id(0), Fate::Acked(1))), [Wrong::Misplaced]);
}

#[test]
fn a_copy_is_found_and_forgiven_only_where_records_are_sent_again() {
    let again = |rules: &mut Rules| rules.read("r", at(2), 2, Value::Record(id(1)));
    assert_eq!(findings(&[0, 1], again), [Wrong::Duplicated]);
    assert_eq!(findings_of(&[0, 1], true, again), []);
}

#[test]
fn acknowledged_records_keep_the_order_of_their_calls() {
    assert_eq!(findings(&[0, 2, 1], |_| {}), [Wrong::Reordered]);
}

#[test]
fn an_offset_has_one_value_for_all_readers() {
    let other = |rules: &mut Rules| rules.read("other", at(1), 1, Value::Record(id(5)));
    assert_eq!(findings(&[0, 1], other), [Wrong::TwoValues]);
}

#[test]
fn what_is_given_out_of_turn_is_found() {
    let skips = |rules: &mut Rules| rules.read("r", at(0), 1, Value::Record(id(1)));
    assert_eq!(findings(&[0, 1], skips), [Wrong::Skipped]);
    let repeats = |rules: &mut Rules| rules.read("r", at(2), 1, Value::Record(id(1)));
    assert_eq!(findings(&[0, 1], repeats), [Wrong::Skipped]);
}

#[test]
fn what_was_called_not_written_is_never_read() {
    let read = |rules: &mut Rules| {
        rules.settled(id(5), Fate::NotWritten);
        rules.read("r", at(2), 2, Value::Record(id(5)));
    };
    assert_eq!(findings(&[0, 1], read), [Wrong::NotWritten]);
}

#[test]
fn what_nobody_sent_and_what_is_damaged_is_found() {
    let unknown = Value::Record(Id { writer: 9, number: 0 });
    assert_eq!(findings(&[0], |rules| rules.read("r", at(1), 1, unknown)), [Wrong::NeverSent]);
    let damaged = Value::Damaged("a bit".into());
    assert_eq!(findings(&[0], |rules| rules.read("r", at(1), 1, damaged)), [Wrong::Corrupted]);
}

#[test]
fn a_call_that_never_returned_is_overdue() {
    let mut rules = Rules::default();
    rules.sent(id(0));
    assert_eq!(rules.finish(0).0.kept[0].wrong, Wrong::Overdue);
}

#[test]
fn what_a_cut_took_is_not_missed_and_its_offsets_may_have_other_values() {
    let cut = |rules: &mut Rules| {
        rules.cut(2, None, 0);
        for number in [7, 8] {
            let offset = i64::from(number) - 5;
            rules.settled(id(number), Fate::Acked(offset));
            rules.read(
                "r",
                Place { next: offset, cuts: 1, ..Place::default() },
                offset,
                Value::Record(id(number)),
            );
        }
    };
    assert_eq!(findings(&[0, 1, 2, 3, 4], cut), []);
}

#[test]
fn an_answer_that_was_on_its_way_when_the_log_was_cut_may_show_either_value() {
    let read = |rules: &mut Rules| {
        rules.cut(1, None, 0);
        rules.read("r", Place { next: 1, cuts: 1, ..Place::default() }, 1, Value::Record(id(7)));
        rules.read("late", at(1), 1, Value::Record(id(1)));
    };
    assert_eq!(findings(&[0, 1], read), []);
}

#[test]
fn an_acknowledgement_that_was_on_its_way_when_the_log_was_cut_says_nothing_above_the_cut() {
    let acked_at = |offset| {
        move |rules: &mut Rules| {
            rules.cut(2, None, 0);
            rules.settled(id(5), Fate::Acked(offset));
        }
    };
    assert_eq!(findings(&[0, 1], acked_at(2)), []);
    assert_eq!(findings(&[0, 1], acked_at(1)), [Wrong::Lost]);
}

#[test]
fn what_stands_below_a_cut_is_held_to_all_the_rules() {
    let lost = |rules: &mut Rules| {
        rules.cut(1, None, 0);
        rules.log[0] = None;
    };
    assert_eq!(findings(&[0, 1], lost), [Wrong::Lost]);
    let changed = |rules: &mut Rules| {
        rules.cut(1, None, 0);
        rules.read("r", at(0), 0, Value::Record(id(5)));
    };
    assert_eq!(findings(&[0, 1], changed), [Wrong::TwoValues]);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let returns = |rules: &mut Rules| {
        rules.cut(1, None, 0);
        rules.read("r", Place { next: 1, cuts: 1, ..Place::default() }, 1, Value::Record(id(1)));
    };
    assert_eq!(findings(&[0, 1], returns), [Wrong::Returned]);
}

#[test]
fn an_offset_beyond_any_log_is_found() {
    let read = |rules: &mut Rules| rules.read("r", at(i64::MAX), i64::MAX, Value::Record(id(5)));
    assert_eq!(findings(&[0], read), [Wrong::Skipped]);
}

#[test]
fn a_copy_before_the_acknowledged_one_says_nothing_of_the_order() {
    let mut rules = Rules::default();
    rules.writer(WRITER, false, false);
    rules.sent(id(0));
    rules.sent(id(1));
    rules.forgotten();
    rules.settled_in(None, id(0), Fate::Acked(2));
    rules.settled_in(None, id(1), Fate::Acked(3));
    for (offset, number) in [(1, 1), (2, 0), (3, 1)] {
        rules.read("reader", Place { next: offset, ..Place::default() }, offset, Value::Record(id(number)));
    }
    assert_eq!(rules.finish(1).0.kept, []);
}
