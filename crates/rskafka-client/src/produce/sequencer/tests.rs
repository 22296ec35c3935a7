//! The promises, against a model of brokers that lose requests and answers, read them late, refuse, move, crash, forget.

mod broker;
mod examples;
mod world;

use self::world::{Seen, Setting, World};
use super::Idempotence;

const USUAL: Setting = Setting {
    idempotence: Idempotence::Epochs,
    compares_epochs: true,
    stop_on_failure: false,
    loses_acknowledged: false,
};

/// Runs as many random scripts, and shows the shortest one that can be found for a failure.
fn hold(setting: Setting, runs: u64) -> Seen {
    let mut seen = Seen::default();
    for seed in 0..runs {
        let script = script(seed);
        let mut world = World::new(setting, &script);
        if let Err(broken) = world.run() {
            let script = shortened(setting, script);
            let mut world = World::new(setting, &script);
            world.is_traced = true;
            panic!("seed {seed}: {broken}\nshortened: {:?} for {script:?}", world.run());
        }
        seen.add(&world.seen);
    }
    seen
}

/// The random bytes of a seed (splitmix64).
fn script(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    let words = 3 + next() % 9;
    (0..words).flat_map(|_| next().to_le_bytes()).collect()
}

/// Leaves out bytes, and makes them 0, as long as the script fails.
fn shortened(setting: Setting, mut script: Vec<u8>) -> Vec<u8> {
    let fails = |script: &[u8]| World::new(setting, script).run().is_err();
    loop {
        let before = script.clone();
        for length in [8, 4, 2, 1] {
            let mut at = 0;
            while at + length <= script.len() {
                let mut shorter = script.clone();
                shorter.drain(at..at + length);
                if fails(&shorter) {
                    script = shorter;
                } else {
                    at += 1;
                }
            }
        }
        for at in 0..script.len() {
            let old = std::mem::replace(&mut script[at], 0);
            if !fails(&script) {
                script[at] = old;
            }
        }
        if script == before {
            return script;
        }
    }
}

#[test]
fn appends_are_written_once_in_the_order_of_the_calls_and_settled_truly() {
    let seen = hold(USUAL, 60_000);
    assert!(seen.five_in_flight > 10_000 && seen.unknown > 10_000 && seen.not_written > 10_000, "{seen:?}");
    assert!(seen.sent_again > 10_000 && seen.numbered_again > 1_000, "{seen:?}");
    assert!(seen.epochs_begun > 10_000 && seen.producer_ids > 60_100, "{seen:?}");
}

#[test]
fn brokers_that_compare_no_epochs_get_a_new_producer_id_and_write_once_in_order() {
    let seen =
        hold(Setting { idempotence: Idempotence::ProducerIds, compares_epochs: false, ..USUAL }, 25_000);
    assert!(seen.producer_ids > 30_000 && seen.epochs_begun == 0, "{seen:?}");
}

#[test]
fn nothing_is_acknowledged_behind_a_loss_that_the_brokers_answers_reveal() {
    let seen = hold(Setting { loses_acknowledged: true, ..USUAL }, 40_000);
    assert!(seen.truncations > 10_000, "{seen:?}");
}

#[test]
fn nothing_is_sent_behind_a_failed_append_until_the_caller_resumes() {
    let seen = hold(Setting { stop_on_failure: true, ..USUAL }, 25_000);
    assert!(seen.stops > 10_000, "{seen:?}");
}

#[test]
fn without_idempotence_one_batch_at_a_time_is_written_once_in_order() {
    let seen = hold(Setting { idempotence: Idempotence::Off, ..USUAL }, 25_000);
    assert!(seen.sent_again > 1_000 && seen.unknown > 10_000 && seen.producer_ids == 0, "{seen:?}");
}
