//! The guarantees of an exclusive log, against the structs that decide them: small worlds are searched to their end, larger
//! ones at random. `cargo model` runs what the test suite leaves out: it takes two minutes.

mod limits;
mod parts;
mod rule;
mod search;
mod store;
mod truth;
mod world;

use self::limits::{CALM, Limits};
use self::search::{Searched, exhaust, wander};
use self::truth::Event;

#[allow(clippy::disallowed_methods, reason = "how long a search takes is shown, and decides nothing")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Searches a world to its end, and makes sure that what it is for came up.
fn holds(name: &str, limits: &Limits, meets: &[Event]) -> Searched {
    let began = now();
    let searched = exhaust(limits);
    println!("{name}: {} states, {} deep, {:.1?}", searched.states, searched.depth, began.elapsed());
    for event in meets {
        assert!(searched.events.has(*event), "{name} never meets {event:?}");
    }
    searched
}

/// Searched by the suite, in about a second each without optimisation.
macro_rules! small {
    ($($(#[$about:meta])* $name:ident: $limits:tt, $meets:tt;)*) => {$(
        $(#[$about])*
        #[test]
        fn $name() {
            use Event::*;
            holds(stringify!($name), &Limits $limits, &$meets);
        }
    )*};
}

/// Searched only on demand.
macro_rules! large {
    ($($(#[$about:meta])* $name:ident: $limits:tt, $meets:tt;)*) => {$(
        $(#[$about])*
        #[test]
        #[ignore = "takes up to a minute, and 1.3 GB"]
        fn $name() {
            use Event::*;
            let searched = holds(stringify!($name), &Limits $limits, &$meets);
            assert!(searched.states > 1_000_000, "it was large once");
        }
    )*};
}

small! {
    of_two_claims_at_once_one_counts:
        { batches: 5, tails: false, ..CALM },
        [ClaimCounts, ClaimLost, Fenced, NotWritten, Copy, OlderTerm];
    of_three_claims_the_order_of_the_log_decides:
        { processes: 3, claims: 3, appends: 0, batches: 4, ..CALM },
        [ClaimCounts, ClaimLost];
    what_was_not_answered_is_sent_again_and_counts_once:
        { claims: 1, processes: 1, appends: 2, again: 2, batches: 6, ..CALM },
        [Counts, Again, Copy, OutOfTurn];
    what_is_sent_again_stays_dead_behind_a_claim:
        { claims: 2, appends: 1, again: 1, batches: 4, tails: false, ..CALM },
        [Counts, Again, Copy, Fenced, NotWritten];
    appends_behind_a_lost_one_are_settled_by_the_next_claim:
        { processes: 1, claims: 2, appends: 2, failed: 1, batches: 6, ..CALM },
        [Unknown, UnknownFound, UnknownNever, NotWritten];
    a_refusal_after_a_lost_answer_leaves_the_append_unknown:
        { processes: 1, claims: 2, appends: 1, again: 1, failed: 1, batches: 5, ..CALM },
        [Unknown, UnknownFound, UnknownNever, NotWritten];
    unknown_appends_are_settled_by_anothers_claim_too:
        { claims: 3, appends: 1, failed: 1, batches: 4, tails: false, ..CALM },
        [Unknown, UnknownFound, UnknownNever, Fenced];
    what_a_crashed_writer_left_under_way_is_no_danger:
        { processes: 1, claims: 3, appends: 1, crashes: 2, stores: 1, batches: 4, ..CALM },
        [Counts, OlderTerm];
    a_reader_below_the_logs_start_is_refused:
        { claims: 2, appends: 1, crashes: 1, stores: 2, log_starts: 2, batches: 3, tails: false, ..CALM },
        [Counts];
    foreign_and_control_batches_change_nothing:
        { claims: 1, appends: 2, others: 2, again: 1, batches: 5, tails: false, ..CALM },
        [Counts, Copy];
    batches_of_several_records_have_as_many_offsets:
        { claims: 2, appends: 1, wide: true, again: 1, batches: 4, tails: false, ..CALM },
        [Counts, Copy];
    three_in_the_pipeline_are_judged_in_their_order:
        { processes: 1, claims: 1, appends: 3, pipeline: 3, again: 1, batches: 5, tails: false, ..CALM },
        [Counts, Again, OutOfTurn];
    reading_on_after_the_end_hides_nothing_from_the_next_claim:
        { processes: 1, claims: 2, appends: 2, failed: 1, batches: 4, tails_after_end: true, ..CALM },
        [Unknown, UnknownFound, UnknownNever];
    a_cut_of_the_logs_end_misleads_nobody_who_knew_nothing_of_it:
        { claims: 2, appends: 1, cuts: 1, batches: 3, tails: false, ..CALM },
        [Counts, Truncated];
}

large! {
    two_writers_crash_and_fail_and_are_settled:
        { appends: 1, again: 1, failed: 1, crashes: 1, stores: 1, batches: 5, tails: false, ..CALM },
        [Unknown, UnknownFound, UnknownNever, Fenced, Copy];
    three_writers_follow_each_other:
        { processes: 3, claims: 3, appends: 1, batches: 6, tails: false, ..CALM },
        [ClaimCounts, ClaimLost, Counts, Fenced, Copy, OlderTerm];
    three_in_the_pipeline_are_sent_again_twice:
        { processes: 1, claims: 1, appends: 3, pipeline: 3, again: 2, batches: 7, tails: false, ..CALM },
        [Counts, Again, Copy, OutOfTurn];
    a_writer_reclaims_twice:
        { processes: 1, claims: 3, appends: 2, failed: 2, again: 1, batches: 6, tails: false, ..CALM },
        [Unknown, UnknownFound, UnknownNever, NotWritten];
    a_writer_reclaims_against_another:
        { claims: 3, appends: 2, failed: 1, batches: 6, tails: false, ..CALM },
        [Unknown, UnknownFound, UnknownNever, NotWritten, Fenced];
    the_log_is_trimmed_and_its_start_falls_back_under_reclaims:
        { claims: 2, appends: 1, failed: 2, crashes: 1, stores: 2, log_starts: 2, batches: 4, tails: false, ..CALM },
        [Unknown, UnknownFound, UnknownNever];
    writers_crash_twice_and_claim_again:
        { claims: 3, appends: 1, crashes: 2, stores: 2, batches: 4, tails: false, ..CALM },
        [Counts, Fenced, OlderTerm];
    two_cuts_mislead_nobody_who_knew_nothing_of_them:
        { claims: 2, appends: 1, cuts: 2, again: 1, batches: 4, tails: false, ..CALM },
        [Counts, Truncated];
}

/// A world in which everything happens, but for cuts.
const LARGE: Limits = Limits {
    processes: 3,
    batches: 24,
    claims: 6,
    appends: 5,
    pipeline: 4,
    again: 6,
    failed: 4,
    crashes: 3,
    stores: 5,
    log_starts: 4,
    others: 3,
    wide: true,
    ..CALM
};

/// One writer after the other, each with much under way.
const BUSY: Limits =
    Limits { processes: 2, batches: 30, claims: 3, appends: 12, pipeline: 6, again: 12, failed: 3, ..CALM };

const CUT: Limits = Limits { cuts: 3, log_starts: 0, batches: 12, ..LARGE };

fn wandering(runs: u64) {
    use Event::*;
    let usual =
        [Counts, Fenced, ClaimLost, NotWritten, Unknown, UnknownFound, Again, OlderTerm, Copy, OutOfTurn];
    for (name, limits, last) in
        [("large", LARGE, UnknownNever), ("busy", BUSY, UnknownNever), ("cut", CUT, Truncated)]
    {
        let began = now();
        let searched = wander(&limits, 0..runs);
        println!("{name}: {runs} random ways, {} steps, {:.1?}", searched.states, began.elapsed());
        for event in usual.into_iter().chain([last]) {
            assert!(searched.events.has(event), "{name} never meets {event:?}");
        }
    }
}

#[test]
fn random_ways_through_large_worlds_keep_the_guarantees() {
    wandering(2_000);
}

#[test]
#[ignore = "takes a minute or more"]
fn many_random_ways_through_large_worlds_keep_the_guarantees() {
    wandering(200_000);
}
