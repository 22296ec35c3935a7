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
    assert!(text(&output).contains("\"nosuch\", but 1 other in xtask/planted"), "{}", text(&output));
}

#[test]
fn a_planted_bug_that_is_not_there_gets_the_nearest_name() {
    let tree = Tree::new("nearest");
    for name in ["gate-away", "gate-never-expires", "region-ends-read"] {
        tree.write(&format!("xtask/planted/{name}.patch"), "bug: one\ncaught-by: -p one\n");
    }
    let said = |name: &str| text(&tree.xtask().args(["planted", name]).output().unwrap());
    assert!(said("gate-never-expire").ends_with("; did you mean gate-never-expires?\n"));
    assert!(said("gateaway").ends_with("; did you mean gate-away?\n"));
    assert!(said("zzz").ends_with("\"zzz\", but 3 others in xtask/planted\n"));
}

#[test]
fn without_cargo_run_the_tree_is_the_one_around_the_current_folder() {
    let tree = Tree::new("around");
    tree.write("xtask/planted/only-here.patch", "bug: one\ncaught-by: -p one\n");
    let mut xtask = xtask();
    let output = xtask.args(["planted", "nosuch"]).current_dir(tree.root.join("one/src")).output().unwrap();
    assert!(text(&output).contains("\"nosuch\", but 1 other in xtask/planted"), "{}", text(&output));
}

#[test]
fn an_environment_or_a_version_that_is_none_is_said_in_one_line() {
    let line = |args: &[&str]| {
        let output = xtask().args(args).output().unwrap();
        assert!(!output.status.success());
        let text = text(&output);
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    assert!(line(&["env", "up", "kafak"]).contains("no environment \"kafak\"; the names are kafka"));
    assert!(line(&["demo", "--env", "localhost"]).contains("--env is fake, kafka or HOST:PORT"));
    assert!(line(&["env", "up", "kafka", "--topic", "wal:1"]).contains("for the fake only"));
    assert!(line(&["env", "up", "fake", "--version", "4.4.0"]).contains("--profile"));
    assert!(line(&["test", "--env", "fake", "--version", "3.9.1"]).contains("--env fake starts none"));
    assert!(
        line(&["env", "up", "docker-kafka", "--brokers", "1"]).contains("the three brokers that docker/")
    );
    assert!(line(&["chaos", "--minutes", "0"]).contains("--minutes is 1 or more"));
    assert!(line(&["env", "up", "kafka", "--brokers", "2"]).contains("1 or 3 brokers, not 2"));
}

#[test]
fn a_reader_that_goes_away_does_no_harm() {
    let tree = Tree::new("pipe");
    for to in ["stdout", "stderr"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut xtask = tree.xtask();
        let xtask = xtask.args(["env", "status", "kafka"]);
        let output =
            if to == "stdout" { xtask.stdout(writer) } else { xtask.stderr(writer) }.output().unwrap();
        assert!(output.status.success(), "{to}: {}", text(&output));
        assert!(!text(&output).contains("panicked"), "{}", text(&output));
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // An error that nobody reads is an error nevertheless.
    let status = tree.xtask().args(["env", "status", "none"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
