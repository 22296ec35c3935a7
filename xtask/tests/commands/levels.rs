//! What `cargo xtask test` shows of its levels, with a script in cargo's place.

use crate::text;
use crate::tree::Tree;

/// It builds the two scripts below, and runs the tests in the docs, of which one fails.
const CARGO: &str = r#"#!/bin/sh
said() {
    echo '{"reason":"compiler-artifact","manifest_path":"ROOT/Cargo.toml","target":{"name":"'$1'"},"profile":{"test":'$2'},"executable":"ROOT/'$3'"}'
}
case "$*" in
metadata*) echo '{"packages":[]}' ;;
*checked*--no-run*--message-format*) said it true passes; said corpora true passes; said sim true passes ;;
*--no-run*--message-format*) said lib true UNITS; said golden true passes; said fake true passes; said bin false none ;;
*--doc*) exec ROOT/fails ;;
esac
"#;
const PASSES: &str = r#"#!/bin/sh
echo "said where all passed"
echo "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s"
"#;
const FAILS: &str = r#"#!/bin/sh
echo "said where a test failed"
echo "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s"
exit 101
"#;
const CRASHES: &str = "#!/bin/sh\necho said before it crashed\nexit 134\n";

/// What the command prints if this script is the unit tests.
fn said_by_test(tree: &Tree, units: &str, verbose: &[&str]) -> String {
    let root = tree.root.to_str().unwrap();
    let cargo = CARGO.replace("ROOT", root).replace("UNITS", units);
    for (file, text) in
        [("cargo", cargo.as_str()), ("passes", PASSES), ("fails", FAILS), ("crashes", CRASHES)]
    {
        tree.script(file, text);
    }
    // Without a path there is neither Java nor Python.
    let mut xtask = tree.xtask();
    let output = xtask.args(["test", "--env", "fake"]).args(verbose).env("CARGO", tree.root.join("cargo"));
    let output = output.env("PATH", "").output().unwrap();
    assert!(!output.status.success());
    text(&output)
}

#[test]
fn a_level_that_passes_is_one_line_and_one_that_fails_shows_its_output() {
    let tree = Tree::new("levels");
    let quiet = said_by_test(&tree, "passes", &[]);
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
    let verbose = said_by_test(&tree, "passes", &["--verbose"]);
    assert!(verbose.contains("said where a test failed"), "{verbose}");
    assert!(verbose.contains("said where all passed"), "{verbose}");
}

#[test]
fn each_level_counts_its_own_tests_once() {
    let tree = Tree::new("counts");
    let said = said_by_test(&tree, "passes", &[]);
    let (_, table) = said.split_once("\nlevel ").unwrap();
    let count = |level: &str| {
        let line =
            table.lines().find(|line| line.starts_with(level)).unwrap_or_else(|| panic!("{level}: {said}"));
        line.split_ascii_whitespace().rev().nth(1).unwrap().to_owned()
    };
    for level in ["unit, property", "golden", "fuzz"] {
        assert_eq!(count(level), "1", "{level}: {said}");
    }
    // The client's, and those of the fake itself.
    for level in ["behaviour, kafka-2.8", "behaviour, event-hubs"] {
        assert_eq!(count(level), "2", "{level}: {said}");
    }
    // Nothing builds the program that simulates.
    assert_eq!(count("simulation"), "FAILED", "{said}");
}

#[test]
fn unit_tests_that_fail_or_crash_fail_their_level_and_the_others_run() {
    let tree = Tree::new("crashes");
    let said = said_by_test(&tree, "fails", &[]);
    assert!(said.contains("unit, property: 1 of 1 failed") && said.contains("\ngolden  "), "{said}");
    let said = said_by_test(&tree, "crashes", &[]);
    assert!(said.contains("unit, property: the tests failed (exit status: 134)"), "{said}");
    assert!(said.contains("said before it crashed") && said.contains("\ngolden  "), "{said}");
}
