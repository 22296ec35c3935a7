//! The rule itself, against the table that readers in other languages follow.

use proptest::prelude::*;

use super::super::fence::{Damage, Dead, Fence, Kind, Mark, Reading, Stamp, Verdict};

const KINDS: [Kind; 3] = [Kind::Entry, Kind::Claim, Kind::Barrier];

fn stamp(kind: Kind, term: u64, writer: u64, sequence: u64) -> Mark {
    Mark::Stamp(Stamp { kind, term, writer, sequence })
}

/// A batch of one record behind what was read.
fn pass(reading: &mut Reading, mark: Mark) -> Result<Verdict, Damage> {
    reading.pass((reading.next_offset, reading.next_offset + 1), mark)
}

/// What counts, row by row. The state afterwards, or nothing for damage.
fn table(before: Fence, Stamp { kind, term, writer, sequence }: Stamp) -> Option<(bool, Fence)> {
    let is_claim = kind == Kind::Claim;
    if is_claim && term == before.term + 1 {
        return Some((true, Fence { term, writer, next_sequence: 1 }));
    }
    if term > before.term {
        return None;
    }
    let is_next = term == before.term
        && writer == before.writer
        && sequence == before.next_sequence
        && before.next_sequence > 0;
    if !is_claim && is_next {
        return Some((true, Fence { next_sequence: sequence + 1, ..before }));
    }
    Some((false, before))
}

#[test]
fn the_rule_is_that_of_the_table() {
    for (term, writer, next_sequence) in all(4) {
        if (term == 0) != (next_sequence == 0) || term == 0 && writer != 0 {
            continue;
        }
        let before = Reading { fence: Fence { term, writer, next_sequence }, next_offset: 7 };
        for (kind, (term, writer, sequence)) in
            KINDS.into_iter().flat_map(|kind| all(6).map(move |of| (kind, of)))
        {
            let stamp = Stamp { kind, term, writer, sequence };
            let mut after = before;
            let verdict = after.pass((7, 9), Mark::Stamp(stamp));
            let counts = verdict.map(|verdict| matches!(verdict, Verdict::Claim | Verdict::Entry));
            match table(before.fence, stamp) {
                Some(expected) => {
                    assert_eq!((counts.unwrap(), after.fence), expected, "{stamp:?} at {before:?}")
                }
                None => assert_eq!(verdict, Err(Damage::TermAhead), "{stamp:?} at {before:?}"),
            }
            let is_claim = verdict == Ok(Verdict::Claim);
            assert!(!is_claim || kind == Kind::Claim, "{stamp:?} at {before:?}");
        }
    }
}

/// All triples of numbers below the bound.
fn all(bound: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    (0..bound.pow(3)).map(move |number| (number % bound, number / bound % bound, number / bound / bound))
}

#[test]
fn at_the_start_nothing_counts_but_a_claim() {
    for kind in [Kind::Entry, Kind::Barrier] {
        for (term, writer, sequence) in all(4) {
            let verdict = pass(&mut Reading::default(), stamp(kind, term, writer, sequence));
            assert!(!matches!(verdict, Ok(Verdict::Entry | Verdict::Claim)), "{term} {writer} {sequence}");
        }
    }
    let mut reading = Reading::default();
    assert_eq!(pass(&mut reading, stamp(Kind::Claim, 1, 8, 0)), Ok(Verdict::Claim));
    assert_eq!(pass(&mut reading, stamp(Kind::Entry, 1, 8, 1)), Ok(Verdict::Entry));
}

#[test]
fn what_does_not_count_is_told_by_its_reason() {
    let mut reading = Reading { fence: Fence { term: 2, writer: 5, next_sequence: 4 }, next_offset: 0 };
    let before = reading.fence;
    for (mark, reason) in [
        (stamp(Kind::Entry, 1, 5, 4), Dead::OlderTerm),
        (stamp(Kind::Entry, 2, 6, 4), Dead::OlderTerm),
        (stamp(Kind::Claim, 2, 6, 0), Dead::OlderTerm),
        (stamp(Kind::Claim, 2, 5, 0), Dead::Copy),
        (stamp(Kind::Entry, 2, 5, 3), Dead::Copy),
        (stamp(Kind::Barrier, 2, 5, 5), Dead::OutOfTurn),
    ] {
        assert_eq!(pass(&mut reading, mark), Ok(Verdict::Dead(reason)), "{mark:?}");
    }
    assert_eq!(pass(&mut reading, Mark::Foreign), Ok(Verdict::Foreign));
    assert_eq!(pass(&mut reading, Mark::Control), Ok(Verdict::Control));
    assert_eq!((reading.fence, reading.next_offset), (before, 8));
}

