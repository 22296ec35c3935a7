//! What waits for another command says so.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};

use crate::planted::patch;
use crate::tree::Tree;

/// Holds a lock until `command` has written `expected` to standard error; then lets it end, and gives its status.
fn says_while_locked(lock: &Path, command: &mut Command, expected: &str) -> bool {
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let lock = Flock::lock(File::create(lock).unwrap(), FlockArg::LockExclusive).map_err(|(_, error)| error);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(expected)), "it ended without `{expected}`");
    assert!(child.try_wait().unwrap().is_none(), "it did not wait");
    drop(lock.unwrap());
    lines.for_each(drop);
    child.wait().unwrap().success()
}

#[test]
fn a_second_command_on_an_environment_waits_for_the_first() {
    let tree = Tree::new("env-lock");
    let lock = tree.root.join("target/env-locks/kafka");
    let mut down = tree.xtask();
    let expected = "another command is starting or ending kafka: waiting for it";
    assert!(says_while_locked(&lock, down.args(["env", "down", "kafka"]), expected));
}

#[test]
fn the_alias_shows_that_cargo_waits_for_another_build() {
    let tree = Tree::new("alias");
    tree.write(".cargo/config.toml", include_str!("../../../.cargo/config.toml"));
    tree.write("xtask/src/main.rs", "fn main() {}\n");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.arg("xtask").current_dir(&tree.root).env_remove("CARGO_TARGET_DIR");
    let lock = tree.root.join("target/debug/.cargo-lock");
    assert!(says_while_locked(&lock, &mut cargo, "Blocking waiting for file lock"));
}

#[test]
fn a_command_says_that_the_cargo_which_it_runs_waits_for_another_build() {
    let tree = Tree::new("inner");
    patch(&tree, "two", "2", "-p one -- it_is_one");
    let lock = tree.root.join("target/planted/target/debug/.cargo-lock");
    let expected = "another cargo is building in this target folder: waiting";
    assert!(says_while_locked(&lock, tree.xtask().arg("planted"), expected));
}
