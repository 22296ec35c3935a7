//! What `cargo xtask test` shows of its levels, with a script in cargo's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::text;
use crate::tree::Tree;

/// Every level passes but the docs.
const CARGO: &str = r#"#!/bin/sh
ended="0 ignored; 0 measured; 0 filtered out; finished in 0.00s"
case "$*" in
metadata*) echo '{"packages":[]}' ;;
*--doc*) echo "said where a test failed"; echo "test result: FAILED. 0 passed; 1 failed; $ended"; exit 1 ;;
*) echo "said where all passed"; echo "test result: ok. 1 passed; 0 failed; $ended" ;;
esac
"#;

fn said_by_test(tree: &Tree, verbose: &[&str]) -> String {
    tree.write("cargo", CARGO);
    let cargo = tree.root.join("cargo");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    // Without a path there is neither Java nor Python.
    let mut xtask = tree.xtask();
    let output = xtask.args(["test", "--env", "fake"]).args(verbose).env("CARGO", cargo).env("PATH", "");
    let output = output.output().unwrap();
    assert!(!output.status.success());
    text(&output)
}

#[test]
fn a_level_that_passes_is_one_line_and_one_that_fails_shows_its_output() {
    let tree = Tree::new("levels");
    let quiet = said_by_test(&tree, &[]);
    assert!(
        quiet.contains("said where a test failed") && !quiet.contains("said where all passed"),
        "{quiet}"
    );
    assert!(quiet.lines().any(|line| line.starts_with("golden ")), "{quiet}");
    assert!(quiet.contains("docs: 1 of 1 failed"), "{quiet}");
    // Where the search for them ends, and beside the table.
    for missing in ["Kafka's own tools: ", "the client in Python: "] {
        let warning = format!("NOT TESTED AGAINST THE FAKE: {missing}");
        assert_eq!(quiet.matches(&warning).count(), 2, "{quiet}");
    }
    let verbose = said_by_test(&tree, &["--verbose"]);
    assert!(verbose.contains("said where a test failed"), "{verbose}");
    assert!(verbose.contains("said where all passed"), "{verbose}");
}
