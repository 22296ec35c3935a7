//! `cargo xtask planted`: only a test that ran and failed catches a bug.

use crate::text;
use crate::tree::Tree;

/// Replaces the line `1` of `one`.
pub(crate) fn patch(tree: &Tree, name: &str, line: &str, caught_by: &str) {
    let header = format!("bug: it is not one\ncaught-by: {caught_by}\n");
    let diff = "diff --git a/one/src/lib.rs b/one/src/lib.rs\n--- a/one/src/lib.rs\n+++ b/one/src/lib.rs\n@@ -1,3 +1,3 @@\n pub fn one() -> u8 {\n-    1\n";
    tree.write(&format!("xtask/planted/{name}.patch"), &format!("{header}{diff}+    {line}\n }}\n"));
}

/// What the command says of one patch, and whether it is content.
fn planted(name: &str, line: &str, caught_by: &str) -> (bool, String) {
    let tree = Tree::new(name);
    patch(&tree, name, line, caught_by);
    let before = tree.read("one/src/lib.rs");
    let output = tree.xtask().arg("planted").output().unwrap();
    assert_eq!(tree.read("one/src/lib.rs"), before, "the tree itself is changed");
    assert_eq!(tree.read("target/planted/tree/one/src/lib.rs"), before, "the bug stays in the copy");
    (output.status.success(), text(&output))
}

#[test]
fn a_bug_that_a_test_catches_is_in_the_table_and_in_the_docs() {
    let tree = Tree::new("caught");
    patch(&tree, "two", "2", "-p one -- it_is_one");
    tree.write("docs/planted.md", "");
    tree.write(".cargo/config.toml", "[build]\ntarget-dir = \"elsewhere\"\n");
    let output = tree.xtask().args(["planted", "--write-docs"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let row = "| `two`: it is not one | `-p one -- it_is_one` | ";
    assert!(text(&output).contains(row) && tree.read("docs/planted.md").contains(row), "{}", text(&output));
    // Where cargo builds, xtask keeps its files too.
    assert!(tree.root.join("elsewhere/planted/tree").exists() && !tree.root.join("target").exists());
}

#[test]
fn a_bug_that_no_test_sees_fails_the_command() {
    let (is_content, text) = planted("unseen", "0 + 1", "-p one -- it_is_one");
    assert!(!is_content && text.contains("unseen is not caught (the test passes"), "{text}");
}

#[test]
fn a_bug_that_does_not_compile_is_not_caught() {
    let (is_content, text) = planted("broken", "\"one\"", "-p one -- it_is_one");
    assert!(!is_content && text.contains("broken is not caught (it does not build: error"), "{text}");
}

#[test]
fn a_filter_that_no_test_has_catches_nothing() {
    let (is_content, text) = planted("none", "2", "-p one -- it_is_two");
    assert!(!is_content && text.contains("no test ran without a bug: -p one -- it_is_two"), "{text}");
}

#[test]
fn a_test_that_ends_its_process_is_not_a_failed_test() {
    let (is_content, text) = planted("exits", "std::process::exit(7)", "-p one -- it_is_one");
    assert!(!is_content && text.contains("exits is not caught (it ended with"), "{text}");
}

#[test]
fn a_test_that_fails_without_the_bug_fails_the_command() {
    let tree = Tree::new("red");
    patch(&tree, "two", "2", "-p one -- it_is_one");
    let red = tree.read("one/src/lib.rs").replace("assert_eq!(one(), 1)", "assert_eq!(one(), 3)");
    tree.write("one/src/lib.rs", &red);
    let output = tree.xtask().arg("planted").output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("fails without a bug: -p one -- it_is_one"), "{}", text(&output));
}

#[test]
fn a_patch_that_no_longer_applies_is_named_before_anything_is_built() {
    let tree = Tree::new("stale");
    patch(&tree, "two", "2", "-p one -- it_is_one");
    tree.write("one/src/lib.rs", "");
    let output = tree.xtask().arg("planted").output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("xtask/planted/two.patch does not apply"), "{}", text(&output));
    assert!(!tree.root.join("target").exists());
}
