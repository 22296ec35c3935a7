//! The command as it is called: what it prints, how it ends, and in which tree it works.

mod bench;
mod levels;
mod missing;
mod mistakes;
mod planted;
mod playing;
mod tree;
mod waits;

use std::process::{Command, Output};

/// The program, outside of every tree.
fn xtask() -> Command {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.current_dir(std::env::temp_dir()).env_remove("CARGO_MANIFEST_DIR");
    xtask.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
    xtask
}

/// What it printed on both streams.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
