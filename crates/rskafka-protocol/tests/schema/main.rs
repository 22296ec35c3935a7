//! The listing of messages against Kafka's own schemas, in both directions: `cargo xtask schema`.
//!
//! Invariant: ranges of versions are compared as they are written, so that the listing can be read beside
//! Kafka's schemas; only fields that no spoken version has are left out of it.

mod compare;
#[allow(dead_code, reason = "the golden tests read more than schemas")]
#[path = "../golden/data.rs"]
mod data;
mod kafka;
mod listing;
mod planted;

use std::io::Write;

use crate::compare::Comparison;

#[test]
fn the_listing_says_what_kafkas_schemas_say() {
    let mut comparison = Comparison::default();
    let listing = listing::messages();
    for ours in &listing {
        comparison.message(ours, &kafka::Schemas::of(&ours.api, ours.direction).message());
    }
    let differences = comparison.differences;
    let mut report = String::new();
    for difference in &differences {
        report.push_str(&format!("{difference}\n"));
    }
    for name in kafka::apis().iter().filter(|name| listing.iter().all(|ours| ours.api != **name)) {
        report.push_str(&format!("left out: {name}, which is not spoken\n"));
    }
    report.push_str(&format!(
        "schema: {} messages and {} fields compared, {} differences",
        comparison.messages,
        comparison.fields,
        differences.len()
    ));
    print(&report);
    assert!(comparison.messages > 0 && comparison.fields > 0, "nothing was compared");
    assert!(differences.is_empty(), "{} differences, printed above", differences.len());
}

/// The test harness keeps back what is printed by macro.
fn print(report: &str) {
    writeln!(std::io::stdout(), "{report}").expect("standard output takes the report");
}
