//! Seeds that are clean, and are not with a bug planted in the client: `xtask/planted` has such bugs.

use std::ops::Range;

use super::*;

fn are_clean(seeds: Range<u64>, profile: &Profile) {
    let swept = sweep(seeds, profile, measure).unwrap();
    assert_eq!(swept.failed.0, 0, "{:#?}", swept.failed.1);
}

#[test]
fn writers_are_clean() {
    are_clean(0..150, &Profile::writers());
}

#[test]
fn truncators_are_clean() {
    are_clean(0..100, &Profile::truncators());
}
