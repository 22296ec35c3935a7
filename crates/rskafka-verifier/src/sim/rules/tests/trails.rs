//! Readers that continue by positions: what they are to be told of the log below them.

use super::*;

/// A reader that was given records 0 to 4 of a log, before that was cut at 3 and record 5 was sent.
fn cut() -> (Rules, Trail) {
    let mut rules = Rules::default();
    rules.writer(WRITER, false, false);
    let mut trail = rules.trail(0);
    for number in 0..5 {
        rules.sent(id(number));
        given(&mut rules, &mut trail, number);
    }
    rules.cut(3, None, 0);
    rules.sent(id(5));
    (rules, trail)
}

fn given(rules: &mut Rules, trail: &mut Trail, number: u32) {
    rules.owe(trail, || 0);
    rules.follows("reader", trail, id(number), false);
    trail.next += 1;
}

fn wrong(rules: &Rules) -> Vec<Wrong> {
    rules.findings.kept.iter().map(|finding| finding.wrong).collect()
}

#[test]
fn what_was_written_after_a_loss_is_given_only_to_who_was_told() {
    let (mut rules, mut trail) = cut();
    given(&mut rules, &mut trail, 5);
    assert_eq!(wrong(&rules), [Wrong::Silent]);
    let (mut rules, trail) = cut();
    rules.told_of_truncation("reader", trail, 3, 0);
    let mut trail = rules.trail(3);
    given(&mut rules, &mut trail, 5);
    assert_eq!(wrong(&rules), []);
}

#[test]
fn a_reader_that_lost_nothing_need_not_be_told() {
    let (mut rules, mut trail) = cut();
    trail.next = 3;
    given(&mut rules, &mut trail, 5);
    assert_eq!((wrong(&rules), trail.cuts), (vec![], 1));
    // Nor can one be that has no epoch of what was before.
    let (mut rules, mut trail) = cut();
    trail.from = trail.next;
    given(&mut rules, &mut trail, 5);
    assert_eq!(wrong(&rules), []);
}

#[test]
fn what_was_sent_before_a_loss_may_have_been_on_its_way() {
    let (mut rules, mut trail) = cut();
    given(&mut rules, &mut trail, 4);
    assert_eq!((wrong(&rules), trail.cuts), (vec![], 0));
    given(&mut rules, &mut trail, 5);
    assert_eq!(wrong(&rules), [Wrong::Silent]);
}

#[test]
fn where_brokers_cannot_tell_a_loss_may_be_silent() {
    let (mut rules, mut trail) = cut();
    rules.cut_is_silent();
    given(&mut rules, &mut trail, 5);
    rules.told_of_truncation("reader", trail, 5, 0);
    assert_eq!((wrong(&rules), trail.cuts), (vec![], 0));
}

#[test]
fn a_truncation_is_told_that_there_was_and_from_where_it_was() {
    let told = |divergence, log_start| {
        let (mut rules, trail) = cut();
        rules.told_of_truncation("reader", trail, divergence, log_start);
        wrong(&rules)
    };
    assert_eq!([told(3, 0), told(1, 0), told(4, 4)], [[], [], []]);
    assert_eq!(told(4, 3), [Wrong::Unfounded]);
    let mut rules = Rules::default();
    let trail = rules.trail(7);
    rules.told_of_truncation("reader", trail, 0, 0);
    assert_eq!(wrong(&rules), [Wrong::Unfounded]);
}

#[test]
fn a_reader_of_committed_records_is_given_no_others() {
    let given = |state, is_committed| {
        let mut rules = Rules::default();
        rules.decided(WRITER, state);
        rules.sent(id(0));
        let mut trail = rules.trail(0);
        rules.follows("reader", &mut trail, id(0), is_committed);
        wrong(&rules)
    };
    assert_eq!([given(Some(true), true), given(None, false), given(Some(false), false)], [[], [], []]);
    assert_eq!(given(None, true), [Wrong::Undecided]);
    assert_eq!(given(Some(false), true), [Wrong::Undecided]);
}

#[test]
fn who_stands_where_the_log_begins_cannot_be_told() {
    for (log_start, is_wrong) in [(4, true), (5, false)] {
        let (mut rules, mut trail) = cut();
        rules.owe(&mut trail, || log_start);
        rules.follows("reader", &mut trail, id(5), false);
        assert_eq!(wrong(&rules) == [Wrong::Silent], is_wrong, "{log_start}");
    }
}

#[test]
fn who_came_behind_a_cut_without_a_record_after_it_need_not_be_told() {
    let (mut rules, mut trail) = cut();
    trail.next = 3;
    rules.owe(&mut trail, || 0);
    trail.next = 5;
    given(&mut rules, &mut trail, 5);
    assert_eq!(wrong(&rules), []);
}