#[test]
fn a_batch_that_does_not_begin_where_the_one_before_ends_is_damage() {
    let mut reading = Reading { next_offset: 5, ..Reading::default() };
    let before = reading;
    assert_eq!(reading.pass((6, 7), Mark::Foreign), Err(Damage::Hole));
    assert_eq!(reading.pass((4, 7), Mark::Foreign), Err(Damage::Straddles));
    assert_eq!(pass(&mut reading, stamp(Kind::Claim, 2, 1, 0)), Err(Damage::TermAhead));
    assert_eq!(reading, before, "what is damaged is not passed");
}

#[test]
fn there_is_no_term_behind_the_last() {
    let fence = Fence { term: u64::MAX, writer: 1, next_sequence: 1 };
    let mut reading = Reading { fence, next_offset: 0 };
    assert_eq!(super::super::ledger::Ledger::claim(reading, 2), None);
    assert_eq!(pass(&mut reading, stamp(Kind::Claim, 0, 2, 0)), Ok(Verdict::Dead(Dead::OlderTerm)));
}

#[test]
fn the_last_sequence_number_never_counts() {
    let fence = Fence { term: 1, writer: 1, next_sequence: u64::MAX };
    let mut reading = Reading { fence, next_offset: 0 };
    let last = stamp(Kind::Entry, 1, 1, u64::MAX);
    assert_eq!(pass(&mut reading, last), Ok(Verdict::Dead(Dead::OutOfTurn)));
    assert_eq!(reading.fence, fence);
}

#[test]
fn the_headers_value_has_format_kind_term_writer_and_sequence() {
    let stamp = Stamp { kind: Kind::Claim, term: 0x0102, writer: u64::MAX, sequence: 3 };
    let bytes = stamp.to_bytes();
    let fields: [&[u8]; 4] = [&[1, 1], &[0, 0, 0, 0, 0, 0, 1, 2], &[0xff; 8], &[0, 0, 0, 0, 0, 0, 0, 3]];
    assert_eq!(bytes[..], fields.concat());
    for length in 0..bytes.len() {
        assert_eq!(Stamp::from_bytes(&bytes[..length]), Err(Damage::Header), "{length} bytes");
    }
    assert_eq!(Stamp::from_bytes(&[&bytes[..], &[0]].concat()), Err(Damage::Header));
    let of_format = |format: u8, kind: u8| Stamp::from_bytes(&[&[format, kind], &bytes[2..]].concat());
    assert_eq!(of_format(1, 1), Ok(stamp));
    assert_eq!(of_format(0, 1), Err(Damage::Format));
    assert_eq!(of_format(2, 1), Err(Damage::Format));
    assert_eq!(of_format(1, 3), Err(Damage::Format));
}

fn marks() -> impl Strategy<Value = Vec<Mark>> {
    let mark =
        (0..8_u8, 0..3_u64, 1..3_u64, 0..3_u64).prop_map(|(kind, term, writer, sequence)| match kind {
            0 => Mark::Foreign,
            1 => Mark::Control,
            2..4 => stamp(Kind::Claim, term, writer, 0),
            4 => stamp(Kind::Barrier, term, writer, sequence),
            _ => stamp(Kind::Entry, term, writer, sequence),
        });
    proptest::collection::vec(mark, 0..40)
}

proptest! {
    #[test]
    fn what_is_written_into_a_header_is_read_from_it(kind in 0..3_usize, of: (u64, u64, u64)) {
        let stamp = Stamp { kind: KINDS[kind], term: of.0, writer: of.1, sequence: of.2 };
        prop_assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), Ok(stamp));
    }

    /// Whatever is in the log: what counts of a term is a claim and then its writer's entries, one by one.
    #[test]
    fn of_each_term_one_claim_counts_and_its_writers_entries_in_their_order(marks in marks()) {
        let (mut reading, mut counted) = (Reading::default(), Vec::<Stamp>::new());
        for mark in marks {
            if let (Ok(Verdict::Entry | Verdict::Claim), Mark::Stamp(stamp)) = (pass(&mut reading, mark), mark) {
                counted.push(stamp);
            }
        }
        for (number, stamp) in counted.iter().enumerate() {
            let before = number.checked_sub(1).map(|before| counted[before]);
            match stamp.kind {
                Kind::Claim => prop_assert_eq!(stamp.term, before.map_or(0, |before| before.term) + 1),
                _ => {
                    let before = before.expect("no entry counts before a claim");
                    prop_assert_eq!((stamp.term, stamp.writer), (before.term, before.writer));
                    prop_assert_eq!(stamp.sequence, before.sequence + 1);
                }
            }
        }
    }
}
