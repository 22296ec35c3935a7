//! The simulation: the same seed is the same run, and what is wrong is found.

use std::collections::BTreeSet;
use std::process::Command;

use rskafka_verifier::sim::{Outcome, Plan, Profile, Setup, run};

fn setup(seed: u64, profile: Profile) -> Setup {
    let plan = Plan::of_seed(seed, &profile);
    Setup { seed, profile, plan, keeps_trace: true }
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
