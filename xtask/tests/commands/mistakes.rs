//! What a wrong command line gets.

use crate::tree::Tree;
use crate::{text, xtask};

#[test]
fn no_argument_gets_the_help() {
    let output = xtask().output().unwrap();
    assert!(text(&output).contains("Usage: cargo xtask <COMMAND>"), "{}", text(&output));
    assert!(text(&output).contains("Runs all tests"), "{}", text(&output));
}

#[test]
fn a_wrong_flag_gets_the_usage_of_its_command() {
    let output = xtask().args(["env", "up", "kafka", "--brokrs", "3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("Usage: cargo xtask env up"), "{}", text(&output));
    assert!(text(&output).contains("'--brokers'"), "{}", text(&output));
}

#[test]
fn the_tree_is_the_one_that_cargo_run_names_and_not_the_one_it_was_compiled_in() {
    let tree = Tree::new("named");
    tree.write("xtask/planted/only-here.patch", "bug: one\ncaught-by: -p one\n");
    let output = tree.xtask().args(["planted", "nosuch"]).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).ends_with("\"nosuch\"; the names are only-here\n"), "{}", text(&output));
}

#[test]
fn without_cargo_run_the_tree_is_the_one_around_the_current_folder() {
    let tree = Tree::new("around");
    tree.write("xtask/planted/only-here.patch", "bug: one\ncaught-by: -p one\n");
    let mut xtask = xtask();
    let output = xtask.args(["planted", "nosuch"]).current_dir(tree.root.join("one/src")).output().unwrap();
    assert!(text(&output).ends_with("\"nosuch\"; the names are only-here\n"), "{}", text(&output));
}
