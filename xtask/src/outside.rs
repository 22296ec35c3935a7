//! A crate outside of this workspace, as a user's is, with the example of docs/testing-your-code.md as its tests.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::children;
use crate::libtest::Summary;
use crate::workspace;

/// What a user depends on, and no feature of it that only this workspace turns on.
const MANIFEST: &str = include_str!("outside.toml");

/// Runs its tests.
pub(crate) fn test() -> Result<Summary> {
    let root = workspace::root();
    let page = fs::read_to_string(root.join("docs/testing-your-code.md"))?;
    let example = example(&page).context("docs/testing-your-code.md has no block of Rust")?;
    let folder = workspace::target_dir().join("outside");
    for below in ["src", "tests"] {
        fs::create_dir_all(folder.join(below))?;
    }
    let root = root.to_str().context("the path of the workspace is not UTF-8")?;
    fs::write(folder.join("Cargo.toml"), MANIFEST.replace("ROOT", root))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    fs::write(folder.join("tests/recovery.rs"), example)?;
    // The versions that all else was tested with, and that are there without a network.
    fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--offline", "--test", "recovery"]).current_dir(&folder);
    cargo.env("CARGO_TARGET_DIR", workspace::target_dir());
    let (status, output) = children::run_shown(&mut cargo)?;
    ensure!(status.success(), "the tests of a user's crate fail ({status})");
    Ok(Summary::of(&output))
}

/// The first block of Rust.
fn example(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("```rust\n")?;
    Some(rest.split_once("```\n")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_of_a_page_is_found() {
        assert_eq!(example("a\n```toml\nx\n```\n\n```rust\nfn f() {}\n```\nb\n"), Some("fn f() {}\n"));
        assert_eq!(example("no block"), None);
    }
}
