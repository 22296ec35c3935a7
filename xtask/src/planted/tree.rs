//! The copy of the tree that bugs are planted into, with a target folder of its own.
//!
//! Invariant: it is what the tree is, committed or not, but for one patch at most. A file that is the same already keeps
//! its time, so that cargo builds it only once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{children, workspace};

/// The copy.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
}

impl Tree {
    /// Makes the copy what the tree at `from` is.
    pub(crate) fn copy(from: &Path) -> Result<Tree> {
        let root = folder().join("tree");
        fs::create_dir_all(&root)?;
        let files = files(from)?;
        for file in &files {
            let (old, new) = (fs::read(from.join(file))?, root.join(file));
            if fs::read(&new).is_ok_and(|there| there == old) {
                continue;
            }
            fs::create_dir_all(new.parent().unwrap_or(&root))?;
            fs::copy(from.join(file), &new).with_context(|| format!("cannot copy to {}", new.display()))?;
        }
        for path in workspace::files_below(&root)? {
            if path.strip_prefix(&root).is_ok_and(|file| !files.contains(file)) {
                fs::remove_file(path)?;
            }
        }
        Ok(Tree { root })
    }

    /// `cargo` in the copy.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = workspace::cargo();
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", folder().join("target"));
        cargo.env("RUST_BACKTRACE", "0");
        cargo
    }

    /// A file for the output of a command.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        folder().join(format!("{name}.log"))
    }
}

fn folder() -> PathBuf {
    workspace::target_dir().join("planted")
}

/// What git knows of, and what is new and not ignored.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let names = children::read(&mut git, &format!("git cannot list the files of {}", root.display()))?;
    let files = names.split_terminator('\0').map(PathBuf::from);
    // One that was deleted and not committed is listed too.
    Ok(files.filter(|file| root.join(file).is_file()).collect())
}
