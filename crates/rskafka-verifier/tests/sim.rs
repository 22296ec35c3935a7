//! The simulation: the same seed is the same run, and what is wrong is found.

use std::collections::BTreeSet;
use std::process::Command;

use rskafka_fake::Bug;
use rskafka_verifier::sim::{Kind, Outcome, Plan, Profile, Setup, Wrong, run, shrink};

fn setup(seed: u64, profile: Profile) -> Setup {
    let plan = Plan::of_seed(seed, &profile);
    Setup { seed, profile, plan, bug: None, keeps_trace: true }
}

fn clean(setup: &Setup) -> Outcome {
    let outcome = run(setup).unwrap();
    assert!(outcome.findings.is_empty(), "{}{:#?}", setup.plan, outcome.findings);
    outcome
}

/// What a process of its own prints.
fn trace_of(seed: u64) -> Vec<u8> {
    let mut simulate = Command::new(env!("CARGO_BIN_EXE_simulate"));
    let output = simulate.args(["--seed", &seed.to_string(), "--trace"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    output.stdout
}

#[test]
fn a_seed_gives_the_same_trace_byte_for_byte_in_two_processes() {
    for seed in [3, 4] {
        let trace = trace_of(seed);
        assert!(trace == trace_of(seed), "seed {seed}");
        let text = String::from_utf8(trace).unwrap();
        assert!(text.lines().filter(|line| line.contains(" Produce v")).count() >= 500);
    }
    assert!(trace_of(3) != trace_of(4));
}

#[test]
fn every_profile_is_clean_and_makes_its_appends() {
    for profile in Profile::all() {
        for seed in 0..10 {
            let outcome = clean(&setup(seed, profile.clone()));
            assert!(outcome.appends >= 300, "{outcome:?}");
            assert!(outcome.struck.values().sum::<u64>() >= 10, "{:?}", outcome.struck);
        }
    }
}

#[test]
fn without_faults_every_call_but_dropped_ones_succeeds() {
    let setup = setup(1, Profile::readers());
    let outcome = clean(&Setup { plan: setup.plan.only(&BTreeSet::new()), ..setup });
    assert_eq!(outcome.struck.keys().copied().collect::<Vec<_>>(), ["fetch dropped", "produce dropped"]);
}

#[test]
fn a_writer_that_sends_again_shows_duplicates() {
    let copies: u64 = (0..5).map(|seed| clean(&setup(seed, Profile::resenders())).resent).sum();
    assert!(copies > 0);
    assert_eq!(clean(&setup(0, Profile::writers())).resent, 0);
}

/// What is found of a bug in some seeds, each with its faults but those that delete records.
fn found(bug: Bug) -> BTreeSet<Wrong> {
    let mut found = BTreeSet::new();
    for seed in 0..5 {
        let setup = setup(seed, Profile::readers());
        let kept = setup.plan.faults().filter(|(_, fault)| !matches!(fault.kind, Kind::DeleteRecords(_)));
        let plan = setup.plan.only(&kept.map(|(number, _)| number).collect());
        let outcome = run(&Setup { plan, bug: Some(bug), ..setup }).unwrap();
        assert!(!outcome.findings.is_empty(), "{bug:?} is not found with seed {seed}");
        found.extend(outcome.findings.iter().map(|finding| finding.wrong));
    }
    found
}

#[test]
fn a_lost_batch_is_found() {
    assert!(found(Bug::LosesBatch).contains(&Wrong::Lost));
}

#[test]
fn a_batch_that_is_appended_twice_is_found() {
    assert_eq!(found(Bug::AppendsTwice), [Wrong::Duplicated].into());
}

#[test]
fn two_batches_that_change_places_are_found() {
    assert!(found(Bug::SwapsTwo).contains(&Wrong::Reordered));
}

#[test]
fn a_wrong_offset_is_found() {
    assert!(found(Bug::AnswersWrongOffset).contains(&Wrong::Misplaced));
}

#[test]
fn a_flipped_bit_is_found_although_the_crc_is_right() {
    assert_eq!(found(Bug::FlipsBit), [Wrong::Corrupted].into());
}

/// A writer that sends again what may be written, and is not forgiven: it fails where an answer is lost.
fn careless() -> Profile {
    Profile { writers: 0, forgives_copies: false, ..Profile::resenders() }
}

#[test]
fn a_failing_seed_shrinks_to_a_few_faults_with_which_it_fails_too() {
    let failing = (0..20).map(|seed| setup(seed, careless()));
    let failing = failing.filter(|setup| !run(setup).unwrap().findings.is_empty()).take(3);
    let mut count = 0;
    for setup in failing {
        assert!(setup.plan.numbers().len() >= 16);
        let small = shrink(&setup).unwrap();
        let left = small.plan.numbers().len();
        assert!((1..=2).contains(&left), "seed {}:\n{}", setup.seed, small.plan);
        let wrong: Vec<Wrong> = run(&small).unwrap().findings.iter().map(|finding| finding.wrong).collect();
        assert!(wrong.contains(&Wrong::Duplicated), "{wrong:?}");
        count += 1;
    }
    assert_eq!(count, 3);
}
