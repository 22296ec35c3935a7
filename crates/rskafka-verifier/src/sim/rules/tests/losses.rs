//! Writers whose acknowledged records are lost, and what their clients say of it.

use super::*;

const ALL: Repeats = Repeats { fences: true, knows_ends: true };

fn term(epoch: i32, leader: i32) -> Option<Term> {
    Some(Term { epoch, leader })
}

/// A writer with records 0, 1 and 2 at these offsets, acknowledged by broker 1 in epoch 5; the log was cut at 2 then.
fn cut_in(before: Option<Term>, repeats: Repeats) -> Rules {
    cut_after(before, repeats, |_| {})
}

fn cut_after(before: Option<Term>, repeats: Repeats, change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::default();
    rules.writer(WRITER, false, false);
    rules.repeats(WRITER, repeats);
    for number in 0..3 {
        rules.sent(id(number));
        rules.settled_in(term(5, 1), id(number), Fate::Acked(number.into()));
    }
    change(&mut rules);
    rules.cut(2, before, 0);
    rules.sent(id(3));
    rules
}

fn wrong(rules: &Rules) -> Vec<Wrong> {
    rules.findings.kept.iter().map(|finding| finding.wrong).collect()
}

/// What is found if record 3 is acknowledged at this offset, in this term.
fn acknowledged(mut rules: Rules, offset: i64, now: Option<Term>) -> Vec<Wrong> {
    rules.settled_in(now, id(3), Fate::Acked(offset));
    wrong(&rules)
}

#[test]
fn who_is_acknowledged_where_a_lost_record_was_should_have_been_told() {
    let silent = Repeats { knows_ends: false, ..ALL };
    assert_eq!(acknowledged(cut_in(None, silent), 2, None), [Wrong::Silent]);
    assert_eq!(acknowledged(cut_in(None, silent), 3, None), []);
}

#[test]
fn who_is_acknowledged_by_another_leader_behind_a_loss_should_have_been_told() {
    let forgotten = |before| cut_after(before, ALL, Rules::forgotten);
    assert_eq!(acknowledged(forgotten(term(5, 1)), 9, term(6, 2)), [Wrong::Silent]);
    // The same broker, over the same connection; nobody knows which; or the client may have been there before the cut.
    assert_eq!(acknowledged(forgotten(term(5, 1)), 9, term(6, 1)), []);
    assert_eq!(acknowledged(forgotten(term(5, 1)), 9, None), []);
    assert_eq!(acknowledged(forgotten(term(6, 2)), 9, term(7, 3)), []);
}

#[test]
fn who_is_acknowledged_although_the_sequence_has_a_gap_should_have_been_told() {
    assert_eq!(acknowledged(cut_in(term(6, 1), ALL), 9, term(7, 1)), [Wrong::Silent]);
    assert_eq!(acknowledged(cut_after(term(6, 1), ALL, Rules::forgotten), 9, term(7, 1)), []);
    // The producer is forgotten after the cut.
    let mut rules = cut_in(term(6, 1), ALL);
    rules.forgotten();
    assert_eq!(acknowledged(rules, 9, term(7, 1)), []);
}

#[test]
fn what_may_be_taken_for_deleted_needs_not_be_told() {
    let mut rules = cut_in(term(5, 1), ALL);
    rules.trimmed();
    assert_eq!(acknowledged(rules, 9, term(6, 2)), []);
}

#[test]
fn another_partition_client_knows_nothing_of_what_was_lost_before() {
    let mut rules = cut_in(term(5, 1), ALL);
    rules.begins_anew(WRITER);
    assert_eq!(acknowledged(rules, 2, term(6, 2)), []);
}

#[test]
fn a_loss_is_told_only_to_those_who_had_something_to_lose() {
    let told = |rules: &mut Rules, first_lost| {
        rules.told_of_loss(WRITER, first_lost);
        wrong(rules)
    };
    assert_eq!(told(&mut cut_in(None, ALL), 2), []);
    assert_eq!(told(&mut cut_in(None, ALL), 1), [Wrong::Unfounded]);
    let mut rules = cut_in(None, ALL);
    rules.begins_anew(WRITER);
    assert_eq!(told(&mut rules, 2), [Wrong::Unfounded]);
}

#[test]
fn a_record_is_out_of_sequence_only_where_something_was_forgotten_or_failed() {
    let refused = |change: &dyn Fn(&mut Rules)| {
        let mut rules = Rules::default();
        rules.writer(WRITER, false, false);
        (0..2).for_each(|number| rules.sent(id(number)));
        rules.settled(id(0), Fate::Acked(0));
        change(&mut rules);
        rules.told_out_of_sequence(id(1));
        wrong(&rules)
    };
    assert_eq!(refused(&|_| {}), [Wrong::Unfounded]);
    assert_eq!(refused(&|rules| rules.settled(id(0), Fate::Unknown)), []);
    assert_eq!(refused(&Rules::restarted), []);
    assert_eq!(refused(&Rules::forgotten), []);
    assert_eq!(refused(&|rules| rules.cut(1, None, 0)), []);
}

#[test]
fn what_was_given_up_is_not_written_behind_what_came_later() {
    let written_late = |repeats: Option<Repeats>| {
        let mut rules = Rules::default();
        rules.writer(WRITER, false, false);
        repeats.into_iter().for_each(|repeats| rules.repeats(WRITER, repeats));
        (0..2).for_each(|number| rules.sent(id(number)));
        rules.settled(id(0), Fate::Unknown);
        rules.settled(id(1), Fate::Acked(0));
        rules.read("r", at(0), 0, Value::Record(id(1)));
        rules.read("r", at(1), 1, Value::Record(id(0)));
        rules.finish(0).0.kept.iter().map(|finding| finding.wrong).collect::<Vec<_>>()
    };
    assert_eq!(written_late(Some(ALL)), [Wrong::Reordered]);
    assert_eq!(written_late(Some(Repeats { fences: false, ..ALL })), []);
    assert_eq!(written_late(None), []);
}
