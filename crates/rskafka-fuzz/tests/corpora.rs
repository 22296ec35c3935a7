//! The checks of the fuzz targets on their seeds, on seeds that are mutated, and on random bytes. libFuzzer goes on
//! from there: `cargo xtask fuzz`.
//!
//! The bytes follow from a number, so that a failure comes again. `RSKAFKA_FUZZ_SEED` sets another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use fastrand::Rng;
use rskafka_fuzz::TARGETS;
use rskafka_fuzz::seeds::Seeds;

static SEEDS: LazyLock<Seeds> = LazyLock::new(Seeds::from_golden);

/// The largest of the random inputs.
const LARGEST: usize = 512;

fn rng() -> Rng {
    let seed = std::env::var("RSKAFKA_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    Rng::with_seed(seed.unwrap_or(0))
}

/// Checks a target's seeds, `mutations` of them, and as many random inputs.
fn check(target: &str, mutations: usize) {
    let seeds: Vec<&[u8]> =
        SEEDS.all.iter().filter(|seed| seed.target == target).map(|seed| seed.bytes.as_slice()).collect();
    assert!(seeds.len() >= 8, "{target} has {} seeds", seeds.len());
    let check = TARGETS.iter().find(|known| known.name == target).unwrap().check;
    let check = |bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{target} fails on {hex}");
        }
    };
    let mut rng = rng();
    seeds.iter().for_each(|seed| check(seed));
    for _ in 0..mutations {
        check(&mutated(&seeds, &mut rng));
        let size = rng.usize(..LARGEST);
        check(&std::iter::repeat_with(|| rng.u8(..)).take(size).collect::<Vec<_>>());
    }
}

/// A seed with one to four changes.
fn mutated(seeds: &[&[u8]], rng: &mut Rng) -> Vec<u8> {
    const TELLING: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    let mut bytes = seeds[rng.usize(..seeds.len())].to_vec();
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(..=bytes.len());
        match (rng.u8(..6), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << rng.u8(..8),
            (1, Some(byte)) => *byte = TELLING[rng.usize(..TELLING.len())],
            (2, Some(byte)) => *byte = rng.u8(..),
            (3, _) => bytes.truncate(at),
            (4, _) => bytes.insert(at, rng.u8(..)),
            _ => {
                let other = seeds[rng.usize(..seeds.len())];
                let from = rng.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn requests_keep_what_the_protocol_promises() {
    check("requests", 20_000);
}

#[test]
fn responses_keep_what_the_protocol_promises() {
    check("responses", 20_000);
}

#[test]
fn record_sets_keep_what_the_protocol_promises() {
    check("records", 5_000);
}

#[test]
fn compressed_streams_keep_what_the_protocol_promises() {
    check("decompress", 1_000);
}

#[test]
fn frames_keep_what_the_protocol_promises() {
    check("frames", 20_000);
}

#[test]
fn message_sets_of_older_formats_keep_what_the_protocol_promises() {
    check("legacy", 2_000);
}

#[test]
fn scram_exchanges_keep_what_the_protocol_promises() {
    check("scram", 200);
}

#[test]
fn every_message_has_a_seed_that_decodes() {
    assert_eq!(SEEDS.missing(), []);
    assert!(SEEDS.decoded.len() > 100);
}

#[test]
fn every_target_of_libfuzzer_is_checked_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/fuzz_targets");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    files.sort_unstable();
    let mut names = TARGETS.map(|target| target.name);
    names.sort_unstable();
    assert_eq!(files, names);
}
