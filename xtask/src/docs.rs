//! `cargo xtask docs`: the checks of the documentation's pages, which are tests (`tests/pages`), and the book.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{children, workspace};

/// The command.
pub(crate) fn command() -> Result<()> {
    children::succeed(workspace::cargo().args(["test", "--test", "pages"]), "a page is not as it should be")?;
    match Command::new("mdbook").args(["build", "docs"]).current_dir(workspace::root()).status() {
        Ok(status) => ensure!(status.success(), "mdbook failed"),
        Err(_) => say!("the pages are in order; for the book, in `book`, run `cargo install mdbook` first"),
    }
    Ok(())
}
